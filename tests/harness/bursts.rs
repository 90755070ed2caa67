//! The log of bursts: from when to when each measured process computed (c/jobs.h, py/jobs.py).
//!
//! A burst lasts from its first instruction to its last, also while the processor is another's: it is a job that
//! wants to run, as the slots count them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What may run above the slots in all, as a part of the time in which anything computes.
const SHARE: f64 = 0.02;

/// How long more than one above the slots may compute.
const LONGEST: Duration = Duration::from_millis(50);

/// What interrupts a time above the slots, in ns.
const BREAK: u64 = 5_000_000;

/// Start and end of each, in ns.
#[derive(Debug)]
pub struct Bursts(Vec<(u64, u64)>);

impl Bursts {
    pub fn path(dir: &Path) -> PathBuf {
        dir.join("bursts")
    }

    /// An empty log that any user may write.
    pub fn begin(dir: &Path) {
        let path = Bursts::path(dir);
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    }

    pub fn of(dir: &Path) -> Bursts {
        let text = fs::read_to_string(Bursts::path(dir)).unwrap();
        let burst = |line: &str| {
            let (start, end) = line.split_once(' ')?;
            Some((start.parse().ok()?, end.parse().ok()?))
        };
        let read = |line| burst(line).unwrap_or_else(|| panic!("{line:?} in the log of bursts"));
        Bursts(text.lines().map(read).collect())
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// How many computed, and for how many ns, in order.
    fn levels(&self) -> Vec<(usize, u64)> {
        let mut steps: Vec<_> = self.0.iter().flat_map(|b| [(b.1, -1), (b.0, 1)]).collect();
        steps.sort_unstable();
        let mut level = 0;
        let level_after = steps.iter().map(|(_, step)| {
            level += step;
            usize::try_from(level).expect("no burst ends before it starts")
        });
        let level_after: Vec<_> = level_after.collect();
        let spans = steps.windows(2).map(|two| two[1].0 - two[0].0);
        level_after.into_iter().zip(spans).filter(|(_, span)| *span > 0).collect()
    }

    pub fn peak(&self) -> usize {
        self.levels().into_iter().map(|(level, _)| level).max().unwrap_or(0)
    }

    /// The part of the time in which anything computes that more than `slots` do.
    pub fn share_above(&self, slots: usize) -> f64 {
        let time = |above: usize| -> u64 {
            self.levels().iter().filter(|(level, _)| *level > above).map(|(_, span)| span).sum()
        };
        if time(0) == 0 {
            0.0
        } else {
            time(slots) as f64 / time(0) as f64
        }
    }

    /// The longest time in which more than `slots` compute. One that ends and another that starts at once are no break.
    pub fn longest_above(&self, slots: usize) -> Duration {
        let (mut longest, mut now) = (0, 0);
        for (level, span) in self.levels() {
            now = match level > slots {
                true => now + span,
                false if span < BREAK => now,
                false => 0,
            };
            longest = longest.max(now);
        }
        Duration::from_nanos(longest)
    }

    pub fn keep_nearly(&self, slots: usize) -> bool {
        self.share_above(slots) <= SHARE && self.longest_above(slots + 1) <= LONGEST
    }

    pub fn describe(&self, slots: usize) -> String {
        format!(
            "more than {slots} of {} bursts for {:.1} % of the time, more than {} for {:?} at a stretch",
            self.count(),
            self.share_above(slots) * 100.0,
            slots + 1,
            self.longest_above(slots + 1),
        )
    }
}
