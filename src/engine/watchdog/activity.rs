//! Which running jobs compute, by the kernel's CPU clock of each of their processes. While no clock has moved, no
//! process can have been added, and all are in the same waits as before. So a sleeping job costs one system call for
//! each of its processes, and /proc is read only when a clock has moved a little.

use core::sync::atomic::Ordering::Acquire;

use crate::ledger::access::Ledger;
use crate::ledger::handle::{Handle, RECORDS};
use crate::ledger::record::Record;
use crate::slots::State;
use crate::{proc, sys};

use super::part::{time_of, Part, Roots, Spent, PAUSE};
use super::tree::Tree;
use super::verdict::{Mood, Snapshot};
use super::when::When;

/// The state of all jobs. All zeros: nothing is known yet.
pub struct Activity {
    parts: [Part; RECORDS],
    /// The processes of all jobs.
    jobs: Tree,
}

impl Activity {
    /// Reads the clocks of all running jobs and clients. Returns for how long none of them has moved, in ns.
    pub fn tick(&mut self, ledger: &Ledger, now: u64) -> u64 {
        self.jobs.clear();
        for (_, r) in ledger.records().filter(|(_, r)| r.state().is_job()) {
            self.jobs.add(r.pid.load(Acquire));
        }
        let mut last = 0u64;
        for (index, record) in ledger.records() {
            let (state, generation) = record.now();
            let h = Handle { index, generation };
            let part = match state {
                _ if state.may_run() => self.tick_job(ledger, h, record, now),
                State::Client => self.tick_host(h, record.pid.load(Acquire), now),
                _ => continue,
            };
            last = part.map_or(now, |part| last.max(part.still));
        }
        now.saturating_sub(last)
    }

    fn tick_job(
        &mut self,
        ledger: &Ledger,
        h: Handle,
        record: &Record,
        now: u64,
    ) -> Option<&mut Part> {
        let part = self.parts.get_mut(h.index as usize)?;
        if part.job != h.pack() {
            part.begin(h.pack(), now);
            part.find(&roots(ledger, record, &self.jobs), now);
            // CPU time used before the first check says nothing.
            (part.spent, part.burst) = (Spent::from(now), 0);
        } else {
            part.tick(now);
        }
        Some(part)
    }

    fn tick_host(&mut self, client: Handle, pid: i32, now: u64) -> Option<&mut Part> {
        let host = self.host(client, pid)?;
        host.tick(now);
        Some(host)
    }

    /// Called after [`Activity::tick`]: checks all running jobs, and stores in their records which of them sleep.
    pub fn check(&mut self, ledger: &Ledger, snapshot: &mut Snapshot, when: When) {
        snapshot.listed = false;
        for (index, record) in ledger.records() {
            let (state, generation) = record.now();
            let h = Handle { index, generation };
            if state.may_run() {
                self.check_job(ledger, snapshot, h, record, when);
            }
        }
    }

    fn check_job(
        &mut self,
        ledger: &Ledger,
        snapshot: &mut Snapshot,
        h: Handle,
        record: &Record,
        when: When,
    ) {
        let now = when.now;
        let Some(part) = self.parts.get_mut(h.index as usize).filter(|p| p.job == h.pack()) else {
            return;
        };
        if record.is_parked(h.generation) {
            // It wakes up now and then to look for the guard, and uses CPU time for that.
            (part.sleeps, part.published) = (true, true);
            return;
        }
        if record.has_passed(h.generation) && part.is_astray() {
            ledger.take_back(h);
        }
        if part.sleeps && part.published && !record.sleeps(h.generation) {
            part.wakes_up(now);
        }
        let rested = now.saturating_sub(part.still);
        if when.long {
            part.nap(now);
        }
        let drowsy = when.long && part.drowsy;
        let is_long = || rested >= when.least || drowsy || part.spent.is_quiet(now);
        let due = if part.sleeps { !part.known } else { is_long() };
        if due && now >= part.next {
            part.judge(ledger, snapshot, &roots(ledger, record, &self.jobs), when);
        }
        part.publish(record, h.generation, now);
    }

    /// The job that has been parked longest, if that is since before `since`. If it is not since before `long`, only a
    /// job that starts jobs of its own or has hardly computed yet: one that computes may need it.
    #[inline(never)]
    pub fn first_parked(&self, ledger: &Ledger, since: u64, long: u64) -> Option<Handle> {
        let mut first = None;
        for (parked, h, _) in ledger.parked() {
            let is_first = parked <= since && first.is_none_or(|(seen, _)| parked < seen);
            if !is_first {
                continue;
            }
            let is_needed = |part: &Part| part.is_small() || starts_jobs(ledger, part);
            if parked <= long || self.part(h).is_some_and(is_needed) {
                first = Some((parked, h));
            }
        }
        first.map(|(_, h)| h)
    }

    /// Releases a parked job.
    pub fn unpark(&mut self, ledger: &Ledger, h: Handle, now: u64) {
        if let Some(part) = self.parts.get_mut(h.index as usize).filter(|p| p.job == h.pack()) {
            part.wakes_up(now);
        }
        if let Some(record) = ledger.get(h) {
            record.unpark(h.generation);
        }
    }

    /// Returns whether this job, which is recorded as asleep, has used CPU time since the last check.
    pub fn is_awake(&self, h: Handle, now: u64) -> bool {
        self.part(h).is_some_and(|part| part.sleeps && part.still == now)
    }

    /// Returns whether this job slept at the last check, and has not woken up since then in a call that the library
    /// hooks.
    pub fn sleeps(&self, h: Handle, record: &Record) -> bool {
        let part = self.part(h).filter(|part| part.sleeps);
        part.is_some_and(|part| !part.published || record.sleeps(h.generation))
    }

    /// The state of this job, or of this client's process.
    fn part(&self, h: Handle) -> Option<&Part> {
        self.parts.get(h.index as usize).filter(|part| part.job == h.pack())
    }

    /// The state of a client's process, which is followed from now on.
    fn host(&mut self, client: Handle, pid: i32) -> Option<&mut Part> {
        let host = self.parts.get_mut(client.index as usize)?;
        if host.job != client.pack() {
            host.begin(client.pack(), sys::now());
            host.add(pid, time_of(pid).unwrap_or(0));
        }
        Some(host)
    }

    /// Called after [`Activity::tick`]: returns whether the client and all its running jobs have been asleep for long enough, in waits that only each
    /// other or held jobs can end. Then it may wait for one of its held jobs, and for nothing else. If so, marks its
    /// jobs and everything below them as asleep.
    pub fn prove(
        &mut self,
        ledger: &Ledger,
        snapshot: &mut Snapshot,
        client: Handle,
        When { proven: need, now, .. }: When,
    ) -> bool {
        let Some(pid) = ledger.get(client).map(|r| r.pid.load(Acquire)) else { return false };
        let Some(host) = self.host(client, pid) else { return false };
        let (mut still, next) = (host.still, host.next);
        for (h, ..) in ledger.jobs_of(client.index).filter(|(_, state, _)| state.may_run()) {
            still = still.max(self.part(h).map_or(now, |part| part.still));
        }
        let rested = now.saturating_sub(still);
        if rested < need || now < next {
            return false;
        }
        snapshot.find(ledger, client.index);
        let is_asleep = |mood| matches!(mood, Mood::Waits | Mood::Idle);
        let proven = snapshot.judge(ledger, client.index) == Mood::Waits
            && is_asleep(snapshot.host(ledger, pid));
        if !proven {
            // This check was costly: do not repeat it at once.
            if let Some(host) = self.parts.get_mut(client.index as usize) {
                host.next = now.saturating_add(rested.clamp(need, PAUSE));
            }
            return false;
        }
        self.note_asleep(ledger, snapshot, now);
        true
    }

    fn note_asleep(&mut self, ledger: &Ledger, snapshot: &Snapshot, now: u64) {
        for (index, record) in ledger.records() {
            let (state, generation) = record.now();
            let pid = record.pid.load(Acquire);
            let part = self.parts.get_mut(index as usize).filter(|_| state.may_run());
            if let Some(part) = part.filter(|_| snapshot.jobs.has(pid)) {
                part.falls_asleep(now, false);
                part.publish(record, generation, now);
            }
        }
    }

    /// Returns whether this client runs in a job of the ledger, whose slot its implicit slot is then. `ask`: determine
    /// it anew.
    pub fn is_inside(&mut self, client: Handle, pid: i32, ask: bool) -> bool {
        let Some(host) = self.host(client, pid) else { return true };
        let known = host.inside;
        // The shared slot has ended with that job; the client, or processes that it left, may run on.
        if !ask && (known == 0 || known > 0 && self.jobs.has(known)) {
            return known != 0;
        }
        let inside = proc::line_of(pid).find(|above| self.jobs.has(*above)).unwrap_or(0);
        if let Some(host) = self.host(client, pid) {
            host.inside = inside;
        }
        inside != 0
    }
}

fn roots<'a>(ledger: &Ledger, job: &Record, jobs: &'a Tree) -> Roots<'a> {
    let client = ledger.record(job.client.load(Acquire));
    let client = client.map_or(0, |c| c.pid.load(Acquire));
    Roots { pid: job.pid.load(Acquire), client, jobs }
}

/// Returns whether one of the job's own processes is a client.
fn starts_jobs(ledger: &Ledger, part: &Part) -> bool {
    let is_own = |r: &Record| part.pids().contains(&r.pid.load(Acquire));
    ledger.records().any(|(_, r)| r.state() == State::Client && is_own(r))
}
