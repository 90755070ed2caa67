//! What this program was started with and is changed before main, or for its own sake: Rust's run-time ignores
//! SIGPIPE, and opens the standard descriptors that are closed to /dev/null; who waits for the command (`--progress`)
//! must not ignore SIGCHLD. The command gets all that as it was.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

use jsshim_engine::sys::{self, Action};
use nix::sys::signal::SigSet;

const SIGNALS: [i32; 2] = [libc::SIGPIPE, libc::SIGCHLD];

// Relaxed: written before main, by the only thread.
static IGNORES: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];
/// A bit for each of the first three descriptors.
static CLOSED: AtomicU8 = AtomicU8::new(0);

/// libc calls it before Rust's run-time starts.
#[used]
#[link_section = ".init_array"]
static NOTE: extern "C" fn() = note;

extern "C" fn note() {
    for (signal, ignores) in SIGNALS.into_iter().zip(&IGNORES) {
        ignores.store(sys::action(signal).is_ok_and(|action| action.ignores()), Relaxed);
    }
    let is_closed = |fd: &u8| sys::fcntl(i32::from(*fd), libc::F_GETFD, 0).is_err();
    CLOSED.store((0..3).filter(is_closed).fold(0, |bits, fd| bits | 1 << fd), Relaxed);
}

/// The command gets all that back, and this mask of signals, if that was changed.
pub fn hand_on(command: &mut Command, mask: Option<SigSet>) {
    let closed = CLOSED.load(Relaxed);
    // SAFETY: nothing but system calls, in a process that is about to become the command.
    unsafe {
        command.pre_exec(move || {
            for (signal, ignores) in SIGNALS.into_iter().zip(&IGNORES) {
                if ignores.load(Relaxed) {
                    let _ = sys::sigaction(signal, &Action::IGNORE);
                }
            }
            if let Some(mask) = mask {
                mask.thread_set_mask()?;
            }
            (0..3).filter(|fd| closed & 1 << fd != 0).for_each(sys::close);
            Ok(())
        });
    }
}
