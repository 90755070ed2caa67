//! The stall breaker of `JSSHIM_COUNT=processes`.

use core::sync::atomic::Ordering::{Acquire, Relaxed};

use crate::ledger::access::Ledger;
use crate::ledger::handle::Handle;
use crate::ledger::reason::Reason;
use crate::slots::State;
use crate::{proc, sys};

use super::verdict::{Mood, Snapshot};

/// How many clients can be watched at once; more must wait for their turn.
const MOST: usize = 64;

/// A client whose oldest held job has waited for long. All zeros: none.
#[derive(Clone, Copy)]
struct Watch {
    client: u64,
    /// Its oldest held job.
    job: Handle,
    /// Since when that job is held.
    held: u64,
    /// A signature of its running jobs' processes and their CPU time; since when the signature has not changed; and
    /// when to check next.
    signature: u64,
    still: u64,
    next: u64,
    /// When a job was last let go, and a signature of the jobs that ran then; 0: never.
    broken: u64,
    jobs: u64,
}

/// The stall breaker of `JSSHIM_COUNT=processes`.
pub(crate) struct Breaker {
    limit: u64,
    watches: [Watch; MOST],
}

impl Breaker {
    pub(super) fn new(limit: u64) -> Self {
        let job = Handle { index: 0, generation: 0 };
        let none =
            Watch { client: 0, job, held: 0, signature: 0, still: 0, next: 0, broken: 0, jobs: 0 };
        Self { limit, watches: [none; MOST] }
    }

    /// Checks all clients, and lets one job go if necessary.
    pub(super) fn round(&mut self, ledger: &Ledger, snapshot: &mut Snapshot) {
        if !self.find(ledger) {
            return;
        }
        let mut last: Option<(u64, usize)> = None;
        for at in 0..MOST {
            if let Some(start) = self.stalled(ledger, snapshot, at) {
                last = last.max(Some((start, at)));
            }
        }
        if let Some(watch) = last.and_then(|(_, at)| self.watches.get_mut(at)) {
            watch.let_go(ledger);
        }
    }

    /// Finds the clients whose jobs have been held for long. Returns whether there is one.
    fn find(&mut self, ledger: &Ledger) -> bool {
        let now = sys::now();
        let least = self.limit / 5;
        let mut any = false;
        self.watches.iter_mut().for_each(|w| w.held = u64::MAX);
        for (index, record) in ledger.records() {
            let (state, generation) = record.now();
            let held = record.since.load(Relaxed);
            if state.is_held() && held.saturating_add(least) < now {
                self.note(ledger, record.client.load(Acquire), Handle { index, generation }, held);
                any = true;
            }
        }
        self.watches.iter_mut().filter(|w| w.held == u64::MAX).for_each(|w| w.client = 0);
        any
    }

    fn note(&mut self, ledger: &Ledger, client: u32, job: Handle, held: u64) {
        let Some((State::Client, generation)) = ledger.record(client).map(|r| r.now()) else {
            return;
        };
        let client = Handle { index: client, generation }.pack();
        let known = self.watches.iter().position(|w| w.client == client);
        let at = known.or_else(|| self.watches.iter().position(|w| w.client == 0));
        let Some(watch) = at.and_then(|at| self.watches.get_mut(at)) else { return };
        if known.is_none() {
            let still = sys::now();
            *watch = Watch { client, held, job, signature: 0, still, next: 0, broken: 0, jobs: 0 };
        }
        if (held, job.index) < (watch.held, watch.job.index) || watch.held == u64::MAX {
            (watch.held, watch.job) = (held, job);
        }
    }

    /// Returns the start time of the client's process if the client is stalled.
    fn stalled(&mut self, ledger: &Ledger, snapshot: &mut Snapshot, at: usize) -> Option<u64> {
        let (limit, now) = (self.limit, sys::now());
        let watch = self.watches.get_mut(at).filter(|w| w.client != 0 && w.next <= now)?;
        let client = Handle::unpack(watch.client)?.index;
        let need = if watch.follows(ledger, client) { limit / 5 } else { limit };
        watch.next = now.saturating_add(need / 4);
        snapshot.find(ledger, client);
        let signature = snapshot.signature();
        if signature.is_none_or(|s| s != watch.signature) {
            watch.signature = signature.unwrap_or(0);
            watch.still = now;
            return None;
        }
        let still = now.saturating_sub(watch.still);
        if still.min(now.saturating_sub(watch.held)) < need {
            return None;
        }
        let pid = ledger.record(client)?.pid.load(Acquire);
        let stalled = match snapshot.judge(ledger, client) {
            Mood::Waits => true,
            Mood::Runs | Mood::Works | Mood::Timed | Mood::Idle
                if !watch.is_client(ledger, pid) =>
            {
                false
            }
            _ => still >= limit.saturating_mul(10),
        };
        if !stalled {
            // This check was costly: do not repeat it at once.
            watch.next = now.saturating_add(need);
            return None;
        }
        Some(proc::stat(pid).map_or(0, |s| s.start))
    }
}

impl Watch {
    fn let_go(&mut self, ledger: &Ledger) {
        let Some(client) = Handle::unpack(self.client) else { return };
        if ledger.overdraw_held(self.job, Reason::Stall) {
            self.broken = sys::now();
            self.jobs = running(ledger, client.index, self.broken);
            self.next = 0;
        }
    }

    /// Returns whether the held job is the client itself, at an exec. Its jobs may wait for it in ways that cannot be
    /// seen: many servers end with their parent.
    fn is_client(&self, ledger: &Ledger, client: i32) -> bool {
        ledger.get(self.job).is_some_and(|r| r.pid.load(Acquire) == client)
    }

    /// Returns whether all jobs are still there that ran when the last job was let go.
    fn follows(&self, ledger: &Ledger, client: u32) -> bool {
        self.broken != 0 && running(ledger, client, self.broken) == self.jobs
    }
}

/// A signature of the jobs of a client that have been running since `then` or longer.
fn running(ledger: &Ledger, client: u32, then: u64) -> u64 {
    let jobs = ledger.jobs_of(client).filter(|(_, state, _)| !state.is_held());
    let jobs = jobs.filter(|(_, _, job)| job.since.load(Relaxed) <= then);
    jobs.fold(0, |all, (job, ..)| all.wrapping_add(mix(job.pack())))
}

impl Snapshot {
    /// A signature of the processes and their CPU time. Returns None if a process is on a CPU.
    fn signature(&self) -> Option<u64> {
        let mut all = 1u64;
        for pid in self.jobs.all() {
            let Some(stat) = proc::stat(*pid) else { continue };
            if stat.state == b'R' {
                return None;
            }
            all = all.wrapping_add(mix(stat.ticks ^ mix(stat.start ^ mix(*pid as u64))));
        }
        Some(all)
    }
}

/// Mixes the bits of a number, so that sums of such numbers distinguish sets (splitmix64).
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}
