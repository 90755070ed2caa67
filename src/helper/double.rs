//! The guard is killed like anything else. So it is two processes: the one that works, and its parent,
//! the double, which sleeps until that ends, and forks another one if it was killed. If the double is
//! killed, the other one makes itself the double of a new child. Both hold the lock on the ledger, since
//! a lock belongs to an open file: the guard is alive as long as one of them is. All descriptors are those of both,
//! so that a pool that is kept open does not close with the one that is killed.

use jsshim_engine::sys;

/// What a process is after [`fork`].
pub enum Role {
    /// The one that works; its double is this process (0: there is none).
    Guard(i32),
    /// The double of this child.
    Double(i32),
}

pub fn fork() -> Role {
    // SAFETY: the helper has one thread and no libc.
    match unsafe { sys::fork(libc::CLONE_FILES) } {
        // A signal to a process group shall not hit both, from the first moment on: whichever runs first parts them.
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

/// Waits until the guard ends. Returns whether it was killed, and did not end or fail of its own.
pub fn was_killed(child: i32) -> bool {
    loop {
        match sys::wait_child(child) {
            // Nobody else waits for it, so nobody else could know why it stands still.
            Ok(status) if libc::WIFSTOPPED(status) => drop(sys::kill(child, libc::SIGCONT)),
            Ok(status) => {
                return libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL
            }
            Err(_) => return false,
        }
    }
}

/// Runs `f` in a process that is nobody's child.
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
