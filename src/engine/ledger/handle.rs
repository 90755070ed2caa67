//! Handles: a record's index and the generation of its use.

/// Records in a ledger, the unused record 0 included.
pub const RECORDS: usize = 4096;

const INDEX_BITS: u32 = RECORDS.trailing_zeros();

/// A record in one generation. The generation makes stale handles harmless.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handle {
    /// Which record.
    pub index: u32,
    /// Which use of it.
    pub generation: u32,
}

impl Handle {
    /// Packs the handle into one word, never 0.
    pub fn pack(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The reverse of [`Handle::pack`]. Returns None for 0.
    pub fn unpack(word: u64) -> Option<Self> {
        (word != 0).then_some(Self { index: word as u32, generation: (word >> 32) as u32 })
    }

    /// Packs the handle into half a word: the index takes only the bits that it needs. Never 0.
    pub fn compact(self) -> u32 {
        self.generation.wrapping_shl(INDEX_BITS) | self.index
    }

    /// The reverse of [`Handle::compact`]. Returns None for 0.
    pub fn expand(word: u32) -> Option<Self> {
        let index = word & (RECORDS as u32).wrapping_sub(1);
        (word != 0).then_some(Self { index, generation: word.wrapping_shr(INDEX_BITS) })
    }
}
