//! Temporary memory for what is too large for the stack of a host: a path has up to 4,096 bytes.

use core::ffi::CStr;

use crate::sys::{self, Errno, Result};

pub use crate::text::PATH_ROOM;

/// Anonymous memory, zeroed, unmapped when it is dropped. Async-signal-safe, also in the child of a `vfork`, which must
/// drop it before it execs: the mapping is its parent's.
pub struct Room {
    at: *mut u8,
    len: usize,
}

impl Room {
    /// # Errors
    /// As mmap(2): ENOMEM.
    pub fn new(len: usize) -> Result<Self> {
        sys::map(-1, len).map(|at| Self { at, len })
    }

    /// All bytes of it.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: this mapping, which no one else knows, for as long as it lives.
        unsafe { core::slice::from_raw_parts_mut(self.at, self.len) }
    }

    /// Writes these parts one after the other, and a NUL.
    ///
    /// # Errors
    /// ENAMETOOLONG: they do not fit.
    pub fn write(&mut self, parts: &[&[u8]]) -> Result<()> {
        self.write_at(0, parts)
    }

    /// [`Room::write`], from byte `at` on.
    ///
    /// # Errors
    /// As [`Room::write`].
    pub fn write_at(&mut self, at: usize, parts: &[&[u8]]) -> Result<()> {
        let mut rest = self.bytes().get_mut(at..).unwrap_or(&mut []);
        for part in parts.iter().copied().chain([&b"\0"[..]]) {
            let (to, after) =
                rest.split_at_mut_checked(part.len()).ok_or(Errno(libc::ENAMETOOLONG))?;
            to.copy_from_slice(part);
            rest = after;
        }
        Ok(())
    }

    /// Keeps the text for the rest of the process's life.
    pub fn keep(self) -> &'static CStr {
        // SAFETY: the mapping is never unmapped, since `self` is not dropped.
        let text = unsafe { &*core::ptr::from_ref(self.c()) };
        core::mem::forget(self);
        text
    }

    /// The text before the first NUL.
    pub fn c(&self) -> &CStr {
        // SAFETY: this mapping, for as long as it lives.
        let bytes = unsafe { core::slice::from_raw_parts(self.at.cast_const(), self.len) };
        CStr::from_bytes_until_nul(bytes).unwrap_or(c"")
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // SAFETY: a mapping of `new`; no borrow from it is left.
        unsafe { sys::unmap(self.at, self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_fits() {
        let mut room = Room::new(PATH_ROOM).unwrap();
        room.write(&[b"/bin", b"/", b"true"]).unwrap();
        assert_eq!(room.c(), c"/bin/true");
        let long = [b'x'; PATH_ROOM];
        assert_eq!(room.write(&[&long]), Err(Errno(libc::ENAMETOOLONG)));
        assert_eq!(room.write(&[&long[1..]]), Ok(()));
        assert_eq!(room.c().count_bytes(), PATH_ROOM - 1);
    }
}
