//! Where the orphans of a process are reparented to.

use crate::ledger::access::Ledger;
use crate::{space, sys};

/// Where the orphans of this process are reparented to. In an atomic, 0 means not determined yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Orphans {
    /// To an init, as far as can be told: a subreaper further up cannot be seen from here.
    Init = 1,
    /// To another process.
    Above = 2,
    /// To this one: it is a subreaper, or process 1.
    Here = 3,
}

impl Orphans {
    pub(super) fn find(ledger: &Ledger) -> Self {
        if sys::getpid() == 1 || sys::is_subreaper() {
            return Self::Here;
        }
        if ledger.header.space() == space::FIRST {
            Self::Init
        } else {
            Self::Above
        }
    }
}
