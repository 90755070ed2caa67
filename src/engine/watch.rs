//! Watching a ledger: what the steps of its jobs mean for statistics, lanes and the trace.
//!
//! A job on a token has a lane of its own. The implicit slot of a client is the slot that the client itself
//! runs on: that of the job in which it is, its *home*; a client that is in no job of the ledger has a lane of
//! its own for that, from its first implicit job to its end. So a job that becomes the implicit one moves to
//! that lane, with all that is in it.
//!
//! Lanes are given out only where statistics or a trace are asked for; everything else here is a few
//! additions.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::lanes::{Kind, Lane};
use crate::ledger::{Founding, Shared};
use crate::proc;
use crate::record::{Handle, Reason, Record, UNTIMED};
use crate::report;
use crate::slots::State;
use crate::sync::{AtomicU32, AtomicU8};
use crate::sys::{self, Errno};
use crate::text::{Path, Text};
use crate::trace::{self, Event, Line};

/// In the header: who asked for what.
#[repr(C)]
pub struct Watch {
    asked: AtomicU32,
    path: [AtomicU8; 256],
}

/// Lanes are wanted.
const LANES: u32 = 1;
/// A trace is wanted, and one process is about to write its path.
const PATH: u32 = 2;
/// The path is there.
const TRACE: u32 = 4;

impl Watch {
    fn has(&self, what: u32) -> bool {
        // Acquire: with the last of them the path is seen.
        self.asked.load(Acquire) & what != 0
    }

    /// Is a trace written?
    pub fn is_traced(&self) -> bool {
        self.has(TRACE)
    }

    fn path(&self) -> Path {
        let mut path = Path::default();
        let bytes = self.path.iter().map(|b| b.load(Relaxed));
        bytes.take_while(|b| *b != 0).for_each(|b| path.push([b]));
        path
    }
}

/// What a process is in the ledger.
enum Above {
    /// This job.
    Job(Handle),
    /// A client, and no job: what runs below is in one of its jobs.
    Client,
}

/// Once in a ledger: it is asked by one process.
#[inline(never)]
fn complain(e: Errno) {
    let text: Text<80> = Text::new(b"the file in JSSHIM_TRACE cannot be written (errno ");
    report::say(text.num(e.0).with(b"); no trace is written").bytes());
}

/// Depth to which clients are in jobs of clients; what is deeper keeps its lane.
const DEPTH: u32 = 16;

impl Shared {
    /// Does what a client asks for on joining, if no other has asked before.
    #[inline(never)]
    pub fn ask(&self, f: &Founding) {
        let watch = &self.header.watch;
        if f.stats && !watch.has(LANES) {
            watch.asked.fetch_or(LANES, AcqRel);
        }
        if f.trace.bytes().is_empty() || watch.asked.fetch_or(LANES | PATH, AcqRel) & PATH != 0 {
            return;
        }
        for (at, b) in watch.path.iter().zip(f.trace.c().to_bytes_with_nul()) {
            at.store(*b, Relaxed);
        }
        match trace::create(f.trace.c()).and_then(|()| trace::append(f.trace.c(), b"", false)) {
            Ok(()) => {
                watch.asked.fetch_or(TRACE, Release);
                self.write_head();
            }
            Err(e) => complain(e),
        }
    }

    #[inline(never)]
    fn write_head(&self) {
        let slots = self.header.slots.load(Relaxed);
        let mut line = Line::default();
        trace::head(self.header.id(), &self.header.path(), slots, &mut line);
        self.write(line.bytes());
    }

    /// Are lanes given out? For who has to look for [`Shared::find_home`].
    pub fn is_watched(&self) -> bool {
        self.header.watch.has(LANES)
    }

    #[inline(never)]
    fn write(&self, lines: &[u8]) {
        let _ = trace::append(self.header.watch.path().c(), lines, false);
    }

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

    /// A claimed job has to wait from now on, in its client.
    pub fn waits(&self, h: Handle) {
        if let Some(record) = self.get(h) {
            record.since.store(sys::now(), Relaxed);
            self.take_wait_lane(h, record);
            self.tell_guard();
        }
    }

    #[inline(never)]
    fn take_wait_lane(&self, h: Handle, record: &Record) {
        if self.header.watch.is_traced() && record.lane.get(h.generation).is_none() {
            let lane = self.claim_lane(Kind::Wait, h.pack());
            if !record.lane.change(h.generation, None, Some(lane)) {
                self.header.lanes.release(lane, h.pack());
            }
        }
    }

    #[inline(never)]
    fn claim_lane(&self, kind: Kind, owner: u64) -> Lane {
        let is_stale = |owner| Handle::unpack(owner).is_none_or(|h| self.get(h).is_none());
        let Some((lane, fresh)) = self.header.lanes.claim(kind, owner, is_stale) else {
            return Lane::overflow(kind);
        };
        if fresh && self.header.watch.is_traced() {
            self.name_lane(lane);
        }
        lane
    }

    #[inline(never)]
    fn name_lane(&self, lane: Lane) {
        self.write(trace::lane(self.header.id(), lane).bytes());
    }

    /// A record has made a step. `since` is what its time was before.
    pub(crate) fn stepped(&self, h: Handle, r: &Record, from: State, to: State, since: u64) {
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
        if from == State::Borrowed {
            let until = if to == State::Ending { sys::now() } else { r.since.load(Relaxed) };
            self.header.stats.repaid(until.saturating_sub(since));
        }
    }

    /// A job that had borrowed has a token of its own from now on: it goes on on its lane.
    fn stays(&self, h: Handle, r: &Record, from: State, since: u64) {
        if let Some(lane) = r.lane.get(h.generation).filter(|_| self.is_watched()) {
            self.tell(h, r, from, lane, (since, r.since.load(Relaxed)));
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

    /// The lane of a job that starts. What it waited on is given up.
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
            self.tell(h, r, State::Waiting, wait, (start.saturating_sub(waited), start));
            self.header.lanes.release(wait, h.pack());
        }
        // Somebody may have ended it meanwhile, and found no lane to give up, or made it the implicit one.
        match self.get(h).map_or(State::Free, Record::state) {
            State::Implicit if to != State::Implicit => self.moved(h, r, to, start),
            now if now.is_job() => {}
            _ => drop(lane.inspect(|lane| self.header.lanes.release(*lane, h.pack()))),
        }
    }

    /// The lane of a client's implicit slot.
    #[inline(never)]
    fn lane_of_client(&self, client: u32) -> Option<Lane> {
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

    /// A running job has become the implicit one: it goes on on its client's lane.
    #[inline(never)]
    fn moved(&self, h: Handle, r: &Record, from: State, since: u64) {
        if !self.is_watched() {
            return;
        }
        let Some(to) = self.lane_of_client(r.client.load(Relaxed)) else { return };
        let now = r.since.load(Relaxed);
        let old = r.lane.swap(h.generation, Some(to)).filter(|old| *old != to);
        let Some(old) = old else { return };
        self.tell(h, r, from, old, (since, now));
        self.carry(h, old, to, now, DEPTH);
        self.header.lanes.release(old, h.pack());
    }

    /// What runs inside a job that has changed its lane goes with it.
    #[inline(never)]
    fn carry(&self, home: Handle, from: Lane, to: Lane, now: u64, depth: u32) {
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

    #[inline(never)]
    fn ended(&self, h: Handle, r: &Record, from: State) {
        self.release_lane(h, r);
        // Others may have finished it already.
        if self.get(h).is_some() {
            self.tell_end(h, r, Some(from));
        }
    }

    /// Tells of the end of a job, once: by who ends it, or by another who does the rest before he has come
    /// to that. The other one knows what it was by its lane.
    #[inline(never)]
    pub fn tell_end(&self, h: Handle, r: &Record, from: Option<State>) {
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
        if from.is_job() && self.header.watch.is_traced() {
            let now = sys::now();
            let since = r.since.swap(now, AcqRel);
            let gate = if from.is_held() { r.queued.load(Relaxed) } else { 0 };
            self.tell(h, r, from, lane, (since.saturating_sub(gate), now));
        }
    }

    /// For `JSSHIM_DEBUG`: the start of a job, after `event` and up to what it runs on; of one without a slot
    /// also why, and how many there were.
    #[inline(never)]
    pub fn start(&self, event: &[u8], h: Handle, state: State) -> Text<200> {
        let mut text = Text::new(event);
        if let Some(record) = self.get(h).filter(|_| state == State::Overdraft) {
            text.put(record.reason().text()).put(b"; overdrafts so far ");
            text.put_num(self.header.stats.overdrafts()).put(b"; ");
        }
        text.put(b"runs on");
        text
    }

    /// Writes an event of a job that was in this state on this lane.
    fn tell(&self, h: Handle, r: &Record, state: State, lane: Lane, time: (u64, u64)) {
        if self.header.watch.is_traced() {
            self.write_event(h, r, state, lane, time);
        }
    }

    /// Apart from the rest, because a line needs much stack.
    #[inline(never)]
    fn write_event(&self, h: Handle, r: &Record, state: State, lane: Lane, time: (u64, u64)) {
        let client = self.record(r.client.load(Relaxed)).map_or(0, |c| c.pid.load(Relaxed));
        let (state, why) = match state {
            State::Implicit => ("implicit", ""),
            State::Token => ("token", ""),
            State::Overdraft => ("overdraft", r.reason().text()),
            State::Borrowed => ("borrowed", ""),
            _ => ("wait", ""),
        };
        let event = Event {
            name: &r.name(),
            state,
            lane,
            time,
            job: (h.index, h.generation),
            pids: (r.pid.load(Relaxed), client),
            why,
            waited: r.queued.load(Relaxed),
        };
        self.write(trace::line(self.header.id(), &event).bytes());
    }
}
