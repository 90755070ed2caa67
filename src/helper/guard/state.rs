//! What a guard knows.

use jsshim_engine::ledger::access::Ledger;
use jsshim_engine::ledger::handle::RECORDS;
use jsshim_engine::pool::tokens::Pool;
use jsshim_engine::text::Path;
use jsshim_engine::watchdog::alive::Watches;
use jsshim_engine::watchdog::Watchdog;

use crate::stale::Neighbours;

use super::budget::Budget;
use super::end::End;

/// What the make does whose pool it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Make {
    /// It builds, or another process has its pool open.
    Builds,
    /// It counts its tokens.
    Counts,
    /// Nobody is to be seen who has the pool open.
    Unseen,
}

pub(crate) struct Guard<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) path: Path,
    /// The ledger, for its lock.
    pub(super) file: i32,
    pub(super) pool: Pool,
    /// The descriptor by which the pool is opened, or -1.
    pub(super) held: i32,
    /// Is the pool open for writing at [`jsshim_engine::guard::process::KEPT`]? `None`: not known.
    pub(super) kept: Option<bool>,
    pub(super) watches: Watches,
    pub(super) watchdog: Watchdog,
    /// The clients, by index, with a job that may need their implicit slot.
    pub(super) needy: &'static mut [bool; RECORDS],
    /// The ledger is another one than that of who started this process. It was between its making and its guard.
    pub(super) adopted: bool,
    /// The ledger's file has no name any more, or another file has it: who comes makes another one.
    pub(super) nameless: bool,
    pub(super) budget: Budget,
    /// See [`crate::double`]; and a pidfd of it, or -1.
    pub(super) double: i32,
    pub(super) double_fd: i32,
    /// Readable when somebody calls ([`jsshim_engine::ledger::signals::CALL`]); or -1.
    pub(super) calls: i32,
    /// Of the process with which an own pool ends: is there one; a pidfd, or -1.
    pub(super) has_root: bool,
    pub(super) root: i32,
    /// A process that has the pool of a make open for writing, that make first, as far as is known; or 0.
    pub(super) owner: i32,
    /// The ledgers of other PID namespaces on this pool.
    pub(super) neighbours: Neighbours,
    /// A process that may be a make that counts, if it still is when looked at again; or 0.
    pub(super) counts: i32,
    /// What is known of the make.
    pub(super) make: Make,
    /// When to look next whether it counts its tokens.
    pub(super) look: u64,
    /// There are jobs, so that a token may be out.
    pub(super) out: bool,
    /// While make counts: was nothing out when last looked at?
    pub(super) was_in: bool,
    /// Since when a pool that cannot be opened is empty while nothing is out; 0: it is not.
    pub(super) drained: u64,
    /// What is known of the end of the build.
    pub(super) end: End,
}
