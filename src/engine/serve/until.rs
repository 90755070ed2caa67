//! When a wait ends.

use crate::sys;

/// When a wait ends.
#[derive(Clone, Copy)]
pub struct Until(Option<u64>);

impl Until {
    /// In this many ms from now, or never if negative, as in poll(2).
    pub fn millis(millis: i32) -> Self {
        let ns = u64::try_from(millis).ok().map(|ms| ms.saturating_mul(1_000_000));
        Self(ns.map(|ns| sys::now().saturating_add(ns)))
    }

    /// The time left in ns; None: for ever.
    pub fn left(self) -> Option<u64> {
        self.0.map(|end| end.saturating_sub(sys::now()))
    }

    pub(super) fn is_over(self) -> bool {
        self.left() == Some(0)
    }
}
