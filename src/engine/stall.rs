//! Held jobs that need not wait: the guard lets them start. What it goes by is how `JSSHIM_COUNT` counts.
//!
//! `running`: a slot whose jobs sleep is lent ([`crate::lending`]). A job sleeps that has used no processor for the
//! limit, or very little over a second, and waits for the clock, for a terminal, for a change of a file, or for others
//! of the tree. A disk, a network, another tree: that is work. Where a client and all its jobs sleep in waits that only
//! each other and held jobs can end, that is enough, and no time must pass.
//!
//! `processes`: a job has its slot from its start to its end, whether it sleeps or not. Only where all running jobs of
//! a client have waited for others of the tree for the limit, a held one may be whom they wait for, and starts without
//! a slot. One job at a time is let go, of the client that started last: the others may wait for its end only. As long
//! as no job of that client has ended, its next one needs a fifth of the limit.
//!
//! What cannot be seen counts only after ten times the limit.

mod activity;
mod ends;
mod lend;
mod part;
mod tree;
mod verdict;
mod waits;

use crate::ledger::Shared;
use crate::proc;
use crate::record::{Handle, Reason};
use crate::slots::State;
use crate::sys;
use core::sync::atomic::Ordering::{Acquire, Relaxed};

use lend::Lender;
use verdict::{Look, Mood};

/// How many clients can be watched at once; more have to wait for their turn.
const MOST: usize = 64;

/// `JSSHIM_COUNT`: what is bounded by the number of slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    /// The jobs that compute.
    Running,
    /// All jobs that have started.
    Processes,
}

impl Count {
    /// The value of `JSSHIM_COUNT`. `None`: it is none.
    pub fn parse(value: &[u8]) -> Option<Self> {
        match value {
            b"" | b"running" => Some(Self::Running),
            b"processes" => Some(Self::Processes),
            _ => None,
        }
    }

    /// The limit when nobody says otherwise, in ns.
    pub fn limit(self) -> u64 {
        match self {
            Self::Running => 100_000_000,
            Self::Processes => 1_000_000_000,
        }
    }
}

/// The value of `JSSHIM_STALL`: seconds, fractions allowed, or `off`. Returns the limit in ns; 0 is off. `None`: it is
/// neither.
pub fn limit(value: &[u8]) -> Option<u64> {
    let parts = |at: usize| Some((value.get(..at)?, value.get(at.saturating_add(1)..)?));
    let point = value.iter().position(|b| *b == b'.');
    let (whole, part) = point.and_then(parts).unwrap_or((value, b""));
    match (value, whole, part) {
        (b"off", ..) => return Some(0),
        (_, b"", b"") => return None,
        _ => {}
    }
    let mut nanos = 0u64;
    let digits = whole.iter().map(Some).chain((0..9).map(|at| part.get(at)));
    for digit in digits {
        let digit = *digit.unwrap_or(&b'0');
        let value = digit.is_ascii_digit().then(|| u64::from(digit.wrapping_sub(b'0')))?;
        nanos = nanos.checked_mul(10)?.checked_add(value)?;
    }
    let all_digits = part.iter().all(u8::is_ascii_digit);
    (all_digits && nanos > 0).then_some(nanos)
}

/// A client whose oldest held job has waited for long. All zeros is none.
#[derive(Clone, Copy)]
struct Watch {
    client: u64,
    /// That held job.
    job: Handle,
    /// Since when it is held.
    held: u64,
    /// The processes of its running jobs and their processor time, since when both stand still, and when
    /// to look next.
    signature: u64,
    still: u64,
    next: u64,
    /// When a job was let go last, and the jobs that ran then; 0 is never.
    broken: u64,
    jobs: u64,
}

/// How soon the guard has to look again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// No job waits that may start.
    Rest,
    /// One is held.
    Soon,
    /// One has woken up, and waits to come back: it was at work.
    Hurry,
}

/// See the module.
pub struct Watchdog {
    limit: u64,
    /// `None`: all jobs count.
    lender: Option<Lender>,
    breaker: Breaker,
    look: Option<&'static mut Look>,
}

impl Watchdog {
    /// One that counts so; `limit` in ns, 0: it does nothing.
    pub fn new(count: Count, limit: u64) -> Self {
        let lender = (count == Count::Running).then(|| Lender::new(limit));
        Self { limit, lender, breaker: Breaker::new(limit), look: None }
    }

    /// Looks at all clients, and lets start what may.
    pub fn round(&mut self, ledger: &Shared) -> Pace {
        // Where /proc shows the pids of another PID namespace, nothing is to be seen of the jobs.
        if self.limit == 0 || !proc::is_ours() {
            return Pace::Rest;
        }
        if self.look.is_none() {
            // SAFETY: zeros are an empty look. It is large, and takes no memory before it is used.
            self.look = unsafe { sys::map_zeroed() }.ok();
        }
        let Some(look) = self.look.as_deref_mut() else { return Pace::Rest };
        match &mut self.lender {
            Some(lender) => lender.round(ledger, look),
            None => {
                self.breaker.round(ledger, look);
                Pace::Rest
            }
        }
    }
}

/// The stall breaker of `processes`.
struct Breaker {
    limit: u64,
    watches: [Watch; MOST],
}

impl Breaker {
    fn new(limit: u64) -> Self {
        let job = Handle { index: 0, generation: 0 };
        let none =
            Watch { client: 0, job, held: 0, signature: 0, still: 0, next: 0, broken: 0, jobs: 0 };
        Self { limit, watches: [none; MOST] }
    }

    /// Looks at all clients and lets one job go if one has to.
    fn round(&mut self, ledger: &Shared, look: &mut Look) {
        if !self.find(ledger) {
            return;
        }
        let mut last: Option<(u64, usize)> = None;
        for at in 0..MOST {
            if let Some(start) = self.stalled(ledger, look, at) {
                last = last.max(Some((start, at)));
            }
        }
        if let Some(watch) = last.and_then(|(_, at)| self.watches.get_mut(at)) {
            watch.let_go(ledger);
        }
    }

    /// Finds the clients whose jobs are held for long. Says whether there is one.
    fn find(&mut self, ledger: &Shared) -> bool {
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

    fn note(&mut self, ledger: &Shared, client: u32, job: Handle, held: u64) {
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

    /// Is this client stalled? Gives the start of its process.
    fn stalled(&mut self, ledger: &Shared, look: &mut Look, at: usize) -> Option<u64> {
        let (limit, now) = (self.limit, sys::now());
        let watch = self.watches.get_mut(at).filter(|w| w.client != 0 && w.next <= now)?;
        let client = Handle::unpack(watch.client)?.index;
        let need = if watch.follows(ledger, client) { limit / 5 } else { limit };
        watch.next = now.saturating_add(need / 4);
        look.find(ledger, client);
        let signature = look.signature();
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
        let stalled = match look.judge(ledger, client) {
            Mood::Waits => true,
            Mood::Runs | Mood::Works | Mood::Timed | Mood::Idle
                if !watch.is_client(ledger, pid) =>
            {
                false
            }
            _ => still >= limit.saturating_mul(10),
        };
        if !stalled {
            // Much has been asked: not again at once.
            watch.next = now.saturating_add(need);
            return None;
        }
        Some(proc::stat(pid).map_or(0, |s| s.start))
    }
}

impl Watch {
    fn let_go(&mut self, ledger: &Shared) {
        let Some(client) = Handle::unpack(self.client) else { return };
        if ledger.overdraw_held(self.job, Reason::Stall) {
            self.broken = sys::now();
            self.jobs = running(ledger, client.index, self.broken);
            self.next = 0;
        }
    }

    /// Is the held job the client itself, at an exec? Its jobs may wait for it in ways that cannot be seen: many a
    /// server ends with its parent.
    fn is_client(&self, ledger: &Shared, client: i32) -> bool {
        ledger.get(self.job).is_some_and(|r| r.pid.load(Acquire) == client)
    }

    /// Are all the jobs still there that ran when one was let go?
    fn follows(&self, ledger: &Shared, client: u32) -> bool {
        self.broken != 0 && running(ledger, client, self.broken) == self.jobs
    }
}

/// The jobs of a client that run since then or longer, in one number.
fn running(ledger: &Shared, client: u32, then: u64) -> u64 {
    let jobs = ledger.jobs_of(client).filter(|(_, state, _)| !state.is_held());
    let jobs = jobs.filter(|(_, _, job)| job.since.load(Relaxed) <= then);
    jobs.fold(0, |all, (job, ..)| all.wrapping_add(mix(job.pack())))
}

impl Look {
    /// The processes and their processor time, in one number. `None`: one runs.
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

/// Spreads the bits of a number, so that a sum of such tells one set from another (splitmix64).
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn limits_are_seconds_or_off() {
        assert_eq!(limit(b""), None);
        assert_eq!(limit(b"off"), Some(0));
        assert_eq!(limit(b"2"), Some(2_000_000_000));
        assert_eq!(limit(b"0.25"), Some(250_000_000));
        assert_eq!(limit(b".5"), Some(500_000_000));
        assert_eq!(limit(b"3."), Some(3_000_000_000));
        assert_eq!(limit(b"0.12345678901"), Some(123_456_789));
        for junk in
            ["0", "0.0", "-1", "x", "1s", ".", "1.x", "1.2.3", "99999999999999", " 1", "OFF"]
        {
            assert_eq!(limit(junk.as_bytes()), None, "{junk}");
        }
    }

    #[test]
    fn what_counts_is_one_of_two_words() {
        assert_eq!(Count::parse(b""), Some(Count::Running));
        assert_eq!(Count::parse(b"running"), Some(Count::Running));
        assert_eq!(Count::parse(b"processes"), Some(Count::Processes));
        for junk in ["Running", "process", " running", "1", "running,processes"] {
            assert_eq!(Count::parse(junk.as_bytes()), None, "{junk}");
        }
    }

    proptest! {
        #[test]
        fn any_value_is_survived(value in proptest::collection::vec(any::<u8>(), 0..30)) {
            let _ = limit(&value);
        }

        #[test]
        fn seconds_are_read(whole in 0u64..1_000_000, part in 1u64..1_000_000_000) {
            let text = format!("{whole}.{part:09}");
            prop_assert_eq!(limit(text.as_bytes()), Some(whole * 1_000_000_000 + part));
        }
    }
}
