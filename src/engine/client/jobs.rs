//! The jobs of this process by pid, so that a reaped child's job is found without searching the ledger.
//!
//! A table of atomics: no lock, usable in signal handlers and from any thread. A slot is 0 or
//! `pid << 32 | generation-and-index`. Slots are taken by compare-and-swap. Lookups scan the slots ever used, which are
//! as many as there were jobs at once.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::ledger::handle::{Handle, RECORDS};
use crate::sync::{AtomicU64, AtomicUsize};

/// The table. The bound and the first slots share a page: after a fork each page written costs a copy.
#[repr(C)]
pub struct Jobs {
    high: AtomicUsize,
    slots: [AtomicU64; RECORDS],
}

impl Default for Jobs {
    fn default() -> Self {
        Self::new()
    }
}

impl Jobs {
    /// An empty table.
    pub const fn new() -> Self {
        Self { high: AtomicUsize::new(0), slots: [const { AtomicU64::new(0) }; RECORDS] }
    }

    fn used(&self) -> impl Iterator<Item = &AtomicU64> {
        self.slots.iter().take(self.high.load(Acquire))
    }

    /// Notes that `pid` is this job. Returns false if the table is full; then only the guard handles the job.
    pub fn add(&self, pid: i32, job: Handle) -> bool {
        let value = pack(pid, job);
        for (i, slot) in self.slots.iter().enumerate() {
            // AcqRel: a reader that sees the value sees the ledger's fields written before it.
            if slot.load(Relaxed) == 0 && slot.compare_exchange(0, value, AcqRel, Relaxed).is_ok() {
                if self.high.load(Relaxed) <= i {
                    self.high.fetch_max(i.saturating_add(1), AcqRel);
                }
                return true;
            }
        }
        false
    }

    /// Removes `pid`. Returns its job, to exactly one caller.
    pub fn remove(&self, pid: i32) -> Option<Handle> {
        self.used().find_map(|slot| {
            let value = slot.load(Acquire);
            let (owner, job) = unpack(value)?;
            let ours = owner == pid && slot.compare_exchange(value, 0, AcqRel, Relaxed).is_ok();
            ours.then_some(job)
        })
    }

    /// All jobs.
    pub fn iter(&self) -> impl Iterator<Item = (i32, Handle)> + '_ {
        self.used().filter_map(|slot| unpack(slot.load(Acquire)))
    }

    /// Removes all jobs: in a forked child they are its parent's.
    pub fn clear(&self) {
        self.used().for_each(|slot| slot.store(0, Relaxed));
        self.high.store(0, Relaxed);
    }
}

fn pack(pid: i32, job: Handle) -> u64 {
    (pid as u64) << 32 | u64::from(job.compact())
}

fn unpack(value: u64) -> Option<(i32, Handle)> {
    Handle::expand(value as u32).map(|job| ((value >> 32) as i32, job))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn a_full_table_says_so() {
        let jobs = Box::new(Jobs::new());
        let job = Handle { index: 1, generation: 1 };
        for pid in 1..=RECORDS as i32 {
            assert!(jobs.add(pid, job));
        }
        assert!(!jobs.add(99_999, job));
        assert!(jobs.remove(17).is_some());
        assert!(jobs.add(99_999, job));
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in proptest::collection::vec((any::<bool>(), 1i32..40, 1u32..4096, 0u32..1 << 20), 0..200)) {
            let jobs = Box::new(Jobs::new());
            let mut model = HashMap::new();
            for (add, pid, index, generation) in steps {
                let job = Handle { index, generation };
                if add && !model.contains_key(&pid) {
                    jobs.add(pid, job);
                    model.insert(pid, job);
                } else if !add {
                    prop_assert_eq!(jobs.remove(pid), model.remove(&pid));
                }
                prop_assert_eq!(jobs.iter().collect::<HashMap<_, _>>(), model.clone());
            }
        }
    }
}
