//! PID namespaces: for whom is a pid in shared memory or in a file's name the number of a process?
//!
//! A ledger belongs to one PID namespace, that of its maker: all pids in it are of that one, and so are its clients
//! and its guard. Two namespaces on one pool have two ledgers, which share nothing but the pool. Who works on a
//! ledger of another namespace all the same, because it was forked or cloned into a new one with a job to wait for,
//! [is elsewhere](is_elsewhere): it stores no pid there, believes none, and sends no signal to one.

use core::sync::atomic::AtomicBool;
use core::sync::atomic::Ordering::Relaxed;

use crate::proc;
use crate::sys;

/// PIDFS_MAGIC of the kernel's include/uapi/linux/magic.h.
const PIDFS: i64 = 0x5049_4446;

/// Names the PID namespace of the caller: equal for all its processes, different from that of any namespace that is
/// or was while this machine runs, and greater than that of an older one. 0 if it cannot be told.
///
/// It is the number of the namespace's first process among all that ever were (the inode of a pidfd, Linux 6.9). The
/// inode of a namespace would not do: it is that of the next one as soon as the namespace is gone. Before, it is taken
/// together with the start of that process, which needs /proc.
///
/// Async-signal-safe; four system calls.
#[inline(never)]
pub fn own() -> u64 {
    let Ok(fd) = sys::pidfd_open(1) else { return by_proc() };
    let is_unique = sys::file_system(fd) == Ok(PIDFS);
    let id = sys::file_id(fd);
    sys::close(fd);
    match id {
        Ok((_, ino)) if is_unique => ino,
        _ => by_proc(),
    }
}

#[inline(never)]
fn by_proc() -> u64 {
    let inode = sys::stat(c"/proc/self/ns/pid", true).map_or(0, |st| st.st_ino);
    let start = proc::stat(1).map_or(0, |s| s.start);
    if inode == 0 {
        return 0;
    }
    start << 32 | inode & 0xffff_ffff
}

/// Is this the namespace of the caller? Also where the caller cannot ask any more as was asked at joining, since it has
/// bound itself by a filter: what [`own`] falls back to then is no answer to that.
pub fn is_own(space: u64) -> bool {
    /// The inodes of namespaces begin here (`PROC_DYNAMIC_FIRST` and below it in the kernel); those of pidfds do not get
    /// so far.
    const NAMESPACES: u32 = 0xe000_0000;
    let is_by_proc = |space: u64| space as u32 >= NAMESPACES;
    let own = own();
    let same = own == space || own == 0;
    // Each of the two may have been asked in the other way: under valgrind there are no pidfds.
    same || is_by_proc(own) && !is_by_proc(space) || is_by_proc(space) && by_proc() == space
}

/// See [`is_elsewhere`].
static ELSEWHERE: AtomicBool = AtomicBool::new(false);

/// Is this process in another PID namespace than the ledger on which it works?
pub fn is_elsewhere() -> bool {
    // Relaxed: it is written before the process does anything with that ledger, by the one thread that it then has.
    ELSEWHERE.load(Relaxed)
}

/// Notes that the ledger on which this process goes on is of this PID namespace. Says whether it is the caller's, as one
/// is taken to be whose maker could not tell.
pub fn enter(space: u64) -> bool {
    let elsewhere = space != 0 && !is_own(space);
    // A page that is not written costs a forked child no copy.
    if is_elsewhere() != elsewhere {
        ELSEWHERE.store(elsewhere, Relaxed);
    }
    !elsewhere
}

/// Will the children of this thread be in another PID namespace than it is itself (unshare(2), setns(2))? The first one
/// would be the first process of that, and end it. `false` also where /proc is not there to tell.
///
/// Async-signal-safe; two system calls.
#[inline(never)]
pub fn moves_children() -> bool {
    let inode = |path| sys::stat(path, true).map(|st| st.st_ino);
    let Ok(own) = inode(c"/proc/thread-self/ns/pid") else { return false };
    let theirs = c"/proc/thread-self/ns/pid_for_children";
    match inode(theirs) {
        Ok(ino) => ino != own,
        // It has no process yet; or this is before Linux 4.12.
        Err(_) => sys::stat(theirs, false).is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_one_name() {
        let here = own();
        assert!(here != 0);
        assert_eq!(std::thread::spawn(own).join().unwrap(), here);
        assert!(by_proc() != 0 && by_proc() == by_proc());
        assert!(enter(here) && !is_elsewhere() && !moves_children());
        assert!(is_own(here) && !is_own(here + 1));
    }
}
