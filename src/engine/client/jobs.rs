//! The jobs of this process by pid, so that a reaped child's job is found without searching the ledger.
//!
//! Two tables of atomics: no lock, usable in signal handlers and from any thread. The first entries are in a short table,
//! which is searched from its start. A process with more jobs has them in a large one, at their pid: nothing there grows
//! with the number of jobs. It is mapped when it is needed: what lies in the library itself is loaded by each exec.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::bits::{self, BITS};
use crate::ledger::handle::{Handle, RECORDS};
use crate::sync::{AtomicU64, AtomicUsize};
use crate::zeroed::{Zeroed, Zeros};

/// Entries in the first table.
const FEW: usize = 64;
/// So many entries of the large table may hold a pid, from its own place on.
const NEAR: usize = 64;

/// A pid and its job.
#[repr(C)]
struct Entry {
    /// The pid; 0: the entry is free; [`FILLING`]. The upper half changes with each use.
    key: AtomicU64,
    job: AtomicU64,
}

/// In [`Entry::key`]: the job is being written.
const FILLING: u32 = u32::MAX;

impl Entry {
    const fn new() -> Self {
        Self { key: AtomicU64::new(0), job: AtomicU64::new(0) }
    }

    fn put(&self, pid: i32, job: Handle) -> bool {
        let seen = self.key.load(Relaxed);
        let use_of = |pid: u32| (seen & !0xffff_ffff).wrapping_add(1 << 32) | u64::from(pid);
        if seen as u32 != 0 {
            return false;
        }
        let filling = use_of(FILLING);
        if self.key.compare_exchange(seen, filling, Acquire, Relaxed).is_err() {
            return false;
        }
        self.job.store(job.pack(), Relaxed);
        // Release: a reader that sees the pid sees the job, and the ledger's fields written before it.
        self.key.store(use_of(pid.unsigned_abs()), Release);
        true
    }

    fn get(&self) -> Option<(i32, Handle)> {
        let key = self.key.load(Acquire);
        let pid = key as u32;
        let job = Handle::unpack(self.job.load(Acquire)).filter(|_| pid != 0 && pid != FILLING)?;
        // Another use of the entry may have written its job meanwhile.
        (self.key.load(Relaxed) == key).then_some((pid as i32, job))
    }

    /// Frees the entry if it holds `pid`. Returns the job, to exactly one caller.
    fn take(&self, pid: i32) -> Option<Handle> {
        let key = self.key.load(Acquire);
        if key as u32 != pid.unsigned_abs() || pid == 0 {
            return None;
        }
        let job = Handle::unpack(self.job.load(Acquire));
        let free = key & !0xffff_ffff;
        job.filter(|_| self.key.compare_exchange(key, free, AcqRel, Relaxed).is_ok())
    }

    fn clear(&self) {
        self.key.store(0, Relaxed);
    }
}

/// The table. The bound, the number of jobs in the large table and the first entries share a page: after a fork each
/// page that is used costs a fault.
#[repr(C)]
pub struct Jobs {
    high: AtomicUsize,
    count: AtomicUsize,
    few: [Entry; FEW],
    many: Zeroed<Many, false>,
}

impl Default for Jobs {
    fn default() -> Self {
        Self::new()
    }
}

impl Jobs {
    /// An empty table.
    pub const fn new() -> Self {
        let (high, count) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { high, count, few: [const { Entry::new() }; FEW], many: Zeroed::new() }
    }

    fn used(&self) -> impl Iterator<Item = &Entry> {
        self.few.iter().take(self.high.load(Acquire))
    }

    /// Notes that `pid` is this job. Returns false if the table is full, or there is no memory for it; then only the
    /// guard handles the job.
    pub fn add(&self, pid: i32, job: Handle) -> bool {
        for (i, entry) in self.few.iter().enumerate() {
            if entry.put(pid, job) {
                if self.high.load(Relaxed) <= i {
                    self.high.fetch_max(i.saturating_add(1), AcqRel);
                }
                return true;
            }
        }
        let added = self.many.get().is_some_and(|many| many.add(pid, job));
        if added {
            self.count.fetch_add(1, AcqRel);
        }
        added
    }

    /// The large table, if there is anything in it.
    fn many(&self) -> Option<&'static Many> {
        self.many.seen().filter(|_| self.count.load(Acquire) > 0)
    }

    fn remove_of_many(&self, pid: i32) -> Option<Handle> {
        let found = self.many()?.remove(pid);
        if found.is_some() {
            self.count.fetch_sub(1, AcqRel);
        }
        found
    }

    /// Removes `pid`. Returns its job, to exactly one caller.
    pub fn remove(&self, pid: i32) -> Option<Handle> {
        self.used().find_map(|entry| entry.take(pid)).or_else(|| self.remove_of_many(pid))
    }

    /// All jobs.
    pub fn iter(&self) -> impl Iterator<Item = (i32, Handle)> + '_ {
        self.used().chain(self.many().into_iter().flat_map(Many::used)).filter_map(Entry::get)
    }

    /// The jobs of a process that has few; of a process with many up to 64 others of them each time.
    pub fn some(&self) -> impl Iterator<Item = (i32, Handle)> + '_ {
        self.used().chain(self.many().into_iter().flat_map(|m| m.some(FEW))).filter_map(Entry::get)
    }

    /// Returns whether there are so many jobs that [`Jobs::some`] are not all.
    pub fn are_many(&self) -> bool {
        self.many().is_some()
    }

    /// Removes all jobs: in a forked child they are its parent's.
    pub fn clear(&self) {
        self.used().for_each(Entry::clear);
        self.high.store(0, Relaxed);
        if let Some(many) = self.many() {
            many.clear();
            self.count.store(0, Relaxed);
        }
    }
}

/// The large table. An entry with a job has its bit set.
#[repr(C)]
struct Many {
    /// How many jobs were put far from their place.
    far: AtomicUsize,
    /// The word of bits at which [`Many::some`] goes on.
    cursor: AtomicUsize,
    bits: [AtomicU64; RECORDS / BITS],
    entries: [Entry; RECORDS],
}

// SAFETY: numbers; zeros are a table without jobs.
unsafe impl Zeros for Many {}

impl Many {
    /// The first `most` places for this pid.
    fn places(&self, pid: i32, most: usize) -> impl Iterator<Item = (usize, &Entry)> {
        let start = pid.unsigned_abs() as usize;
        (0..most).filter_map(move |i| {
            let at = start.wrapping_add(i).wrapping_rem(RECORDS);
            Some((at, self.entries.get(at)?))
        })
    }

    fn bit(&self, at: usize) -> Option<(&AtomicU64, u64)> {
        let (word, bit) = bits::place(at);
        Some((self.bits.get(word)?, bit))
    }

    #[inline(never)]
    fn add(&self, pid: i32, job: Handle) -> bool {
        let mut places = self.places(pid, RECORDS).enumerate();
        let Some((i, (at, _))) = places.find(|(_, (_, entry))| entry.put(pid, job)) else {
            return false;
        };
        if let Some((word, bit)) = self.bit(at) {
            word.fetch_or(bit, AcqRel);
        }
        if i >= NEAR {
            self.far.fetch_add(1, AcqRel);
        }
        true
    }

    fn remove(&self, pid: i32) -> Option<Handle> {
        let most = if self.far.load(Acquire) == 0 { NEAR } else { RECORDS };
        let mut places = self.places(pid, most).enumerate();
        let (i, at, job) =
            places.find_map(|(i, (at, entry))| entry.take(pid).map(|job| (i, at, job)))?;
        // Another job may be in the entry by now: then the bit stays, or is set again.
        if let Some((word, bit)) = self.bit(at) {
            word.fetch_and(!bit, AcqRel);
            if self.entries.get(at).is_some_and(|entry| entry.get().is_some()) {
                word.fetch_or(bit, AcqRel);
            }
        }
        if i >= NEAR {
            self.far.fetch_sub(1, AcqRel);
        }
        Some(job)
    }

    /// The entries of these words of bits.
    fn of<'a>(
        &'a self,
        words: impl Iterator<Item = usize> + 'a,
    ) -> impl Iterator<Item = &'a Entry> {
        words.flat_map(move |at| {
            let used = self.bits.get(at).map_or(0, |word| word.load(Acquire));
            bits::ones(at, used).filter_map(|at| self.entries.get(at))
        })
    }

    fn used(&self) -> impl Iterator<Item = &Entry> {
        self.of(0..self.bits.len())
    }

    /// Up to `most` entries and the rest of the last one's word, each time the next ones.
    fn some(&self, most: usize) -> impl Iterator<Item = &Entry> {
        let (words, start) = (self.bits.len(), self.cursor.load(Relaxed));
        let mut seen = 0usize;
        let words = (0..words).map_while(move |i| {
            let at = start.wrapping_add(i).wrapping_rem(RECORDS / BITS);
            if seen >= most {
                return None;
            }
            self.cursor.store(at.wrapping_add(1), Relaxed);
            let bits = self.bits.get(at)?.load(Relaxed).count_ones();
            seen = seen.saturating_add(bits as usize);
            Some(at)
        });
        self.of(words)
    }

    fn clear(&self) {
        self.used().for_each(Entry::clear);
        self.bits
            .iter()
            .filter(|word| word.load(Relaxed) != 0)
            .for_each(|word| word.store(0, Relaxed));
        self.far.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn a_full_table_says_so() {
        let jobs = Jobs::new();
        let job = Handle { index: 1, generation: 1 };
        for pid in 1..=(RECORDS + FEW) as i32 {
            assert!(jobs.add(pid, job));
        }
        assert!(!jobs.add(99_999, job));
        assert!(jobs.remove(17).is_some());
        assert!(jobs.add(99_999, job));
    }

    proptest! {
        #[test]
        fn it_is_a_map(steps in proptest::collection::vec((any::<bool>(), 1i32..40, 1u32..4096, 0u64..1 << 20), 0..200)) {
            let jobs = Jobs::new();
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
