//! Deserted ledgers of other PID namespaces: those of a sandbox that was killed as a whole, guard included.
//!
//! No pid in such a ledger is used for a decision. Every process that works on a ledger has it mapped until it ends or
//! execs, in whatever namespace it is. The kernel grants a write lease on a file only if no other description of it is
//! open in any process, and a mapping keeps its description open. So a ledger on which a lease was granted has no
//! client, no waiting job and no guard. The lease also keeps newcomers out: their open fails with EAGAIN while the
//! tokens go back and the name is removed. If this process is killed meanwhile, the kernel drops the lease, and the
//! next process continues.

use core::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};

use crate::pool::tokens::Pool;
use crate::sys::{self, Errno};
use crate::text::Path;

use super::access::Ledger;
use super::header::{Header, CLOSED, MAGIC};
use super::opening::Mapping;
use super::record::UNTIMED;
use super::rundir::Lock;

/// What to do with the tokens in such a ledger.
#[allow(clippy::large_enum_variant)] // there is no allocator to box with
pub enum Outcome {
    /// Give them back to this pool.
    Back(Pool),
    /// The pool is gone.
    Gone,
    /// Unknown whether the pool still exists: the tokens stay, and so does the ledger.
    Unknown,
}

/// If no process uses the ledger at `path`, gives its tokens back as `judge` says, calls `report`, and removes the
/// ledger. Also removes its pool if that is one of our own that no process has open. `judge` is called only if there is
/// something to give back. Returns whether the ledger is gone.
#[inline(never)]
pub fn settle_deserted(
    path: &Path,
    judge: &dyn Fn(&Ledger) -> Outcome,
    report: &dyn Fn(&Ledger),
) -> bool {
    let Some(fd) = open(path) else { return false };
    let gone = is_deserted_at(path, fd) && settle(path, fd, judge, report);
    // Closing the descriptor drops the lease.
    sys::close(fd);
    gone
}

/// Returns whether no other process has this file of ours open or mapped.
#[inline(never)]
pub fn is_deserted(path: &Path) -> bool {
    let Some(fd) = open(path) else { return false };
    let deserted = is_deserted_at(path, fd);
    sys::close(fd);
    deserted
}

/// Does not wait for another process's lease.
fn open(path: &Path) -> Option<i32> {
    sys::open(path.c(), libc::O_RDWR | libc::O_NOFOLLOW | libc::O_NONBLOCK, 0).ok()
}

/// Returns whether the caller is alone with this file. Returns false where the kernel does not count mappings, as in
/// overlayfs.
fn is_deserted_at(path: &Path, fd: i32) -> bool {
    if sys::lease(fd, true).is_err() {
        return false;
    }
    let _ = sys::lease(fd, false);
    let Some(second) = open(path) else { return false };
    let mapped = Mapping::of(second);
    sys::close(second);
    let Some(mapped) = mapped else { return false };
    let counts = sys::lease(fd, true) == Err(Errno::AGAIN);
    drop(mapped);
    counts
}

fn settle(
    path: &Path,
    fd: i32,
    judge: &dyn Fn(&Ledger) -> Outcome,
    report: &dyn Fn(&Ledger),
) -> bool {
    // Names are given and removed under this lock. The path may lead to another file by now.
    let Ok(_lock) = Lock::take(path.c()) else { return false };
    if sys::lease(fd, true).is_err() {
        return false;
    }
    let Some(ledger) = Mapping::of(fd) else { return false };
    if !ledger.is_whole(fd) {
        return false;
    }
    let known = ledger.header.magic.load(Acquire) == MAGIC;
    if !known || !ledger.header.is_at(sys::fstat(fd)) || !ledger.give_up_tokens(judge) {
        return false;
    }
    report(&ledger);
    ledger.header.state.store(CLOSED, SeqCst);
    if ledger.header.is_at(sys::stat(path.c(), false)) {
        let _ = sys::unlink(path.c());
    }
    ledger.header.remove_pool(path);
    true
}

impl Ledger {
    /// Gives all tokens back. Returns whether nothing is left to give back.
    fn give_up_tokens(&self, judge: &dyn Fn(&Ledger) -> Outcome) -> bool {
        let with_token = || self.records().filter(|(_, r)| r.has_token(r.now().1));
        if with_token().next().is_none() {
            return true;
        }
        match judge(self) {
            Outcome::Gone => true,
            Outcome::Unknown => false,
            // A byte that landed and was not marked is a token, too: its reader is dead.
            Outcome::Back(pool) => with_token().all(|(_, record)| {
                let back = pool.give_all(record, record.now().1);
                if back {
                    self.header.stats.recovered();
                }
                back
            }),
        }
    }

    /// When something last happened in this ledger, as far as its records show; in the unit of [`sys::now`].
    pub fn last_used(&self) -> u64 {
        let times = self.former_records().map(|(_, r)| r.since.load(Relaxed));
        times.filter(|t| *t != UNTIMED).max().unwrap_or(0)
    }
}

impl Header {
    /// Removes a pool of our own that lies in the ledger's directory, if no process has it open for reading.
    fn remove_pool(&self, ledger: &Path) {
        let path = self.path();
        if self.root.load(Acquire) != 0 && path.parent().bytes() == ledger.parent().bytes() {
            crate::pool::own_pool::remove_unused(&path);
        }
    }
}
