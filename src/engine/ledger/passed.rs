//! Slots that were passed on: a job that falls asleep in a call that the library hooks wakes the job that has been
//! parked longest, or leaves its slot to the next one that wakes up ([`crate::lending`], rule 8). The guard would have
//! to see first that the job sleeps, which takes it some ms.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};

use crate::sync::{fence, AtomicU32};

use super::access::Ledger;
use super::handle::Handle;
use super::record::Record;

/// The bits of [`Passed`] that count slots; the others count changes.
const SLOTS: u32 = 0xffff;
/// One change.
const CHANGE: u32 = SLOTS + 1;

/// The slots that were passed on and not taken yet, and how often jobs have passed slots on or taken them. By the second
/// number the guard notices that its count of the jobs is out of date.
#[repr(transparent)]
pub struct Passed(AtomicU32);

impl Passed {
    /// Leaves so many slots to those that wake up next.
    pub fn leave(&self, slots: u32) {
        self.change(|left| Some(left.saturating_add(slots).min(SLOTS)));
    }

    /// Returns whether there is none.
    fn is_empty(&self) -> bool {
        // Relaxed: a hint.
        self.0.load(Relaxed) & SLOTS == 0
    }

    /// Takes a slot. Returns whether there was one.
    pub fn take(&self) -> bool {
        self.change(|left| left.checked_sub(1))
    }

    /// Takes all slots. Returns what [`Passed::is_as`] gets.
    pub fn take_all(&self) -> u32 {
        self.change(|_| Some(0));
        self.0.load(Acquire)
    }

    /// Returns whether nothing has changed since [`Passed::take_all`]. Whoever takes or passes on a slot from now on
    /// finds out that the guard has counted.
    pub fn is_as(&self, seen: u32) -> bool {
        let to = seen.wrapping_add(CHANGE);
        // AcqRel: what was counted before is as it was then.
        self.0.compare_exchange(seen, to, AcqRel, Relaxed).is_ok()
    }

    fn change(&self, to: impl Fn(u32) -> Option<u32>) -> bool {
        let mut seen = self.0.load(Acquire);
        loop {
            let Some(left) = to(seen & SLOTS) else { return false };
            let next = (seen & !SLOTS).wrapping_add(CHANGE) | left;
            // AcqRel: whoever takes the slot comes after what the job did before it slept.
            match self.0.compare_exchange_weak(seen, next, AcqRel, Acquire) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
    }
}

impl Ledger {
    /// Returns whether a job that falls asleep has to pass its slot on: others have been parked lately.
    #[inline]
    pub fn passes(&self) -> bool {
        // Relaxed: a hint.
        self.header.passes.load(Relaxed) != 0
    }

    /// This job is about to sleep: its slot goes to the job that has been parked longest, else to the next one that wakes
    /// up. Called by the only thread of the job. Async-signal-safe.
    pub fn pass_slot(&self, job: Handle) {
        let Some(record) = self.get(job).filter(|r| r.state().runs() && r.computes()) else {
            return;
        };
        // Until its note tells that it sleeps it counts as computing, and so does who goes on by it: so the guard never
        // finds too few.
        if !self.take_debt() {
            self.leave_slots(1);
        }
        record.pass(job.generation);
    }

    /// Leaves so many slots to parked jobs, or to those that wake up next. Returns how many jobs go on.
    pub fn leave_slots(&self, slots: u32) -> u32 {
        self.header.passed.leave(slots);
        self.release_parked()
    }

    /// Lets parked jobs go on, who has been parked longest first, while there are slots that were passed on. Returns how
    /// many.
    pub fn release_parked(&self) -> u32 {
        let mut released = 0u32;
        // Whoever parks does so before it comes here, whoever leaves a slot, too: one of them sees the other.
        fence(SeqCst);
        while let Some((next, record)) = self.parked_first() {
            if !self.header.passed.take() {
                break;
            }
            if record.unpark(next.generation) {
                released = released.saturating_add(1);
            } else {
                self.header.passed.leave(1);
            }
        }
        released
    }

    /// A job that sleeps has woken up: takes a slot that was passed on, if there is one. Returns whether it did. First the
    /// job counts as computing, then it takes the slot: the guard never finds too few.
    pub fn take_slot(&self, job: Handle, record: &Record) -> bool {
        if self.header.passed.is_empty() {
            return false;
        }
        let Some(slept) = record.wake_up(job.generation) else { return false };
        let taken = self.header.passed.take();
        if !taken {
            record.sleep_on(slept);
        }
        taken
    }

    /// A job that has passed its slot on ends, or has been found computing: if nobody has taken the slot, it is gone.
    pub fn take_passed(&self, job: Handle) {
        if self.record(job.index).is_some_and(|r| r.unpass(job.generation)) {
            self.header.passed.take();
        }
    }

    /// If more jobs compute than there are slots: now it is one less. Returns whether it was so.
    fn take_debt(&self) -> bool {
        let debt = &self.header.debt;
        let mut seen = debt.load(Relaxed);
        while let Some(less) = seen.checked_sub(1) {
            // Relaxed: the guard counts again soon.
            match debt.compare_exchange(seen, less, Relaxed, Relaxed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
        false
    }

    /// All parked jobs, and since when each is parked, in ns.
    pub fn parked(&self) -> impl Iterator<Item = (u64, Handle, &Record)> {
        self.records().filter_map(|(index, record)| {
            let (state, generation) = record.now();
            let is_it = state.runs() && record.is_parked(generation);
            is_it.then(|| (record.home.load(Relaxed), Handle { index, generation }, record))
        })
    }

    /// The job that has been parked longest.
    fn parked_first(&self) -> Option<(Handle, &Record)> {
        self.parked().min_by_key(|(since, ..)| *since).map(|(_, h, record)| (h, record))
    }
}
