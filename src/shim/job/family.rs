//! A page that all forks of one program share: what is true of the program, or learned by one for all of them, and what
//! a child tells its parent.
//!
//! It is there from the first fork that is gated. A program that was exec'ed begins anew.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicU32, AtomicU64};

use jsshim_engine::zeroed::{Zeroed, Zeros};

use super::fork_sites::Site;

/// The most call sites that are known.
const SITES: usize = 128;

/// The most children at a time that go on as a sibling ([`Family::hand_on`]) without the parent's knowledge yet.
const HEIRS: usize = 16;

#[repr(C)]
struct Page {
    sites: [Site; SITES],
    /// The pid of a child in the upper half, and in the lower half the pid of the sibling as which it goes on; or 0.
    heirs: [AtomicU64; HEIRS],
    /// [`Family::once`]: [`NO`], [`YES`], or 0 if it is not known yet.
    answer: AtomicU32,
}

const NO: u32 = 1;
const YES: u32 = 2;

// SAFETY: numbers; zeros are a page on which nothing is noted.
unsafe impl Zeros for Page {}

/// This process's place of it.
pub struct Family(Zeroed<Page, true>);

impl Family {
    pub const fn new() -> Self {
        Self(Zeroed::new())
    }

    /// The entry of a call site of `fork`. Returns None if there are more sites than entries.
    pub fn site(&self, address: usize) -> Option<&'static Site> {
        Site::of(&self.0.get()?.sites, address)
    }

    /// The answer of `ask` to a question about this program, which is asked once in a family.
    pub fn once(&self, ask: impl FnOnce() -> bool) -> bool {
        let Some(page) = self.0.seen() else { return ask() };
        // Relaxed: the answer alone matters, and all give the same.
        match page.answer.load(Relaxed) {
            0 => {
                let answer = ask();
                page.answer.store(if answer { YES } else { NO }, Relaxed);
                answer
            }
            known => known == YES,
        }
    }

    /// This process goes on as `sibling`: notes that for its parent.
    pub fn hand_on(&self, me: i32, sibling: i32) {
        let Some(page) = self.0.seen() else { return };
        // AcqRel: whoever takes the entry sees what was done before.
        let put =
            |at: &AtomicU64| at.compare_exchange(0, pair(me, sibling), AcqRel, Relaxed).is_ok();
        if !page.heirs.iter().any(put) {
            // Overwrite an entry: the parent never takes those of children that it does not reap.
            if let Some(at) = page.heirs.get(me.unsigned_abs() as usize & (HEIRS - 1)) {
                at.store(pair(me, sibling), Release);
            }
        }
    }

    /// The sibling as which a child has gone on; returned once.
    pub fn heir(&self, child: i32) -> Option<i32> {
        self.0.seen()?.heirs.iter().find_map(|at| {
            let seen = at.load(Acquire);
            let ours = seen != 0 && (seen >> 32) as i32 == child;
            let taken = ours && at.compare_exchange(seen, 0, AcqRel, Relaxed).is_ok();
            taken.then_some(seen as i32)
        })
    }
}

fn pair(child: i32, heir: i32) -> u64 {
    u64::from(child.unsigned_abs()) << 32 | u64::from(heir.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_asked_once() {
        let family = Family::new();
        assert!(
            family.once(|| true) && !family.once(|| false),
            "nobody has been forked: each asks"
        );
        assert!(family.site(1).is_some());
        assert!(family.once(|| true) && family.once(|| panic!("asked again")));
    }

    #[test]
    fn an_heir_is_found_once() {
        let family = Family::new();
        assert!(family.site(1).is_some());
        family.hand_on(7, 8);
        assert_eq!((family.heir(6), family.heir(7), family.heir(7)), (None, Some(8), None));
    }
}
