//! Which job is shown on which lane.
//!
//! A job on a token has a lane of its own. The implicit slot of a client is the slot that the client itself
//! runs on: that of the job in which it is, its *home*; a client that is in no job of the ledger has a lane of
//! its own for that, from its first implicit job to its end. So a job that becomes the implicit one moves to
//! that lane, with all that is in it.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::show::lanes::{Kind, Lane};
use crate::slots::State;
use crate::{proc, sys};

use super::access::Ledger;
use super::handle::Handle;
use super::record::Record;

/// What a process is in the ledger.
enum Above {
    /// This job.
    Job(Handle),
    /// A client, and no job: what runs below is in one of its jobs.
    Client,
}

/// Depth to which clients are in jobs of clients; what is deeper keeps its lane.
pub(super) const DEPTH: u32 = 16;

impl Ledger {
    /// Notes in which job of the ledger this client runs, if in any: it is the process of that job, or
    /// below it.
    ///
    /// A child may be faster than its parent, who has yet to note its pid: then it waits a moment.
    #[inline(never)]
    pub fn find_home(&self, me: Handle) {
        for _ in 0..100 {
            let found = proc::line_of(sys::getpid()).find_map(|pid| self.job_or_client(pid, me));
            match (found, self.get(me)) {
                (Some(Above::Job(home)), Some(record)) => {
                    return record.home.store(home.compact(), Release);
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

    /// Gives up the lane of a job whose token is about to go back, if it has one of its own. Whoever is
    /// about to give it back does this before.
    pub fn release_lane(&self, h: Handle, record: &Record) {
        if let Some(lane) = record.lane.get(h.generation).filter(|_| self.is_watched()) {
            self.header.lanes.release(lane, h.pack());
        }
    }

    /// Before a job that runs already is entered as the implicit one of its client: clients in it, who knew of
    /// no job above them, are at home there, and have the client's slot.
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
            other.home.store(job.compact(), Release);
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

    /// Has this client been started by none of the ledger's jobs?
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
        let home = Handle::expand(record.home.load(Acquire));
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
        // Another was faster, or the client has ended meanwhile and found no lane to give up.
        if !fresh || record.now() != (State::Client, me.generation) {
            self.header.lanes.release(lane, me.pack());
        }
        record.lane.get(me.generation)
    }

    /// What runs inside a job that has changed its lane goes with it.
    #[inline(never)]
    pub(super) fn carry(&self, home: Handle, from: Lane, to: Lane, now: u64, depth: u32) {
        let Some(depth) = depth.checked_sub(1) else { return };
        for (_, client) in self.records() {
            let inside =
                client.state() == State::Client && client.home.load(Acquire) == home.compact();
            let job = Handle::unpack(client.implicit.load(Acquire)).filter(|_| inside);
            let Some((job, r)) = job.and_then(|job| Some((job, self.get(job)?))) else { continue };
            let since = r.since.load(Acquire);
            let is_there =
                r.state() == State::Implicit && r.lane.change(job.generation, Some(from), Some(to));
            // Who takes the time out tells of it.
            if is_there && r.since.compare_exchange(since, now, AcqRel, Relaxed).is_ok() {
                self.tell(job, r, State::Implicit, from, (since, now));
                self.carry(job, from, to, now, depth);
            }
        }
    }
}
