//! A line of /proc/PID/stat.

use crate::text::number;

/// The fields of /proc/PID/stat that are needed here (proc(5)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// One letter; `Z` and `X` mean dead.
    pub state: u8,
    /// The parent's pid.
    pub parent: i32,
    /// Its flags in the kernel (PF_*, include/linux/sched.h).
    pub flags: u32,
    /// CPU time of all its threads so far, in clock ticks.
    pub ticks: u64,
    /// The number of threads.
    pub threads: i32,
    /// Start time in clock ticks since boot, on the clock of [`crate::sys::now`]. Together with the pid it identifies a process
    /// uniquely.
    pub start: u64,
}

/// The kernel's ticks are hundredths of a second wherever programs see them (USER_HZ, time(7)).
pub(super) const TICK_NANOS: i64 = 10_000_000;

/// PF_FORKNOEXEC and PF_KTHREAD of include/linux/sched.h.
const FORKED: u32 = 0x40;
const KERNEL_THREAD: u32 = 0x0020_0000;

impl Stat {
    /// Returns whether the process was forked and has not exec'ed since.
    pub fn is_fork(&self) -> bool {
        self.flags & FORKED != 0
    }

    /// Returns whether it is a thread of the kernel.
    pub fn is_kernel_thread(&self) -> bool {
        self.flags & KERNEL_THREAD != 0
    }

    /// Returns whether the process is stopped by a signal or by its tracer.
    pub fn is_stopped(&self) -> bool {
        matches!(self.state, b'T' | b't')
    }

    /// The start time on the clock of [`crate::sys::now`], in ns. The exact start is up to one tick later.
    pub fn start_nanos(&self) -> u64 {
        self.start.saturating_mul(TICK_NANOS.unsigned_abs())
    }
}

/// Returns whether two start times in ticks ([`Stat::start`]) are of one process. Readers in different time namespaces
/// may be a tick apart.
pub fn is_same_start(one: u32, other: u32) -> bool {
    one.abs_diff(other) <= 1
}

/// Parses a line of /proc/PID/stat. The name in it may contain blanks and parentheses.
pub fn parse_stat(line: &[u8]) -> Option<Stat> {
    let name_end = line.iter().rposition(|b| *b == b')')?;
    let (_, rest) = line.split_at_checked(name_end.checked_add(2)?)?;
    let mut words = rest.split(|b| *b == b' ');
    let state = *words.next()?.first()?;
    let mut field = |skip: usize| Some(number(words.nth(skip)?)?.0);
    let parent = i32::try_from(field(0)?).ok()?;
    let flags = field(4)? as u32;
    let ticks = field(4)?.wrapping_add(field(0)?) as u64;
    let threads = i32::try_from(field(4)?).ok()?;
    let start = u64::try_from(field(1)?).ok()?;
    Some(Stat { state, parent, flags, ticks, threads, start })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_is_skipped() {
        let line = b"42 (a) R 1 (b) ) S 7 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 3 0 12345 1 2\n";
        let (flags, ticks) = (4_194_304, 11);
        let want = Stat { state: b'S', parent: 7, flags, ticks, threads: 3, start: 12345 };
        assert_eq!(parse_stat(line), Some(want));
    }

    #[test]
    fn flags_tell_a_fork_and_a_thread_of_the_kernel() {
        let of = |flags: u32| {
            let line = format!("7 (x) -(y)) S 2 0 0 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 1 0 11 0");
            parse_stat(line.as_bytes()).unwrap()
        };
        assert!(of(69_238_880).is_kernel_thread() && !of(4_194_560).is_kernel_thread());
        assert!(of(4_194_368).is_fork() && !of(4_194_304).is_fork());
    }
}
