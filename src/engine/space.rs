//! PID namespaces: the processes in which a pid from shared memory or from a file's name is valid.
//!
//! A ledger belongs to one PID namespace, that of its maker: all of its pids, its clients and its guard are in that
//! namespace. Two namespaces on one pool have two ledgers, which share nothing but the pool. A process that was forked
//! or cloned into a new namespace with a job to wait for works on a ledger of another namespace all the same. It [is
//! elsewhere](is_elsewhere): it stores no pid there, trusts none, and sends no signal to one.

use core::sync::atomic::AtomicBool;
use core::sync::atomic::Ordering::Relaxed;

use crate::{proc, sys};

/// The name of the machine's initial PID namespace, the oldest of all.
pub const FIRST: u64 = 1;
/// Its inode (`PROC_PID_INIT_INO` in the kernel), which no other namespace ever gets.
const FIRST_INODE: u64 = 0xefff_fffc;

/// A flag in names that were not derived from a pidfd.
const BY_PROC: u64 = 1 << 63;

/// PIDFS_MAGIC of the kernel's include/uapi/linux/magic.h.
const PIDFS: i64 = 0x5049_4446;

/// Names the PID namespace of the caller. The name is equal for all processes of the namespace, differs from that of
/// any namespace since boot, and is greater than that of an older one. 0 if it cannot be told.
///
/// The machine's namespace is known by its inode. For any other the inode would not do: the next namespace gets it as
/// soon as this one is gone. Its name is the unique number of its first process (the inode of a pidfd, Linux 6.9).
/// Before Linux 6.9 the name is the inode together with the start time of that process, which needs /proc.
///
/// Async-signal-safe; one system call in the machine's namespace, five in a container.
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

/// Returns whether the caller is in the machine's namespace, without /proc (Linux 6.11).
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

/// Returns whether this is the namespace of the caller. Names from a pidfd and from /proc cannot be compared: the
/// caller may be unable to ask as it did at joining, because it is under a filter now, or in valgrind, which knows no
/// pidfds.
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

/// Returns whether this process is in another PID namespace than the ledger on which it works.
pub fn is_elsewhere() -> bool {
    // Relaxed: it is written before the process uses that ledger, while it has one thread.
    ELSEWHERE.load(Relaxed)
}

/// Notes the PID namespace of the ledger that this process uses from now on. Returns whether it is the caller's
/// namespace. A namespace that the maker could not tell (0) is taken to be the caller's.
pub fn enter(space: u64) -> bool {
    let elsewhere = space != 0 && !is_own(space);
    // Without the store a forked child copies no page.
    if is_elsewhere() != elsewhere {
        ELSEWHERE.store(elsewhere, Relaxed);
    }
    !elsewhere
}

/// Returns whether the children of this thread will be in another PID namespace than the thread itself (unshare(2),
/// setns(2)). The first child would be the first process of that namespace, and the namespace would end with it.
/// Returns false also if /proc does not tell.
///
/// Async-signal-safe; two system calls.
#[inline(never)]
pub fn moves_children() -> bool {
    let inode = |path| sys::stat(path, true).map(|st| st.st_ino);
    let Ok(own) = inode(c"/proc/thread-self/ns/pid") else { return false };
    let theirs = c"/proc/thread-self/ns/pid_for_children";
    match inode(theirs) {
        Ok(ino) => ino != own,
        // The namespace has no process yet; or this is before Linux 4.12.
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
