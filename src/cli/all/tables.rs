//! Jobs and clients by pid, in memory that supervisor and double share: a killed supervisor's jobs are known to the next.
//! A wrong entry does no harm: the ledger's record tells whether it is of that process.

use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

use jsshim_engine::ledger::access::Ledger;
use jsshim_engine::ledger::handle::Handle;
use jsshim_engine::slots::State;
use jsshim_engine::sys;

const PLACES: usize = 1 << 16;
/// How many places there are for a pid.
const NEAR: usize = 8;

/// Handles of records ([`Handle::pack`]) by pid. Zeros are an empty table.
#[repr(C)]
pub struct Table([AtomicU64; PLACES]);

/// Both tables.
#[repr(C)]
pub struct Tables {
    pub jobs: Table,
    pub clients: Table,
}

impl Tables {
    /// # Errors
    /// As mmap(2).
    pub fn new() -> io::Result<&'static Self> {
        let at = sys::map_shared_anonymous(size_of::<Self>());
        let at = at.map_err(|e| io::Error::from_raw_os_error(e.0))?;
        // SAFETY: a new mapping of that size, which is never unmapped; zeros are valid.
        Ok(unsafe { &*at.cast::<Self>() })
    }
}

impl Table {
    fn places(&self, pid: i32) -> impl Iterator<Item = &AtomicU64> {
        let first = pid.unsigned_abs() as usize;
        (0..NEAR).filter_map(move |n| self.0.get((first + n * 8191) % PLACES))
    }

    /// The record of this process, in use.
    pub fn find(&self, ledger: &Ledger, pid: i32) -> Option<(Handle, State)> {
        self.places(pid).find_map(|place| {
            let job = Handle::unpack(place.load(Acquire))?;
            let record = ledger.get(job).filter(|r| r.pid.load(Acquire) == pid)?;
            let state = record.state();
            (state != State::Free).then_some((job, state))
        })
    }

    /// Notes the record of this process, where another one is out of use.
    pub fn put(&self, ledger: &Ledger, pid: i32, record: Handle) {
        let is_spare = |place: &&AtomicU64| {
            let job = Handle::unpack(place.load(Acquire));
            job.is_none_or(|job| ledger.get(job).is_none_or(|r| r.state() == State::Free))
        };
        let mut places = self.places(pid);
        let place = places.find(is_spare).or_else(|| self.places(pid).next());
        if let Some(place) = place {
            place.store(record.pack(), Release);
        }
    }
}
