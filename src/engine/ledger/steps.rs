//! The steps of a job: start, slot, end. Exactly one process makes each.

use core::sync::atomic::Ordering::{AcqRel, Relaxed};

use crate::pool::tokens::Pool;
use crate::slots::State;
use crate::sys;

use super::access::Ledger;
use super::handle::Handle;
use super::reason::Reason;
use super::record::{Record, UNRECORDED};

impl Ledger {
    /// Makes one legal step of a job. Returns the state before. Returns None if the record is in another use, or the
    /// step is not legal.
    pub fn step(&self, h: Handle, to: State) -> Option<State> {
        self.step_unless(h, to, to)
    }

    fn step_unless(&self, h: Handle, not: State, to: State) -> Option<State> {
        let record = self.record(h.index)?;
        let since = record.since.load(Relaxed);
        let from = record.step_unless(h.generation, not, to)?;
        self.stepped(h, record, from, to, since);
        Some(from)
    }

    /// Starts a job without a slot and stores the reason.
    pub fn overdraw(&self, h: Handle, why: Reason) -> Option<State> {
        let record = self.get(h)?;
        record.set_reason(h.generation, why);
        let before = self.step(h, State::Overdraft)?;
        self.header.stats.overdraft(why);
        Some(before)
    }

    /// [`Ledger::overdraw`], called by another process than the held job. Returns whether the job started.
    pub fn overdraw_held(&self, h: Handle, why: Reason) -> bool {
        let before =
            self.get(h).filter(|r| r.state().is_held()).and_then(|_| self.overdraw(h, why));
        if let (Some(State::Waiting), Some(record)) = (before, self.get(h)) {
            record.wake();
        }
        before.is_some()
    }

    /// Frees a record that has nothing to give back.
    pub fn free(&self, h: Handle) {
        if self.step(h, State::Ending).is_some() {
            self.step(h, State::Free);
            self.vacate(h.index);
        }
    }

    /// Returns whether the load is above the limit, so that jobs start on implicit slots only (`make -l`).
    pub fn too_loaded(&self) -> bool {
        match self.header.load_milli.load(Relaxed) {
            0 => false,
            limit => sys::load_milli() > limit,
        }
    }

    /// Gives a claimed job its client's implicit slot. Returns whether that was free.
    pub fn take_implicit(&self, h: Handle) -> bool {
        let Some((_, client)) = self.with_client(h) else {
            return false;
        };
        if client.implicit.compare_exchange(0, h.pack(), AcqRel, Relaxed).is_err() {
            return false;
        }
        if self.step(h, State::Implicit).is_some() {
            return true;
        }
        let _ = client.implicit.compare_exchange(h.pack(), 0, AcqRel, Relaxed);
        false
    }

    /// Makes a job that was spawned before the ledger existed the implicit job of its client.
    pub fn record_implicit(&self, h: Handle) -> bool {
        let Some((_, client)) = self.with_client(h) else {
            return false;
        };
        let moved = client.implicit.compare_exchange(UNRECORDED, h.pack(), AcqRel, Relaxed).is_ok();
        moved && self.step(h, State::Implicit).is_some()
    }

    fn with_client(&self, h: Handle) -> Option<(&Record, &Record)> {
        let record = self.get(h)?;
        Some((record, self.record(record.client.load(Relaxed))?))
    }

    /// Ends a job: its token goes back, its implicit slot goes on. Returns whether this call ended it.
    pub fn end(&self, h: Handle, pool: &Pool) -> bool {
        self.end_unless(h, State::Ending, pool)
    }

    /// [`Ledger::end`], unless the state is `not`.
    pub fn end_unless(&self, h: Handle, not: State, pool: &Pool) -> bool {
        let left = self.leave_slot_of(h);
        let won = self.step_unless(h, not, State::Ending).is_some();
        if won {
            self.withdraw(h);
            self.finish(h, pool);
        } else if left.is_some() {
            self.header.passed.take();
        }
        if let Some(client) = left {
            if self.release_parked() == 0 {
                self.start_next(client);
            }
        }
        won
    }

    /// Finishes a job that is ending. Any number of processes may do this at once, and the guard does it again: exactly
    /// one process does each part. If the pool cannot be reached, the record stays for a process that can reach it.
    pub fn finish(&self, h: Handle, pool: &Pool) {
        let Some(record) = self.get(h).filter(|r| r.state() == State::Ending) else { return };
        self.release_lane(h, record);
        if self.is_watched() {
            self.trace_end(h, record, None);
        }
        self.pay_debts(h, record, pool);
        let given = pool.give_all(record, h.generation);
        let owner = record.client.load(Relaxed);
        let client = self.record(owner);
        let was_implicit = client
            .is_some_and(|c| c.implicit.compare_exchange(h.pack(), 0, AcqRel, Relaxed).is_ok());
        if given {
            record.step(h.generation, State::Free);
            self.vacate(h.index);
        }
        // The implicit slot is not part of the token: it goes on even if the guard cannot reach the pool.
        if was_implicit {
            self.settle(owner, pool);
        }
    }

    /// Ends a job whose bytes cannot go back because the pool is gone.
    pub fn write_off(&self, h: Handle, pool: &Pool) {
        if let Some(record) = self.get(h).filter(|r| r.state() == State::Ending) {
            for place in record.places() {
                let _ = place.seal(h.generation);
            }
            self.finish(h, pool);
        }
    }
}
