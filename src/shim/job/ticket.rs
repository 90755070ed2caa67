//! What a spawn was given: on what its job runs.

use jsshim_engine::ledger::handle::Handle;

/// What a spawn was given.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ticket {
    /// Not ours to judge.
    Pass,
    /// The implicit slot of a process that has no ledger: its only job.
    First,
    /// A record of the ledger; the job is started at once.
    Runs(Handle),
    /// A record of the ledger; the job is to be held.
    Held(Handle),
}

/// A ticket in one word, to be carried over a `vfork`; [`unpack`] undoes it.
pub fn pack(ticket: Ticket) -> u64 {
    const HELD: u64 = 1 << 63;
    match ticket {
        Ticket::Pass => 0,
        Ticket::First => 1,
        Ticket::Runs(job) => job.pack() << 1,
        Ticket::Held(job) => job.pack() << 1 | HELD,
    }
}

/// See [`pack`].
pub fn unpack(word: u64) -> Ticket {
    match (word, Handle::unpack((word & !(1 << 63)) >> 1)) {
        (1, _) => Ticket::First,
        (_, Some(job)) if word >> 63 == 1 => Ticket::Held(job),
        (_, Some(job)) => Ticket::Runs(job),
        _ => Ticket::Pass,
    }
}
