//! Spawns between `vfork` and the child's exec. The child runs on its parent's memory, and finds its ticket by the
//! thread pointer, which the two share.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicU64, AtomicUsize};

use crate::exec::environ::Scratch;

use super::ticket::{self, Ticket};

/// The most threads inside `vfork` at once; further ones are not gated.
const MOST: usize = 64;

/// One thread inside `vfork`.
pub struct Pending {
    thread: AtomicUsize,
    turn: AtomicU64,
    ticket: AtomicU64,
    /// Memory that the child's exec uses and its parent frees.
    scratch: [AtomicUsize; 2],
}

#[link_section = ".bss.z"]
static ALL: [Pending; MOST] = [const {
    Pending {
        thread: AtomicUsize::new(0),
        turn: AtomicU64::new(0),
        ticket: AtomicU64::new(0),
        scratch: [AtomicUsize::new(0), AtomicUsize::new(0)],
    }
}; MOST];

static TURN: AtomicU64 = AtomicU64::new(FIRST);
const FIRST: u64 = 1;

/// Takes an entry for this thread. Returns its number, from 1.
pub fn enter(thread: usize, ticket: Ticket) -> Option<usize> {
    // First, so that a fork in another thread finds either a table that has been used, or no entry taken.
    let turn = TURN.fetch_add(1, AcqRel);
    let free = |p: &Pending| p.thread.compare_exchange(0, thread, AcqRel, Relaxed).is_ok();
    let at = ALL.iter().position(free)?;
    let place = ALL.get(at)?;
    place.ticket.store(ticket::pack(ticket), Release);
    // Relaxed: only this thread compares them.
    place.turn.store(turn, Relaxed);
    Some(at.wrapping_add(1))
}

/// An entry by its number.
pub fn get(number: usize) -> Option<&'static Pending> {
    ALL.get(number.checked_sub(1)?)
}

/// The entry of the thread from which this `vfork` child came: the latest, since a handler may have interrupted the
/// thread inside `vfork` and have called `vfork` itself.
pub fn of(thread: usize) -> Option<&'static Pending> {
    let mine = ALL.iter().filter(|p| p.thread.load(Acquire) == thread);
    mine.max_by_key(|p| p.turn.load(Relaxed))
}

/// Clears the table in a forked child, where nothing is pending.
pub fn clear() {
    // A table that was never used is not read: that would map its pages.
    if TURN.load(Relaxed) == FIRST {
        return;
    }
    for p in ALL.iter().filter(|p| p.thread.load(Relaxed) != 0) {
        p.thread.store(0, Relaxed);
    }
}

impl Pending {
    pub fn ticket(&self) -> Ticket {
        ticket::unpack(self.ticket.load(Acquire))
    }

    /// Called in the child before its exec.
    pub fn keep(&self, (at, len): (usize, usize)) {
        let [a, l] = &self.scratch;
        a.store(at, Release);
        l.store(len, Release);
    }

    /// Frees the memory of [`Pending::keep`]: the exec has happened, or failed.
    pub fn free_scratch(&self) {
        let [a, l] = &self.scratch;
        Scratch::free((a.swap(0, AcqRel), l.swap(0, AcqRel)));
    }

    /// Called in the parent when the child has exec'ed or ended.
    pub fn leave(&self) -> Ticket {
        self.free_scratch();
        let ticket = self.ticket();
        self.ticket.store(0, Release);
        self.thread.store(0, Release);
        ticket
    }
}
