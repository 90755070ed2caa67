//! Clocks and waiting.

use core::ffi::c_int;
use core::mem::MaybeUninit;
use core::sync::atomic::AtomicI64;
use core::sync::atomic::Ordering::Relaxed;

use super::call::Result;

pub(super) fn timespec(ns: u64) -> libc::timespec {
    libc::timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 }
}

/// By how many ns this process's boot clock is ahead of the machine's (`crate::clock`).
static OFFSET: AtomicI64 = AtomicI64::new(0);

/// Nanoseconds since boot, including suspended time: `CLOCK_BOOTTIME` of the machine's initial time namespace, as far as
/// the offset to that is known.
pub fn now() -> u64 {
    clock(libc::CLOCK_BOOTTIME).wrapping_add_signed(clock_offset().wrapping_neg())
}

/// By how many ns this process's boot clock is ahead of [`now`].
pub fn clock_offset() -> i64 {
    // Relaxed: it is written before the process uses a ledger, or by a forked child, which has one thread.
    OFFSET.load(Relaxed)
}

/// See [`clock_offset`].
pub fn set_clock_offset(ns: i64) {
    OFFSET.store(ns, Relaxed);
}

/// Seconds since 1970 (`CLOCK_REALTIME`).
pub fn date() -> u64 {
    clock(libc::CLOCK_REALTIME) / 1_000_000_000
}

/// Nanoseconds of CPU time that this process has used (`CLOCK_PROCESS_CPUTIME_ID`).
pub fn cpu_time() -> u64 {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Nanoseconds of CPU time that all threads of a process have used, including ended ones: the process's own clock
/// (clock_getcpuclockid(3)), which needs no /proc and no rights.
///
/// # Errors
/// EINVAL: there is no such process, or there are no such clocks.
pub fn cpu_time_of(pid: i32) -> Result<u64> {
    // `CPUCLOCK_SCHED` of the kernel's include/linux/posix-timers.h: as exact as the scheduler's own counts.
    const SCHED: c_int = 2;
    read_clock(!pid << 3 | SCHED)
}

fn clock(which: c_int) -> u64 {
    read_clock(which).unwrap_or(0)
}

fn read_clock(which: c_int) -> Result<u64> {
    let mut ts = timespec(0);
    // SAFETY: room for one timespec.
    unsafe { call!(libc::SYS_clock_gettime, which, &raw mut ts) }?;
    Ok((ts.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(ts.tv_nsec as u64))
}

/// nanosleep(2); a signal ends it early.
pub fn sleep_millis(millis: u32) {
    sleep_micros(millis.saturating_mul(1000));
}

/// [`sleep_millis`] in µs.
pub fn sleep_micros(micros: u32) {
    let ts = timespec(u64::from(micros).wrapping_mul(1000));
    // SAFETY: one readable timespec.
    let _ = unsafe { call!(libc::SYS_nanosleep, &raw const ts, 0usize) };
}

/// sched_yield(2).
pub fn yield_now() {
    // SAFETY: no arguments.
    let _ = unsafe { call!(libc::SYS_sched_yield) };
}

/// The load average of the last minute, in thousandths (sysinfo(2)).
pub fn load_milli() -> u32 {
    let mut si = MaybeUninit::<libc::sysinfo>::zeroed();
    // SAFETY: room for one struct, zeroed.
    let si = unsafe {
        let _ = call!(libc::SYS_sysinfo, si.as_mut_ptr());
        si.assume_init()
    };
    let [one, ..] = si.loads;
    (one.wrapping_mul(1000) >> 16) as u32
}
