//! A signal whose handler is ours for some time.

use core::cell::UnsafeCell;
use core::ffi::c_int;
use core::sync::atomic::Ordering::{Relaxed, Release};
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize};

use crate::sys::{self, Action, Handler};

/// A watched signal, and its action from before.
pub struct Watched {
    signal: c_int,
    handler: Handler,
    /// How many users watch it; protected by the lock.
    pub users: AtomicU32,
    /// The action from before; protected by the lock.
    pub before: UnsafeCell<Action>,
    /// [`Action::words`] of `before`, for the handler.
    pub chained: (AtomicUsize, AtomicU64),
}

// SAFETY: `before` is used under the lock only.
unsafe impl Sync for Watched {}

impl Watched {
    /// A signal that is not watched yet.
    pub const fn new(signal: c_int, handler: Handler) -> Self {
        Self {
            signal,
            handler,
            users: AtomicU32::new(0),
            before: UnsafeCell::new(Action::DEFAULT),
            chained: (AtomicUsize::new(0), AtomicU64::new(0)),
        }
    }

    /// Adds a user; called under the lock.
    pub fn begin(&self) {
        if self.users.fetch_add(1, Relaxed) > 0 {
            return;
        }
        let before = sys::action(self.signal).unwrap_or(Action::DEFAULT);
        let (handler, flags) = if self.signal == libc::SIGCHLD { before.words() } else { (0, 0) };
        self.chained.1.store(flags, Relaxed);
        // Release: the handler sees the flags that belong to this handler.
        self.chained.0.store(handler, Release);
        // SAFETY: under the lock. The handler makes system calls on atomics' values only.
        unsafe {
            *self.before.get() = before;
            // A program that ignores SIGINT (nohup, `&` of a shell) goes on ignoring it.
            if self.signal == libc::SIGCHLD || !before.ignores() {
                let _ = sys::sigaction(self.signal, &Action::in_place_of(&before, self.handler));
            }
        }
    }

    /// Removes a user; called under the lock. The last one restores the action from before, unless the program has
    /// installed its own meanwhile.
    pub fn end(&self) {
        let ours = sys::action(self.signal).is_ok_and(|a| a.is(self.handler));
        if self.users.fetch_sub(1, Relaxed) == 1 && ours {
            // SAFETY: under the lock; restores the action from before.
            let _ = unsafe { sys::sigaction(self.signal, &*self.before.get()) };
        }
    }

    /// Stops watching in a forked child.
    pub fn forget(&self, to: Option<Action>) {
        let ours = sys::action(self.signal).is_ok_and(|a| a.is(self.handler));
        // SAFETY: this process has one thread.
        let action = to.unwrap_or(unsafe { *self.before.get() });
        if ours {
            // SAFETY: the default action, or the one from before.
            let _ = unsafe { sys::sigaction(self.signal, &action) };
        }
        self.users.store(0, Relaxed);
        self.chained.0.store(0, Relaxed);
    }
}
