//! A thread of the host waits with its job, before it can set a clock for it.
//!
//! A driver of tests limits the time of each child from the child's start on, and would report a held child as late that
//! has never run. Many hosts learn by a pipe whether the child's exec has succeeded: its end in the child is
//! close-on-exec, and the host reads until that end is closed. While the helper keeps a copy, such a host still waits for
//! the exec. So the clock starts when the program does. Who offers that is decided in the host (`shim/exec/exec_pipe`).

use core::cell::Cell;

use crate::sys;

/// For how long the host waits, in ns. What else its thread does for others, such as holding a lock, is not known: this
/// bounds the harm.
const MOST_NANOS: u64 = 60_000_000_000;

/// The helper's copy of the end.
pub struct ExecPipe {
    fd: Cell<i32>,
    since: u64,
}

impl ExecPipe {
    /// `fd` may be -1. The program that the job runs does not inherit it.
    pub fn new(fd: i32) -> Self {
        let _ = sys::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
        Self { fd: Cell::new(fd), since: sys::now() }
    }

    /// Called now and then while the job waits: lets the host go on after a while.
    pub fn close_if_late(&self) {
        if sys::now().saturating_sub(self.since) > MOST_NANOS && self.fd.get() >= 0 {
            sys::close(self.fd.replace(-1));
        }
    }
}
