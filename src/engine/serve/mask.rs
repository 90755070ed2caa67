//! The signal mask of a call.

use crate::sys;

/// SIGCHLD, one bit.
pub const CHILD: u64 = sys::sigset(libc::SIGCHLD);
/// The signals that tell a build to stop.
pub const QUIT: u64 = sys::sigset(libc::SIGINT) | sys::sigset(libc::SIGTERM);

/// Signals that are never blocked: faults, which cannot wait, and those that libc uses (32 and 33).
const NEVER: u64 = sys::sigset(libc::SIGSEGV)
    | sys::sigset(libc::SIGBUS)
    | sys::sigset(libc::SIGILL)
    | sys::sigset(libc::SIGFPE)
    | sys::sigset(libc::SIGTRAP)
    | sys::sigset(libc::SIGSYS)
    | sys::sigset(libc::SIGABRT)
    | sys::sigset(32)
    | sys::sigset(33);

/// What is blocked during a call.
pub const BLOCKED: u64 = !NEVER;

/// [`sys::sigmask`]. It fails only in a sandbox that forbids it, and then each time.
fn mask(how: i32, set: u64) -> u64 {
    sys::sigmask(how, set).unwrap_or(0)
}

/// The duration of a call, during which all signals are blocked. Dropping it restores the caller's mask, and pending
/// signals are delivered.
pub struct Masked {
    /// The caller's mask.
    pub old: u64,
    /// The first SIGCHLD that was taken off the queue so that the next one can be waited for, but is the caller's.
    taken: Option<libc::siginfo_t>,
}

impl Masked {
    /// Blocks all signals.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self { old: mask(libc::SIG_BLOCK, BLOCKED), taken: None }
    }

    /// Runs code of the program, with the caller's mask.
    pub fn outside<R>(&mut self, f: impl FnOnce() -> R) -> R {
        mask(libc::SIG_SETMASK, self.old);
        let result = f();
        self.old = mask(libc::SIG_BLOCK, BLOCKED);
        result
    }

    /// Called when SIGCHLD is pending: runs its handler, if the caller's mask allows it.
    pub fn let_child_in(&mut self) {
        if self.old & CHILD == 0 {
            let before = mask(libc::SIG_UNBLOCK, CHILD);
            mask(libc::SIG_SETMASK, before);
        } else if let Some(info) = sys::take_pending(CHILD) {
            self.keep(info);
        }
    }

    /// Puts this SIGCHLD, which was taken off the queue, back at the end of the call. While one is pending the kernel
    /// discards later ones, so the first is kept.
    pub fn keep(&mut self, info: libc::siginfo_t) {
        self.taken.get_or_insert(info);
    }
}

impl Drop for Masked {
    fn drop(&mut self) {
        let later = self.taken.and_then(|first| {
            let later = sys::take_pending(CHILD);
            sys::requeue(&first);
            later.filter(|_| self.old & CHILD == 0)
        });
        mask(libc::SIG_SETMASK, self.old);
        // The caller's handler has run for the first.
        if let Some(later) = later {
            sys::requeue(&later);
        }
    }
}
