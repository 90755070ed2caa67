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

/// Closes a trace. A fifo, or a file that is no trace, is left alone.
///
/// # Errors
/// As open(2), read(2) and write(2).
pub fn close(path: &CStr) -> Result<()> {
    let fd = trace::open(path, libc::O_RDWR)?;
    let closed = close_open(fd, path);
    sys::close(fd);
    closed
}

fn close_open(fd: i32, path: &CStr) -> Result<()> {
    let mut first = [0];
    let st = sys::fstat(fd)?;
    let is_file = st.st_mode & libc::S_IFMT == libc::S_IFREG;
    if !is_file || sys::pread(fd, &mut first, 0)? != 1 || first != *b"[" {
        return Err(Errno(libc::EINVAL));
    }
    // The lock ends with the descriptor. Where there are no locks, two processes that close at once may leave one end
    // too many.
    let _ = sys::await_byte(fd, 0);
    reopen(fd)?;
    trace::append(path, END, false)
}

/// Replaces the ends so far by commas.
fn reopen(fd: i32) -> Result<()> {
    let mut block = [0; 16_384];
    // An end may lie across two blocks, so the next block begins with the last bytes of this one.
    let (mut at, shared) = (0u64, OLD.len().saturating_sub(1));
    while at < MOST {
        let read = sys::pread(fd, &mut block, at)?;
        let bytes = block.get(..read).unwrap_or(&[]);
        let old = (0u64..).zip(bytes.windows(OLD.len())).filter(|(_, part)| *part == OLD);
        for (place, _) in old {
            sys::pwrite(fd, b",", at.saturating_add(place).saturating_add(1))?;
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
            let _ = close(&c);
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
}
