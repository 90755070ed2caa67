//! How many slots were passed on and not taken yet ([`super::passing`]).

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::sync::AtomicU32;

/// How many bits a number of slots has in [`Passed`].
const BITS: u32 = 10;
/// The largest such number.
const MOST: u32 = (1 << BITS) - 1;
/// One change.
const CHANGE: u32 = 1 << (2 * BITS);

/// From the low bits on: the slots that were passed on and not taken yet; the least that this number has been since the
/// guard was here last; and how often jobs have passed slots on or taken them. By the last number the guard notices that
/// its count of the jobs is out of date, by the second one how many slots nobody needs.
#[repr(transparent)]
pub struct Passed(AtomicU32);

/// What [`Passed`] was at one time.
#[derive(Clone, Copy)]
pub struct Seen(u32);

impl Seen {
    fn left(self) -> u32 {
        self.0 & MOST
    }

    fn least(self) -> u32 {
        (self.0 >> BITS) & MOST
    }

    fn next(self, left: u32, least: u32) -> Self {
        let changes = (self.0 & !(CHANGE - 1)).wrapping_add(CHANGE);
        Self(changes | least.min(MOST) << BITS | left.min(MOST))
    }
}

impl Passed {
    /// Leaves so many slots to those that wake up next.
    #[inline(never)]
    pub fn leave(&self, slots: u32) {
        self.change(|seen| Some(seen.next(seen.left().saturating_add(slots), seen.least())));
    }

    /// Returns whether there is none.
    pub fn is_empty(&self) -> bool {
        // Relaxed: a hint.
        Seen(self.0.load(Relaxed)).left() == 0
    }

    /// Takes a slot. Returns whether there was one.
    #[inline(never)]
    pub fn take(&self) -> bool {
        let less = |seen: Seen| {
            let left = seen.left().checked_sub(1)?;
            Some(seen.next(left, seen.least().min(left)))
        };
        self.change(less).is_some()
    }

    /// Takes all slots.
    pub fn take_all(&self) -> Seen {
        let none = |seen: Seen| Some(seen.next(0, seen.least()));
        self.change(none).unwrap_or(Seen(0))
    }

    /// Returns whether nothing has changed since [`Passed::take_all`]. Whoever takes or passes on a slot from now on
    /// finds out that the guard has counted.
    pub fn is_as(&self, seen: Seen) -> bool {
        let to = seen.next(seen.left(), seen.least());
        // AcqRel: what was counted before is as it was then.
        self.0.compare_exchange(seen.0, to.0, AcqRel, Relaxed).is_ok()
    }

    /// How many slots have been left all the time since [`Passed::begin`].
    pub fn least(&self) -> u32 {
        // Relaxed: a measure.
        Seen(self.0.load(Relaxed)).least()
    }

    /// From now on the least number is taken anew.
    pub fn begin(&self) {
        self.change(|seen| Some(seen.next(seen.left(), seen.left())));
    }

    /// Returns what it was changed to.
    fn change(&self, to: impl Fn(Seen) -> Option<Seen>) -> Option<Seen> {
        let mut seen = self.0.load(Acquire);
        loop {
            let next = to(Seen(seen))?;
            // AcqRel: whoever takes the slot comes after what the job did before it slept.
            match self.0.compare_exchange_weak(seen, next.0, AcqRel, Acquire) {
                Ok(_) => return Some(next),
                Err(now) => seen = now,
            }
        }
    }
}
