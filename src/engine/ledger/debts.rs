//! Lent slots, and bytes that move from one job to another: the rules of [`crate::lending`] applied to the records.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::pool::place::Place;
use crate::pool::tokens::Pool;
use crate::slots::State;
use crate::{space, sys};

use super::access::Ledger;
use super::handle::{Handle, RECORDS};
use super::record::Record;
use super::signals;

/// In the header's `lending`: a job has called the guard, which has not checked yet whether slots are lent.
const CALLED: u32 = 1;
/// The guard lends slots, and checks seldom, since no job is held.
pub const SELDOM: u32 = 2;
/// The guard lends slots, and checks often, since a job is held.
pub const SOON: u32 = 3;
/// The guard lends no slots (`JSSHIM_COUNT=processes`).
pub const NEVER: u32 = 4;

impl Ledger {
    /// Starts a held job on a slot whose jobs sleep. Returns whether it started.
    pub fn borrow(&self, h: Handle) -> bool {
        let before =
            self.get(h).filter(|r| r.state().is_held()).and_then(|_| self.step_to_borrowed(h));
        if let (Some(State::Waiting), Some(record)) = (before, self.get(h)) {
            record.wake();
        }
        before.is_some()
    }

    /// Starts a claimed job at once on a slot that was passed on, if no job is held: those come first. Returns whether it
    /// started.
    pub fn borrow_now(&self, h: Handle) -> bool {
        let passed = &self.header.passed;
        // The load is asked for last: that is a system call.
        let may = self.lends() && !self.passes() && !passed.is_empty();
        if !may || self.waiting().next().is_some() || self.too_loaded() || !passed.take() {
            return false;
        }
        let started = self.step_to_borrowed(h).is_some();
        if !started {
            self.leave_slots(1);
        }
        started
    }

    fn step_to_borrowed(&self, h: Handle) -> Option<State> {
        let before = self.step(h, State::Borrowed)?;
        // Relaxed: until others see it, a held job may start on a slot that becomes free.
        self.header.owed.store(1, Relaxed);
        self.header.stats.borrowed();
        Some(before)
    }

    /// Notes that a job waits. From now on the guard checks often, until no job waits any more.
    pub fn notify_guard(&self) {
        let lending = &self.header.lending;
        // Relaxed: if it has changed meanwhile, the guard has begun a round, and sees the job, or sees it at its next tick.
        let (seen, to) = match lending.load(Relaxed) {
            0 => (0, CALLED),
            SELDOM => (SELDOM, SOON),
            _ => return,
        };
        // AcqRel: one caller is enough.
        if lending.compare_exchange(seen, to, AcqRel, Relaxed).is_ok() {
            self.call_guard();
        }
    }

    /// Returns whether the guard lends slots: it checks which jobs sleep.
    pub fn lends(&self) -> bool {
        // Relaxed: a hint.
        matches!(self.header.lending.load(Relaxed), SELDOM | SOON)
    }

    /// Makes the guard check at once.
    pub fn call_guard(&self) {
        let guard = self.header.guard.load(Acquire);
        // In another PID namespace this pid belongs to a stranger.
        if guard > 0 && !space::is_elsewhere() {
            let _ = sys::kill(guard, signals::CALL);
        }
    }

    /// Returns whether there is a slot whose jobs sleep; a held job could start on it.
    pub fn has_spare(&self) -> bool {
        // Relaxed: a hint.
        self.header.spare.load(Relaxed) != 0
    }

    /// Returns whether no job may start on a token now: the load is too high, or the next token is due to another job.
    pub fn withholds_tokens(&self) -> bool {
        self.too_loaded() || self.creditor().is_some()
    }

    /// The job to which the next token is due: of the borrowed jobs that compute or are parked, the one that borrowed
    /// first.
    pub fn creditor(&self) -> Option<Handle> {
        if self.header.owed.load(Relaxed) == 0 {
            return None;
        }
        self.borrower(|r, generation| !r.sleeps(generation) || r.is_parked(generation))
    }

    /// The job that borrowed first, among the borrowed jobs for which `is` holds.
    pub fn borrower(&self, is: impl Fn(&Record, u64) -> bool) -> Option<Handle> {
        let all = self.not_waiting().filter_map(|(index, r)| {
            let (state, generation) = r.now();
            let found = state == State::Borrowed && is(r, generation);
            found.then(|| (r.since.load(Relaxed), Handle { index, generation }))
        });
        all.min_by_key(|(since, h)| (*since, h.index)).map(|(_, h)| h)
    }

    /// Moves the byte that landed in a waiting job's record to the job to which it is due first: a borrowed job that
    /// computes; else an older sibling. Jobs of one client start in the order in which it made them, because the client
    /// may wait for them in that order. Returns whether the byte is gone.
    pub fn pass_on(&self, job: Handle, pool: &Pool) -> bool {
        let Some(record) = self.get(job) else { return false };
        // Each round succeeds, or loses to a process that made progress; only in a broken ledger it does neither.
        for _ in 0..RECORDS {
            // If this process cannot wake the older sibling, its own job starts first.
            let older = || self.older(record, job).filter(|_| !space::is_elsewhere());
            let Some(to) = self.creditor().or_else(older) else { return false };
            if self.hand(&record.landing, job.generation, to, pool) {
                return true;
            }
        }
        false
    }

    /// Pays debts with the bytes of a job that ends.
    pub(super) fn pay_debts(&self, h: Handle, record: &Record, pool: &Pool) {
        for place in record.places() {
            for _ in 0..RECORDS {
                // An unmarked byte stays: its reader handles it.
                let full = place.is_marked(h.generation);
                let Some(to) = self.creditor().filter(|_| full) else { break };
                if self.hand(place, h.generation, to, pool) {
                    break;
                }
            }
        }
    }

    /// Moves a byte to another job, which starts on it if it is held. Returns false if the byte is still in `from`: the
    /// other job got a slot in another way, or ended.
    fn hand(&self, from: &Place, generation: u64, h: Handle, pool: &Pool) -> bool {
        let Some(to) = self.get(h) else { return false };
        to.gift.touch(h.generation);
        let Some(byte) = from.take(generation) else { return true };
        let given = to.gift.put(h.generation, byte);
        // If `h` started on another byte, this byte is not due to it any more.
        if self.accept_gift(h) && given {
            return true;
        }
        // Take the byte back, unless it went back to the pool.
        if given && to.gift.take(h.generation).is_none() {
            return true;
        }
        // Another process may have ended the job that the byte came from, and freed its record.
        let _ = from.put_back(generation, byte) || pool.give_byte(byte);
        false
    }

    /// Starts a held job that has received a byte from another job. A borrowed job that has received one has its own
    /// slot now. Returns whether the job owns the byte now; another job or the guard may have made the step first.
    pub fn accept_gift(&self, h: Handle) -> bool {
        let Some(record) = self.get(h).filter(|r| r.gift.is_full(h.generation)) else {
            return false;
        };
        let before = self.step(h, State::Token);
        if before == Some(State::Waiting) {
            record.wake();
        }
        before.is_some() || record.now() == (State::Token, h.generation)
    }
}
