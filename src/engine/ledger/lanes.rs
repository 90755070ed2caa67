//! Which lane shows which job.
//!
//! A job on a token has its own lane. A client's implicit slot is the slot on which the client itself runs: the slot of
//! the job that contains the client, its *home*. A client that is in no job of the ledger has its own lane for its
//! implicit slot, from its first implicit job to its end. So a job that becomes the implicit job moves to that lane,
//! together with everything that runs inside of it.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::show::lanes::{Kind, Lane};
use crate::slots::State;
use crate::{proc, sys};

use super::access::Ledger;
use super::handle::Handle;
use super::record::Record;

/// What an ancestor process is in the ledger.
enum Above {
    /// The process of this job.
    Job(Handle),
    /// A client that is not the process of a job: the caller is in one of its jobs.
    Client,
}

/// Up to this depth clients inside of jobs follow a change of lane; deeper ones keep their lane.
pub(super) const DEPTH: u32 = 16;

impl Ledger {
    /// Stores the client's home: the job of the ledger whose process is this client or one of its ancestors, if there
    /// is one.
    ///
    /// A child may be faster than its parent, which has not noted the child's pid yet: then this waits up to 100 ms.
    #[inline(never)]
    pub fn find_home(&self, me: Handle) {
        for _ in 0..100 {
            let found = proc::line_of(sys::getpid()).find_map(|pid| self.job_or_client(pid, me));
            match (found, self.get(me)) {
                (Some(Above::Job(home)), Some(record)) => {
                    return record.home.store(home.pack(), Release);
                }
                (Some(Above::Client), Some(_)) => sys::sleep_millis(1),
                _ => return,
            }
        }
    }

    fn job_or_client(&self, pid: i32, me: Handle) -> Option<Above> {
        let mut client = None;
        for (index, r) in self.records().filter(|(_, r)| r.pid.load(Relaxed) == pid) {
            let (state, generation) = r.now();
            match state {
                State::Client if index != me.index => client = Some(Above::Client),
                _ if state.is_job() => return Some(Above::Job(Handle { index, generation })),
                _ => {}
            }
        }
        client
    }

    /// Releases the lane of a job, if it has its own. Must be called before its token goes back.
    pub fn release_lane(&self, h: Handle, record: &Record) {
        if let Some(lane) = record.lane.get(h.generation).filter(|_| self.is_watched()) {
            self.header.lanes.release(lane, h.pack());
        }
    }

    /// Called before a running job is recorded as the implicit job of its client. Clients inside of that job that have
    /// found no home so far get it as their home, and share the client's slot.
    #[inline(never)]
    pub fn adopt(&self, client: u32, job: Handle, pid: i32) {
        let Some(record) = self.record(client).filter(|_| self.is_watched()) else { return };
        let me = Handle { index: client, generation: record.now().1 };
        for (index, other) in self.records() {
            let (state, generation) = other.now();
            let inside = index != client
                && state == State::Client
                && other.home.load(Relaxed) == 0
                && proc::line_of(other.pid.load(Relaxed)).any(|above| above == pid);
            if !inside {
                continue;
            }
            other.home.store(job.pack(), Release);
            let Some(lane) = other.lane.swap(generation, None) else { continue };
            let owner = Handle { index, generation }.pack();
            if record.lane.change(me.generation, None, Some(lane)) {
                self.header.lanes.pass_on(lane, owner, me.pack());
                continue;
            }
            if let Some(to) = record.lane.get(me.generation) {
                self.carry(job, lane, to, sys::now(), DEPTH);
            }
            self.header.lanes.release(lane, owner);
        }
    }

    /// Returns whether no job of the ledger contains this client.
    pub fn is_top(&self, client: u32) -> bool {
        self.record(client).is_some_and(|r| r.home.load(Acquire) == 0)
    }

    #[inline(never)]
    pub(super) fn take_wait_lane(&self, h: Handle, record: &Record) {
        if self.header.asked.is_traced() && record.lane.get(h.generation).is_none() {
            let lane = self.claim_lane(Kind::Wait, h.pack());
            if !record.lane.change(h.generation, None, Some(lane)) {
                self.header.lanes.release(lane, h.pack());
            }
        }
    }

    #[inline(never)]
    pub(super) fn claim_lane(&self, kind: Kind, owner: u64) -> Lane {
        let is_stale = |owner| Handle::unpack(owner).is_none_or(|h| self.get(h).is_none());
        let Some((lane, fresh)) = self.header.lanes.claim(kind, owner, is_stale) else {
            return Lane::overflow(kind);
        };
        if fresh && self.header.asked.is_traced() {
            self.name_lane(lane);
        }
        lane
    }

    /// The lane of a client's implicit slot.
    #[inline(never)]
    pub(super) fn lane_of_client(&self, client: u32) -> Option<Lane> {
        let record = self.record(client)?;
        let home = Handle::unpack(record.home.load(Acquire));
        let shared = home.and_then(|home| self.get(home)?.lane.get(home.generation));
        if let Some(lane) = shared.filter(|lane| lane.kind != Kind::Wait) {
            return Some(lane);
        }
        let me = Handle { index: client, generation: record.now().1 };
        let own = record.lane.get(me.generation);
        if let Some(lane) = own.filter(|lane| self.header.lanes.is_of(*lane, me.pack())) {
            return Some(lane);
        }
        let lane = self.claim_lane(Kind::Slot, me.pack());
        let fresh = record.lane.change(me.generation, own, Some(lane));
        // Another process was faster, or the client has ended meanwhile and had no lane to release.
        if !fresh || record.now() != (State::Client, me.generation) {
            self.header.lanes.release(lane, me.pack());
        }
        record.lane.get(me.generation)
    }

    /// Moves everything that runs inside of a job to the job's new lane.
    #[inline(never)]
    pub(super) fn carry(&self, home: Handle, from: Lane, to: Lane, now: u64, depth: u32) {
        let Some(depth) = depth.checked_sub(1) else { return };
        for (_, client) in self.records() {
            let inside =
                client.state() == State::Client && client.home.load(Acquire) == home.pack();
            let job = Handle::unpack(client.implicit.load(Acquire)).filter(|_| inside);
            let Some((job, r)) = job.and_then(|job| Some((job, self.get(job)?))) else { continue };
            let since = r.since.load(Acquire);
            let is_there =
                r.state() == State::Implicit && r.lane.change(job.generation, Some(from), Some(to));
            // Whoever swaps `since` reports the event.
            if is_there && r.since.compare_exchange(since, now, AcqRel, Relaxed).is_ok() {
                self.trace(job, r, State::Implicit, from, (since, now));
                self.carry(job, from, to, now, depth);
            }
        }
    }
}
