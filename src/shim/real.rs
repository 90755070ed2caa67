//! The functions behind ours: the next definition of a symbol after this library, found in the loaded
//! objects' own hash tables.
//!
//! Why not dlsym(3) with RTLD_NEXT: linked here it would bind `dlsym@GLIBC_2.34`, and ld.so refuses to
//! run any program with such a library on an older glibc; linked to libdl it would be a second
//! DT_NEEDED. dl_iterate_phdr(3) is in libc.so.6 since 2.2.4. It takes the loader's lock, so what a
//! forked child may call is looked up before the fork ([`prepare`]).

use core::ffi::{c_int, c_void, CStr};
use core::marker::PhantomData;
use core::mem::transmute_copy;
use core::ptr::null_mut;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicBool, AtomicUsize};

use crate::objects::{self, Definitions, Object};
use crate::state::STATE;
use crate::{doors, leaving};

/// A function of type `F` to be found behind ours.
pub struct Real<F> {
    /// Its name and where it is.
    pub symbol: Symbol,
    kind: PhantomData<F>,
}

/// See [`Real`].
pub struct Symbol {
    name: &'static CStr,
    hash: u32,
    /// 0 until it is known. Every lookup gives the same, so a race is harmless and Relaxed enough.
    at: AtomicUsize,
}

impl<F: Copy> Real<F> {
    /// `name` ends in a NUL.
    pub const fn new(name: &'static str) -> Self {
        const { assert!(size_of::<F>() == size_of::<usize>()) };
        let name = match CStr::from_bytes_with_nul(name.as_bytes()) {
            Ok(name) => name,
            Err(_) => c"",
        };
        let hash = objects::gnu_hash(name);
        Self { symbol: Symbol { name, hash, at: AtomicUsize::new(0) }, kind: PhantomData }
    }

    /// The function, looked up once. `None`: this libc has no such function.
    pub fn get(&self) -> Option<F> {
        let known = self.symbol.at.load(Relaxed);
        function(if known != 0 { known } else { self.symbol.look_up() })
    }

    /// The function in an older version than the newest.
    pub fn old(&self) -> Option<F> {
        function(self.symbol.next().old)
    }

    /// Was the object that `caller` is in linked to this `version` of the function? The last answer is kept,
    /// and in a forked child nothing else is looked up, since the loader's lock may be held there.
    pub fn is_bound_to(&self, version: &CStr, caller: usize, kept: &AtomicUsize) -> bool {
        let seen = kept.load(Relaxed);
        if seen >> 1 == caller || STATE.is_fork() {
            return seen >> 1 == caller && seen & 1 == 1;
        }
        let mut asked = false;
        objects::each(|info| {
            let there = objects::contains(info, caller);
            asked |= there && Object::of(info).is_some_and(|o| o.wants(self.symbol.name, version));
            there
        });
        kept.store(caller << 1 | usize::from(asked), Relaxed);
        asked
    }
}

fn function<F: Copy>(at: usize) -> Option<F> {
    // SAFETY: an address of a function of type F (`Real::new`), as large as one.
    (at != 0).then(|| unsafe { transmute_copy::<usize, F>(&at) })
}

impl Symbol {
    fn look_up(&self) -> usize {
        let found = self.next();
        let at = if found.newest != 0 { found.newest } else { found.old };
        self.at.store(at, Relaxed);
        at
    }

    fn next(&self) -> Definitions {
        let mut found = Definitions::default();
        after_us(|object| {
            found = object.find(self.name, self.hash);
            found.newest != 0
        });
        found
    }
}

/// Goes through the objects that come after this library, until `visit` has seen enough.
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

/// Looks up all that a forked child may need: there the loader's lock may be held for ever.
pub fn prepare() {
    static DONE: AtomicBool = AtomicBool::new(false);
    // Relaxed: who sees it too late looks up again.
    if DONE.load(Relaxed) {
        return;
    }
    objects::own_path();
    let all = || doors::BEHIND.iter().chain(leaving::BEHIND).flatten();
    after_us(|object| {
        for symbol in all().filter(|s| s.at.load(Relaxed) == 0) {
            symbol.at.store(object.find(symbol.name, symbol.hash).newest, Relaxed);
        }
        false
    });
    DONE.store(true, Relaxed);
}

/// What a function gives that this libc does not have.
pub trait Missing {
    /// Sets errno where the function would.
    fn missing() -> Self;
}

impl Missing for c_int {
    fn missing() -> Self {
        fail(libc::ENOSYS)
    }
}

impl Missing for *mut c_void {
    fn missing() -> Self {
        fail(libc::ENOSYS);
        null_mut()
    }
}

/// What the last libc function that failed has said.
pub fn errno() -> c_int {
    // SAFETY: this thread's own errno.
    unsafe { *libc::__errno_location() }
}

/// What a libc function does when it fails.
pub fn fail(errno: c_int) -> c_int {
    // SAFETY: this thread's own errno.
    unsafe { *libc::__errno_location() = errno };
    -1
}
