//! The guard's lending: which slots are lent, and which held jobs start on them; the rules of [`crate::lending`].

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::ledger::access::Ledger;
use crate::ledger::debts::{SELDOM, SOON};
use crate::ledger::handle::Handle;
use crate::ledger::record::{Record, UNTIMED};
use crate::lending::Census;
use crate::slots::State;
use crate::sys;

use super::activity::Activity;
use super::lent::Lent;
use super::pace::Pace;
use super::trade::Trade;
use super::verdict::Snapshot;
use super::when::When;

/// If a job has waited for this many times the limit, it has waited for long. Then a job that uses more than a little
/// CPU time, but sleeps most of the time, lends its slot, too: it may be polling for what waits.
const LONG: u64 = 10;

/// If no parked job has come back for this many times the limit, one goes on without a slot that is spare: it may be the
/// one that ends a job that computes, as a driver of tests does whose child is late. Longer than [`LONG`]: first a job
/// that polls lends its slot.
const OVERDUE: u64 = 3 * LONG;
/// How many times longer for a job that has computed for long and has no jobs of its own.
const UNLIKELY: u64 = 20;
/// Twice as long this many times for each job that computes above the slots already.
const MORE: u32 = 2;

/// How long the guard goes on to check, in ns, after the last held or borrowed job: a shell whose background job sleeps
/// starts its commands on that slot, one after the other.
const LINGER: u64 = 300_000_000;

/// How often the guard tries to count the jobs while they pass slots on.
const COUNTS: u32 = 32;

/// The guard's state from one round to the next.
pub struct Lender {
    /// How long a job must have used no CPU time, in ns.
    limit: u64,
    activity: Option<&'static mut Activity>,
    /// When a job was held, parked or borrowed last.
    wanted: u64,
    /// When the jobs were counted last.
    last: u64,
    /// Since when a job has been waiting while no slot was spare.
    waiting: u64,
    /// A parked job has come back since the last start of a held job that had waited for long. The two take turns: a
    /// job that comes back may be polling for what waits.
    came_back: bool,
    /// When a parked job was released last.
    released: u64,
    trade: Trade,
    /// See [`Lender::missing`].
    missing: u32,
    /// The lent slots, for the trace; None if no trace is written.
    lent: Option<&'static mut Lent>,
}

impl Lender {
    /// A lender with this limit, in ns.
    pub fn new(limit: u64) -> Self {
        Self {
            limit,
            activity: None,
            wanted: 0,
            last: 0,
            waiting: u64::MAX,
            came_back: false,
            released: 0,
            trade: Trade::new(),
            missing: 0,
            lent: None,
        }
    }

    /// How many slots were missing in the last round for jobs that compute or are parked.
    pub fn missing(&self) -> u32 {
        self.missing
    }

    /// Reports the slots that were lent to the trace.
    pub fn note_lent(&mut self, ledger: &Ledger) {
        if self.lent.is_none() && ledger.header.asked.is_traced() {
            // SAFETY: zeros mean that there are no jobs.
            self.lent = unsafe { sys::map_zeroed() }.ok();
        }
        if let Some(lent) = self.lent.as_deref_mut() {
            lent.note(ledger, self.last != 0);
        }
    }

    /// Checks all running jobs, and starts held jobs on slots whose jobs sleep.
    pub fn round(&mut self, ledger: &Ledger, snapshot: &mut Snapshot) -> Pace {
        let header = &ledger.header;
        let Wants { waits, parked, borrows } = wants(ledger);
        let now = sys::now();
        if waits || parked || borrows {
            self.wanted = now;
        }
        if now.saturating_sub(self.wanted) >= LINGER {
            // Relaxed: hints. A job that starts to wait notifies the guard again, or is seen at the next tick.
            header.owed.store(0, Relaxed);
            header.passes.store(0, Relaxed);
            header.lending.store(0, Release);
            (self.last, self.missing, self.trade) = (0, 0, Trade::new());
            self.note_lent(ledger);
            return Pace::Rest;
        }
        header.lending.store(if waits { SOON } else { SELDOM }, Release);
        header.rounds.fetch_add(1, Relaxed);
        if self.activity.is_none() {
            // SAFETY: zeros mean that nothing is known. It is large, and seldom needed.
            self.activity = unsafe { sys::map_zeroed() }.ok();
        }
        // Relaxed: hints.
        self.trade.begin(&header.passed, header.parks.load(Relaxed), now);
        let brisk = self.trade.is_brisk();
        header.passes.store(brisk.into(), Relaxed);
        let Some(activity) = self.activity.as_deref_mut() else { return Pace::Rest };
        self.waiting = if waits || parked { self.waiting.min(now) } else { u64::MAX };
        let long = now.saturating_sub(self.waiting) > self.limit.saturating_mul(LONG);
        let still = activity.tick(ledger, now);
        let still = if waits { still } else { 0 };
        let when = When::new(now, self.limit, parked, still, long);
        activity.check(ledger, snapshot, when);
        let mut census = settled(activity, ledger);
        if census.spare() > 0 {
            count(activity, ledger, true);
            census = settled(activity, ledger);
        }
        header.owed.store(census.owed | u32::from(parked), Relaxed);
        let past = if self.last == 0 { 0 } else { now.saturating_sub(self.last) };
        header.debt.store(census.debt(), Relaxed);
        header.stats.debt(census.debt(), past);
        let grace = header.grace.load(Acquire);
        if Handle::unpack(grace).is_some_and(|h| !activity.is_awake(h, now)) {
            // AcqRel: another job may have the grace by now.
            let _ = header.grace.compare_exchange(grace, 0, AcqRel, Relaxed);
        }
        self.last = now;
        if waits && census.spare_for_held() == 0 && prove(activity, ledger, snapshot, when) {
            census = settled(activity, ledger);
        }
        let spare = self.lend(ledger, census, now);
        if parked && census.spare() == 0 {
            self.release_overdue(ledger, census.debt(), now);
        }
        self.missing = census.debt().saturating_add(count_parked(ledger));
        // Relaxed: it is counted again soon.
        header.spare.store(spare, Relaxed);
        self.trade.end(&header.passed);
        self.note_lent(ledger);
        match (waits, parked) {
            (_, true) => Pace::Hurry,
            (true, false) => Pace::Soon,
            (false, false) => Pace::Rest,
        }
    }
}

impl Lender {
    /// Slots are spare: parked jobs come back, and held jobs start. Returns for how many more held jobs there are slots.
    fn lend(&mut self, ledger: &Ledger, census: Census, now: u64) -> u32 {
        let mut spare = census.spare();
        if spare == 0 {
            return 0;
        }
        let long = now.saturating_sub(self.limit.saturating_mul(LONG));
        let mut held = census.spare_for_held().max(self.trade.unneeded()).min(spare);
        if held > 0 {
            self.waiting = u64::MAX;
        }
        if ledger.too_loaded() {
            held = 0;
        } else if self.came_back && has_waited(ledger, long) && self.start_held(ledger, long) {
            (spare, held) = (spare.saturating_sub(1), held.saturating_sub(1));
            (self.came_back, self.waiting) = (false, u64::MAX);
        }
        if ledger.leave_slots(spare) > 0 {
            (self.came_back, self.released, self.waiting) = (true, now, u64::MAX);
        }
        while held > 0 && ledger.header.passed.take() {
            if !self.start_held(ledger, long) {
                ledger.leave_slots(1);
                break;
            }
            (held, self.waiting) = (held.saturating_sub(1), u64::MAX);
            self.trade.needs_one();
        }
        held
    }

    fn start_held(&mut self, ledger: &Ledger, long: u64) -> bool {
        self.activity.as_deref_mut().is_some_and(|activity| start_held(activity, ledger, long))
    }

    /// Rule 7 of [`crate::lending`].
    fn release_overdue(&mut self, ledger: &Ledger, debt: u32, now: u64) {
        let times = OVERDUE.wrapping_shl(debt.min(8).wrapping_mul(MORE));
        let wait = self.limit.saturating_mul(times);
        let before = |wait: u64| now.saturating_sub(wait);
        let Some(activity) = self.activity.as_deref_mut().filter(|_| self.released <= before(wait))
        else {
            return;
        };
        let long = before(wait.saturating_mul(UNLIKELY));
        if let Some(job) = activity.first_parked(ledger, before(wait), long) {
            activity.unpark(ledger, job, now);
            (self.came_back, self.released) = (true, now);
        }
    }
}

/// What the jobs of a pool want.
struct Wants {
    /// A job waits for a slot. A job for which its client waits, before it makes the process, can be held as soon as a
    /// slot is spare.
    waits: bool,
    parked: bool,
    borrows: bool,
}

#[inline(never)]
fn wants(ledger: &Ledger) -> Wants {
    let mut wants = Wants { waits: false, parked: false, borrows: false };
    for (_, r) in ledger.records() {
        let (state, generation) = r.now();
        let gated = state == State::Claim && r.since.load(Relaxed) != UNTIMED;
        wants.waits |= gated || state == State::Waiting;
        wants.parked |= state.runs() && r.is_parked(generation);
        wants.borrows |= state == State::Borrowed;
    }
    wants
}

/// The number of parked jobs.
#[inline(never)]
fn count_parked(ledger: &Ledger) -> u32 {
    ledger.parked().count() as u32
}

/// Counts the running jobs at a moment at which no job passes its slot on or takes one. The slots that were passed on are
/// taken: who needs one has it after this, or waits.
#[inline(never)]
fn settled(activity: &mut Activity, ledger: &Ledger) -> Census {
    let passed = &ledger.header.passed;
    for _ in 0..COUNTS {
        let seen = passed.take_all();
        let census = count(activity, ledger, false);
        if passed.is_as(seen) {
            return census;
        }
    }
    // There is no such moment: this time no slot is spare and none is missing.
    Census::default()
}

/// Returns whether a job has been held since before `long`.
fn has_waited(ledger: &Ledger, long: u64) -> bool {
    let is_due = |r: &Record| r.since.load(Relaxed) < long;
    ledger.records().any(|(_, r)| r.state() == State::Waiting && is_due(r))
}

/// Counts the running jobs. `ask`: determine anew for each client whether it runs in a job.
#[inline(never)]
fn count(activity: &mut Activity, ledger: &Ledger, ask: bool) -> Census {
    let mut census = Census::default();
    for (index, job) in ledger.records() {
        let (state, generation) = job.now();
        if !state.may_run() {
            continue;
        }
        let shares =
            state == State::Implicit && is_inside(activity, ledger, job.client.load(Acquire), ask);
        let sleeps = activity.sleeps(Handle { index, generation }, job);
        census.add(state, shares, sleeps);
        if !sleeps && job.has_passed(generation) {
            census.pass(state);
        }
    }
    census
}

/// Looks for clients that are stalled. Returns whether there is one.
fn prove(activity: &mut Activity, ledger: &Ledger, snapshot: &mut Snapshot, when: When) -> bool {
    let mut any = false;
    for (index, client) in ledger.records().filter(|(_, r)| r.state() == State::Client) {
        let is_due = |since: u64| since.saturating_add(when.proven) < when.now;
        let waits = ledger
            .jobs_of(index)
            .any(|(_, state, r)| state == State::Waiting && is_due(r.since.load(Relaxed)));
        let h = Handle { index, generation: client.now().1 };
        any |= waits && activity.prove(ledger, snapshot, h, when);
    }
    any
}

/// Starts a held job. Returns whether there was one. The order: those that have waited for long; those whose client is
/// in a job itself, because that job can end only then, and its slot is lent meanwhile; the others; those of the
/// background. In each of these the one that has waited longest. Held since before `long` is for long.
#[inline(never)]
fn start_held(activity: &mut Activity, ledger: &Ledger, long: u64) -> bool {
    let held = ledger.records().filter_map(|(index, r)| {
        let (state, generation) = r.now();
        let (client, since) = (r.client.load(Relaxed), r.since.load(Relaxed));
        let rank = match state {
            State::Waiting if ledger.is_background(client) => Rank::Background,
            State::Waiting if since < long => Rank::Late,
            State::Waiting if is_inside(activity, ledger, client, false) => Rank::Inside,
            State::Waiting => Rank::Other,
            _ => return None,
        };
        Some((rank, since, Handle { index, generation }))
    });
    let first = held.min_by_key(|(rank, since, h)| (*rank, *since, h.index));
    first.is_some_and(|(.., first)| ledger.borrow(first))
}

/// Which held jobs start first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Late,
    Inside,
    Other,
    Background,
}

/// Returns whether this client runs in a job. `ask`: determine it anew.
fn is_inside(activity: &mut Activity, ledger: &Ledger, client: u32, ask: bool) -> bool {
    ledger.record(client).is_none_or(|c| {
        let h = Handle { index: client, generation: c.now().1 };
        activity.is_inside(h, c.pid.load(Acquire), ask)
    })
}
