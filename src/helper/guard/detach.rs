//! What the guard leaves behind: session, directory, signals and descriptors of whoever started it.

use jsshim_engine::guard::process::KEPT;
use jsshim_engine::ledger::signals;
use jsshim_engine::sys;

/// With fewer descriptors than these, none is used for anything but the pool and the ledger.
pub(crate) const SCARCE: u64 = 32;

/// Where there is no close_range(2), no descriptor above this one is looked for.
pub(crate) const MOST: i32 = 65_536;

/// Leaves the session, directory and descriptors of whoever started it. Its signals stay blocked: it ends
/// when nothing is left to look after, and what ends a build reaches that without it.
pub(super) fn detach(file: i32) {
    let _ = sys::sigmask(libc::SIG_SETMASK, u64::MAX);
    sys::setsid();
    let _ = sys::chdir(c"/");
    (KEPT.saturating_add(1)..file).for_each(sys::close);
    close_from(file.max(KEPT).saturating_add(1));
    for _ in (0..3).filter(|fd| sys::fcntl(*fd, libc::F_GETFD, 0).is_err()) {
        // There is nothing in the /dev of many a chroot.
        let _ =
            sys::open(c"/dev/null", libc::O_RDWR, 0).or_else(|_| sys::open(c"/", libc::O_PATH, 0));
    }
    sys::raise_open_files_limit();
}

/// A descriptor that is readable when somebody calls, or -1.
pub(super) fn called() -> i32 {
    sys::signalfd(sys::sigset(signals::CALL)).unwrap_or(-1)
}

pub(super) fn close_from(first: i32) {
    if sys::close_from(first).is_err() {
        (first..sys::open_files_limit().min(MOST as u64) as i32).for_each(sys::close);
    }
}
