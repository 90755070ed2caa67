//! Opening a ledger, for as long as the process lives or for a look.

use core::ffi::CStr;
use core::sync::atomic::Ordering::{Acquire, SeqCst};

use super::deserted::Mapping;
use super::{Shared, CLOSED, CLOSING, MAGIC, OPEN};
use crate::sys::{self, Errno, Result};

/// How long the ledger of a sandbox that was killed may take to go, in ms.
const SETTLING_MILLIS: u32 = 200;

/// Opens a ledger's file. One that is [being settled](super::settle_deserted) will be gone soon.
fn open(path: &CStr) -> Result<i32> {
    let mut opened = Err(Errno::AGAIN);
    for _ in 0..SETTLING_MILLIS {
        opened = sys::open(path, libc::O_RDWR | libc::O_NOFOLLOW | libc::O_NONBLOCK, 0);
        if opened != Err(Errno::AGAIN) {
            break;
        }
        sys::sleep_millis(1);
    }
    opened
}

pub(super) fn map(fd: i32) -> Result<&'static Shared> {
    let at = sys::map(fd, core::mem::size_of::<Shared>())?;
    // SAFETY: page-aligned and as large as `Shared`, whose every field is an atomic and valid for any
    // bits; unmapped by a `Mapping` alone, which lends it out for less than its own life.
    Ok(unsafe { &*at.cast::<Shared>() })
}

/// Maps the file at `path`, if it is ours and whole.
fn map_at(path: &CStr) -> Result<&'static Shared> {
    let fd = open(path)?;
    let sound = sys::fstat(fd).is_ok_and(|st| {
        st.st_uid == sys::geteuid() && st.st_size == core::mem::size_of::<Shared>() as i64
    });
    let mapped = if sound { map(fd) } else { Err(Errno::INVAL) };
    sys::close(fd);
    mapped
}

impl Shared {
    /// Opens the ledger at `path`; the file must be ours and whole.
    ///
    /// # Errors
    /// ENOENT: there is none, or it is closed. EINVAL: something else is there. Others as open(2).
    pub fn open(path: &CStr) -> Result<&'static Self> {
        let shared = map_at(path)?;
        shared.check().map(|()| shared)
    }

    /// Calls `f` with the ledger at `path`, which is mapped only meanwhile: as long as it is, it counts as one that
    /// somebody has ([`super::settle_deserted`]).
    ///
    /// # Errors
    /// As [`Shared::open`].
    pub fn look<R>(path: &CStr, f: impl FnOnce(&Self) -> R) -> Result<R> {
        let mapped = Mapping(map_at(path)?);
        mapped.check().map(|()| f(&mapped))
    }

    fn check(&self) -> Result<()> {
        match (self.header.magic.load(Acquire), self.header.state.load(SeqCst)) {
            (MAGIC, OPEN | CLOSING) => Ok(()),
            (MAGIC, CLOSED) => Err(Errno::NOENT),
            _ => Err(Errno::INVAL),
        }
    }
}
