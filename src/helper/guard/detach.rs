//! What the guard gives up: session, directory, signals and descriptors of the process that started it.

use jsshim_engine::guard::process::{close_from, KEPT};
use jsshim_engine::ledger::signals;
use jsshim_engine::sys;

/// If fewer descriptors than this are allowed, they are used for the pool and the ledger only.
pub(crate) const SCARCE: u64 = 32;

const OUTPUT: i32 = 1;

/// Leaves the session, directory and descriptors of the process that started it. All signals stay blocked: the guard
/// ends when it has nothing left to do, and a signal that ends a build reaches the build without it.
pub(super) fn detach(file: i32) {
    let _ = sys::sigmask(libc::SIG_SETMASK, u64::MAX);
    sys::setsid();
    let _ = sys::chdir(c"/");
    (KEPT.saturating_add(1)..file).for_each(sys::close);
    close_from(file.max(KEPT).saturating_add(1));
    for _ in (0..3).filter(|fd| sys::fcntl(*fd, libc::F_GETFD, 0).is_err()) {
        // Many chroots have nothing in /dev.
        let _ =
            sys::open(c"/dev/null", libc::O_RDWR, 0).or_else(|_| sys::open(c"/", libc::O_PATH, 0));
    }
    sys::raise_open_files_limit();
    // Its own end needs one, for the lock of the directory. Nothing is ever written to standard output.
    if sys::open_files_limit() < SCARCE {
        sys::close(OUTPUT);
    }
}

/// A descriptor that is readable when the guard is called; or -1.
pub(super) fn called() -> i32 {
    sys::signalfd(sys::sigset(signals::CALL)).unwrap_or(-1)
}
