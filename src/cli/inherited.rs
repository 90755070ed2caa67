//! What this program was started with and is changed before main, or for its own sake: Rust's run-time ignores
//! SIGPIPE, and opens the standard descriptors that are closed to /dev/null. The command gets them as they were.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

use jsshim_engine::sys::{self, Action};

// Relaxed: written before main, by the only thread.
static IGNORES_SIGPIPE: AtomicBool = AtomicBool::new(false);
/// A bit for each of the first three descriptors.
static CLOSED: AtomicU8 = AtomicU8::new(0);

/// libc calls it before Rust's run-time starts.
#[used]
#[link_section = ".init_array"]
static NOTE: extern "C" fn() = note;

extern "C" fn note() {
    let ignores = sys::action(libc::SIGPIPE).is_ok_and(|action| action.ignores());
    IGNORES_SIGPIPE.store(ignores, Relaxed);
    let is_closed = |fd: &u8| sys::fcntl(i32::from(*fd), libc::F_GETFD, 0).is_err();
    CLOSED.store((0..3).filter(is_closed).fold(0, |bits, fd| bits | 1 << fd), Relaxed);
}

/// The command gets all that back.
pub fn hand_on(command: &mut Command) {
    let closed = CLOSED.load(Relaxed);
    // SAFETY: nothing but system calls, in a process that is about to become the command.
    unsafe {
        command.pre_exec(move || {
            if IGNORES_SIGPIPE.load(Relaxed) {
                let _ = sys::sigaction(libc::SIGPIPE, &Action::IGNORE);
            }
            (0..3).filter(|fd| closed & 1 << fd != 0).for_each(sys::close);
            Ok(())
        });
    }
}
