//! Memory of C's, which can fail.

use core::ptr::NonNull;

use jsshim_engine::serve::{Job, Jobs};
use jsshim_engine::sys::{Errno, Result};

use crate::job::Tag;

/// ENOMEM.
pub const NONE: Errno = Errno(libc::ENOMEM);

/// Memory for one `T`, with `value` in it; or the value back.
pub fn put<T>(value: T) -> core::result::Result<NonNull<T>, T> {
    // SAFETY: malloc(3) aligns for every type that is used here (two words).
    let at = unsafe { libc::malloc(size_of::<T>()) }.cast::<T>();
    let Some(at) = NonNull::new(at) else { return Err(value) };
    // SAFETY: fresh memory of that size.
    unsafe { at.write(value) };
    Ok(at)
}

/// Frees it. What is in it is not dropped.
///
/// # Safety
/// It must be memory of malloc's that is not used any more.
pub unsafe fn free<T>(at: *mut T) {
    // SAFETY: by the contract.
    unsafe { libc::free(at.cast()) };
}

/// Jobs in an array that grows.
pub struct List {
    at: *mut Job<Tag>,
    len: usize,
    /// For how many there is memory.
    pub room: usize,
}

impl List {
    /// No jobs, and no memory yet.
    pub const fn new() -> Self {
        Self { at: core::ptr::null_mut(), len: 0, room: 0 }
    }

    /// The jobs.
    pub fn jobs(&self) -> &[Job<Tag>] {
        if self.at.is_null() {
            return &[];
        }
        // SAFETY: the first `len` places are filled in.
        unsafe { core::slice::from_raw_parts(self.at, self.len) }
    }

    /// Frees the memory.
    pub fn free(&mut self) {
        // SAFETY: of realloc's, or null.
        unsafe { free(self.at) };
        *self = Self::new();
    }
}

impl Jobs for List {
    type Tag = Tag;

    fn all(&mut self) -> &mut [Job<Tag>] {
        if self.at.is_null() {
            return &mut [];
        }
        // SAFETY: the first `len` places are filled in.
        unsafe { core::slice::from_raw_parts_mut(self.at, self.len) }
    }

    fn reserve(&mut self) -> Result<()> {
        if self.len < self.room {
            return Ok(());
        }
        let room = self.room.saturating_mul(2).max(8);
        let bytes = room.checked_mul(size_of::<Job<Tag>>()).ok_or(NONE)?;
        // SAFETY: of realloc's, or null; if it fails, the old memory stays as it is.
        let at = unsafe { libc::realloc(self.at.cast(), bytes) }.cast::<Job<Tag>>();
        if at.is_null() {
            return Err(NONE);
        }
        (self.at, self.room) = (at, room);
        Ok(())
    }

    fn add(&mut self, job: Job<Tag>) {
        if self.len < self.room {
            // SAFETY: within the memory, behind what is filled in.
            unsafe { self.at.wrapping_add(self.len).write(job) };
            self.len = self.len.saturating_add(1);
        }
    }

    fn remove(&mut self, at: usize) -> Option<Job<Tag>> {
        let last = self.len.checked_sub(1)?;
        (at <= last).then(|| self.all().swap(at, last))?;
        self.len = last;
        // SAFETY: it was filled in, and is not any more.
        Some(unsafe { self.at.wrapping_add(last).read() })
    }
}
