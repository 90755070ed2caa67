//! Lanes: the numbering of slots for display. A token has no number of its own, but a picture of a build needs a line
//! for each slot. So every job on a token takes the lowest free number.
//!
//! A lane holds the handle of its owner, so that the lane of a killed owner is recognised and reused. A lane is
//! released before the token goes back. So there are never more lanes in use than slots, except for a moment when two
//! processes take one for the same client, or one for a job that another process has just ended or moved.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::sync::{AtomicU32, AtomicU64};

/// What a lane is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A slot.
    Slot = 0,
    /// A job without a slot.
    Overdraft = 1,
    /// A wait.
    Wait = 2,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Slot, Self::Overdraft, Self::Wait];
}

/// A lane: what it is for, and its number from 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lane {
    /// See [`Kind`].
    pub kind: Kind,
    /// The number, from 1.
    pub number: u16,
}

const NUMBER: u16 = 0x0fff;
/// The bits of [`Lane::pack`].
const LANE_BITS: u32 = 14;

impl Lane {
    /// The lane of all jobs for which no lane is left. It has no owner.
    pub fn overflow(kind: Kind) -> Self {
        Self { kind, number: NUMBER }
    }

    /// The form in a record; never 0.
    pub fn pack(self) -> u16 {
        (self.kind as u16) << 12 | self.number & NUMBER
    }

    /// The reverse of [`Lane::pack`]. Returns None for 0.
    pub fn unpack(word: u16) -> Option<Self> {
        let kind = Kind::ALL.into_iter().find(|kind| *kind as u16 == word >> 12)?;
        Some(Self { kind, number: word & NUMBER }).filter(|lane| lane.number > 0)
    }
}

/// The lane on which a record is shown, if any. Every change is a compare-and-swap under the caller's generation.
/// AcqRel: a lane changes hands by it.
pub struct Shown(AtomicU64);

impl Shown {
    fn word(generation: u64, lane: Option<Lane>) -> u64 {
        generation << LANE_BITS | u64::from(lane.map_or(0, Lane::pack))
    }

    /// The bits of a word without its generation. Returns None if the generation is another one.
    fn rest(word: u64, generation: u64) -> Option<u16> {
        let rest = word ^ Self::word(generation, None);
        (rest >> LANE_BITS == 0).then_some(rest as u16)
    }

    /// The lane in this generation.
    pub fn get(&self, generation: u64) -> Option<Lane> {
        Self::rest(self.0.load(Acquire), generation).and_then(Lane::unpack)
    }

    /// Changes the lane from `from` to `to`. Returns false if it was not `from` in this generation.
    pub fn change(&self, generation: u64, from: Option<Lane>, to: Option<Lane>) -> bool {
        let (from, to) = (Self::word(generation, from), Self::word(generation, to));
        self.0.compare_exchange(from, to, AcqRel, Acquire).is_ok()
    }

    /// Sets the lane if the generation is still this one. Returns the lane before.
    pub fn swap(&self, generation: u64, to: Option<Lane>) -> Option<Lane> {
        let to = Self::word(generation, to);
        let mut word = self.0.load(Acquire);
        // The words are compared, not the lanes: in a broken ledger a word may be no valid lane.
        loop {
            let rest = Self::rest(word, generation)?;
            match self.0.compare_exchange(word, to, AcqRel, Acquire) {
                Ok(_) => return Lane::unpack(rest),
                Err(now) => word = now,
            }
        }
    }

    /// Removes the lane for a new generation.
    pub fn reset(&self, generation: u64) {
        self.0.store(Self::word(generation, None), Relaxed);
    }
}

/// All lanes of a ledger.
#[repr(C)]
pub struct Lanes {
    /// The most lanes of each kind that were in use at once.
    high: [AtomicU32; 3],
    slots: [AtomicU64; 4000],
    overdrafts: [AtomicU64; 256],
    waits: [AtomicU64; 1024],
}

impl Lanes {
    fn of(&self, kind: Kind) -> (&AtomicU32, &[AtomicU64]) {
        let [slots, overdrafts, waits] = &self.high;
        match kind {
            Kind::Slot => (slots, &self.slots),
            Kind::Overdraft => (overdrafts, &self.overdrafts),
            Kind::Wait => (waits, &self.waits),
        }
    }

    /// The most lanes of a kind that were in use at once.
    pub fn peak(&self, kind: Kind) -> u32 {
        self.of(kind).0.load(Relaxed)
    }

    /// How many lanes are in use now.
    #[cfg(test)]
    pub fn in_use(&self) -> usize {
        let used = |kind| self.of(kind).1.iter().filter(|at| at.load(Relaxed) != 0).count();
        Kind::ALL.into_iter().map(used).sum()
    }

    /// Takes a lane for `owner`. Also returns whether it was never used before. Returns None if no lane is left.
    /// `is_stale` tells whether an owner is gone without having released its lane.
    pub fn claim(
        &self,
        kind: Kind,
        owner: u64,
        is_stale: impl Fn(u64) -> bool,
    ) -> Option<(Lane, bool)> {
        let (high, all) = self.of(kind);
        let used = high.load(Relaxed) as usize;
        let lane = |at: usize| Lane { kind, number: (at as u16).wrapping_add(1) };
        // AcqRel: whoever sees the owner sees what was written about it before.
        let swap = |at: &AtomicU64, from| at.compare_exchange(from, owner, AcqRel, Relaxed).is_ok();
        let free = |at: &AtomicU64| at.load(Relaxed) == 0 && swap(at, 0);
        let left = |at: &AtomicU64| {
            let seen = at.load(Acquire);
            seen != 0 && is_stale(seen) && swap(at, seen)
        };
        let used_before = all.get(..used).unwrap_or(all);
        let found = used_before.iter().position(free);
        // A lane that was passed may have become free.
        let found = found.or_else(|| used_before.iter().position(|at| free(at) || left(at)));
        if let Some(at) = found {
            return Some((lane(at), false));
        }
        let at = all.iter().skip(used).position(free)?.saturating_add(used);
        high.fetch_max((at as u32).saturating_add(1), Relaxed);
        Some((lane(at), true))
    }

    /// Passes a lane from `owner` to another owner.
    pub fn pass_on(&self, lane: Lane, owner: u64, to: u64) {
        if let Some(at) = self.at(lane) {
            let _ = at.compare_exchange(owner, to, AcqRel, Relaxed);
        }
    }

    /// Releases a lane if it belongs to `owner`.
    pub fn release(&self, lane: Lane, owner: u64) {
        if let Some(at) = self.at(lane) {
            let _ = at.compare_exchange(owner, 0, AcqRel, Relaxed);
        }
    }

    /// Returns whether this lane belongs to `owner`.
    pub fn is_of(&self, lane: Lane, owner: u64) -> bool {
        self.at(lane).is_some_and(|at| at.load(Acquire) == owner)
    }

    fn at(&self, lane: Lane) -> Option<&AtomicU64> {
        self.of(lane.kind).1.get(usize::from(lane.number).checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Memory of zeros, as a new ledger has it.
    fn lanes() -> Box<Lanes> {
        // SAFETY: atomics are valid for any bits.
        unsafe { Box::<Lanes>::new_zeroed().assume_init() }
    }

    #[test]
    fn the_lowest_free_lane_is_taken() {
        let lanes = lanes();
        let claim = |owner| lanes.claim(Kind::Slot, owner, |_| false).unwrap();
        assert_eq!((claim(7).0.number, claim(8).0.number, claim(9).1), (1, 2, true));
        lanes.release(Lane { kind: Kind::Slot, number: 2 }, 7);
        assert_eq!(claim(10).0.number, 4, "not its own");
        lanes.release(Lane { kind: Kind::Slot, number: 2 }, 8);
        assert_eq!(claim(11), (Lane { kind: Kind::Slot, number: 2 }, false));
        assert_eq!((lanes.peak(Kind::Slot), lanes.peak(Kind::Wait)), (4, 0));
    }

    #[test]
    fn what_the_dead_have_left_is_used_again() {
        let lanes = lanes();
        lanes.claim(Kind::Slot, 7, |_| false).unwrap();
        let (lane, _) = lanes.claim(Kind::Slot, 8, |owner| owner == 7).unwrap();
        assert_eq!((lane.number, lanes.peak(Kind::Slot)), (1, 1));
        lanes.release(lane, 7);
        assert!(lanes.is_of(lane, 8));
    }

    proptest! {
        #[test]
        fn a_lane_is_a_word(number in 1u16..256, kind in 0usize..3) {
            let lane = Lane { kind: Kind::ALL[kind], number };
            prop_assert_eq!(Lane::unpack(lane.pack()), Some(lane));
        }

        #[test]
        fn a_word_of_another_use_is_left_alone(generation in 0u64..1 << 18, other in 0u64..1 << 18) {
            let shown = Shown(AtomicU64::new(0));
            let lane = |number| Some(Lane { kind: Kind::Wait, number });
            shown.reset(generation);
            prop_assert_eq!(shown.swap(generation, lane(3)), None);
            prop_assert!(!shown.change(generation, None, lane(4)));
            prop_assert_eq!(shown.get(generation), lane(3));
            if other != generation {
                prop_assert_eq!((shown.get(other), shown.swap(other, lane(5))), (None, None));
                prop_assert!(!shown.change(other, lane(3), None));
            }
            prop_assert_eq!(shown.swap(generation, None), lane(3));
        }

        #[test]
        fn any_word_is_survived(word: u16, rest in 0u64..1 << LANE_BITS) {
            let shown = Shown(AtomicU64::new(rest));
            shown.swap(0, None);
            prop_assert_eq!(shown.0.into_inner(), 0);
            let lanes = lanes();
            if let Some(lane) = Lane::unpack(word) {
                lanes.release(lane, 3);
            }
        }
    }
}
