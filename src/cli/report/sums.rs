//! The numbers of a pool: those of `JSSHIM_STATS`, counted anew from the trace, and what only a trace can tell.

use std::collections::{BTreeMap, HashMap, HashSet};

use jsshim_engine::ledger::stats::Counts;
use jsshim_engine::show::lanes::Kind;

use super::model::{Part, Pool, State};

/// See the module.
pub struct Sums {
    /// First start and last end, in ns.
    pub time: (u64, u64),
    /// Jobs, waits.
    pub counts: Counts,
    /// Slots that were used.
    pub peak: usize,
    /// Overdrafts by reason.
    pub overdrafts: BTreeMap<String, usize>,
    /// How many slots were busy from when on.
    pub curve: Vec<(u64, usize)>,
    /// Busy slots, summed over time, in ns.
    pub busy: u64,
}

/// Counts.
pub fn of(pool: &Pool) -> Sums {
    let start = pool.parts.iter().map(|p| p.time.0).min().unwrap_or(0);
    let end = pool.parts.iter().map(|p| p.time.1).max().unwrap_or(0);
    let ran = pool.jobs.iter().filter(|job| job.ran).count();
    let mut counts = Counts { jobs: u32::try_from(ran).unwrap_or(u32::MAX), ..Counts::default() };
    // One that was killed before it started has waited for nothing.
    let waits = pool.parts.iter().filter(|p| p.state == State::Wait && pool.jobs[p.job].ran);
    waits.for_each(|p| counts.add_wait(p.nanos()));
    let mut overdrafts = BTreeMap::<_, HashSet<usize>>::new();
    for p in pool.parts.iter().filter(|p| p.state == State::Overdraft) {
        overdrafts.entry(pool.jobs[p.job].why.clone()).or_default().insert(p.job);
    }
    let lanes: HashSet<_> = slots(pool).map(|p| p.lane).collect();
    let curve = curve(pool);
    let ends = curve.iter().skip(1).map(|(at, _)| *at).chain([end]);
    let busy = curve.iter().zip(ends).map(|((at, n), end)| (end - at) * *n as u64).sum();
    Sums {
        time: (start, end),
        counts,
        peak: lanes.len(),
        overdrafts: overdrafts.into_iter().map(|(why, jobs)| (why, jobs.len())).collect(),
        curve,
        busy,
    }
}

impl Sums {
    /// The whole time, in ns.
    pub fn wall(&self) -> u64 {
        (self.time.1 - self.time.0).max(1)
    }

    /// The share of the time of `slots` in which they were busy, in percent.
    pub fn utilisation(&self, slots: usize) -> f64 {
        100.0 * self.busy as f64 / self.wall() as f64 / slots.max(1) as f64
    }

    /// How long so many slots or more were busy, in ns.
    pub fn time_at(&self, slots: usize) -> u64 {
        let ends = self.curve.iter().skip(1).map(|(at, _)| *at).chain([self.time.1]);
        let long = self.curve.iter().zip(ends).filter(|((_, n), _)| *n >= slots);
        long.map(|((at, _), end)| end - at).sum()
    }

    /// The most slots that were busy at once.
    pub fn most(&self) -> usize {
        self.curve.iter().map(|(_, n)| *n).max().unwrap_or(0)
    }
}

/// What ran on slots.
fn slots(pool: &Pool) -> impl Iterator<Item = &Part> {
    pool.parts.iter().filter(|p| p.kind == Kind::Slot && p.state != State::Lent)
}

/// How many slots are busy, step by step.
fn curve(pool: &Pool) -> Vec<(u64, usize)> {
    let mut steps = BTreeMap::<u64, HashMap<u32, i64>>::new();
    for p in slots(pool) {
        *steps.entry(p.time.0).or_default().entry(p.lane).or_default() += 1;
        *steps.entry(p.time.1).or_default().entry(p.lane).or_default() -= 1;
    }
    // A slot may have more than one job at once: those inside another.
    let mut depth = HashMap::<u32, i64>::new();
    let mut curve = Vec::with_capacity(steps.len());
    for (at, changes) in steps {
        for (lane, by) in changes {
            *depth.entry(lane).or_default() += by;
        }
        curve.push((at, depth.values().filter(|n| **n > 0).count()));
    }
    curve
}
