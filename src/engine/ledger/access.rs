//! The whole ledger file: its header and its records.

use core::sync::atomic::Ordering::Relaxed;

use super::handle::{Handle, RECORDS};
use super::header::Header;
use super::record::Record;

/// The whole file.
#[repr(C)]
pub struct Ledger {
    /// See [`Header`].
    pub header: Header,
    records: [Record; RECORDS],
}

const _: () = assert!(size_of::<Record>() == 192 && size_of::<Header>().is_multiple_of(4096));

impl Ledger {
    /// Returns the record at this index. Returns None for record 0 and for a record without memory.
    #[inline(never)]
    pub fn record(&self, index: u32) -> Option<&Record> {
        // Relaxed: who knows of a record knows of its memory.
        let room = self.header.used.room.load(Relaxed);
        self.records.get(index as usize).filter(|_| index != 0 && index < room)
    }

    /// Returns the record of a job that this process, its parent or its client has claimed. Reads nothing: after a fork
    /// the first read of a page costs a fault.
    pub fn own_record(&self, h: Handle) -> Option<&Record> {
        self.records.get(h.index as usize)
    }

    /// Returns the record of a handle. Returns None if the record has another generation by now.
    #[inline(never)]
    pub fn get(&self, h: Handle) -> Option<&Record> {
        self.record(h.index).filter(|r| r.now().1 == h.generation)
    }
}
