//! What the guard keeps of the slots that jobs pass on to each other ([`crate::ledger::passing`]).

use crate::ledger::passed::Passed;

use super::when::MOMENT;

/// How often jobs must be parked in [`WINDOW`] for slots to be passed on. If it is seldom, the guard is quick enough, and
/// its checks are exact.
const OFTEN: u32 = 16;
/// In ns.
const WINDOW: u64 = 500_000_000;

/// See the module.
pub struct Trade {
    /// How often jobs had been parked when the window began, and when that was, in ns.
    parks: u32,
    begun_at: u64,
    /// They were parked often in this window, or in the one before.
    often: [bool; 2],
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
        Self {
            parks: 0,
            begun_at: 0,
            often: [false; 2],
            begun: false,
            least: 0,
            since: 0,
            unneeded: 0,
        }
    }

    /// Called at the begin of a round; `parks` counts how often jobs were parked.
    pub fn begin(&mut self, passed: &Passed, parks: u32, now: u64) {
        let [this, before] = &mut self.often;
        *this |= parks.wrapping_sub(self.parks) >= OFTEN;
        if now.saturating_sub(self.begun_at) >= WINDOW {
            (*before, *this) = (*this && self.begun, false);
            (self.parks, self.begun_at) = (parks, now);
        }
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
    pub fn is_brisk(&self) -> bool {
        self.begun && self.often.contains(&true)
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
