//! PID namespaces: for whom is a pid in shared memory or in a file's name the number of a process?
//!
//! A ledger belongs to one PID namespace, that of its maker: all pids in it are of that one, and so are its clients
//! and its guard. Two namespaces on one pool have two ledgers, which share nothing but the pool. Who works on a
//! ledger of another namespace all the same, because it was forked or cloned into a new one with a job to wait for,
//! [is elsewhere](is_elsewhere): it stores no pid there, believes none, and sends no signal to one.

use core::sync::atomic::AtomicBool;
use core::sync::atomic::Ordering::Relaxed;

use crate::{proc, sys};

/// The name of the PID namespace of the machine, the oldest of all.
pub const FIRST: u64 = 1;
/// The inode of that (`PROC_PID_INIT_INO` in the kernel), which no other one ever gets.
const FIRST_INODE: u64 = 0xefff_fffc;

/// In a name that no pidfd has told.
const BY_PROC: u64 = 1 << 63;

/// PIDFS_MAGIC of the kernel's include/uapi/linux/magic.h.
const PIDFS: i64 = 0x5049_4446;

/// Names the PID namespace of the caller: equal for all its processes, different from that of any namespace that is
/// or was while this machine runs, and greater than that of an older one. 0 if it cannot be told.
///
/// That of the machine is known by its inode. Of any other the inode would not do: it is that of the next one as soon as
/// the namespace is gone. It is named by the number of its first process among all that ever were (the inode of a pidfd,
/// Linux 6.9). Before, the inode is taken together with the start of that process, which needs /proc.
///
/// Async-signal-safe; one system call on the machine itself, five in a container.
#[inline(never)]
pub fn own() -> u64 {
    match inode() {
        FIRST_INODE => FIRST,
        0 if is_first_by_pidfd() => FIRST,
        inode => by_pidfd().unwrap_or_else(|| by_proc(inode)),
    }
}

/// The inode of the caller's PID namespace; 0 without /proc.
fn inode() -> u64 {
    sys::stat(c"/proc/self/ns/pid", true).map_or(0, |st| st.st_ino)
}

/// The same without /proc (Linux 6.11).
#[inline(never)]
fn is_first_by_pidfd() -> bool {
    let inode = |fd| {
        let inode = sys::file_id(fd).map(|(_, ino)| ino);
        sys::close(fd);
        inode
    };
    sys::pidfd_open(sys::getpid()).is_ok_and(|fd| {
        let namespace = sys::pid_namespace(fd);
        sys::close(fd);
        namespace.and_then(inode) == Ok(FIRST_INODE)
    })
}

#[inline(never)]
fn by_pidfd() -> Option<u64> {
    let fd = sys::pidfd_open(1).ok()?;
    let is_unique = sys::file_system(fd) == Ok(PIDFS);
    let id = sys::file_id(fd);
    sys::close(fd);
    id.ok().filter(|_| is_unique).map(|(_, ino)| ino)
}

#[inline(never)]
fn by_proc(inode: u64) -> u64 {
    if inode == 0 {
        return 0;
    }
    let start = proc::stat(1).map_or(0, |s| s.start);
    BY_PROC | start << 32 | inode & 0xffff_ffff
}

/// Is this the namespace of the caller? Also where the caller cannot ask any more as was asked at joining, since it has
/// bound itself by a filter, or runs in valgrind, which knows no pidfds: the two kinds of names cannot be compared.
pub fn is_own(space: u64) -> bool {
    let own = own();
    let is_by_proc = |name: u64| name & BY_PROC != 0;
    match (is_by_proc(own), is_by_proc(space)) {
        (false, true) => own == 0 || own != FIRST && by_proc(inode()) == space,
        (true, false) => space != FIRST,
        _ => own == space || own == 0,
    }
}

/// See [`is_elsewhere`].
static ELSEWHERE: AtomicBool = AtomicBool::new(false);

/// Is this process in another PID namespace than the ledger on which it works?
pub fn is_elsewhere() -> bool {
    // Relaxed: it is written before the process does anything with that ledger, by the one thread that it then has.
    ELSEWHERE.load(Relaxed)
}

/// Notes that the ledger on which this process goes on is of this PID namespace. Returns whether it is the caller's, as one
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
        assert_eq!(here == FIRST, inode() == FIRST_INODE);
        assert!(!is_first_by_pidfd() || here == FIRST);
        assert!(by_pidfd().is_none_or(|name| name > FIRST && name & BY_PROC == 0));
        let told = by_proc(inode());
        assert!(told & BY_PROC != 0 && told == by_proc(inode()) && by_proc(0) == 0);
        assert!(enter(here) && !is_elsewhere() && !moves_children());
        assert!(is_own(here) && !is_own(here + 1));
    }
}
