//! Spawns between `vfork` and its child's exec. The child runs on its parent's memory and finds what
//! was decided for it by the thread pointer, which the two share.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicU64, AtomicUsize};

use crate::exec::environ::Scratch;

use super::ticket::{self, Ticket};

/// Threads that may be inside `vfork` at once; further ones are not gated.
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

/// Takes a place for this thread; its number, from 1.
pub fn enter(thread: usize, ticket: Ticket) -> Option<usize> {
    // First, so that a fork of another thread finds either a table that has been used or no place taken.
    let turn = TURN.fetch_add(1, AcqRel);
    let free = |p: &Pending| p.thread.compare_exchange(0, thread, AcqRel, Relaxed).is_ok();
    let at = ALL.iter().position(free)?;
    let place = ALL.get(at)?;
    place.ticket.store(ticket::pack(ticket), Release);
    // Relaxed: only this thread compares them.
    place.turn.store(turn, Relaxed);
    Some(at.wrapping_add(1))
}

/// A place by its number.
pub fn get(number: usize) -> Option<&'static Pending> {
    ALL.get(number.checked_sub(1)?)
}

/// The place of the thread that this `vfork` child came from: the latest, since a handler may have
/// interrupted the thread on its way into another one.
pub fn of(thread: usize) -> Option<&'static Pending> {
    let mine = ALL.iter().filter(|p| p.thread.load(Acquire) == thread);
    mine.max_by_key(|p| p.turn.load(Relaxed))
}

/// In a forked child there is nothing pending.
pub fn clear() {
    // The table is not looked at where it has never been used: its pages would be mapped for that.
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

    /// In the child, before its exec.
    pub fn keep(&self, (at, len): (usize, usize)) {
        let [a, l] = &self.scratch;
        a.store(at, Release);
        l.store(len, Release);
    }

    /// Frees what [`Pending::keep`] has kept: the exec has happened, or failed.
    pub fn free_scratch(&self) {
        let [a, l] = &self.scratch;
        Scratch::free((a.swap(0, AcqRel), l.swap(0, AcqRel)));
    }

    /// In the parent, when the child has exec'ed or ended.
    pub fn leave(&self) -> Ticket {
        self.free_scratch();
        let ticket = self.ticket();
        self.ticket.store(0, Release);
        self.thread.store(0, Release);
        ticket
    }
}
