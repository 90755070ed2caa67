//! The blocking read of the pool, and the ways out of it: [`WAKE`], whose handler closes the descriptor, and a timer that
//! sends it.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use crate::ledger::handle::Handle;
use crate::ledger::record::Record;
use crate::ledger::signals::WAKE;
use crate::pool::pipe;
use crate::pool::tokens::Pool;
use crate::sync::AtomicI32;
use crate::sys::{self, Errno};

use super::inputs::readable;

/// How often a job checks if no signal can wake it, or there is no guard, in ms.
pub(super) const BLIND_MILLIS: i64 = 100;

/// The descriptor that is read now, or -1.
static READING: AtomicI32 = AtomicI32::new(-1);

/// The thread that reads it, or 0.
static READER: AtomicI32 = AtomicI32::new(0);

/// The id of the timer, or -1.
static TIMER: AtomicI32 = AtomicI32::new(-1);

/// The handler of [`WAKE`].
pub(super) extern "C" fn woken(_: i32) {
    // The signal is sent to the process (kill(2)), and any thread may have taken it. Only in the reader's own thread it
    // ends the read, and closes the descriptor before another thread can get the same number.
    let reader = READER.load(Acquire);
    if reader == 0 || reader == sys::gettid() {
        close();
    } else {
        sys::kill_thread(reader, WAKE);
    }
}

/// From now on this thread waits.
pub(super) fn begin() {
    READER.store(sys::gettid(), Release);
}

/// It waits no more.
pub(super) fn end() {
    let id = TIMER.swap(-1, AcqRel);
    if id >= 0 {
        sys::stop_timer(id);
    }
    READER.store(0, Release);
}

/// Wakes this thread each time that so many ms have passed. Returns whether there is a timer.
pub(super) fn start_timer(millis: u32) -> bool {
    let timer = sys::start_timer(WAKE, millis);
    TIMER.store(timer.unwrap_or(-1), Release);
    timer.is_ok()
}

/// From now on [`WAKE`] closes this descriptor.
pub(super) fn publish(fd: i32) {
    READING.store(fd, Release);
}

/// Closes the descriptor that is read.
pub(super) fn close() {
    // AcqRel: pairs with `publish`.
    let fd = READING.swap(-1, AcqRel);
    if fd >= 0 {
        sys::close(fd);
    }
}

/// A descriptor for reading the pool: blocking on a description of our own, except for a job that polls; else a copy of
/// the inherited descriptor, in the mode that it has.
pub(super) fn open(pool: &Pool, polls: bool) -> Option<i32> {
    if let Ok(fd) = pool.open(libc::O_RDONLY) {
        if !polls {
            let _ = sys::set_blocking(fd);
        }
        return Some(fd);
    }
    let (r, _) = pool.inherited.filter(|(r, _)| pipe::is(*r, pool.id))?;
    sys::fcntl(r, libc::F_DUPFD_CLOEXEC, 3).ok()
}

/// Reads a token's byte into the record. Returns 0 at the end of the pool.
///
/// # Errors
/// As read(2). EBADF, EINTR: [`WAKE`].
pub(super) fn take(fd: i32, job: Handle, record: &Record) -> sys::Result<usize> {
    // Another process has ended the job, or the record is broken: nothing can arrive any more.
    if !record.landing.announce(job.generation) {
        return Ok(0);
    }
    // SAFETY: the landing place is in the ledger's mapping, which is never unmapped.
    let n = unsafe { sys::read_byte_to(fd, record.landing.address()) }?;
    if n == 1 {
        record.landing.mark(job.generation);
    }
    Ok(n)
}

/// Waits for so many ms until there may be a token; -1: without an end.
pub(super) fn wait_readable(fd: i32, millis: i64) {
    if sys::poll(&mut [readable(fd)], millis).is_err_and(|e| e != Errno::INTR) {
        sys::sleep_millis(BLIND_MILLIS as u32);
    }
}
