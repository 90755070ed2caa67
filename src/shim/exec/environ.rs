//! Environments and argument arrays: reading, and copies with a word changed.
//!
//! Copies lie in anonymous memory that is mapped for one exec or spawn: no allocator, no limit but the kernel's, and
//! safe in the child of a `vfork` (whose parent frees it).

use core::ffi::{c_char, c_int, CStr};
use core::ptr::null;
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::{AcqRel, Relaxed};

use jsshim_engine::sys;

/// A NULL-terminated array of C strings.
pub type Strings = *const *const c_char;

extern "C" {
    static environ: Strings;
    fn setenv(name: *const c_char, value: *const c_char, overwrite: c_int) -> c_int;
    fn unsetenv(name: *const c_char) -> c_int;
}

/// The current environment of the process.
pub fn current() -> Strings {
    // SAFETY: libc's own variable; reading the pointer is what every getenv(3) does.
    unsafe { environ }
}

/// Iterates over an array without reading its strings.
///
/// # Safety
/// `list` must be NULL or a NULL-terminated array that does not change meanwhile.
pub unsafe fn pointers(list: Strings) -> impl Iterator<Item = *const c_char> {
    let mut at = list;
    core::iter::from_fn(move || {
        // SAFETY: not past the NULL.
        let s = if at.is_null() { END } else { unsafe { *at } };
        at = at.wrapping_add(1);
        (!s.is_null()).then_some(s)
    })
    .fuse()
}

/// Iterates over an array.
///
/// # Safety
/// As [`pointers`], and its strings must stay for `'a`.
pub unsafe fn iter<'a>(list: Strings) -> impl Iterator<Item = &'a CStr> {
    // SAFETY: by the contract.
    unsafe { pointers(list).map(|s| CStr::from_ptr(s)) }
}

/// Returns whether the C string starts with these bytes. Reads no further than the first difference.
///
/// # Safety
/// `s` must be a C string, and `start` without NUL, or with one at its end.
pub unsafe fn starts_with(s: *const c_char, start: &[u8]) -> bool {
    // SAFETY: not past the NUL, which differs from every byte of `start`, or is its end.
    start.iter().enumerate().all(|(i, b)| unsafe { *s.wrapping_add(i).cast::<u8>() } == *b)
}

/// The value of a variable. `name` ends in `=`.
///
/// # Safety
/// As [`iter`].
pub unsafe fn get<'a>(list: Strings, name: &[u8]) -> Option<&'a [u8]> {
    // SAFETY: by the contract; `name` has no NUL, so that its length is within the string.
    unsafe {
        let found = pointers(list).find(|s| starts_with(*s, name))?;
        Some(CStr::from_ptr(found.wrapping_add(name.len())).to_bytes())
    }
}

/// The value of a variable of the current environment. `name` ends in `=`.
pub fn own(name: &[u8]) -> Option<&'static [u8]> {
    // SAFETY: the host's own environment. A host that changes it in one thread while another spawns has that race
    // without us, too (environ(7)).
    unsafe { get(current(), name) }
}

/// Sets a variable to the text before the first NUL of `value`. Before main only.
pub fn export(name: &CStr, value: &[u8]) {
    if let Ok(value) = CStr::from_bytes_until_nul(value) {
        // SAFETY: C strings, and still one thread.
        unsafe { setenv(name.as_ptr(), value.as_ptr(), 1) };
    }
}

/// Removes a variable. Before main only.
pub fn remove(name: &CStr) {
    // SAFETY: a C string, and still one thread.
    unsafe { unsetenv(name.as_ptr()) };
}

/// Mapped memory for one exec.
pub struct Scratch {
    at: *mut u8,
    len: usize,
    used: usize,
}

/// One mapping of the usual size is kept for the next spawn: mapping, touching and unmapping memory costs more than the
/// rest of a hook.
static KEPT: AtomicUsize = AtomicUsize::new(0);
const USUAL: usize = 8192;

impl Scratch {
    /// Room for `pointers` pointers and `bytes` bytes of text.
    pub fn new(pointers: usize, bytes: usize) -> Option<Self> {
        let need = pointers.checked_add(2)?.checked_mul(size_of::<usize>())?.checked_add(bytes)?;
        let len = need.max(USUAL);
        // AcqRel: whoever takes it owns it alone.
        let kept = if len == USUAL { KEPT.swap(0, AcqRel) } else { 0 };
        let at = if kept != 0 { kept as *mut u8 } else { sys::map(-1, len).ok()? };
        Some(Self { at, len, used: 0 })
    }

    /// Copies a text and appends a NUL.
    pub fn text(&mut self, s: &[u8]) -> *const c_char {
        let start = self.at.wrapping_add(self.used);
        let end = self.used.saturating_add(s.len()).saturating_add(1);
        if end > self.len {
            return c"".as_ptr();
        }
        // SAFETY: within the mapping, with its NUL.
        unsafe {
            core::ptr::copy_nonoverlapping(s.as_ptr(), start, s.len());
            start.wrapping_add(s.len()).write(0);
        }
        self.used = end;
        start.cast()
    }

    /// Appends to the text that was written last, if there is room.
    pub fn append(&mut self, s: &[u8]) {
        let used = self.used;
        self.used = used.saturating_sub(1);
        self.text(s);
        self.used = self.used.max(used);
    }

    /// [`Scratch::append`], quoted for a shell. The text may contain anything but a NUL.
    pub fn append_quoted(&mut self, s: &[u8]) {
        self.append(b"'");
        for piece in s.split_inclusive(|b| *b == b'\'') {
            match piece.strip_suffix(b"'") {
                Some(before) => {
                    self.append(before);
                    self.append(b"'\\''");
                }
                None => self.append(piece),
            }
        }
        self.append(b"'");
    }

    /// Writes an array and returns its start. The caller ends it with a null pointer.
    pub fn array(&mut self, items: impl Iterator<Item = *const c_char>) -> Strings {
        self.used = self.used.next_multiple_of(size_of::<usize>());
        let start = self.at.wrapping_add(self.used).cast::<*const c_char>();
        for item in items {
            let end = self.used.saturating_add(size_of::<usize>());
            if end <= self.len {
                // SAFETY: within the mapping and aligned.
                unsafe { self.at.wrapping_add(self.used).cast::<*const c_char>().write(item) };
                self.used = end;
            }
        }
        start
    }

    /// The mapping, for the process that frees it.
    pub fn raw(&self) -> (usize, usize) {
        (self.at as usize, self.len)
    }

    /// [`Scratch::raw`], when nothing more is written.
    pub fn into_raw(self) -> (usize, usize) {
        self.raw()
    }

    /// Keeps a mapping for the next exec, or frees it.
    pub fn free((at, len): (usize, usize)) {
        let keep = len == USUAL && KEPT.compare_exchange(0, at, AcqRel, Relaxed).is_ok();
        if len > 0 && !keep {
            // SAFETY: a mapping of `new`, whose exec is over.
            unsafe { sys::unmap(at as *mut u8, len) };
        }
    }
}

/// The end of an array.
pub const END: *const c_char = null();
