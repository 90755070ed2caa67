//! Ledgers of other PID namespaces that nobody has any more: those of a sandbox that was killed as a whole, its guard
//! with it.
//!
//! Nothing in such a ledger is judged by a pid. Whoever works on a ledger has it mapped until it ends or execs, in
//! whatever namespace it is, and the kernel grants a write lease on a file only where no other description of it is
//! open, in any process; a mapping keeps its description open. So a ledger with a lease has no client, no job that
//! waits and no guard. That also keeps newcomers out, who are told EAGAIN, while its tokens go back and its name
//! goes. If this process is killed over it, the kernel takes the lease away, and the next one goes on.

use core::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};

use crate::pool::tokens::Pool;
use crate::sys::{self, Errno};
use crate::text::Path;

use super::access::Ledger;
use super::header::{Header, CLOSED, MAGIC};
use super::opening::Mapping;
use super::record::UNTIMED;
use super::rundir::Lock;

/// What becomes of the tokens in such a ledger.
#[allow(clippy::large_enum_variant)] // there is no allocator to box with
pub enum Outcome {
    /// They go back to this pool.
    Back(Pool),
    /// Their pool is gone.
    Gone,
    /// Neither is known: they stay, and the ledger with them.
    Unknown,
}

/// If nobody has the ledger at `path`, gives back what is in it as `judge` says, which is asked only where there is
/// something to give back; then tells `tell` of it and removes it, and its pool, if that is one of our own that nobody
/// has any more. Returns whether it has gone.
#[inline(never)]
pub fn settle_deserted(
    path: &Path,
    judge: &dyn Fn(&Ledger) -> Outcome,
    tell: &dyn Fn(&Ledger),
) -> bool {
    let Some(fd) = open(path) else { return false };
    let gone = is_deserted_at(path, fd) && settle(path, fd, judge, tell);
    // With the descriptor the lease goes.
    sys::close(fd);
    gone
}

/// Has no other process this file of ours open, or mapped?
#[inline(never)]
pub fn is_deserted(path: &Path) -> bool {
    let Some(fd) = open(path) else { return false };
    let deserted = is_deserted_at(path, fd);
    sys::close(fd);
    deserted
}

/// Does not wait for another one's lease.
fn open(path: &Path) -> Option<i32> {
    sys::open(path.c(), libc::O_RDWR | libc::O_NOFOLLOW | libc::O_NONBLOCK, 0).ok()
}

/// Is the caller alone with this file? Not where the kernel does not count mappings, as in overlayfs.
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
    tell: &dyn Fn(&Ledger),
) -> bool {
    // Who gives names away and takes them has this lock; the file may be another by now.
    let Ok(_lock) = Lock::take(path.c()) else { return false };
    let sound = sys::fstat(fd).is_ok_and(|st| st.st_size == core::mem::size_of::<Ledger>() as i64);
    if !sound || sys::lease(fd, true).is_err() {
        return false;
    }
    let Some(ledger) = Mapping::of(fd) else { return false };
    let known = ledger.header.magic.load(Acquire) == MAGIC;
    if !known || !ledger.header.is_at(sys::fstat(fd)) || !ledger.give_up_tokens(judge) {
        return false;
    }
    tell(&ledger);
    ledger.header.state.store(CLOSED, SeqCst);
    if ledger.header.is_at(sys::stat(path.c(), false)) {
        let _ = sys::unlink(path.c());
    }
    ledger.header.remove_pool(path);
    true
}

impl Ledger {
    /// Returns whether nothing is left to give back.
    fn give_up_tokens(&self, judge: &dyn Fn(&Ledger) -> Outcome) -> bool {
        let with_token = || self.records().filter(|(_, r)| r.has_token(r.now().1));
        if with_token().next().is_none() {
            return true;
        }
        match judge(self) {
            Outcome::Gone => true,
            Outcome::Unknown => false,
            // What has landed and was not noted yet is a token, too: its reader is dead.
            Outcome::Back(pool) => with_token().all(|(_, record)| {
                let back = pool.give_all(record, record.now().1);
                if back {
                    self.header.stats.recovered();
                }
                back
            }),
        }
    }

    /// When something has happened in it last, as far as its records tell; as [`sys::now`].
    pub fn last_used(&self) -> u64 {
        let times = self.records().map(|(_, r)| r.since.load(Relaxed));
        times.filter(|t| *t != UNTIMED).max().unwrap_or(0)
    }
}

impl Header {
    /// Removes a pool of our own that lies beside its ledger, if nobody has it open for reading.
    fn remove_pool(&self, ledger: &Path) {
        let path = self.path();
        if self.root.load(Acquire) != 0 && path.parent().bytes() == ledger.parent().bytes() {
            crate::pool::own_pool::remove_unused(&path);
        }
    }
}
