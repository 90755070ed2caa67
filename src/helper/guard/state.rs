//! The state of a guard.

use jsshim_engine::ledger::access::Ledger;
use jsshim_engine::ledger::handle::RECORDS;
use jsshim_engine::pool::tokens::Pool;
use jsshim_engine::text::Path;
use jsshim_engine::watchdog::alive::Watches;
use jsshim_engine::watchdog::Watchdog;

use crate::stale::Neighbours;

use super::budget::Budget;
use super::end::End;

/// What the make does that made the pool.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Make {
    /// It builds, or another process has its pool open for writing.
    Builds,
    /// It counts its tokens.
    Counts,
    /// No process is seen that has the pool open.
    Unseen,
}

pub(crate) struct Guard<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) path: Path,
    /// The descriptor of the ledger, for its lock.
    pub(super) file: i32,
    pub(super) pool: Pool,
    /// The descriptor of the pool, or -1.
    pub(super) held: i32,
    /// Whether the pool is open for writing at [`jsshim_engine::guard::process::KEPT`]; None: not known.
    pub(super) kept: Option<bool>,
    pub(super) watches: Watches,
    pub(super) watchdog: Watchdog,
    /// Per client index: whether the client has a job that may need its implicit slot.
    pub(super) needy: &'static mut [bool; RECORDS],
    /// How many rounds there were.
    pub(super) rounds: u32,
    /// Rounds in a row in which there was a token in the pool while jobs waited.
    pub(super) untaken: u32,
    /// The ledger does not belong to the process that started this one. It may have been made just now, without its
    /// guard yet.
    pub(super) adopted: bool,
    /// The ledger's file has no name any more, or another file has the name: new clients make another ledger.
    pub(super) nameless: bool,
    pub(super) budget: Budget,
    /// The pid of the [`crate::double`]; and a pidfd of it, or -1.
    pub(super) double: i32,
    pub(super) double_fd: i32,
    /// Readable when the guard is called ([`jsshim_engine::ledger::signals::CALL`]); or -1.
    pub(super) calls: i32,
    /// Whether there is a process with which a pool of our own ends; and a pidfd of it, or -1.
    pub(super) has_root: bool,
    pub(super) root: i32,
    /// The pid of a process that has a make's pool open for writing, if known that make itself; or 0.
    pub(super) owner: i32,
    /// The ledgers of other PID namespaces on this pool.
    pub(super) neighbours: Neighbours,
    /// The pid of a process that may be a make that counts, if the next check confirms it; or 0.
    pub(super) counts: i32,
    /// What the make does.
    pub(super) make: Make,
    /// When to check next whether it counts its tokens.
    pub(super) look: u64,
    /// There are jobs, so a token may be out.
    pub(super) out: bool,
    /// While make counts: whether no token was out at the last check.
    pub(super) was_in: bool,
    /// Since when a pool that cannot be opened has been empty while no token is out; 0: it is not.
    pub(super) drained: u64,
    /// What is known about the end of the build.
    pub(super) end: End,
}
