//! Who asked for lanes and for a trace.

use core::sync::atomic::Ordering::{Acquire, Relaxed};

use crate::sync::{AtomicU32, AtomicU8};
use crate::text::Path;

/// In the header. A client asks when it joins.
#[repr(C)]
pub struct Asked {
    pub(super) what: AtomicU32,
    pub(super) path: [AtomicU8; 256],
}

/// Lanes are wanted.
pub(crate) const LANES: u32 = 1;
/// A trace is wanted, and one process is about to write its path.
pub(crate) const PATH: u32 = 2;
/// The path is there.
pub(crate) const TRACE: u32 = 4;

impl Asked {
    pub(super) fn has(&self, what: u32) -> bool {
        // Acquire: with the last of them the path is seen.
        self.what.load(Acquire) & what != 0
    }

    /// Is a trace written?
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
