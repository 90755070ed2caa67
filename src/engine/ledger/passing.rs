//! Slots that are passed on: a job that falls asleep in a call that the library hooks wakes the job that has been
//! parked longest, or starts a held one that it waits for, or leaves its slot to the next one that wakes up
//! ([`crate::lending`], rule 8). The guard would have to see first that the job sleeps, which takes it some ms.

use core::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};

use crate::slots::State;
use crate::sync::fence;
use crate::sys;

use super::access::Ledger;
use super::handle::Handle;
use super::record::Record;

/// For how long jobs that wake each other may go on before others, in ns.
const TURN: u64 = 1_000_000;

/// Of so many held jobs that are found first, the one that has waited longest starts.
const SOME: usize = 64;
/// A job that has waited for so many ns starts before others.
const LATE: u64 = 1_000_000_000;

impl Ledger {
    /// Returns whether a job that falls asleep has to pass its slot on: jobs are parked often.
    #[inline]
    pub fn passes(&self) -> bool {
        // Relaxed: a hint.
        self.header.passes.load(Relaxed) != 0
    }

    /// This job is about to sleep: its slot goes to a parked job; else to a held job that it waits for, or to one of its
    /// client; else to the next one that wakes up. `own`: the record of the caller as a client, or 0. Called by the only
    /// active thread of the job. Async-signal-safe.
    pub fn pass_slot(&self, job: Handle, own: u32) {
        let Some(record) = self.get(job).filter(|r| r.state().runs() && r.computes()) else {
            return;
        };
        // It leaves the slot while it counts as computing, and others go on when it does not any more: so the guard never
        // finds too few, and for a moment only one too many.
        let leaves = !self.take_debt();
        if leaves {
            self.header.passed.leave(1);
        }
        record.pass(job.generation);
        if leaves && self.release_parked() == 0 {
            let first = |client| self.first_waiting(client).filter(|_| client != 0);
            self.start_left(first(own).or_else(|| first(record.client.load(Relaxed))));
        }
    }

    /// This job is about to sleep, and runs on a slot that its client uses, too. `waits`: the client sleeps; it may wait
    /// for a held job, which starts on the slot.
    pub fn sleep_beside_client(&self, job: Handle, waits: bool) {
        let Some(record) = self.get(job).filter(|r| r.state().runs() && r.computes()) else {
            return;
        };
        if waits && !self.take_debt() && !self.too_loaded() {
            // It starts while this one counts as computing: the guard never finds too few.
            let _ = self.first_waiting(record.client.load(Relaxed)).is_some_and(|h| self.borrow(h));
        }
        record.pass(job.generation);
    }

    /// A borrowed job of this client has left its slot: a held job starts on it. First one that has waited for long, then
    /// the client's own, so that what was begun ends first, then any other; those of the background last.
    pub(super) fn start_next(&self, client: u32) {
        let rank = |r: &Record| (self.is_background(r.client.load(Relaxed)), r.since.load(Relaxed));
        let some = self.waiting().filter(|(_, r)| r.state() == State::Waiting).take(SOME);
        let Some((index, record)) = some.min_by_key(|(_, r)| rank(r)) else { return };
        let (in_background, since) = rank(record);
        let is_late = sys::now().saturating_sub(since) >= LATE;
        let comes_first = is_late || !in_background && self.is_background(client);
        let own = if comes_first { None } else { self.first_waiting(client) };
        self.start_left(own.or(Some(Handle { index, generation: record.now().1 })));
    }

    /// Starts a held job on a slot that was passed on, unless jobs trade slots.
    #[inline(never)]
    fn start_left(&self, held: Option<Handle>) {
        let Some(held) = held.filter(|_| !self.passes() && !self.too_loaded()) else { return };
        if self.header.passed.take() && !self.borrow(held) {
            self.leave_slots(1);
        }
    }

    /// Leaves so many slots to parked jobs, or to those that wake up next. Returns how many jobs go on.
    pub fn leave_slots(&self, slots: u32) -> u32 {
        self.header.passed.leave(slots);
        self.release_parked()
    }

    /// Lets parked jobs go on while there are slots that were passed on. Returns how many.
    #[inline(never)]
    pub fn release_parked(&self) -> u32 {
        let mut released = 0u32;
        // Whoever parks does so before it comes here, whoever leaves a slot, too: one of them sees the other.
        fence(SeqCst);
        while let Some((next, record)) = self.parked_next() {
            if !record.call(next.generation) {
                continue;
            }
            // It counts as computing before the slot is taken: the guard never finds too few.
            let taken = self.header.passed.take();
            let goes_on = record.answer(next.generation, taken);
            match (taken, goes_on) {
                (false, _) => break,
                (true, true) => released = released.saturating_add(1),
                // It took too long.
                (true, false) => self.header.passed.leave(1),
            }
        }
        released
    }

    /// A job that sleeps has woken up: takes a slot that was passed on, if there is one. Returns whether it did. First the
    /// job counts as computing, then it takes the slot: the guard never finds too few.
    pub fn take_slot(&self, job: Handle, record: &Record) -> bool {
        if self.header.passed.is_empty() {
            return false;
        }
        let Some(slept) = record.wake_up(job.generation) else { return false };
        let taken = self.header.passed.take();
        if !taken {
            record.sleep_on(slept);
        }
        taken
    }

    /// A job that has passed its slot on has been found computing: if nobody has taken the slot, it is gone.
    pub fn take_back(&self, job: Handle) {
        if self.record(job.index).is_some_and(|r| r.unpass(job.generation)) {
            self.header.passed.take();
        }
    }

    /// A job is about to end: if it computes on a slot that is lent, leaves that slot to the next one that wakes up or
    /// starts, unless its client runs in a job that computes: that one may count on the slot. Returns the client if it left
    /// the slot.
    pub(super) fn leave_slot_of(&self, job: Handle) -> Option<u32> {
        let is_it = |r: &&Record| r.state() == State::Borrowed && r.computes() && self.lends();
        let client = self.get(job).filter(is_it)?.client.load(Relaxed);
        let pid = self.record(client).map_or(0, |r| r.pid.load(Acquire));
        let home_computes =
            self.job_above(pid).is_some_and(|(_, r)| r.state().runs() && r.computes());
        if home_computes || self.take_debt() {
            return None;
        }
        self.header.passed.leave(1);
        Some(client)
    }

    /// This job ends. If it sleeps, a slot that was left may be its slot.
    pub(super) fn withdraw(&self, job: Handle) {
        if !self.header.passed.is_empty()
            && self.record(job.index).is_some_and(|r| r.sleeps(job.generation))
        {
            self.header.passed.take();
        }
    }

    /// If more jobs compute than there are slots: now it is one less. Returns whether it was so.
    fn take_debt(&self) -> bool {
        let debt = &self.header.debt;
        let mut seen = debt.load(Relaxed);
        while let Some(less) = seen.checked_sub(1) {
            // Relaxed: the guard counts again soon.
            match debt.compare_exchange(seen, less, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// All parked jobs, and since when each is parked, in ns.
    pub fn parked(&self) -> impl Iterator<Item = (u64, Handle, &Record)> {
        self.records().filter_map(|(index, record)| {
            let (state, generation) = record.now();
            let is_it = state.runs() && record.is_parked(generation);
            is_it.then(|| (record.home.load(Relaxed), Handle { index, generation }, record))
        })
    }

    /// The job that goes on next: the one that has been parked longest, if that is long enough; otherwise the last one,
    /// which the caller has probably woken itself: what it works on is in the processor's cache, and so pairs of jobs do
    /// not alternate with each other at each of their calls.
    fn parked_next(&self) -> Option<(Handle, &Record)> {
        let old = sys::now().saturating_sub(TURN);
        let rank = |since: u64| if since <= old { since } else { u64::MAX.saturating_sub(since) };
        self.parked().min_by_key(|(since, ..)| rank(*since)).map(|(_, h, record)| (h, record))
    }
}
