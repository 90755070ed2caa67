//! Time namespaces: the machine's clock in a process whose clock is set off from it (time_namespaces(7)).
//!
//! Times in a ledger and in names of files are read by other processes, and /proc/PID/stat tells a start time on the
//! clock of its reader. All of them count by the clock of the machine's initial time namespace.

use crate::proc::read_file;
use crate::sys;
use crate::text::{number, Text};

/// The inode of the machine's initial time namespace (`PROC_TIME_INIT_INO` in the kernel).
const FIRST_INODE: u64 = 0xefff_fffa;

/// Notes by how much the boot clock of this process is ahead, for [`sys::now`] and [`crate::proc::stat`]. To be called
/// where a process starts to use a ledger: one that was forked may be in another namespace than its parent.
///
/// Async-signal-safe; one system call in the machine's namespace.
pub fn settle() {
    let inode = |path| sys::stat(path, true).map_or(0, |st| st.st_ino);
    let own = inode(c"/proc/self/ns/time");
    let ahead = match own {
        // 0: there are none (before Linux 5.6), or no /proc.
        0 | FIRST_INODE => 0,
        // The file tells of the namespace in which children start; this process may not be in it yet.
        _ if inode(c"/proc/self/ns/time_for_children") != own => return,
        _ => offset().unwrap_or(0),
    };
    // Without the store a forked child copies no page.
    if sys::clock_offset() != ahead {
        sys::set_clock_offset(ahead);
    }
}

#[inline(never)]
fn offset() -> Option<i64> {
    let mut buf = [0u8; 128];
    let n = read_file(&Text::<40>::new(b"/proc/self/timens_offsets"), &mut buf)?;
    parse(buf.get(..n)?)
}

/// Parses the lines `CLOCK SECONDS NANOSECONDS`. Returns the offset of the boot clock in ns.
fn parse(text: &[u8]) -> Option<i64> {
    let line = text.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(b"boottime"))?;
    let mut words = line.split(|b| *b == b' ').filter(|word| !word.is_empty());
    let mut next = || Some(number(words.next()?)?.0);
    let (seconds, nanos) = (next()?, next()?);
    seconds.checked_mul(1_000_000_000)?.checked_add(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_of_the_boot_clock_is_found() {
        let text = |seconds: &str| format!("monotonic     5         0\nboottime   {seconds}\n");
        assert_eq!(parse(text("   100000         7").as_bytes()), Some(100_000_000_000_007));
        assert_eq!(parse(text("     -300 999999999").as_bytes()), Some(-299_000_000_001));
        assert_eq!(parse(b"monotonic 1 1\n"), None);
        assert_eq!(parse(b"boottime 9223372036854775807 0\n"), None);
        assert_eq!(parse(b"boottime 1"), None);
    }
}
