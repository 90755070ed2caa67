//! The functions behind our hooks: the next definition of a symbol after this library, found in the hash tables of the
//! loaded objects.
//!
//! Why not dlsym(3) with RTLD_NEXT: linked here it would bind `dlsym@GLIBC_2.34`, and ld.so refuses to run any program
//! with such a library on an older glibc; linked to libdl it would be a second DT_NEEDED. dl_iterate_phdr(3) is in
//! libc.so.6 since 2.2.4. It takes the loader's lock, so all functions that a forked child may call are looked up
//! before the fork ([`prepare`]).

use core::ffi::CStr;
use core::marker::PhantomData;
use core::mem::transmute_copy;
use core::num::NonZeroUsize;
use core::slice::from_raw_parts;
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::Relaxed;

use once_cell::race::{OnceBool, OnceNonZeroUsize};

use super::objects::{self, Definitions, Object};

/// A function of type `F` behind a hook. All of them lie in the section `jsshim_doors`.
#[repr(C)]
pub struct Next<F> {
    /// Its name and its address.
    pub symbol: Symbol,
    kind: PhantomData<F>,
}

/// The name and address of a [`Next`]. Without pointers, so that the loader writes nothing here.
#[repr(C)]
pub struct Symbol {
    /// A C string.
    name: [u8; NAME],
    /// Every lookup gives the same result, so a race is harmless.
    at: OnceNonZeroUsize,
}

/// Room for the name of a function.
const NAME: usize = 24;

/// In place of the address of a function that this libc does not have.
const ABSENT: NonZeroUsize = NonZeroUsize::MIN;

impl<F: Copy> Next<F> {
    /// `name` ends in a NUL.
    pub const fn new(name: &'static str) -> Self {
        const { assert!(size_of::<F>() == size_of::<usize>() && size_of::<Self>() == 32) };
        let mut bytes = [0; NAME];
        let mut rest = name.as_bytes();
        let mut to: &mut [u8] = &mut bytes;
        while let ([b, tail @ ..], [at, next @ ..]) = (rest, to) {
            *at = *b;
            (rest, to) = (tail, next);
        }
        assert!(rest.is_empty());
        Self { symbol: Symbol { name: bytes, at: OnceNonZeroUsize::new() }, kind: PhantomData }
    }

    /// The function, looked up once. Returns None if this libc has no such function.
    pub fn get(&self) -> Option<F> {
        function(self.symbol.address())
    }

    /// The function in a version older than the newest.
    pub fn old(&self) -> Option<F> {
        function(self.symbol.next().old)
    }

    /// Returns whether the object that contains `caller` was linked to this `version` of the function. The last answer
    /// is kept. In a forked child (`is_fork`) only that is used: the loader's lock may be held there.
    pub fn is_bound_to(
        &self,
        version: &CStr,
        caller: usize,
        kept: &AtomicUsize,
        is_fork: bool,
    ) -> bool {
        let seen = kept.load(Relaxed);
        if seen >> 1 == caller || is_fork {
            return seen >> 1 == caller && seen & 1 == 1;
        }
        let mut asked = false;
        objects::each(|info| {
            let there = objects::contains(info, caller);
            asked |=
                there && Object::of(info).is_some_and(|o| o.wants(self.symbol.name(), version));
            there
        });
        kept.store(caller << 1 | usize::from(asked), Relaxed);
        asked
    }
}

fn function<F: Copy>(at: usize) -> Option<F> {
    // SAFETY: an address of a function of type F (`Next::new`), as large as one.
    (at != 0).then(|| unsafe { transmute_copy::<usize, F>(&at) })
}

extern "C" {
    /// The start and the end of the section; the linker defines them (`layout.ld`).
    #[link_name = "__start_jsshim_doors"]
    static FIRST: u8;
    #[link_name = "__stop_jsshim_doors"]
    static END: u8;
}

/// The functions behind all doors.
fn all() -> &'static [Symbol] {
    let (first, end) = ((&raw const FIRST).cast::<Symbol>(), &raw const END);
    let size = (end as usize).wrapping_sub(first as usize);
    let count = size.checked_div(size_of::<Symbol>()).unwrap_or(0);
    // SAFETY: nothing else is in the section, and a `Next` is a `Symbol`.
    unsafe { from_raw_parts(first, count) }
}

impl Symbol {
    fn name(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.name).unwrap_or(c"")
    }

    /// 0 if this libc has no such function. One function for all types: the hooks lie close together.
    #[inline]
    fn address(&self) -> usize {
        let at = self.at.get().unwrap_or_else(|| self.look_up());
        if at == ABSENT {
            0
        } else {
            at.get()
        }
    }

    #[cold]
    #[inline(never)]
    fn look_up(&self) -> NonZeroUsize {
        let at = self.next().best().unwrap_or(ABSENT);
        let _ = self.at.set(at);
        at
    }

    fn next(&self) -> Definitions {
        let mut found = Definitions::default();
        after_us(|object| {
            found = object.find(self.name(), objects::gnu_hash(self.name()));
            found.best().is_some()
        });
        found
    }
}

/// Calls `visit` with the objects that come after this library, until it returns true.
fn after_us(mut visit: impl FnMut(&Object) -> bool) {
    let mut passed = false;
    objects::each(|info| {
        if passed {
            return Object::of(info).is_some_and(|o| visit(&o));
        }
        passed = objects::is_ours(info);
        false
    });
}

/// Looks up all functions that a forked child may need: there the loader's lock may be held for ever.
pub fn prepare() {
    static DONE: OnceBool = OnceBool::new();
    // A thread that sees it too late repeats the lookup.
    if DONE.get().is_some() {
        return;
    }
    objects::own_path(false);
    after_us(|object| {
        for symbol in all().iter().filter(|s| s.at.get().is_none()) {
            let found = object.find(symbol.name(), objects::gnu_hash(symbol.name()));
            let _ = found.best().map(|at| symbol.at.set(at));
        }
        false
    });
    for symbol in all().iter().filter(|s| s.at.get().is_none()) {
        let _ = symbol.at.set(ABSENT);
    }
    let _ = DONE.set(true);
}
