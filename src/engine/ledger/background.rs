//! Jobs of the background (`JSSHIM_SHARE=idle`) take a token only if no other client wants it.
//!
//! Who wants one? A job that waits, and for a moment each client of which a job has just ended: it may be about to make
//! the next one. Programs that read the pool themselves are not in the ledger. They sleep in a read, or have taken their
//! next token within a moment of giving one back: so a token of the pool is left to them for `YIELD_MILLIS`.

use core::sync::atomic::Ordering::Relaxed;

use crate::share::Share;
use crate::sys;

use super::access::Ledger;
use super::handle::Handle;
use super::record::Record;

/// For how long after the last step of another client's job no job of the background starts on a token, in ns.
const QUIET_NANOS: u64 = 50_000_000;

/// For how long a token lies in the pool before a waiting job of the background takes it, in ms.
pub(crate) const YIELD_MILLIS: u32 = 2;

impl Ledger {
    /// Stores the share of a client that has just entered.
    pub fn set_share(&self, client: Handle, share: Share) {
        if let Some(record) = self.get(client).filter(|_| share != Share::default()) {
            // Relaxed: until others see it, it has the share that most clients have.
            record.note.store(share.word(), Relaxed);
        }
        match share {
            Share::Background => self.header.background.store(1, Relaxed),
            Share::Weight(2..) => self.header.weighted.store(1, Relaxed),
            Share::Weight(_) => {}
        }
    }

    /// The share of this client.
    pub fn share(&self, client: u32) -> Share {
        self.record(client).map_or(Share::default(), |r| Share::of_word(r.note.load(Relaxed)))
    }

    /// Returns whether jobs of this client must be held, so that they get its share: who waits before the job exists has
    /// one place in the pool's queue, and polls.
    pub fn must_queue(&self, client: u32) -> bool {
        self.header.weighted.load(Relaxed) != 0 || self.is_background(client)
    }

    /// Returns whether this client's jobs are of the background.
    pub fn is_background(&self, client: u32) -> bool {
        // Relaxed: as above. Few ledgers have any.
        self.header.background.load(Relaxed) != 0 && self.share(client) == Share::Background
    }

    /// Called after a step of a job of this client.
    pub(super) fn note_want(&self, client: u32) {
        if self.header.background.load(Relaxed) != 0 && !self.is_background(client) {
            self.header.wanted.store(sys::now(), Relaxed);
        }
    }

    /// For how long a job of the background leaves the tokens to other clients, in ms; 0: nobody wants them.
    #[inline(never)]
    pub fn yields_for(&self) -> u32 {
        let wants = |r: &Record| r.state().is_held() && !self.is_background(r.client.load(Relaxed));
        if self.waiting().any(|(_, r)| wants(r)) {
            return (QUIET_NANOS / 1_000_000) as u32;
        }
        let past = sys::now().saturating_sub(self.header.wanted.load(Relaxed));
        QUIET_NANOS.saturating_sub(past).div_ceil(1_000_000) as u32
    }
}
