//! Clocks and waiting.

use core::ffi::c_int;
use core::mem::MaybeUninit;

use super::Result;

pub(super) fn timespec(ns: u64) -> libc::timespec {
    libc::timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 }
}

/// Nanoseconds since boot, suspended time included (`CLOCK_BOOTTIME`).
pub fn now() -> u64 {
    clock(libc::CLOCK_BOOTTIME)
}

/// Nanoseconds of processor time that this process has used (`CLOCK_PROCESS_CPUTIME_ID`).
pub fn cpu_time() -> u64 {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Nanoseconds of processor time that all threads of a process have used, ended ones included: its own clock
/// (clock_getcpuclockid(3)), which needs no /proc and no rights.
///
/// # Errors
/// EINVAL: there is no such process, or such clocks are not to be had.
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

/// nanosleep(2), cut short by a signal.
pub fn sleep_millis(millis: u32) {
    sleep_micros(millis.saturating_mul(1000));
}

/// The same.
pub fn sleep_micros(micros: u32) {
    let ts = timespec(u64::from(micros).wrapping_mul(1000));
    // SAFETY: one readable timespec.
    let _ = unsafe { call!(libc::SYS_nanosleep, &raw const ts, 0usize) };
}

/// Sends `signal` to this thread again and again, until [`stop_timer`] or an exec (timer_create(2)).
pub fn start_timer(signal: c_int, millis: u32) -> Result<c_int> {
    // SAFETY: a struct of numbers.
    let mut event = unsafe { MaybeUninit::<libc::sigevent>::zeroed().assume_init() };
    event.sigev_signo = signal;
    event.sigev_notify = libc::SIGEV_THREAD_ID;
    let period = timespec(u64::from(millis).wrapping_mul(1_000_000));
    let when = libc::itimerspec { it_interval: period, it_value: period };
    let mut id: c_int = 0;
    // SAFETY: structs to read, room for one number.
    unsafe {
        event.sigev_notify_thread_id = super::gettid();
        call!(libc::SYS_timer_create, libc::CLOCK_MONOTONIC, &raw const event, &raw mut id)?;
        call!(libc::SYS_timer_settime, id, 0usize, &raw const when, 0usize)
            .inspect_err(|_| stop_timer(id))?;
    }
    Ok(id)
}

/// timer_delete(2).
pub fn stop_timer(id: c_int) {
    // SAFETY: numbers only.
    let _ = unsafe { call!(libc::SYS_timer_delete, id) };
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
