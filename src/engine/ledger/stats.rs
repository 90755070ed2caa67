//! The counters of a ledger: jobs, waits, starts without a slot. They are atomics in its header, so that a hook pays a
//! few additions.
//!
//! Waits are counted in buckets, four to a power of two, in µs: a quantile is off by an eighth at most.

use core::sync::atomic::Ordering::Relaxed;

use crate::sync::{AtomicU32, AtomicU64};

use super::reason::Reason;

/// Buckets of waits: up to 2.4 hours.
pub const BUCKETS: usize = 128;
/// Room for the kinds of [`Reason`].
pub const REASONS: usize = 16;

/// The counters. Relaxed throughout: the numbers are shown only, nothing depends on them.
#[repr(C)]
pub struct Stats {
    jobs: AtomicU32,
    recovered: AtomicU32,
    /// Starts on slots whose jobs slept, and how long such jobs had no slot of their own, in ns.
    borrowed: AtomicU32,
    lent: AtomicU64,
    /// The number of jobs that computed above the number of slots, multiplied by the time, in ns.
    debt: AtomicU64,
    /// The sum of all waits, and the longest wait, in ns.
    total: AtomicU64,
    longest: AtomicU64,
    overdrafts: [AtomicU32; REASONS],
    waits: [AtomicU32; BUCKETS],
}

impl Stats {
    /// A job has started.
    pub(crate) fn job(&self) {
        self.jobs.fetch_add(1, Relaxed);
    }

    /// A job starts after a wait.
    pub(crate) fn wait(&self, nanos: u64) {
        self.total.fetch_add(nanos, Relaxed);
        self.longest.fetch_max(nanos, Relaxed);
        if let Some(count) = self.waits.get(bucket(nanos)) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// A job starts without a slot.
    pub(crate) fn overdraft(&self, why: Reason) {
        if let Some(count) = self.overdrafts.get(why as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// A job starts on a slot whose jobs sleep.
    pub(crate) fn borrowed(&self) {
        self.borrowed.fetch_add(1, Relaxed);
    }

    /// A borrowed job has ended or got its own slot, after this many ns.
    pub(crate) fn repaid(&self, nanos: u64) {
        self.lent.fetch_add(nanos, Relaxed);
    }

    /// This many jobs more than there are slots computed for this many ns.
    pub(crate) fn debt(&self, jobs: u32, nanos: u64) {
        self.debt.fetch_add(nanos.saturating_mul(jobs.into()), Relaxed);
    }

    /// The guard has given back the token of a dead process.
    pub fn recovered(&self) {
        self.recovered.fetch_add(1, Relaxed);
    }

    /// How many jobs have started without a slot so far.
    pub fn overdrafts(&self) -> u32 {
        self.overdrafts.iter().fold(0, |sum, n| sum.wrapping_add(n.load(Relaxed)))
    }

    /// Returns the counters.
    pub fn counts(&self) -> Counts {
        self.read(|n| n.load(Relaxed), |n| n.load(Relaxed))
    }

    /// Returns the counters and resets them, so that each job is reported once.
    pub fn take(&self) -> Counts {
        self.read(|n| n.swap(0, Relaxed), |n| n.swap(0, Relaxed))
    }

    fn read(&self, small: fn(&AtomicU32) -> u32, large: fn(&AtomicU64) -> u64) -> Counts {
        let mut counts = Counts {
            jobs: small(&self.jobs),
            recovered: small(&self.recovered),
            borrowed: small(&self.borrowed),
            lent: large(&self.lent),
            debt: large(&self.debt),
            total: large(&self.total),
            longest: large(&self.longest),
            ..Counts::default()
        };
        counts.overdrafts.iter_mut().zip(&self.overdrafts).for_each(|(to, n)| *to = small(n));
        counts.waits.iter_mut().zip(&self.waits).for_each(|(to, n)| *to = small(n));
        counts
    }
}

/// The counters as plain numbers.
#[derive(Clone)]
pub struct Counts {
    /// Jobs that have started.
    pub jobs: u32,
    /// Tokens of dead processes, given back by the guard.
    pub recovered: u32,
    /// Starts on slots whose jobs slept.
    pub borrowed: u32,
    /// How long these jobs had no slot of their own, in ns.
    pub lent: u64,
    /// Jobs that computed above the number of slots, multiplied by the time, in ns.
    pub debt: u64,
    /// The sum of all waits, in ns.
    pub total: u64,
    /// The longest wait, in ns.
    pub longest: u64,
    /// Overdrafts by [`Reason`].
    pub overdrafts: [u32; REASONS],
    /// Waits by length.
    pub waits: [u32; BUCKETS],
}

impl Default for Counts {
    fn default() -> Self {
        let (overdrafts, waits) = ([0; REASONS], [0; BUCKETS]);
        let (jobs, recovered, borrowed) = (0, 0, 0);
        let (lent, debt, total, longest) = (0, 0, 0, 0);
        Self { jobs, recovered, borrowed, lent, debt, total, longest, overdrafts, waits }
    }
}

impl Counts {
    /// Counts one wait.
    pub fn add_wait(&mut self, nanos: u64) {
        self.total = self.total.saturating_add(nanos);
        self.longest = self.longest.max(nanos);
        if let Some(count) = self.waits.get_mut(bucket(nanos)) {
            *count = count.saturating_add(1);
        }
    }

    /// How many jobs have waited.
    pub fn waited(&self) -> u64 {
        self.waits.iter().map(|n| u64::from(*n)).sum()
    }

    /// The wait that this percentage of the waits did not exceed, in ns: the middle of its bucket.
    pub fn quantile(&self, percent: u64) -> u64 {
        let due = self.waited().saturating_mul(percent).div_ceil(100).max(1);
        let mut sum = 0u64;
        for (at, count) in self.waits.iter().enumerate() {
            sum = sum.saturating_add(u64::from(*count));
            if sum >= due {
                return middle(at).min(self.longest);
            }
        }
        0
    }

    /// The reasons for which there were overdrafts, each with its count.
    pub fn reasons(&self) -> impl Iterator<Item = (Reason, u32)> + '_ {
        Reason::ALL.into_iter().filter_map(|why| {
            let count = *self.overdrafts.get(why as usize)?;
            (count > 0).then_some((why, count))
        })
    }

    /// All overdrafts.
    pub fn overdrawn(&self) -> u64 {
        self.overdrafts.iter().map(|n| u64::from(*n)).sum()
    }
}

/// The bucket of a time.
fn bucket(nanos: u64) -> usize {
    let micros = nanos / 1000;
    let high = micros.checked_ilog2().unwrap_or(0);
    let at = match high.checked_sub(2) {
        None => micros,
        Some(shift) => u64::from(shift).wrapping_mul(4).wrapping_add(micros >> shift),
    };
    (at as usize).min(BUCKETS.wrapping_sub(1))
}

/// The middle of a bucket, in ns.
fn middle(bucket: usize) -> u64 {
    let at = bucket as u64;
    let (low, width) = match at / 4 {
        0 | 1 => (at, 1u64),
        octave => {
            let shift = octave.wrapping_sub(1);
            ((at % 4).wrapping_add(4) << shift, 1 << shift)
        }
    };
    low.wrapping_mul(1000).wrapping_add(width.wrapping_mul(500))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn buckets_follow_each_other() {
        let mut last = 0;
        for micros in 0..100_000u64 {
            let at = bucket(micros * 1000);
            assert!(at == last || at == last + 1, "{micros}");
            last = at;
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    proptest! {
        #[test]
        fn the_middle_is_near(nanos in 8_000u64..1 << 42) {
            let near = middle(bucket(nanos));
            prop_assert!(near.abs_diff(nanos) <= nanos / 8 + 1000, "{near} for {nanos}");
        }

        #[test]
        fn quantiles_are_those_of_the_list(mut waits in proptest::collection::vec(8_000u64..1 << 40, 1..200)) {
            let mut counts = Counts::default();
            waits.iter().for_each(|w| counts.add_wait(*w));
            waits.sort_unstable();
            for percent in [50, 95, 100] {
                let exact = waits[(waits.len() * percent as usize).div_ceil(100) - 1];
                prop_assert!(counts.quantile(percent).abs_diff(exact) <= exact / 8 + 1000);
            }
            prop_assert_eq!(counts.waited(), waits.len() as u64);
        }
    }
}
