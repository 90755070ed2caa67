//! How a record comes to be that of a job or client, and who its process is.

use core::ffi::CStr;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};

use crate::slots::{State, Word};
use crate::sync::fence;
use crate::{space, sys};

use super::access::Ledger;
use super::handle::{Handle, RECORDS};
use super::header::OPEN;
use super::record::Record;

impl Ledger {
    /// Claims a free record for a job. `None`: the table is full.
    pub fn claim(&self, client: u32) -> Option<Handle> {
        self.claim_as(client, 0)
    }

    /// The same for a process that enters, with `client` 0.
    fn claim_as(&self, client: u32, pid: i32) -> Option<Handle> {
        let start = self.header.hint.load(Relaxed) as usize;
        for i in 0..RECORDS {
            // Record 0 means none and is passed over.
            let index = (start.wrapping_add(i) % RECORDS) as u32;
            let Some(record) = self.record(index) else {
                continue;
            };
            let Some(word) = record.reserve(client) else {
                continue;
            };
            let claimed = self.claim_reserved(record, word, client, pid);
            record.release(client);
            let Some(generation) = claimed else {
                continue;
            };
            self.header.high.fetch_max(index, SeqCst);
            // The lowest free records are used again first, so that scans stay short: the next look
            // starts here, unless one has fallen free below meanwhile.
            let (seen, now) = (start as u32, index);
            let _ = self.header.hint.compare_exchange(seen, now, Relaxed, Relaxed);
            return Some(Handle { index, generation });
        }
        None
    }

    /// The second half of a claim. The record says whose it is before it is claimed, so that the guard always knows
    /// whether its claimer lives.
    pub(crate) fn claim_reserved(
        &self,
        record: &Record,
        word: Word,
        client: u32,
        pid: i32,
    ) -> Option<u32> {
        let claimed = word.to(State::Claim)?;
        record.reset(claimed.generation(), client, pid);
        // SeqCst: a client's claim must be seen by a guard that writes `Closing` (see above). It also publishes what
        // the record says now.
        record.word.compare_exchange(word.0, claimed.0, SeqCst, Relaxed).ok()?;
        Some(claimed.generation())
    }

    /// Makes this process a client. `path` is the ledger's. `None`: the table is full, or the ledger closes.
    pub fn enter(&self, pid: i32, path: &CStr) -> Option<Handle> {
        let h = self.claim_as(0, pid)?;
        let record = self.record(h.index)?;
        record.since.store(sys::now(), Relaxed);
        record.queued.store(u64::from(sys::getppid().unsigned_abs()), Relaxed);
        record.step(h.generation, State::Client)?;
        fence(SeqCst);
        if self.header.state.load(SeqCst) == OPEN || self.reopen(path) {
            return Some(h);
        }
        self.free(h);
        None
    }

    /// Notes the process of a job, in the process itself, as the first thing that it does here. Stores without reading
    /// first: after fork a store faults one page, a read sixteen.
    pub fn note_process(&self, h: Handle, pid: i32) {
        // Elsewhere only its parent knows the pid by which others here know it, and notes that.
        if space::is_elsewhere() {
            return;
        }
        let Some(record) = self.record(h.index) else { return };
        self.exchange_process(h, record, 0, pid);
    }

    /// The same by the client, whose word counts more; but its child may have gone on as another process already, which
    /// `heir` knows. Gives the process of the job.
    pub fn set_process(&self, h: Handle, pid: i32, heir: impl FnOnce() -> Option<i32>) -> i32 {
        let Some(record) = self.get(h) else { return pid };
        let seen = record.pid.load(Acquire);
        let other = if seen == 0 || seen == pid { None } else { heir() };
        let now = other.unwrap_or(pid);
        self.exchange_process(h, record, seen, now);
        now
    }

    /// The process of a job, `me`, goes on as `sibling`; its client may have noted nothing yet.
    pub fn hand_on(&self, h: Handle, me: i32, sibling: i32) {
        let Some(record) = self.get(h) else { return };
        self.exchange_process(h, record, me, sibling);
        self.exchange_process(h, record, 0, sibling);
    }

    fn exchange_process(&self, h: Handle, record: &Record, seen: i32, pid: i32) {
        // AcqRel: who sees the pid sees it of this use; a later one is seen below.
        let noted = record.pid.compare_exchange(seen, pid, AcqRel, Acquire).is_ok();
        if noted && seen != pid && self.get(h).is_none() {
            let _ = record.pid.compare_exchange(pid, seen, AcqRel, Acquire);
        }
    }
}
