//! Which job gets a client's free implicit slot.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::pool::tokens::Pool;
use crate::slots::{next, Next, State, View};
use crate::{space, sys};

use super::access::Ledger;
use super::handle::{Handle, RECORDS};
use super::record::{Record, UNRECORDED};

impl Ledger {
    /// If the implicit slot of a client is free, gives it to one of its jobs ([`next`]).
    pub fn settle(&self, client: u32, pool: &Pool) {
        let Some(owner) = self.record(client) else { return };
        // Each round finds no job, succeeds, or loses to a process that made progress.
        for _ in 0..RECORDS {
            let taken = owner.implicit.load(Acquire);
            if taken != 0 && self.is_in_use(owner, client, taken, pool) {
                return;
            }
            let running = self.busy_jobs_of(client).filter(|(_, state, _)| state.runs());
            let held = self.first_held(client).and_then(|h| {
                let record = self.get(h)?;
                Some((h, record.state(), record))
            });
            let views = running.chain(held).map(|(job, state, r)| View {
                job: job.pack(),
                state,
                since: r.since.load(Relaxed),
                sleeps: r.sleeps(job.generation),
            });
            let (Next::Back(job) | Next::Grant(job)) = next(views) else { return };
            let Some(job) = Handle::unpack(job) else { return };
            if owner.implicit.compare_exchange(0, job.pack(), AcqRel, Relaxed).is_ok() {
                self.start_on_implicit(owner, job, pool);
            }
        }
    }

    /// Returns whether this word of a client's `implicit` names a job of its own. If not, the ledger was broken, and
    /// the slot is freed. Finishes what a killed giver began.
    fn is_in_use(&self, owner: &Record, client: u32, taken: u64, pool: &Pool) -> bool {
        let Some(h) = Handle::unpack(taken).filter(|_| taken != UNRECORDED) else { return true };
        let job = self.get(h).filter(|r| r.client.load(Relaxed) == client);
        match job.map_or(State::Free, Record::state) {
            State::Claim | State::Implicit | State::Ending => true,
            State::Free | State::Client => {
                owner.implicit.compare_exchange(taken, 0, AcqRel, Relaxed).is_err()
            }
            _ => {
                self.start_on_implicit(owner, h, pool);
                true
            }
        }
    }

    /// The second half of giving an implicit slot to a job. Several processes may do this at once.
    fn start_on_implicit(&self, owner: &Record, h: Handle, pool: &Pool) {
        let Some(job) = self.record(h.index) else { return };
        match self.step(h, State::Implicit) {
            // It wakes, sees that it is implicit, and gives back a byte that arrived as well.
            Some(State::Waiting) => job.wake(),
            Some(_) => drop(pool.give(job, h.generation)),
            // Another process was faster.
            None if job.now() == (State::Implicit, h.generation) => {}
            None => drop(owner.implicit.compare_exchange(h.pack(), 0, AcqRel, Relaxed)),
        }
    }

    /// Called by a waiting job for itself: repairs the fields by which others find it, and finishes what killed
    /// processes left half done. Returns whether the job must wait on.
    pub fn repair_waiting(&self, h: Handle, client: u32, pool: &Pool) -> bool {
        let Some(record) = self.get(h) else { return false };
        // They differ in a broken ledger only. In another PID namespace the record's pid differs from getpid.
        let me = if space::is_elsewhere() { record.pid.load(Relaxed) } else { sys::getpid() };
        if (record.pid.load(Relaxed), record.client.load(Relaxed)) != (me, client) {
            record.pid.store(me, Relaxed);
            record.client.store(client, Relaxed);
        }
        self.header.used.repair(h.index);
        self.accept_gift(h);
        self.sweep(client, pool);
        self.settle(client, pool);
        let has_client = self.record(client).is_some_and(|r| r.state() == State::Client);
        has_client && record.now() == (State::Waiting, h.generation)
    }
}
