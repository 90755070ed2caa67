//! Tickets: what a job runs on.

use jsshim_engine::ledger::handle::Handle;

/// What the job of a spawn runs on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ticket {
    /// Not gated.
    Pass,
    /// The implicit slot of a process without a ledger: its only job.
    First,
    /// A record of the ledger; the job is started at once.
    Runs(Handle),
    /// A record of the ledger; the job is to be held.
    Held(Handle),
}

/// Packs a ticket into one word, to be carried over a `vfork`. The reverse is [`unpack`].
pub fn pack(ticket: Ticket) -> u64 {
    const HELD: u64 = 1 << 63;
    match ticket {
        Ticket::Pass => 0,
        Ticket::First => 1,
        Ticket::Runs(job) => job.pack() << 1,
        Ticket::Held(job) => job.pack() << 1 | HELD,
    }
}

/// The reverse of [`pack`].
pub fn unpack(word: u64) -> Ticket {
    match (word, Handle::unpack((word & !(1 << 63)) >> 1)) {
        (1, _) => Ticket::First,
        (_, Some(job)) if word >> 63 == 1 => Ticket::Held(job),
        (_, Some(job)) => Ticket::Runs(job),
        _ => Ticket::Pass,
    }
}
