//! Claiming a record for a job or a client, and noting the pid of its process.

use core::ffi::CStr;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};

use crate::slots::{State, Word};
use crate::sync::fence;
use crate::{proc, space, sys};

use super::access::Ledger;
use super::handle::Handle;
use super::header::OPEN;
use super::record::Record;

/// How many of the last records are for clients only.
const FOR_CLIENTS: u32 = 64;

/// How often a job that waits for a record looks for itself, in ms.
const FREED_MILLIS: u32 = 2000;

impl Ledger {
    /// Claims a free record for a job. `path` is the ledger's path. Returns None if the table is full.
    pub fn claim(&self, client: u32, path: &CStr) -> Option<Handle> {
        self.claim_as(client, 0, path)
    }

    /// [`Ledger::claim`], also for a process that enters: then `client` is 0.
    fn claim_as(&self, client: u32, pid: i32, path: &CStr) -> Option<Handle> {
        loop {
            // Relaxed: it only grows.
            let room = self.header.used.room.load(Relaxed);
            // Clients may have the last records: a process that is no client cannot hold its jobs.
            let least = if client == 0 { 0 } else { FOR_CLIENTS };
            let found = self
                .header
                .used
                .find_free(room.saturating_sub(least), |index| self.claim_at(index, client, pid));
            if found.is_some() || !self.grow(room, path) {
                return found;
            }
        }
    }

    /// Claims a record for a job that could not have one before, when one becomes free. `pid` is that of the job's
    /// process. Returns None if the client has ended.
    pub fn claim_later(&self, client: u32, pid: i32) -> Option<Handle> {
        let header = &self.header;
        let is_there = || self.record(client).is_some_and(|r| r.state() == State::Client);
        while is_there() {
            header.starved.store(1, SeqCst);
            let seen = header.freed.load(SeqCst);
            if let Some(h) = self.claim(client, c"") {
                self.note_process(h, pid);
                self.step(h, State::Held);
                // There may be room for one more.
                self.wake_starved();
                return Some(h);
            }
            let _ = sys::wait_word(&header.freed, seen, FREED_MILLIS);
        }
        None
    }

    /// A record has become free: wakes a job that waits for one.
    pub(super) fn wake_starved(&self) {
        let header = &self.header;
        if header.starved.load(SeqCst) != 0 {
            header.freed.fetch_add(1, SeqCst);
            sys::wake_one(&header.freed);
        }
    }

    fn claim_at(&self, index: u32, client: u32, pid: i32) -> Option<Handle> {
        let record = self.record(index)?;
        let word = record.reserve(client)?;
        self.header.used.set(index);
        let claimed = self.claim_reserved(record, word, client, pid);
        record.release(client);
        claimed.map(|generation| Handle { index, generation })
    }

    /// The second half of a claim. The record names its claimer before it is claimed, so that the guard can always
    /// check whether the claimer lives.
    pub(crate) fn claim_reserved(
        &self,
        record: &Record,
        word: Word,
        client: u32,
        pid: i32,
    ) -> Option<u64> {
        let claimed = word.to(State::Claim)?;
        record.reset(claimed.generation(), client, pid);
        // SeqCst: the guard that writes `Closing` must see this claim (see the head of `ledger/mod.rs`). Also publishes
        // the fields written by `reset`.
        record.word.compare_exchange(word.0, claimed.0, SeqCst, Relaxed).ok()?;
        Some(claimed.generation())
    }

    /// Makes a process a client, this one or one that cannot do so itself. `path` is the ledger's path. Returns None if the table is full or the ledger is
    /// closing.
    pub fn enter(&self, pid: i32, path: &CStr) -> Option<Handle> {
        let h = self.claim_as(0, pid, path)?;
        let record = self.record(h.index)?;
        record.since.store(sys::now(), Relaxed);
        let parent = match pid == sys::getpid() {
            true => sys::getppid(),
            false => proc::stat(pid).map_or(0, |s| s.parent),
        };
        record.queued.store(u64::from(parent.unsigned_abs()), Relaxed);
        record.step(h.generation, State::Client)?;
        fence(SeqCst);
        if self.header.state.load(SeqCst) == OPEN || self.reopen(path) {
            return Some(h);
        }
        self.free(h);
        None
    }

    /// Stores the pid of a job. The job's process calls this before anything else that it does in the ledger. Stores
    /// without reading first: after fork a store faults one page, a read sixteen.
    pub fn note_process(&self, h: Handle, pid: i32) {
        // In another PID namespace only the parent knows the pid that is valid in the ledger's namespace; the parent
        // stores it.
        if space::is_elsewhere() {
            return;
        }
        let Some(record) = self.own_record(h) else { return };
        self.exchange_process(h, record, 0, pid);
    }

    /// Stores the pid of a job; called by its client, whose pid takes precedence. The child may already have handed the
    /// job on to another process, which `heir` returns. Returns the pid of the job.
    pub fn set_process(&self, h: Handle, pid: i32, heir: impl FnOnce() -> Option<i32>) -> i32 {
        let Some(record) = self.get(h) else { return pid };
        let seen = record.pid.load(Acquire);
        let other = if seen == 0 || seen == pid { None } else { heir() };
        let now = other.unwrap_or(pid);
        self.exchange_process(h, record, seen, now);
        now
    }

    /// Hands the job of process `me` on to `sibling`. The client may not have noted a pid yet.
    pub fn hand_on(&self, h: Handle, me: i32, sibling: i32) {
        let Some(record) = self.get(h) else { return };
        self.exchange_process(h, record, me, sibling);
        self.exchange_process(h, record, 0, sibling);
    }

    fn exchange_process(&self, h: Handle, record: &Record, seen: i32, pid: i32) {
        // AcqRel: whoever sees the pid sees the fields of this use. A later use of the record is detected below.
        let noted = record.pid.compare_exchange(seen, pid, AcqRel, Acquire).is_ok();
        if noted && seen != pid && self.get(h).is_none() {
            let _ = record.pid.compare_exchange(pid, seen, AcqRel, Acquire);
        }
    }
}
