//! What builds that were killed as a whole have left in the run-time directory: a ledger without a guard
//! gets one, which gives back what the dead had and removes it with its pool; the rest is removed here.

use jsshim_engine::ledger::LIFE;
use jsshim_engine::proc;
use jsshim_engine::sys::{self, Errno};
use jsshim_engine::text::{number, Path};

/// Looks through the folder of the ledger `own`; calls `adopt` with each ledger that has no guard.
pub fn sweep(own: &Path, mut adopt: impl FnMut(&Path)) {
    let dir = own.parent();
    proc::each_name(&dir, |name, _| {
        let path = dir.with(b"/").with(name);
        if !path.fits() || path.bytes() == own.bytes() {
            return;
        }
        if name.ends_with(b".ledger") {
            if is_unguarded(&path) {
                adopt(&path);
            }
        } else if is_half_made(name) || is_lost_pool(name, &path) {
            let _ = sys::unlink(path.c());
        }
    });
}

fn is_unguarded(path: &Path) -> bool {
    let Ok(fd) = sys::open(path.c(), libc::O_RDWR | libc::O_NOFOLLOW, 0) else { return false };
    let locked = sys::is_byte_locked(fd, LIFE);
    sys::close(fd);
    locked == Ok(false)
}

/// The name under which a ledger is made ends in its maker's pid.
fn is_half_made(name: &[u8]) -> bool {
    let word = b".ledger.";
    let at = name.windows(word.len()).position(|part| part == word);
    let maker = at.and_then(|at| name.get(at.saturating_add(word.len())..));
    maker.is_some_and(is_dead)
}

/// A pool that nobody has open any more holds nothing. Its maker's pid is in its name.
fn is_lost_pool(name: &[u8], path: &Path) -> bool {
    if !name.strip_prefix(b"pool-").is_some_and(is_dead) {
        return false;
    }
    let how = libc::O_WRONLY | libc::O_NONBLOCK | libc::O_NOFOLLOW;
    match sys::open(path.c(), how, 0) {
        Ok(fd) => sys::close(fd),
        Err(e) => return e == Errno(libc::ENXIO),
    }
    false
}

fn is_dead(pid: &[u8]) -> bool {
    let pid = number(pid).and_then(|(pid, _)| i32::try_from(pid).ok());
    pid.is_some_and(|pid| pid > 0 && !proc::lives(pid))
}
