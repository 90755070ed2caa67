//! The effect of a job's steps on statistics, lanes and the trace.
//!
//! Lanes are given out only if statistics or a trace are wanted; everything else here is a few additions.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::show::lanes::Kind;
use crate::slots::State;
use crate::sys;

use super::access::Ledger;
use super::handle::Handle;
use super::lanes::DEPTH;
use super::reason::Reason;
use super::record::{Record, UNTIMED};

impl Ledger {
    /// A claimed job waits from now on, in its client.
    pub fn waits(&self, h: Handle) {
        if let Some(record) = self.get(h) {
            record.since.store(sys::now(), Relaxed);
            self.take_wait_lane(h, record);
            self.notify_guard();
        }
    }

    /// Called after each step of a record. `since` is the record's time before the step.
    pub(crate) fn stepped(&self, h: Handle, r: &Record, from: State, to: State, since: u64) {
        if from.is_held() || to == State::Held {
            self.queued(h, r, to);
        }
        match to {
            State::Held => {
                r.queued.store(sys::now().saturating_sub(since), Relaxed);
                self.take_wait_lane(h, r);
            }
            State::Implicit if from.runs() => self.moved(h, r, from, since),
            State::Token if from.runs() => self.stays(h, r, from, since),
            _ if to.runs() => self.started(h, r, to, since),
            State::Ending if self.is_watched() => self.ended(h, r, from),
            _ => {}
        }
        self.note_want(r.client.load(Relaxed));
        if from == State::Borrowed {
            let until = if to == State::Ending { sys::now() } else { r.since.load(Relaxed) };
            self.header.stats.repaid(until.saturating_sub(since));
        }
    }

    /// A borrowed job has its own token from now on: it stays on its lane.
    fn stays(&self, h: Handle, r: &Record, from: State, since: u64) {
        if let Some(lane) = r.lane.get(h.generation).filter(|_| self.is_watched()) {
            self.trace(h, r, from, lane, (since, r.since.load(Relaxed)));
        }
    }

    fn started(&self, h: Handle, r: &Record, to: State, since: u64) {
        self.header.stats.job();
        let start = r.since.load(Relaxed);
        if since != UNTIMED {
            let waited = start.saturating_sub(since).saturating_add(r.queued.load(Relaxed));
            self.header.stats.wait(waited);
            r.queued.store(waited, Relaxed);
        }
        if self.is_watched() {
            self.take_lane(h, r, to, start);
        }
    }

    /// Gives a starting job its lane, and releases the lane on which it waited.
    #[inline(never)]
    fn take_lane(&self, h: Handle, r: &Record, to: State, start: u64) {
        let lane = match to {
            State::Token => Some(self.claim_lane(Kind::Slot, h.pack())),
            State::Overdraft | State::Borrowed => Some(self.claim_lane(Kind::Overdraft, h.pack())),
            _ => self.lane_of_client(r.client.load(Relaxed)),
        };
        let before = r.lane.swap(h.generation, lane);
        if let Some(wait) = before.filter(|lane| lane.kind == Kind::Wait) {
            let waited = r.queued.load(Relaxed);
            self.trace(h, r, State::Waiting, wait, (start.saturating_sub(waited), start));
            self.header.lanes.release(wait, h.pack());
        }
        // Another process may have ended the job meanwhile and found no lane to release, or made it the implicit job.
        match self.get(h).map_or(State::Free, Record::state) {
            State::Implicit if to != State::Implicit => self.moved(h, r, to, start),
            now if now.is_job() => {}
            _ => drop(lane.inspect(|lane| self.header.lanes.release(*lane, h.pack()))),
        }
    }

    /// A running job has become the implicit job: it moves to its client's lane.
    #[inline(never)]
    fn moved(&self, h: Handle, r: &Record, from: State, since: u64) {
        if !self.is_watched() {
            return;
        }
        let Some(to) = self.lane_of_client(r.client.load(Relaxed)) else { return };
        let now = r.since.load(Relaxed);
        let old = r.lane.swap(h.generation, Some(to)).filter(|old| *old != to);
        let Some(old) = old else { return };
        self.trace(h, r, from, old, (since, now));
        self.carry(h, old, to, now, DEPTH);
        self.header.lanes.release(old, h.pack());
    }

    #[inline(never)]
    fn ended(&self, h: Handle, r: &Record, from: State) {
        self.release_lane(h, r);
        // Other processes may have finished it already.
        if self.get(h).is_some() {
            self.trace_end(h, r, Some(from));
        }
    }

    /// Reports the end of a job, once: by the process that ends it, or by one that finishes the rest first. The latter
    /// derives the job's state from its lane.
    #[inline(never)]
    pub fn trace_end(&self, h: Handle, r: &Record, from: Option<State>) {
        let Some(lane) = r.lane.swap(h.generation, None) else { return };
        let client = self.record(r.client.load(Relaxed));
        let implicit = client.is_some_and(|c| c.implicit.load(Acquire) == h.pack());
        let from = from.unwrap_or(match lane.kind {
            Kind::Wait => State::Waiting,
            Kind::Overdraft if r.has_token(h.generation) => State::Token,
            Kind::Overdraft if r.reason() == Reason::None => State::Borrowed,
            Kind::Overdraft => State::Overdraft,
            Kind::Slot if implicit => State::Implicit,
            Kind::Slot => State::Token,
        });
        if from.is_job() && self.header.asked.is_traced() {
            let now = sys::now();
            let since = r.since.swap(now, AcqRel);
            let gate = if from.is_held() { r.queued.load(Relaxed) } else { 0 };
            self.trace(h, r, from, lane, (since.saturating_sub(gate), now));
        }
    }
}
