//! Handles: a record's index and the generation of its use.

/// Records in a ledger, the unused record 0 included. Only those in use take memory ([`super::used`]).
pub const RECORDS: usize = 1 << INDEX_BITS;

const INDEX_BITS: u32 = 16;

/// A record in one generation. The generation makes stale handles harmless.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handle {
    /// Which record.
    pub index: u32,
    /// Which use of it ([`crate::slots::GENERATIONS`]).
    pub generation: u64,
}

impl Handle {
    /// A job of a client for which there is no record: the ledger is full. Its process waits until it has one
    /// ([`crate::hold`]). No record has this handle, so that steps of the job change nothing.
    pub fn without_record(client: u32) -> Self {
        Self { index: 0, generation: client.into() }
    }

    /// The client of a job [without record](Self::without_record).
    pub fn lacks_record(self) -> Option<u32> {
        (self.index == 0).then_some(self.generation as u32)
    }

    /// Packs the handle into one word, never 0.
    pub fn pack(self) -> u64 {
        self.generation.wrapping_shl(INDEX_BITS) | u64::from(self.index)
    }

    /// The reverse of [`Handle::pack`]. Returns None for 0.
    pub fn unpack(word: u64) -> Option<Self> {
        let index = word as u32 & (RECORDS as u32).wrapping_sub(1);
        (word != 0).then_some(Self { index, generation: word.wrapping_shr(INDEX_BITS) })
    }
}
