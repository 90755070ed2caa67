//! What this program was started with and Rust's run-time changes before main: SIGPIPE is ignored, and the standard
//! descriptors that are closed are opened to /dev/null. The command gets them as they were.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

// Relaxed: written before main, by the only thread.
static IGNORES_SIGPIPE: AtomicBool = AtomicBool::new(false);
/// A bit for each of the first three descriptors.
static CLOSED: AtomicU8 = AtomicU8::new(0);

/// libc calls it before Rust's run-time starts.
#[used]
#[link_section = ".init_array"]
static NOTE: extern "C" fn() = note;

extern "C" fn note() {
    // SAFETY: plain numbers and pointers, for which all zeros are a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: it only asks.
    let r = unsafe { libc::sigaction(libc::SIGPIPE, std::ptr::null(), &mut action) };
    IGNORES_SIGPIPE.store(r == 0 && action.sa_sigaction == libc::SIG_IGN, Relaxed);
    // SAFETY: it only asks for flags.
    let is_closed = |fd: &u8| unsafe { libc::fcntl(i32::from(*fd), libc::F_GETFD) } == -1;
    CLOSED.store((0..3).filter(is_closed).fold(0, |bits, fd| bits | 1 << fd), Relaxed);
}

/// The command gets all that back.
pub fn hand_on(command: &mut Command) {
    let closed = CLOSED.load(Relaxed);
    let restore = move || {
        // SAFETY: this process is about to become the command.
        unsafe {
            if IGNORES_SIGPIPE.load(Relaxed) {
                libc::signal(libc::SIGPIPE, libc::SIG_IGN);
            }
            (0..3).filter(|fd| closed & 1 << fd != 0).for_each(|fd| {
                libc::close(fd);
            });
        }
        Ok(())
    };
    // SAFETY: it only makes system calls.
    unsafe { command.pre_exec(restore) };
}
