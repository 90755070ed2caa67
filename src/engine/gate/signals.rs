//! The ends of jobs without pidfds: by SIGCHLD and a self-pipe, as in [`serve`](crate::serve).
//!
//! All signals are blocked from [`Signals::begin`] to [`Signals::end`]. In the one ppoll(2) between them SIGCHLD alone
//! is not: its handler writes the siginfo, which begins with the signal's number, to the self-pipe. Nothing of the host
//! runs meanwhile, so none of its code meets our handler or our mask, and no jump leaves them behind. Each other signal
//! that the host would let in stays pending; a signalfd reports it, and the gate ends. At the end the host has its
//! action and its mask back, and the kernel delivers what is pending as ever: with that action's flags and mask, on its
//! stack. A SIGCHLD that the self-pipe took from the queue is put back before that, with its siginfo.
//!
//! If the host has SIGCHLD blocked itself (signalfd(2), sigwait(3)), no handler is installed: when SIG_DFL is restored,
//! the kernel discards a pending SIGCHLD, and such a host waits for that one. The signalfd reports it, too.
//!
//! SIG_IGN and SA_NOCLDWAIT keep their meaning: our action has SA_NOCLDWAIT then, and nothing is put back that the
//! kernel would not have sent.

use core::ffi::{c_int, c_void};
use core::sync::atomic::AtomicI32;
use core::sync::atomic::Ordering::Relaxed;

use crate::pool::pipe::move_high;
use crate::serve::{Masked, SelfPipe, BLOCKED, CHILD};
use crate::sys::{self, Action};

/// Where the handler writes, and in which process. Only the one thread of that process uses them, with SIGCHLD blocked.
static END: AtomicI32 = AtomicI32::new(-1);
static OWNER: AtomicI32 = AtomicI32::new(0);

extern "C" fn handle(_: c_int, info: *mut c_void, _: *mut c_void) {
    // A process that shares the actions, but not the descriptors (clone(2), CLONE_SIGHAND), has the handler, too.
    if OWNER.load(Relaxed) == sys::getpid() {
        // SAFETY: the kernel's siginfo, on the stack of this handler.
        let bytes = unsafe { core::slice::from_raw_parts(info.cast::<u8>(), sys::SIGINFO) };
        let _ = sys::write(END.load(Relaxed), bytes);
    }
}

/// What a gate changes of the host while it waits.
pub struct Signals {
    masked: Masked,
    /// The self-pipe, and the host's action. None: the host has SIGCHLD blocked.
    pipe: Option<(SelfPipe, Action)>,
    /// Readable while a signal is pending that the handler does not take.
    others: i32,
}

impl Signals {
    /// Begins to listen. Returns None if that cannot be, or the caller runs on an alternate stack, on which there may be
    /// no room for a handler. The caller must be the only thread.
    pub fn begin() -> Option<Self> {
        let masked = Masked::new();
        let is_free = OWNER.load(Relaxed) != sys::getpid();
        let before = sys::action(libc::SIGCHLD).ok().filter(|_| is_free)?;
        let is_blocked = masked.old & CHILD != 0;
        let set = !masked.old & BLOCKED & !CHILD | masked.old & CHILD;
        let mut this = Self { masked, pipe: None, others: move_high(sys::signalfd(set).ok()?) };
        if is_blocked || this.install(before).is_some() {
            return Some(this);
        }
        this.end();
        None
    }

    fn install(&mut self, before: Action) -> Option<()> {
        if sys::is_on_alternate_stack() {
            return None;
        }
        let pipe = SelfPipe::new().ok()?;
        END.store(pipe.write, Relaxed);
        OWNER.store(sys::getpid(), Relaxed);
        self.pipe = Some((pipe, before));
        // SAFETY: the handler makes system calls only; this library is never unmapped.
        unsafe { sys::sigaction(libc::SIGCHLD, &Action::beside(&before, handle)) }.ok().map(drop)
    }

    /// The descriptors to poll.
    pub fn fds(&self) -> [i32; 2] {
        [self.others, self.pipe.as_ref().map_or(-1, |(pipe, _)| pipe.read)]
    }

    /// The mask of the poll.
    pub fn mask(&self) -> u64 {
        let listens = if self.pipe.is_some() { CHILD } else { 0 };
        (self.masked.old | BLOCKED) & !listens
    }

    /// Takes in what has come since. Returns whether a handler of the host waits to run, or a default action.
    pub fn take_in(&mut self) -> bool {
        let mut is_for_host = sys::pending() & !self.masked.old & !CHILD != 0;
        match &self.pipe {
            Some((pipe, before)) => {
                while let Some(info) = sys::read_siginfo(pipe.read) {
                    is_for_host |= before.runs();
                    if before.runs() {
                        self.masked.keep(info);
                    }
                }
            }
            None => {
                if let Some(info) = sys::take_pending(CHILD) {
                    self.masked.keep(info);
                }
            }
        }
        is_for_host
    }

    /// Restores the host's action and mask. Handlers of the host may run, and may jump out of this.
    pub fn end(mut self) {
        self.take_in();
        sys::close(self.others);
        if let Some((pipe, before)) = self.pipe.take() {
            // A handler of the host for a fault, which is never blocked, may have installed its own.
            if sys::action(libc::SIGCHLD).is_ok_and(|now| now.is(handle)) {
                // SAFETY: the host's own action.
                let _ = unsafe { sys::sigaction(libc::SIGCHLD, &before) };
            }
            OWNER.store(0, Relaxed);
            pipe.close();
        }
    }
}
