//! The held jobs of a client, in the order in which they were made. One of them reads the pool, the first that waits: so
//! a token wakes one process of a client, and a client with many held jobs has no more readers than one with few. A client
//! with a larger share has more readers, the first ones that wait ([`crate::share`]).
//!
//! Each record names the job that was held next (`Record::next`), and the client's record the first and the last one. A
//! job that starts or ends out of turn stays in that chain until its record is used again; then the chain is broken, as it
//! is where a process was killed between two steps. Whoever meets a broken chain searches all jobs: the states alone tell
//! which jobs are held, the chain is only a quick way to the first of them.
//!
//! A job that waits checks for itself now and then whether it is its turn, and the guard looks each round whether a client
//! with waiting jobs has a reader.

use core::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};

use crate::proc;
use crate::slots::State;
use crate::sync::fence;

use super::access::Ledger;
use super::handle::{Handle, RECORDS};
use super::record::Record;

/// After so many links a search of all jobs is quicker.
const LINKS: usize = 64;

/// What follows a job in the chain.
enum Follows {
    /// This held job, in this state.
    Job(Handle, State),
    /// No held job.
    None,
    /// The chain is broken.
    Unknown,
}

/// By this held jobs of a client are in the order in which they were made.
fn age(job: Handle, record: &Record) -> (u64, u32) {
    (record.since.load(Relaxed), job.index)
}

/// See [`Ledger::readers`].
pub struct Readers<'a> {
    ledger: &'a Ledger,
    client: u32,
    left: u32,
    last: Option<Handle>,
}

impl Iterator for Readers<'_> {
    type Item = Handle;

    #[inline(never)]
    fn next(&mut self) -> Option<Handle> {
        self.left = self.left.checked_sub(1)?;
        self.last = self.ledger.next_waiting(self.client, self.last);
        self.last
    }
}

impl Ledger {
    #[inline(never)]
    fn held_job(&self, client: u32, word: u64) -> Option<(Handle, State, &Record)> {
        let h = Handle::unpack(word)?;
        let record = self.record(h.index)?;
        let (state, generation) = record.now();
        let is_it = generation == h.generation && state.is_held();
        (is_it && record.client.load(Relaxed) == client).then_some((h, state, record))
    }

    /// The held job that follows `job`.
    #[inline(never)]
    fn follows(&self, client: u32, job: u64) -> Follows {
        let Some(owner) = self.record(client) else { return Follows::None };
        let mut at = job;
        for _ in 0..LINKS {
            let Some(h) = Handle::unpack(at) else { break };
            let Some(next) = self.get(h).map(|r| r.next.load(SeqCst)) else { break };
            // The record may have been used again before `next` was read.
            if self.get(h).is_none() {
                break;
            }
            if next == 0 {
                return if owner.last.load(SeqCst) == at {
                    Follows::None
                } else {
                    Follows::Unknown
                };
            }
            if let Some((h, state, _)) = self.held_job(client, next) {
                return Follows::Job(h, state);
            }
            at = next;
        }
        Follows::Unknown
    }

    /// Searches all jobs for the job of a client that was held first, of those for whose states `is` holds; with `after`,
    /// of those that were held after that one.
    #[inline(never)]
    fn search(&self, client: u32, is: fn(State) -> bool, after: Option<Handle>) -> Option<Handle> {
        let after = after.and_then(|h| Some(age(h, self.get(h)?)));
        self.jobs_of(client)
            .filter(|(h, state, r)| is(*state) && after.is_none_or(|after| age(*h, r) > after))
            .min_by_key(|(h, _, r)| age(*h, r))
            .map(|(h, ..)| h)
    }

    /// The held job of a client that was made first.
    #[inline(never)]
    pub fn first_held(&self, client: u32) -> Option<Handle> {
        let owner = self.record(client)?;
        // A job that begins to wait looks whether another one does; one that waits no more looks for the next one. The
        // fence: one of the two sees the other.
        fence(SeqCst);
        // Each round finds the job, or loses to a process that made progress.
        for _ in 0..RECORDS {
            let seen = owner.first.load(SeqCst);
            if let Some((h, ..)) = self.held_job(client, seen) {
                return Some(h);
            }
            let last = owner.last.load(SeqCst);
            let next = match self.follows(client, seen) {
                Follows::Job(h, _) => Some(h),
                Follows::None => None,
                // The usual case: none was held, or the only one is.
                Follows::Unknown if seen == 0 && self.held_job(client, last).is_none() => None,
                Follows::Unknown => self.search(client, State::is_held, None),
            };
            let to = next.map_or(0, Handle::pack);
            if to == seen {
                return None;
            }
            // SeqCst: a client that queues a job up sets `last` before it looks at `first`; here it is the other way.
            let set = owner.first.compare_exchange(seen, to, SeqCst, SeqCst).is_ok();
            if set && to == 0 && owner.last.load(SeqCst) == last {
                return None;
            }
        }
        None
    }

    /// The first job of a client that waits.
    pub fn first_waiting(&self, client: u32) -> Option<Handle> {
        self.next_waiting(client, None)
    }

    /// The first job of a client that waits; with `after`, the first one behind that one, which waits, too.
    #[inline(never)]
    fn next_waiting(&self, client: u32, after: Option<Handle>) -> Option<Handle> {
        let (mut at, mut state) = match after {
            Some(after) => (after, State::Held),
            None => {
                let first = self.first_held(client)?;
                (first, self.get(first)?.state())
            }
        };
        for _ in 0..LINKS {
            if state == State::Waiting {
                return Some(at);
            }
            match self.follows(client, at.pack()) {
                Follows::Job(h, next) => (at, state) = (h, next),
                Follows::None => return None,
                Follows::Unknown => break,
            }
        }
        self.search(client, |state| state == State::Waiting, after)
    }

    /// The jobs of a client that read the pool: as many as its share allows, the first ones that wait.
    pub fn readers(&self, client: u32) -> Readers<'_> {
        Readers { ledger: self, client, left: self.share(client).readers(), last: None }
    }

    /// Returns whether this waiting job reads the pool. `ask`: also if one that should is stopped (SIGSTOP).
    pub fn is_turn_of(&self, job: Handle, client: u32, ask: bool) -> bool {
        let mut others = 0u32;
        for reader in self.readers(client) {
            if reader == job || ask && self.is_stopped(reader) {
                return true;
            }
            others = others.saturating_add(1);
        }
        // There is room for one more, if this job has only just begun to wait.
        others < self.share(client).readers()
    }

    /// The held job of the same client that was made before this one, if there is one.
    pub(super) fn older(&self, record: &Record, job: Handle) -> Option<Handle> {
        let first = self.first_held(record.client.load(Relaxed))?;
        let is_older = |h: &Handle| self.get(*h).is_some_and(|r| age(*h, r) < age(job, record));
        Some(first).filter(|h| *h != job).filter(is_older)
    }

    /// Called after a step to or from a state in which a job is held.
    pub(super) fn queued(&self, h: Handle, record: &Record, to: State) {
        match to {
            State::Held => self.queue_up(h, record),
            State::Waiting => self.header.used.wait(h.index, true),
            _ => {
                self.header.used.wait(h.index, false);
                self.leave_queue(h, record);
            }
        }
    }

    /// A job is held.
    #[inline(never)]
    fn queue_up(&self, h: Handle, record: &Record) {
        let client = record.client.load(Relaxed);
        let Some(owner) = self.record(client) else { return };
        let before = owner.last.swap(h.pack(), SeqCst);
        if let Some(before) = Handle::unpack(before).and_then(|before| self.get(before)) {
            let _ = before.next.compare_exchange(0, h.pack(), SeqCst, Relaxed);
        }
        if owner.first.compare_exchange(0, h.pack(), SeqCst, SeqCst).is_err() {
            self.first_held(client);
        }
    }

    /// A held job has started or ended: the next one reads the pool.
    #[inline(never)]
    fn leave_queue(&self, h: Handle, record: &Record) {
        let client = record.client.load(Relaxed);
        let Some(owner) = self.record(client) else { return };
        let first = owner.first.load(SeqCst);
        if first == h.pack() {
            self.first_held(client);
        } else if let Some((_, _, first)) = self.held_job(client, first) {
            // It was the second one: the chain need not lead through it any more.
            let _ =
                first.next.compare_exchange(h.pack(), record.next.load(SeqCst), SeqCst, Relaxed);
        }
        self.call_readers(client, false);
    }

    /// Wakes the jobs of a client whose turn it is to read the pool, unless they read. `next`: wakes the one behind them.
    pub fn call_readers(&self, client: u32, next: bool) {
        let mut last = None;
        for reader in self.readers(client) {
            self.call(reader);
            last = Some(reader);
        }
        if let Some(behind) = last.filter(|_| next).and_then(|l| self.next_waiting(client, Some(l)))
        {
            self.call(behind);
        }
    }

    /// Called by a job that has begun to read: wakes one that reads out of turn. It began while older jobs did not wait
    /// yet, and would get a client more tokens than its share.
    #[inline(never)]
    pub fn relieve_reader(&self, client: u32) {
        let mut last = self.readers(client).last();
        for _ in 0..LINKS {
            last = last.and_then(|job| self.next_waiting(client, Some(job)));
            let Some((h, record)) = last.and_then(|h| Some((h, self.get(h)?))) else { return };
            if record.landing.is_reading(h.generation) {
                return record.wake();
            }
        }
    }

    fn call(&self, job: Handle) {
        if let Some(record) = self.get(job).filter(|r| !r.landing.is_reading(job.generation)) {
            record.wake();
        }
    }

    /// Returns whether a job of a client that should read the pool is stopped (SIGSTOP).
    pub fn is_reader_stopped(&self, client: u32) -> bool {
        self.readers(client).any(|reader| self.is_stopped(reader))
    }

    fn is_stopped(&self, job: Handle) -> bool {
        let pid = self.get(job).map_or(0, |r| r.pid.load(Acquire));
        proc::stat(pid).is_some_and(|s| s.is_stopped())
    }
}
