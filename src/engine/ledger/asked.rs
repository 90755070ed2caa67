//! Whether lanes and a trace are wanted; clients set this in the ledger's header.

use core::sync::atomic::Ordering::{Acquire, Relaxed};

use crate::sync::{AtomicU32, AtomicU8};
use crate::text::Path;

/// Part of the header. A client sets it when it joins.
#[repr(C)]
pub struct Asked {
    pub(super) what: AtomicU32,
    pub(super) path: [AtomicU8; 256],
}

/// Lanes are wanted.
pub(crate) const LANES: u32 = 1;
/// A trace is wanted, and one process is writing its path.
pub(crate) const PATH: u32 = 2;
/// The path is complete.
pub(crate) const TRACE: u32 = 4;

impl Asked {
    pub(super) fn has(&self, what: u32) -> bool {
        // Acquire: whoever sees TRACE set sees the path.
        self.what.load(Acquire) & what != 0
    }

    /// Returns whether a trace is written.
    pub fn is_traced(&self) -> bool {
        self.has(TRACE)
    }

    pub(super) fn path(&self) -> Path {
        let mut path = Path::default();
        let bytes = self.path.iter().map(|b| b.load(Relaxed));
        bytes.take_while(|b| *b != 0).for_each(|b| path.push([b]));
        path
    }
}
