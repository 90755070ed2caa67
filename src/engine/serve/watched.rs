//! A signal whose handler is ours for a while.

use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::sync::atomic::Ordering::{Relaxed, Release};
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize};

use crate::sys::{self, Action, Handler};

/// A signal that is watched, and what it did before.
pub struct Watched {
    signal: c_int,
    handler: Handler,
    /// For how many; under the lock.
    pub users: AtomicU32,
    /// Under the lock.
    pub before: UnsafeCell<Action>,
    /// [`Action::words`] of `before`, for the handler.
    pub chained: (AtomicUsize, AtomicU64),
}

// SAFETY: `before` is used under the lock only.
unsafe impl Sync for Watched {}

impl Watched {
    /// Not watched yet.
    pub const fn new(signal: c_int, handler: Handler) -> Self {
        Self {
            signal,
            handler,
            users: AtomicU32::new(0),
            before: UnsafeCell::new(Action::DEFAULT),
            chained: (AtomicUsize::new(0), AtomicU64::new(0)),
        }
    }

    /// Under the lock: one more.
    pub fn begin(&self) {
        if self.users.fetch_add(1, Relaxed) > 0 {
            return;
        }
        let before = sys::action(self.signal).unwrap_or(Action::DEFAULT);
        let (handler, flags) = if self.signal == libc::SIGCHLD { before.words() } else { (0, 0) };
        self.chained.1.store(flags, Relaxed);
        // Release: the handler sees the flags that belong to this.
        self.chained.0.store(handler, Release);
        // SAFETY: under the lock. The handler makes system calls on atomics' values only.
        unsafe {
            *self.before.get() = before;
            // Who ignores SIGINT (nohup, `&` of a shell) goes on ignoring it.
            if self.signal == libc::SIGCHLD || !before.ignores() {
                let _ = sys::sigaction(self.signal, &Action::in_place_of(&before, self.handler));
            }
        }
    }

    /// Under the lock: one less. The last one puts back what was there, unless the program has put something
    /// of its own in place meanwhile.
    pub fn end(&self) {
        let ours = sys::action(self.signal).is_ok_and(|a| a.is(self.handler));
        if self.users.fetch_sub(1, Relaxed) == 1 && ours {
            // SAFETY: under the lock; what was there before.
            let _ = unsafe { sys::sigaction(self.signal, &*self.before.get()) };
        }
    }

    /// In a forked child.
    pub fn forget(&self, to: Option<Action>) {
        let ours = sys::action(self.signal).is_ok_and(|a| a.is(self.handler));
        // SAFETY: this process has one thread.
        let action = to.unwrap_or(unsafe { *self.before.get() });
        if ours {
            // SAFETY: the default, or what was there before.
            let _ = unsafe { sys::sigaction(self.signal, &action) };
        }
        self.users.store(0, Relaxed);
        self.chained.0.store(0, Relaxed);
    }
}
