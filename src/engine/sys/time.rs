//! Clocks and waiting.

use core::mem::MaybeUninit;

pub(super) fn timespec(ns: u64) -> libc::timespec {
    libc::timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 }
}

/// Nanoseconds since boot, suspended time included (`CLOCK_BOOTTIME`).
pub fn now() -> u64 {
    let mut ts = timespec(0);
    // SAFETY: room for one timespec.
    let _ = unsafe { call!(libc::SYS_clock_gettime, libc::CLOCK_BOOTTIME, &raw mut ts) };
    (ts.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(ts.tv_nsec as u64)
}

/// nanosleep(2), cut short by a signal.
pub fn sleep_millis(millis: u32) {
    let ts = timespec(u64::from(millis).wrapping_mul(1_000_000));
    // SAFETY: one readable timespec.
    let _ = unsafe { call!(libc::SYS_nanosleep, &raw const ts, 0usize) };
}

/// sched_yield(2).
pub fn yield_now() {
    // SAFETY: no arguments.
    let _ = unsafe { call!(libc::SYS_sched_yield) };
}

/// The load average of the last minute in thousandths (sysinfo(2)).
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
