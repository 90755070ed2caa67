//! The whole ledger file: its header and its records.

use core::sync::atomic::Ordering::{Relaxed, SeqCst};

use crate::slots::State;

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

const _: () =
    assert!(core::mem::size_of::<Record>() == 128 && core::mem::size_of::<Header>() == 8192);

impl Ledger {
    /// Returns the record at this index. Returns None for record 0 and for an index that is out of range.
    pub fn record(&self, index: u32) -> Option<&Record> {
        self.records.get(index as usize).filter(|_| index != 0)
    }

    /// Returns the record of a handle. Returns None if the record has another generation by now.
    pub fn get(&self, h: Handle) -> Option<&Record> {
        self.record(h.index).filter(|r| r.now().1 == h.generation)
    }

    /// All records that have ever been used.
    pub fn records(&self) -> impl Iterator<Item = (u32, &Record)> {
        let high = self.header.high.load(SeqCst) as usize;
        (0u32..).zip(self.records.iter()).take(high.saturating_add(1)).skip(1)
    }

    /// The jobs of a client, with their states.
    pub fn jobs_of(&self, client: u32) -> impl Iterator<Item = (Handle, State, &Record)> {
        self.records().filter_map(move |(index, r)| {
            let (state, generation) = r.now();
            let ours = state.is_job() && r.client.load(Relaxed) == client;
            ours.then_some((Handle { index, generation }, state, r))
        })
    }
}
