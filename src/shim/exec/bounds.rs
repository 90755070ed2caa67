//! May the helper stand in a job's place, here and now? It must be there, be the one of this library, and be able to do
//! its work: what a child has bound itself to between its fork and its exec (a seccomp filter, landlock, another root
//! directory, fewer descriptors, a tracer that waits for the exec) it was bound to for its own program's sake.
//!
//! Asked only for a job that is to be held, or that libc starts by way of a shell.

use core::ffi::CStr;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64};

use jsshim_engine::client::Client;
use jsshim_engine::hold::spec;
use jsshim_engine::proc::{self, Bounds};
use jsshim_engine::sys;

use crate::job::state::STATE;

/// What this process was bound to when it joined. Relaxed: written before the client is published.
static FILTERS: AtomicU32 = AtomicU32::new(UNKNOWN);
static TRACER: AtomicI32 = AtomicI32::new(0);
static NO_NEW_PRIVS: AtomicBool = AtomicBool::new(false);
/// In [`FILTERS`]: /proc could not be read.
const UNKNOWN: u32 = u32::MAX;

/// The file that was found to be the helper: device, inode, and when it was changed last.
static HELPER: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

/// At joining: what is so now is how the tree lives, in a container say.
pub fn note() {
    let Some(now) = proc::bounds(0) else { return FILTERS.store(UNKNOWN, Relaxed) };
    TRACER.store(now.tracer, Relaxed);
    NO_NEW_PRIVS.store(now.no_new_privs, Relaxed);
    FILTERS.store(now.filters, Relaxed);
}

/// Is this process still bound to no more than when it joined? Where the kernel told that then and does not now,
/// it is not.
///
/// What is called here, the start of each dynamic program calls, too: open, read and close. A filter that forbids more
/// than that may kill.
pub fn are_as_joined() -> bool {
    are(|_| true)
}

fn are(more: impl FnOnce(Bounds) -> bool) -> bool {
    let then = FILTERS.load(Relaxed);
    let is_traced = |now: &Bounds| now.tracer != 0 && now.tracer != TRACER.load(Relaxed);
    let same = |now: Bounds| now.filters <= then && !is_traced(&now) && more(now);
    then == UNKNOWN || proc::bounds(0).is_some_and(same)
}

/// Is this process bound by no more filters than its parent? For what comes before joining. Where that cannot be
/// read, only the child of a fork is suspected.
pub fn are_as_above() -> bool {
    let above = |now: Bounds| proc::bounds(now.parent).is_some_and(|b| now.filters <= b.filters);
    let same = |now: Bounds| now.filters == 0 || now.parent > 0 && above(now);
    proc::bounds(0).map_or(!STATE.is_fork(), same)
}

/// May a job of this process be exec'ed into the helper? Async-signal-safe, and writes nothing that the parent of a
/// `vfork` child could miss.
pub fn allow_helper(client: &Client) -> bool {
    are_as_joined() && can_work(client)
}

/// The same for a shell that libc starts, of which it is not seen that its exec of the helper fails: who restricts
/// itself to some directories (landlock(7)) gives up new privileges before.
pub fn allow_helper_in_shell(client: &Client) -> bool {
    are(|now| !now.no_new_privs || NO_NEW_PRIVS.load(Relaxed)) && can_work(client)
}

/// Another user, or one without descriptors, cannot open the ledger, and the helper could not either.
fn can_work(client: &Client) -> bool {
    let open = || sys::open(client.ledger_path().c(), libc::O_RDWR | libc::O_NOFOLLOW, 0);
    !client.helper.is_empty() && open().map(sys::close).is_ok()
}

/// Is the helper the file that it was, or another one that understands us? It may be replaced while a build runs. Asked
/// in the process whose job is to be held, so that it is said once there, and not by each child.
pub fn has_helper(client: &Client) -> bool {
    let there = !client.helper.is_empty();
    there && (is_known(client.helper) || is_ours(client.helper) || warn())
}

fn warn() -> bool {
    STATE.warn(b"jsshim-helper is not the one of this library; jobs cannot be held");
    false
}

/// `None`: there is nothing.
fn identity(path: &CStr) -> Option<[u64; 3]> {
    let st = sys::stat(path, true).ok()?;
    let changed =
        (st.st_ctime as u64).wrapping_mul(1_000_000_000).wrapping_add(st.st_ctime_nsec as u64);
    Some([st.st_dev, st.st_ino, changed])
}

fn is_known(path: &CStr) -> bool {
    let known = HELPER.each_ref().map(|part| part.load(Relaxed));
    identity(path) == Some(known)
}

/// Is this file a helper that understands us? It is known from then on.
pub fn is_ours(path: &CStr) -> bool {
    let Some(now) = identity(path).filter(|_| spec::is_helper(path)) else { return false };
    // Relaxed: who sees parts of two asks again.
    HELPER.iter().zip(now).for_each(|(part, value)| part.store(value, Relaxed));
    true
}
