//! A pipe from a process to itself: a signal handler writes to it, which ends the wait that polls it.

use crate::pool::pipe::move_high;
use crate::sys::{self, Result};

/// Both ends: neither blocks, both are close-on-exec and have high numbers.
pub struct SelfPipe {
    /// Readable when a handler has run.
    pub read: i32,
    /// Where a handler writes. If the pipe is full, it is readable, and that suffices.
    pub write: i32,
}

impl SelfPipe {
    /// Makes the pipe.
    ///
    /// # Errors
    /// EMFILE, ENFILE: no descriptor.
    pub fn new() -> Result<Self> {
        let [read, write] = sys::pipe2(libc::O_CLOEXEC | libc::O_NONBLOCK)?;
        Ok(Self { read: move_high(read), write: move_high(write) })
    }

    /// Closes both ends. No handler may write any more.
    pub fn close(self) {
        sys::close(self.write);
        sys::close(self.read);
    }
}
