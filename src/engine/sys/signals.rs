//! System calls on signals, and the timers that send them.

use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr::null;

use super::call::{arch, Result};
use super::time::timespec;

/// A handler with `SA_SIGINFO`.
pub type Handler = extern "C" fn(c_int, *mut c_void, *mut c_void);

/// The action of one signal in the kernel's layout (rt_sigaction(2)); not libc's struct.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Action {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

impl Action {
    /// Runs `f` on the signal, without `SA_RESTART`.
    pub fn handler(f: extern "C" fn(c_int)) -> Self {
        let restorer = arch::restorer as *const () as usize;
        Self { handler: f as usize, flags: arch::SA_RESTORER, restorer, mask: 0 }
    }
    /// Ignores the signal.
    pub const IGNORE: Self = Self { handler: libc::SIG_IGN, flags: 0, restorer: 0, mask: 0 };
    /// The default action.
    pub const DEFAULT: Self = Self { handler: libc::SIG_DFL, flags: 0, restorer: 0, mask: 0 };

    /// Runs `f` on the signal and on an alternate stack if there is one, otherwise as `old` would have run: with its
    /// mask, `SA_RESTART` and `SA_NOCLDSTOP`. If `old` runs no code, no restartable call is interrupted and no stop of
    /// a child is reported.
    pub fn in_place_of(old: &Self, f: Handler) -> Self {
        let kept = libc::SA_RESTART | libc::SA_NOCLDSTOP | libc::SA_NODEFER;
        let flags = if old.runs() {
            old.flags & kept as u64
        } else {
            (libc::SA_RESTART | libc::SA_NOCLDSTOP) as u64
        };
        let flags = flags | (libc::SA_SIGINFO | libc::SA_ONSTACK) as u64 | arch::SA_RESTORER;
        let restorer = arch::restorer as *const () as usize;
        Self { handler: f as usize, flags, restorer, mask: if old.runs() { old.mask } else { 0 } }
    }

    /// Runs `f` for a while in which the caller puts what is `old`'s back into the queue. What the kernel does with the
    /// children, and of which of their changes it tells, stays as it is. On an alternate stack if there is one.
    pub fn beside(old: &Self, f: Handler) -> Self {
        let kept = (libc::SA_NOCLDSTOP | libc::SA_NOCLDWAIT) as u64;
        let flags = if old.ignores() { kept } else { old.flags & kept };
        let flags = flags | (libc::SA_SIGINFO | libc::SA_ONSTACK) as u64 | arch::SA_RESTORER;
        let restorer = arch::restorer as *const () as usize;
        Self { handler: f as usize, flags, restorer, mask: u64::MAX }
    }

    /// Returns whether it runs code.
    pub fn runs(&self) -> bool {
        self.handler != libc::SIG_DFL && self.handler != libc::SIG_IGN
    }

    /// Returns whether it runs `f`.
    pub fn is(&self, f: Handler) -> bool {
        self.handler == f as usize
    }

    /// Returns whether the signal is ignored.
    pub fn ignores(&self) -> bool {
        self.handler == libc::SIG_IGN
    }

    /// Returns whether, as the action for SIGCHLD, children leave no status behind (sigaction(2), `SA_NOCLDWAIT`).
    pub fn reaps(&self) -> bool {
        self.ignores() || self.flags & libc::SA_NOCLDWAIT as u64 != 0
    }

    /// Its handler and its flags, as two words.
    pub fn words(&self) -> (usize, u64) {
        (self.handler, self.flags)
    }

    /// Runs the handler of [`Action::words`] as the kernel would. Does nothing for SIG_DFL and SIG_IGN.
    ///
    /// # Safety
    /// The arguments must be those of a running handler.
    pub unsafe fn chain(words: (usize, u64), sig: c_int, info: *mut c_void, context: *mut c_void) {
        let (handler, flags) = words;
        if handler == libc::SIG_DFL || handler == libc::SIG_IGN {
            return;
        }
        // SAFETY: the kernel would call this address in the same way.
        unsafe {
            if flags & libc::SA_SIGINFO as u64 != 0 {
                core::mem::transmute::<usize, Handler>(handler)(sig, info, context);
            } else {
                core::mem::transmute::<usize, extern "C" fn(c_int)>(handler)(sig);
            }
        }
    }
}

/// rt_sigaction(2): sets the action. Returns the action before.
///
/// # Safety
/// A handler must be async-signal-safe and stay mapped while it is installed.
pub unsafe fn sigaction(sig: c_int, new: &Action) -> Result<Action> {
    let mut old = Action::IGNORE;
    // SAFETY: both structs have the kernel's layout; 8 is the size of its mask.
    unsafe { call!(libc::SYS_rt_sigaction, sig, &raw const *new, &raw mut old, 8usize)? };
    Ok(old)
}

/// The current action of a signal.
pub fn action(sig: c_int) -> Result<Action> {
    let mut now = Action::DEFAULT;
    // SAFETY: no new action is given; room for the old one.
    unsafe {
        call!(libc::SYS_rt_sigaction, sig, null::<Action>(), &raw mut now, 8usize)?;
    }
    Ok(now)
}

/// The set with this signal, one bit each, in the kernel's layout.
pub const fn sigset(sig: c_int) -> u64 {
    1u64.wrapping_shl((sig as u32).wrapping_sub(1))
}

/// rt_sigprocmask(2) with `SIG_BLOCK`, `SIG_UNBLOCK` or `SIG_SETMASK`. Returns the mask before.
pub fn sigmask(how: c_int, set: u64) -> Result<u64> {
    let mut old = 0u64;
    // SAFETY: both sets have the kernel's eight bytes.
    unsafe { call!(libc::SYS_rt_sigprocmask, how, &raw const set, &raw mut old, 8usize)? };
    Ok(old)
}

/// The signals that are blocked and pending (rt_sigpending(2)).
pub fn pending() -> u64 {
    let mut set = 0u64;
    // SAFETY: the set has the kernel's eight bytes.
    let _ = unsafe { call!(libc::SYS_rt_sigpending, &raw mut set, 8usize) };
    set
}

/// Removes a pending blocked signal from the queue, if there is one (rt_sigtimedwait(2) with no time-out).
pub fn discard_pending(set: u64) {
    let ts = timespec(0);
    // SAFETY: all arguments are ours; no siginfo is asked for.
    let _ =
        unsafe { call!(libc::SYS_rt_sigtimedwait, &raw const set, 0usize, &raw const ts, 8usize) };
}

/// Calls `write`, a write(2), without the signals that could end the process: SIGPIPE, and SIGXFSZ (RLIMIT_FSIZE).
pub fn without_signals<T>(write: impl FnOnce() -> Result<T>) -> Result<T> {
    let set = sigset(libc::SIGPIPE) | sigset(libc::SIGXFSZ);
    let before = pending();
    let Ok(mask) = sigmask(libc::SIG_BLOCK, set) else { return write() };
    let result = write();
    // The signals of a write are sent to this thread, at once.
    if result.is_err() {
        discard_pending(set & !before);
    }
    let _ = sigmask(libc::SIG_SETMASK, mask);
    result
}

/// Removes a pending blocked signal from the queue, if there is one, and returns its siginfo.
pub fn take_pending(set: u64) -> Option<libc::siginfo_t> {
    let ts = timespec(0);
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: all arguments are ours; the kernel fills the siginfo.
    unsafe {
        let to = info.as_mut_ptr();
        call!(libc::SYS_rt_sigtimedwait, &raw const set, to, &raw const ts, 8usize).ok()?;
        Some(info.assume_init())
    }
}

/// Puts back a signal that was taken from this process's queue (rt_sigqueueinfo(2)). In a sandbox that forbids it the
/// signal comes without its siginfo.
pub fn requeue(info: &libc::siginfo_t) {
    let pid = super::processes::getpid();
    // SAFETY: a siginfo to read. A process may send any siginfo to itself.
    let sent = unsafe { call!(libc::SYS_rt_sigqueueinfo, pid, info.si_signo, &raw const *info) };
    if sent.is_err() {
        let _ = super::processes::kill(pid, info.si_signo);
    }
}

/// The size of a siginfo.
pub const SIGINFO: usize = core::mem::size_of::<libc::siginfo_t>();

/// Reads a siginfo that a handler has written to a pipe, if there is one.
pub fn read_siginfo(fd: c_int) -> Option<libc::siginfo_t> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: room for one siginfo, zeroed; any bytes are a valid one.
    unsafe {
        let n = call!(libc::SYS_read, fd, info.as_mut_ptr(), SIGINFO).ok()?;
        (n == SIGINFO).then(|| info.assume_init())
    }
}

/// Returns whether this code runs on an alternate stack (sigaltstack(2)).
pub fn is_on_alternate_stack() -> bool {
    let mut now = MaybeUninit::<libc::stack_t>::zeroed();
    // SAFETY: room for one struct, zeroed.
    unsafe {
        call!(libc::SYS_sigaltstack, 0usize, now.as_mut_ptr()).is_ok()
            && now.assume_init().ss_flags & libc::SS_ONSTACK != 0
    }
}

/// signalfd(2), non-blocking and close-on-exec: readable while the poller has one of `set` pending.
pub fn signalfd(set: u64) -> Result<c_int> {
    let (new, flags) = (-1 as c_int, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC);
    // SAFETY: the set has the kernel's eight bytes.
    unsafe { call!(libc::SYS_signalfd4, new, &raw const set, 8usize, flags).map(|fd| fd as c_int) }
}

/// The three interval timers of a process, stopped (setitimer(2)).
pub struct Timers([libc::itimerval; 3]);

impl Timers {
    /// Stops all of them, and remembers the time left.
    pub fn stop() -> Self {
        let zero = libc::timeval { tv_sec: 0, tv_usec: 0 };
        let stopped = libc::itimerval { it_interval: zero, it_value: zero };
        let mut left = [stopped; 3];
        for (which, old) in left.iter_mut().enumerate() {
            // SAFETY: one struct to read, one to write.
            let _ = unsafe { call!(libc::SYS_setitimer, which, &raw const stopped, &raw mut *old) };
        }
        Self(left)
    }
    /// Restarts those that ran.
    pub fn resume(self) {
        for (which, old) in self.0.iter().enumerate() {
            if old.it_value.tv_sec != 0 || old.it_value.tv_usec != 0 {
                // SAFETY: one struct to read.
                let _ = unsafe { call!(libc::SYS_setitimer, which, &raw const *old, 0usize) };
            }
        }
    }
}

/// Sends `signal` to this thread periodically, until [`stop_timer`] or an exec (timer_create(2)).
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
        event.sigev_notify_thread_id = super::processes::gettid();
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

#[cfg(test)]
mod tests {
    use super::super::{close, pipe2, write, Errno};
    use super::*;

    #[test]
    fn a_write_that_nobody_reads_ends_nobody() {
        let [r, w] = pipe2(libc::O_CLOEXEC).unwrap();
        close(r);
        // The test harness ignores SIGPIPE; for once it does what it does by default.
        let default = Action { handler: libc::SIG_DFL, ..Action::IGNORE };
        // SAFETY: no handler.
        let before = unsafe { sigaction(libc::SIGPIPE, &default) }.unwrap();
        assert_eq!(without_signals(|| write(w, b"x")), Err(Errno::PIPE));
        assert_eq!(pending() & sigset(libc::SIGPIPE), 0);
        // SAFETY: what was there.
        let _ = unsafe { sigaction(libc::SIGPIPE, &before) };
        close(w);
    }
}
