//! What the guard keeps of the slots that jobs pass on to each other ([`crate::ledger::passing`]).

use crate::ledger::passed::Passed;

use super::part::MOMENT;

/// For how long after a job was parked the others pass their slots on, in ns.
const GOES_ON: u64 = 1_000_000_000;

/// See the module.
pub struct Trade {
    /// When a job was parked last, in ns.
    parked: u64,
    /// There was a round before.
    begun: bool,
    /// The least number of slots that were left, since this time.
    least: u32,
    since: u64,
    /// The result of the [`MOMENT`] before.
    unneeded: u32,
}

impl Trade {
    pub fn new() -> Self {
        Self { parked: 0, begun: false, least: 0, since: 0, unneeded: 0 }
    }

    /// Called at the begin of a round; `parked`: a job is parked.
    pub fn begin(&mut self, passed: &Passed, parked: bool, now: u64) {
        self.parked = if parked { now } else { self.parked };
        // Who has come since the guard has left those slots could have had one.
        let least = if self.begun { passed.least() } else { 0 };
        self.least = self.least.min(least);
        if now.saturating_sub(self.since) >= MOMENT {
            (self.unneeded, self.least, self.since) = (self.least, u32::MAX, now);
        }
    }

    /// Called at the end of a round.
    pub fn end(&mut self, passed: &Passed) {
        passed.begin();
        self.begun = true;
    }

    /// Returns whether jobs that fall asleep have to pass their slots on.
    pub fn goes_on(&self, now: u64) -> bool {
        now.saturating_sub(self.parked) < GOES_ON
    }

    /// How many of the slots that were passed on nobody has taken for a moment, however short the sleep of each job was.
    pub fn unneeded(&self) -> u32 {
        self.unneeded
    }

    /// A held job has started on one of them.
    pub fn needs_one(&mut self) {
        self.unneeded = self.unneeded.saturating_sub(1);
    }
}
