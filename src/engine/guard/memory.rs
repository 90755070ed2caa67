//! Freeing the keeper's copy of the client's memory.

use crate::text::{number, Path};
use crate::{proc, sys};

use super::process::Start;

/// Frees the client's memory, which would be copied when the client writes it; keeps what the keeper needs.
pub fn forget(start: &Start<'_>, name: &[u8]) {
    let here = 0u8;
    let needed = [
        &raw const here as usize,
        core::ptr::from_ref(start) as usize,
        core::ptr::from_ref(start.pool) as usize,
        core::ptr::from_ref(start.path) as usize,
        start.helper.as_ptr() as usize,
        core::ptr::from_ref(start.ledger) as usize,
        start.envp as usize,
        // SAFETY: the environment is an array of at least one pointer.
        unsafe { *start.envp } as usize,
    ];
    proc::each_part::<160>(&Path::new(b"/proc/self/maps"), b'\n', |line| {
        let Some((from, to, rest)) = range(line) else { return };
        let is_needed = needed.iter().any(|at| (from..to).contains(at));
        // Anonymous mappings only: the loader has written few pages of mapped files, and they are needed.
        let is_plain = rest.starts_with(b"rw-p 00000000 00:00 0 ") && !rest.ends_with(b"[stack]");
        if is_plain && !is_needed {
            sys::drop_pages(from, to);
        }
    });
    retitle(start.path, name);
}

/// Parses a line of /proc/self/maps: start, end, and the rest.
fn range(line: &[u8]) -> Option<(usize, usize, &[u8])> {
    let hex = |word: &[u8]| usize::from_str_radix(core::str::from_utf8(word).ok()?, 16).ok();
    let blank = line.iter().position(|b| *b == b' ')?;
    let (ends, rest) = line.split_at_checked(blank)?;
    let dash = ends.iter().position(|b| *b == b'-')?;
    let (from, to) = ends.split_at_checked(dash)?;
    Some((hex(from)?, hex(to.get(1..)?)?, rest.get(1..)?))
}

/// Overwrites the copy of the client's arguments with this process's title, as far as there is room; tools that list
/// processes show it.
fn retitle(ledger: &Path, name: &[u8]) {
    let mut buf = [0u8; 512];
    let n = proc::read_file(&Path::new(b"/proc/self/stat"), &mut buf).unwrap_or(0);
    let stat = buf.get(..n).unwrap_or(b"");
    let after = stat.iter().rposition(|b| *b == b')').unwrap_or(0);
    // Fields 48 and 49 of proc(5); the first field after the name is 3.
    let mut words = stat.get(after..).unwrap_or(b"").split(|b| *b == b' ').skip(1);
    let mut field = |skip| words.nth(skip).and_then(number).map_or(0, |(n, _)| n as usize);
    let (from, to) = (field(45), field(0));
    let title = Path::new(name).with(b" ").with(ledger.bytes());
    let bytes = title.bytes().iter().copied().chain(core::iter::repeat(0));
    for (at, b) in (from..to).zip(bytes).filter(|_| from != 0) {
        // SAFETY: the kernel says that the arguments lie there, on the stack; nothing in this process reads them.
        unsafe { (at as *mut u8).write_volatile(b) };
    }
}
