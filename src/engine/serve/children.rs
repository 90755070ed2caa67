//! Which children of this process are jobs, of any of its servers and threads. All others are the program's own.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicUsize};

use crate::sys::{self, Errno, Result};

/// The most jobs of one process at a time.
const MOST: usize = 16_384;

static PIDS: [AtomicI32; MOST] = [const { AtomicI32::new(0) }; MOST];
/// No slot from this index on was ever used.
static HIGH: AtomicUsize = AtomicUsize::new(0);
/// Starts in progress: their children are not in the table yet.
static STARTING: AtomicU32 = AtomicU32::new(0);

fn used() -> impl Iterator<Item = &'static AtomicI32> {
    PIDS.iter().take(HIGH.load(Acquire))
}

/// Runs `start`, which makes a process and returns its pid, and notes that the process is a job. Meanwhile no other
/// thread takes an unknown child for one of the program's own.
///
/// # Errors
/// Those of `start`; ENOMEM: 16,384 jobs run already.
pub fn starting(start: impl FnOnce() -> Result<i32>) -> Result<i32> {
    let place = reserve().ok_or(Errno(libc::ENOMEM))?;
    // AcqRel: whoever sees 0 again sees the pid.
    STARTING.fetch_add(1, AcqRel);
    let pid = start();
    place.store(pid.unwrap_or(0), Release);
    STARTING.fetch_sub(1, AcqRel);
    pid
}

fn reserve() -> Option<&'static AtomicI32> {
    for (i, place) in PIDS.iter().enumerate() {
        // -1 is no process's pid.
        if place.load(Relaxed) == 0 && place.compare_exchange(0, -1, AcqRel, Relaxed).is_ok() {
            HIGH.fetch_max(i.saturating_add(1), AcqRel);
            return Some(place);
        }
    }
    None
}

/// Removes a job that has been reaped.
pub fn remove(pid: i32) {
    for place in used() {
        if place.compare_exchange(pid, 0, AcqRel, Relaxed).is_ok() {
            return;
        }
    }
}

/// Returns whether this child is a job. Waits up to a second until starts in other threads are done.
pub fn contains(pid: i32) -> bool {
    let has = || used().any(|place| place.load(Acquire) == pid);
    for _ in 0..1000 {
        if has() {
            return true;
        }
        if STARTING.load(Acquire) == 0 {
            break;
        }
        sys::sleep_millis(1);
    }
    has()
}

/// Clears the table in a forked child: the jobs are its parent's.
pub fn clear() {
    used().for_each(|place| place.store(0, Relaxed));
    HIGH.store(0, Relaxed);
    STARTING.store(0, Release);
}
