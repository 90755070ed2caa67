//! The guard may be killed like any process. So it is two processes: the one that works, and its parent, the double.
//! The double sleeps until the other ends, and forks a new one if it was killed. If the double is killed, the other
//! makes itself the double of a new child. Both hold the lock on the ledger, since a lock belongs to an open file: the
//! guard is alive as long as one of them is. They share all descriptors, so that a pool that is kept open does not
//! close with the one that is killed.

use jsshim_engine::sys;

/// The role of a process after [`fork`].
pub enum Role {
    /// The process that works; the pid of its double (0: it has none).
    Guard(i32),
    /// The double of this child.
    Double(i32),
}

pub fn fork() -> Role {
    // SAFETY: the helper has one thread and no libc.
    match unsafe { sys::fork(libc::CLONE_FILES) } {
        // From the first moment a signal to a process group must not hit both: whichever runs first separates them.
        Ok(0) => {
            sys::setpgid(0);
            Role::Guard(sys::getppid())
        }
        Ok(child) => {
            sys::setpgid(child);
            Role::Double(child)
        }
        Err(_) => Role::Guard(0),
    }
}

/// Waits until the guard ends. Returns whether it was killed, rather than having ended or failed by itself.
pub fn was_killed(child: i32) -> bool {
    loop {
        match sys::wait_child(child) {
            // No other process waits for it, so no other would find out that it is stopped.
            Ok(status) if libc::WIFSTOPPED(status) => drop(sys::kill(child, libc::SIGCONT)),
            Ok(status) => {
                return libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL
            }
            Err(_) => return false,
        }
    }
}

/// Runs `f` in an orphan: a new process whose parent has ended.
pub fn apart(f: impl FnOnce()) {
    // SAFETY: as above.
    match unsafe { sys::fork(0) } {
        Ok(0) => {
            // SAFETY: as above.
            if unsafe { sys::fork(0) } == Ok(0) {
                f();
            }
            sys::exit(0)
        }
        Ok(child) => drop(sys::wait_child(child)),
        Err(_) => {}
    }
}
