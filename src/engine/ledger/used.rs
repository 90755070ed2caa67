//! Which records are in use: a bit for each, so that neither a search for a free record nor a look at all jobs grows
//! with the records that were in use once. And how many records have memory: the file grows with them.
//!
//! A record's bit in `used` is changed only by the process that has reserved the record. It is set before the record is
//! claimed and cleared after it is free, so every record in use has its bit set. The bit of a free record stays set if the
//! process that freed the record was killed; the guard clears it.

use core::sync::atomic::Ordering::{Relaxed, SeqCst};

use crate::bits;
use crate::sync::{AtomicU32, AtomicU64};

use super::handle::RECORDS;

/// How many records a new ledger has memory for.
pub(crate) const FIRST_ROOM: u32 = 1024;

/// The records in a word.
pub(super) const BITS: u32 = bits::BITS as u32;
pub(super) const WORDS: usize = RECORDS / bits::BITS;

/// Part of the header.
#[repr(C)]
pub struct Used {
    /// From this record on, the file has no memory. It never falls.
    pub(super) room: AtomicU32,
    /// How many words were ever used.
    pub(super) top: AtomicU32,
    /// No word below this one has a free record, as far as is known.
    hint: AtomicU32,
    used: [AtomicU64; WORDS],
    /// The jobs that wait for a slot: a bit is set a moment after the step to `Waiting`, and cleared a moment after the
    /// next step. The guard repairs what killed processes left.
    waiting: [AtomicU64; WORDS],
}

fn bit_of(words: &[AtomicU64; WORDS], index: u32) -> Option<(&AtomicU64, u64)> {
    let (at, bit) = bits::place(index as usize);
    Some((words.get(at)?, bit))
}

impl Used {
    /// Notes that a record is about to be used. Only the process that has reserved it calls this.
    pub(super) fn set(&self, index: u32) {
        self.wait(index, false);
        self.repair(index);
        // Relaxed: a hint.
        self.hint.store(index.wrapping_div(BITS), Relaxed);
    }

    /// Sets the bit of a record that is in use.
    pub(super) fn repair(&self, index: u32) {
        let Some((word, bit)) = bit_of(&self.used, index) else { return };
        // SeqCst: the guard that writes `Closing` must see this claim (see the head of `ledger/mod.rs`).
        if word.load(SeqCst) & bit == 0 {
            self.top.fetch_max(index.wrapping_div(BITS).wrapping_add(1), SeqCst);
            word.fetch_or(bit, SeqCst);
        }
    }

    /// Notes that a record is free. Only the process that has reserved it calls this.
    pub(super) fn clear(&self, index: u32) {
        let Some((word, bit)) = bit_of(&self.used, index) else { return };
        word.fetch_and(!bit, SeqCst);
        // Low records are used again first, so that the words and pages in use are few.
        self.hint.fetch_min(index.wrapping_div(BITS), Relaxed);
    }

    /// Notes whether the job of this record waits for a slot.
    pub(super) fn wait(&self, index: u32, waits: bool) {
        let Some((word, bit)) = bit_of(&self.waiting, index) else { return };
        // Relaxed: a job that is missed for a moment is found at the next look.
        if (word.load(Relaxed) & bit != 0) == waits {
            return;
        }
        let _ = if waits { word.fetch_or(bit, Relaxed) } else { word.fetch_and(!bit, Relaxed) };
    }

    /// Looks at records below `room` that may be free, until one is found for which `f` returns Some.
    pub(super) fn find_free<R>(&self, room: u32, f: impl Fn(u32) -> Option<R>) -> Option<R> {
        let start = self.hint.load(Relaxed) as usize;
        let words = (room.div_ceil(BITS) as usize).min(WORDS);
        for at in (start..words).chain(0..start.min(words)) {
            // Record 0 means "none", and is skipped.
            let none = u64::from(at == 0);
            let free = !(self.used.get(at)?.load(Relaxed) | none);
            let mut free = bits::ones(at, free).map(|index| index as u32);
            let found = free.by_ref().take_while(|index| *index < room).find_map(&f);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// The bits of this word that `which` asks for.
    pub(super) fn word(&self, at: u32, which: Which) -> u64 {
        let word =
            |words: &[AtomicU64; WORDS]| words.get(at as usize).map_or(0, |w| w.load(SeqCst));
        match which {
            Which::All => word(&self.used),
            Which::Waiting => word(&self.used) & word(&self.waiting),
            Which::Others => word(&self.used) & !word(&self.waiting),
        }
    }
}

/// Which records are asked for.
#[derive(Clone, Copy)]
pub(super) enum Which {
    /// All in use.
    All,
    /// The jobs that wait for a slot.
    Waiting,
    /// All others in use.
    Others,
}
