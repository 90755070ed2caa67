//! Memory that most processes never need, and that is mapped when one does.

use core::mem::size_of;
use core::ptr::null_mut;
use core::sync::atomic::AtomicPtr;
use core::sync::atomic::Ordering::{AcqRel, Acquire};

use crate::sys;

/// A type of which zeros are a value.
///
/// # Safety
/// Memory of zeros must be a valid value.
pub unsafe trait Zeros: Sync {}

/// One `T` of zeros, mapped at the first call of [`Zeroed::get`] and never unmapped. With `SHARED`, all that this process
/// forks afterwards share it, and what these fork; else each forked child has a copy. Usable in signal handlers and from
/// any thread.
pub struct Zeroed<T: 'static, const SHARED: bool>(AtomicPtr<T>);

impl<T: Zeros, const SHARED: bool> Default for Zeroed<T, SHARED> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Zeros, const SHARED: bool> Zeroed<T, SHARED> {
    /// Nothing is mapped.
    pub const fn new() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }

    /// Returns None if there is no memory.
    pub fn get(&self) -> Option<&'static T> {
        self.seen().or_else(|| self.map())
    }

    /// Returns None if it is not mapped yet.
    pub fn seen(&self) -> Option<&'static T> {
        // SAFETY: null, or as in `map`.
        unsafe { self.0.load(Acquire).as_ref() }
    }

    #[inline(never)]
    fn map(&self) -> Option<&'static T> {
        let size = size_of::<T>();
        let map = if SHARED { sys::map_shared_anonymous } else { |size| sys::map(-1, size) };
        let fresh = map(size).ok()?.cast::<T>();
        let at = match self.0.compare_exchange(null_mut(), fresh, AcqRel, Acquire) {
            Ok(_) => fresh,
            Err(other) => {
                // SAFETY: no one has seen it.
                unsafe { sys::unmap(fresh.cast(), size) };
                other
            }
        };
        // SAFETY: page-aligned zeros of that size, which are a value; never unmapped.
        Some(unsafe { &*at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering::Relaxed;

    struct Page([AtomicU32; 3000]);

    // SAFETY: numbers.
    unsafe impl Zeros for Page {}

    #[test]
    fn all_threads_get_the_same() {
        let memory = Zeroed::<Page, false>::new();
        assert!(memory.seen().is_none());
        std::thread::scope(|scope| {
            for i in 0..8 {
                let memory = &memory;
                scope.spawn(move || {
                    let page = memory.get().unwrap();
                    assert_eq!(page.0[i].load(Relaxed), 0);
                    page.0[2999].fetch_add(1, Relaxed);
                });
            }
        });
        assert_eq!(memory.seen().unwrap().0[2999].load(Relaxed), 8);
    }

    #[test]
    fn a_child_shares_what_is_shared() {
        let (shared, private) = (Zeroed::<Page, true>::new(), Zeroed::<Page, false>::new());
        for (page, seen) in [(shared.get(), 1), (private.get(), 0)] {
            let number = &page.unwrap().0[0];
            // SAFETY: the child makes one system call.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                number.store(1, Relaxed);
                sys::exit(0)
            }
            assert_eq!(sys::wait_child(pid), Ok(0));
            assert_eq!(number.load(Relaxed), seen);
        }
    }
}
