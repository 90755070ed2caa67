//! The steps of a job: start, slot, end. Each is made by exactly one process.

use core::sync::atomic::Ordering::{AcqRel, Relaxed};

use crate::pool::tokens::Pool;
use crate::slots::State;
use crate::sys;

use super::access::Ledger;
use super::handle::Handle;
use super::reason::Reason;
use super::record::{Record, UNRECORDED};

impl Ledger {
    /// One legal step of a job; says from which state. `None`: it is not there any more, or not so.
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

    /// Starts a job without a slot and says why.
    pub fn overdraw(&self, h: Handle, why: Reason) -> Option<State> {
        let record = self.get(h)?;
        record.set_reason(h.generation, why);
        let before = self.step(h, State::Overdraft)?;
        self.header.stats.overdraft(why);
        Some(before)
    }

    /// [`Ledger::overdraw`] by another process than the held one. Returns whether the job started.
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
            self.header.hint.fetch_min(h.index, Relaxed);
            self.step(h, State::Free);
        }
    }

    /// Is the load above the limit, so that only implicit slots may start a job (`make -l`)?
    pub fn too_loaded(&self) -> bool {
        match self.header.load_milli.load(Relaxed) {
            0 => false,
            limit => sys::load_milli() > limit,
        }
    }

    /// Gives a claimed job its client's implicit slot, if that is free.
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

    /// Makes the job that spawned before there was a ledger the implicit one of its client.
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

    /// Ends a job: its token goes back, its implicit slot goes on. Returns whether this call was the one.
    pub fn end(&self, h: Handle, pool: &Pool) -> bool {
        self.end_unless(h, State::Ending, pool)
    }

    /// [`Ledger::end`] from another state than `not`.
    pub fn end_unless(&self, h: Handle, not: State, pool: &Pool) -> bool {
        let won = self.step_unless(h, not, State::Ending).is_some();
        if won {
            self.finish(h, pool);
        }
        won
    }

    /// Does what is left to do for a job that is ending. Any number of processes may do it at once, and
    /// the guard does it again: each part is done by exactly one. Where the pool cannot be reached the
    /// record stays, for whoever can.
    pub fn finish(&self, h: Handle, pool: &Pool) {
        let Some(record) = self.get(h).filter(|r| r.state() == State::Ending) else { return };
        self.release_lane(h, record);
        if self.is_watched() {
            self.tell_end(h, record, None);
        }
        self.pay_debts(h, record, pool);
        let given = pool.give_all(record, h.generation);
        let owner = record.client.load(Relaxed);
        let client = self.record(owner);
        let was_implicit = client
            .is_some_and(|c| c.implicit.compare_exchange(h.pack(), 0, AcqRel, Relaxed).is_ok());
        if given {
            self.header.hint.fetch_min(h.index, Relaxed);
            record.step(h.generation, State::Free);
        }
        // The implicit slot is not the token's: it goes on even where the guard cannot reach the pool.
        if was_implicit {
            self.settle(owner, pool);
        }
    }

    /// Ends a job whose bytes have nowhere to go back to: the pool is gone.
    pub fn write_off(&self, h: Handle, pool: &Pool) {
        if let Some(record) = self.get(h).filter(|r| r.state() == State::Ending) {
            for place in record.places() {
                let _ = place.seal(h.generation);
            }
            self.finish(h, pool);
        }
    }
}
