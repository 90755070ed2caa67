//! Closing a trace: the end of the JSON array, for strict readers.
//!
//! Several ledgers may write to one file, at the same time or one after the other, and each closes it when its last
//! process is gone. So the process that closes the file replaces the ends that others have written before, each on its
//! own line, by commas. It holds a lock that no writer of lines takes: writers append only, and existing bytes are
//! never moved.

use core::ffi::CStr;

use crate::sys::{self, Errno, Result};

use super::trace;

/// The bytes to append: an event without a comma after it, and the end.
const END: &[u8] = b"{\"name\":\"end\",\"ph\":\"M\",\"pid\":0,\"tid\":0,\"args\":{}}\n]\n";
/// An end that is followed by something, from the newline before it on.
const OLD: &[u8] = b"\n]\n";
/// At most this many bytes are searched.
const MOST: u64 = 1 << 30;

/// Closes a trace in which a pool of this path has its lines. A fifo, a file that is no trace, and one that another build
/// has begun anew under this name, are left alone.
///
/// # Errors
/// As open(2), read(2) and write(2). EINVAL: the file is left alone.
pub fn close(path: &CStr, pool: &[u8]) -> Result<()> {
    let fd = trace::open(path, libc::O_RDWR)?;
    let closed = close_open(fd, path, pool);
    sys::close(fd);
    closed
}

fn close_open(fd: i32, path: &CStr, pool: &[u8]) -> Result<()> {
    let mut first = [0];
    let st = sys::fstat(fd)?;
    let is_file = st.st_mode & libc::S_IFMT == libc::S_IFREG;
    if !is_file || sys::pread(fd, &mut first, 0)? != 1 || first != *b"[" || !names(fd, pool)? {
        return Err(Errno::INVAL);
    }
    // The lock ends with the descriptor. Where there are no locks, two processes that close at once may leave one end
    // too many.
    let _ = sys::await_byte(fd, 0);
    reopen(fd)?;
    trace::append(path, END, false)
}

/// The end of a pool's path tells one pool from another; it has at most so many bytes.
const TELLING: usize = 64;

/// Does the file name this pool? The characters of its path that JSON writes otherwise are not compared.
fn names(fd: i32, pool: &[u8]) -> Result<bool> {
    let plain = |b: &u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\');
    let start = pool.iter().rposition(|b| !plain(b)).map_or(0, |at| at.saturating_add(1));
    let start = start.max(pool.len().saturating_sub(TELLING));
    let end = pool.get(start..).unwrap_or(b"");
    let mut found = end.is_empty();
    each_match(fd, end, &mut |_| {
        found = true;
        Ok(false)
    })?;
    Ok(found)
}

/// Replaces the ends so far by commas.
fn reopen(fd: i32) -> Result<()> {
    each_match(fd, OLD, &mut |at| {
        sys::pwrite(fd, b",", at.saturating_add(1))?;
        Ok(true)
    })
}

/// Calls `f` with each place at which the file has this text, as long as it returns true.
#[inline(never)]
fn each_match(fd: i32, text: &[u8], f: &mut dyn FnMut(u64) -> Result<bool>) -> Result<()> {
    let mut block = [0; 16_384];
    // A match may lie across two blocks, so the next block begins with the last bytes of this one.
    let (mut at, shared) = (0u64, text.len().saturating_sub(1));
    while at < MOST && !text.is_empty() {
        let read = sys::pread(fd, &mut block, at)?;
        let bytes = block.get(..read).unwrap_or(&[]);
        let matches = (0u64..).zip(bytes.windows(text.len())).filter(|(_, part)| *part == text);
        for (place, _) in matches {
            if !f(at.saturating_add(place))? {
                return Ok(());
            }
        }
        if read <= shared {
            break;
        }
        at = at.saturating_add(read.saturating_sub(shared) as u64);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::fs;

    /// A file with this text; it is closed as often as there are texts, each of which is appended before.
    fn closed(name: &str, first: &str, parts: &[&str]) -> String {
        let path =
            std::env::temp_dir().join(format!("jsshim-closing-{name}-{}", std::process::id()));
        let c = CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
        fs::write(&path, first).unwrap();
        for part in parts {
            trace::append(&c, part.as_bytes(), false).unwrap();
            let _ = close(&c, b"");
        }
        let text = fs::read_to_string(&path).unwrap();
        fs::remove_file(&path).unwrap();
        text
    }

    fn end() -> &'static str {
        std::str::from_utf8(END).unwrap()
    }

    #[test]
    fn a_closed_trace_is_an_array() {
        assert_eq!(closed("once", "[\n", &["{},\n"]), format!("[\n{{}},\n{}", end()));
        assert_eq!(closed("empty", "[\n", &[""]), format!("[\n{}", end()));
    }

    #[test]
    fn it_may_go_on_after_an_end() {
        let open = end().replace(']', ",");
        let want = format!("[\n{{}},\n{open}{{}},\n{open}{}", end());
        assert_eq!(closed("on", "[\n", &["{},\n", "{},\n", ""]), want);
    }

    #[test]
    fn an_end_is_found_wherever_it_is() {
        for more in 16_370..16_390 {
            let line = format!("{{\"x\":\"{}\"}}", "x".repeat(more));
            let text = closed("border", "[\n", &[&format!("{line}\n]\n{{}},\n")]);
            assert_eq!(text, format!("[\n{line}\n,\n{{}},\n{}", end()), "{more}");
        }
    }

    #[test]
    fn what_is_no_trace_is_left_alone() {
        assert_eq!(closed("other", "#!/bin/sh\n", &["x\n]\n"]), "#!/bin/sh\nx\n]\n");
        assert_eq!(closed("nothing", "", &[""]), "");
    }

    #[test]
    fn what_another_build_has_begun_anew_is_left_alone() {
        let path = std::env::temp_dir().join(format!("jsshim-closing-{}", std::process::id()));
        let c = CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
        let text = "[\n{\"name\":\"slots of /run/x y/pool-7-1-2a\"},\n";
        let long = format!("/{}/pool-7-1-2a", "d".repeat(200));
        for (pool, is_closed) in [
            ("/run/x y/pool-7-1-2a", true),
            ("/run/\"/pool-7-1-2a", true),
            ("/run/x y/pool-8-1-2a", false),
            (&long, false),
            ("", true),
        ] {
            fs::write(&path, text).unwrap();
            assert_eq!(close(&c, pool.as_bytes()).is_ok(), is_closed, "{pool}");
            assert_eq!(fs::read_to_string(&path).unwrap() != text, is_closed, "{pool}");
        }
        fs::remove_file(&path).unwrap();
    }
}
