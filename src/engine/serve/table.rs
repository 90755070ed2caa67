//! The running jobs of a server, and a table for them.

use crate::sys::{Errno, Result};

/// What a job runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slot {
    /// The implicit slot of this process.
    Implicit,
    /// This byte of the pool.
    Token(u8),
}

/// A running job, and its host's tag.
pub struct Job<T> {
    /// The process.
    pub pid: i32,
    /// Its slot.
    pub slot: Slot,
    /// The tag, which belongs to the host.
    pub tag: T,
}

/// The running jobs. Their order has no meaning.
pub trait Jobs {
    /// What the host identifies a job by.
    type Tag;
    /// All of them.
    fn all(&mut self) -> &mut [Job<Self::Tag>];
    /// Makes room for one more.
    ///
    /// # Errors
    /// ENOMEM: there is no room.
    fn reserve(&mut self) -> Result<()>;
    /// Adds one; there is room for it.
    fn add(&mut self, job: Job<Self::Tag>);
    /// Removes the job at an index.
    fn remove(&mut self, at: usize) -> Option<Job<Self::Tag>>;
}

/// At most `N` jobs, without an allocator. `N` limits how many run at once, as the pool does.
pub struct Table<T, const N: usize> {
    jobs: [Job<T>; N],
    len: usize,
}

impl<T: Copy + Default, const N: usize> Default for Table<T, N> {
    fn default() -> Self {
        let none = || Job { pid: 0, slot: Slot::Implicit, tag: T::default() };
        Self { jobs: core::array::from_fn(|_| none()), len: 0 }
    }
}

impl<T: Copy + Default, const N: usize> Jobs for Table<T, N> {
    type Tag = T;

    fn all(&mut self) -> &mut [Job<T>] {
        self.jobs.get_mut(..self.len).unwrap_or_default()
    }

    fn reserve(&mut self) -> Result<()> {
        if self.len < N {
            Ok(())
        } else {
            Err(Errno(libc::ENOMEM))
        }
    }

    fn add(&mut self, job: Job<T>) {
        if let Some(place) = self.jobs.get_mut(self.len) {
            *place = job;
            self.len = self.len.saturating_add(1);
        }
    }

    fn remove(&mut self, at: usize) -> Option<Job<T>> {
        let last = self.all().len().checked_sub(1)?;
        let jobs = self.all();
        (at <= last).then(|| jobs.swap(at, last))?;
        let gone = jobs.get(last)?;
        let gone = Job { pid: gone.pid, slot: gone.slot, tag: gone.tag };
        self.len = last;
        Some(gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_table_is_a_bag(steps in proptest::collection::vec(proptest::option::of(0usize..10), 0..60)) {
            let mut table: Table<u32, 8> = Table::default();
            let mut model: Vec<(i32, u32)> = Vec::new();
            for (i, step) in (1i32..).zip(steps) {
                match step {
                    None if table.reserve().is_ok() => {
                        table.add(Job { pid: i, slot: Slot::Implicit, tag: i as u32 });
                        model.push((i, i as u32));
                    }
                    None => prop_assert_eq!(model.len(), 8),
                    Some(at) => {
                        let gone = table.remove(at).map(|job| (job.pid, job.tag));
                        let want = (at < model.len()).then(|| model.swap_remove(at));
                        prop_assert_eq!(gone, want);
                    }
                }
                let now: Vec<_> = table.all().iter().map(|job| (job.pid, job.tag)).collect();
                prop_assert_eq!(&now, &model);
            }
        }
    }
}
