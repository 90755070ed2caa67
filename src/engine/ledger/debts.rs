//! Slots that are lent, and bytes that go from one job to another: what [`crate::lending`] says, done to the records.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::pool::place::Place;
use crate::pool::tokens::Pool;
use crate::slots::State;
use crate::{space, sys};

use super::access::Ledger;
use super::handle::{Handle, RECORDS};
use super::record::Record;
use super::signals;

impl Ledger {
    /// Starts a held job on a slot whose jobs sleep. Returns whether it started.
    pub fn borrow(&self, h: Handle) -> bool {
        let before = self.get(h).filter(|r| r.state().is_held());
        let before = before.and_then(|_| self.step(h, State::Borrowed));
        if before.is_none() {
            return false;
        }
        // Relaxed: until it is seen a held job may start on a slot that falls free.
        self.header.owed.store(1, Relaxed);
        self.header.stats.borrowed();
        if let (Some(State::Waiting), Some(record)) = (before, self.get(h)) {
            record.wake();
        }
        true
    }

    /// A job waits from now on: the guard looks often, until nobody does.
    pub fn tell_guard(&self) {
        if self.header.looks.swap(1, AcqRel) == 0 {
            self.call_guard();
        }
    }

    /// Makes the guard look at once.
    pub fn call_guard(&self) {
        let guard = self.header.guard.load(Acquire);
        // Elsewhere, the number is that of a stranger.
        if guard > 0 && !space::is_elsewhere() {
            let _ = sys::kill(guard, signals::CALL);
        }
    }

    /// Is there a slot whose jobs sleep? A held job would start on it.
    pub fn has_spare(&self) -> bool {
        // Relaxed: a hint.
        self.header.spare.load(Relaxed) != 0
    }

    /// Takes a slot whose jobs sleep, if there is one.
    pub fn take_spare(&self) -> bool {
        // Relaxed: the guard counts again soon.
        let spare = &self.header.spare;
        let mut seen = spare.load(Relaxed);
        while let Some(less) = seen.checked_sub(1) {
            match spare.compare_exchange(seen, less, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// May no job start on a token now: the load is too high, or another job is due to it?
    pub fn withholds_tokens(&self) -> bool {
        self.too_loaded() || self.creditor().is_some()
    }

    /// The job that has borrowed for longest of those that compute, or wait to: the next token is due to it.
    pub fn creditor(&self) -> Option<Handle> {
        if self.header.owed.load(Relaxed) == 0 {
            return None;
        }
        self.borrower(|r, generation| !r.sleeps(generation) || r.is_parked(generation))
    }

    /// The job that has borrowed for longest of those of which this holds.
    pub fn borrower(&self, is: impl Fn(&Record, u32) -> bool) -> Option<Handle> {
        let all = self.records().filter_map(|(index, r)| {
            let (state, generation) = r.now();
            let found = state == State::Borrowed && is(r, generation);
            found.then(|| (r.since.load(Relaxed), Handle { index, generation }))
        });
        all.min_by_key(|(since, h)| (*since, h.index)).map(|(_, h)| h)
    }

    /// The held job of this client that has waited longest, if it has waited longer than `job`.
    fn older(&self, record: &Record, job: Handle) -> Option<Handle> {
        let age = |index: u32, r: &Record| (r.since.load(Relaxed), index);
        let mine = age(job.index, record);
        self.jobs_of(record.client.load(Relaxed))
            .filter(|(h, state, r)| state.is_held() && age(h.index, r) < mine)
            .min_by_key(|(h, _, r)| age(h.index, r))
            .map(|(h, _, _)| h)
    }

    /// Passes the byte that has landed in a waiting job's record to the job to which it is due first: one that has
    /// borrowed and computes; else an older sibling, since jobs of one client start in the order in which it made
    /// them, and it may wait for them in that order. Returns whether the byte is gone.
    pub fn pass_on(&self, job: Handle, pool: &Pool) -> bool {
        let Some(record) = self.get(job) else { return false };
        // Each round succeeds or loses against somebody who made progress, but in a broken ledger.
        for _ in 0..RECORDS {
            // Who cannot wake the older one starts first.
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
                // An unmarked byte stays: its reader sees to it.
                let full = place.is_marked(h.generation);
                let Some(to) = self.creditor().filter(|_| full) else { break };
                if self.hand(place, h.generation, to, pool) {
                    break;
                }
            }
        }
    }

    /// Moves a byte to another job, which starts on it if it is held. `false`: the byte is still there; the other one
    /// has come to a slot otherwise, or ended.
    fn hand(&self, from: &Place, generation: u32, h: Handle, pool: &Pool) -> bool {
        let Some(to) = self.get(h) else { return false };
        to.gift.touch(h.generation);
        let Some(byte) = from.take(generation) else { return true };
        let given = to.gift.put(h.generation, byte);
        // If it starts on the byte of another, this one is not due to it any more.
        if self.accept_gift(h) && given {
            return true;
        }
        // The byte is ours again, unless it went back to the pool.
        if given && to.gift.take(h.generation).is_none() {
            return true;
        }
        // Another may have ended the job it came from meanwhile, and freed its record.
        let _ = from.put_back(generation, byte) || pool.give_byte(byte);
        false
    }

    /// A held job with a byte from another starts; one that has borrowed has a slot of its own by it. Returns whether
    /// the byte is its own now, whoever saw to that: another job or the guard may have been faster.
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
