//! Opening a ledger, for the life of the process or for a short look.

use core::ffi::CStr;
use core::ops::Deref;
use core::sync::atomic::Ordering::{Acquire, SeqCst};

use crate::sys::{self, Errno, Result};

use super::access::Ledger;
use super::header::{CLOSED, CLOSING, MAGIC, OPEN};

/// How long the removal of a killed sandbox's ledger may take, in ms.
const SETTLING_MILLIS: u32 = 200;

/// Opens a ledger's file. Waits for one that is [being settled](super::deserted::settle_deserted): it will be gone
/// soon.
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

pub(super) fn map(fd: i32) -> Result<&'static Ledger> {
    let at = sys::map(fd, core::mem::size_of::<Ledger>())?;
    // SAFETY: page-aligned and as large as `Ledger`, whose every field is an atomic and valid for any bits; only a
    // `Mapping` unmaps it, which lends it out for less than its own life.
    Ok(unsafe { &*at.cast::<Ledger>() })
}

/// A ledger that is mapped for a limited time.
pub(super) struct Mapping(pub(super) &'static Ledger);

impl Mapping {
    pub(super) fn of(fd: i32) -> Option<Self> {
        map(fd).ok().map(Self)
    }
}

impl Deref for Mapping {
    type Target = Ledger;

    fn deref(&self) -> &Ledger {
        self.0
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `map` mapped it for this owner, which lends it out for less than its own life.
        unsafe { sys::unmap(core::ptr::from_ref(self.0).cast_mut().cast(), size_of::<Ledger>()) };
    }
}

/// Maps the file at `path` if it belongs to this user and has the full size.
fn map_at(path: &CStr) -> Result<&'static Ledger> {
    let fd = open(path)?;
    let ours = sys::fstat(fd).is_ok_and(|st| st.st_uid == sys::geteuid());
    let mapped = if ours { map(fd) } else { Err(Errno::INVAL) };
    let part = mapped.ok().filter(|ledger| !ledger.is_whole(fd));
    sys::close(fd);
    match part {
        Some(ledger) => {
            drop(Mapping(ledger));
            Err(Errno::INVAL)
        }
        None => mapped,
    }
}

impl Ledger {
    /// Opens the ledger at `path`. The file must belong to this user and have the full size.
    ///
    /// # Errors
    /// ENOENT: there is no ledger, or it is closed. EINVAL: something else is there. Others as open(2).
    pub fn open(path: &CStr) -> Result<&'static Self> {
        let shared = map_at(path)?;
        shared.check().map(|()| shared)
    }

    /// Calls `f` with the ledger at `path`, mapped for the duration of the call. While it is mapped, the ledger does
    /// not count as deserted ([`super::deserted::settle_deserted`]).
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub fn inspect<R>(path: &CStr, f: impl FnOnce(&Self) -> R) -> Result<R> {
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
