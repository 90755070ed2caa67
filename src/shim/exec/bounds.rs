//! Whether the helper may run in a job's place, here and now. It must exist, belong to this library, and be able to
//! work. Between its fork and its exec a child may have put restrictions on itself (a seccomp filter, landlock, another
//! root directory, fewer descriptors, a tracer that waits for the exec); these are meant for its own program.
//!
//! This is checked only for a job that is to be held, or that libc starts through a shell.

use core::ffi::CStr;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, AtomicU64};

use jsshim_engine::client::Client;
use jsshim_engine::hold::spec;
use jsshim_engine::proc::{self, Bounds};
use jsshim_engine::sys;

use crate::job::state::STATE;

/// The restrictions of this process when it joined. Relaxed: written before the client is published.
static FILTERS: AtomicU32 = AtomicU32::new(UNKNOWN);
static TRACER: AtomicI32 = AtomicI32::new(0);
static NO_NEW_PRIVS: AtomicBool = AtomicBool::new(false);
/// In [`FILTERS`]: /proc could not be read.
const UNKNOWN: u32 = u32::MAX;

/// The file that was found to be the helper: device, inode, and time of the last change.
static HELPER: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];

/// Called at joining: the restrictions at that time apply to the whole tree, for example in a container.
pub fn note() {
    let Some(now) = proc::bounds(0) else { return FILTERS.store(UNKNOWN, Relaxed) };
    TRACER.store(now.tracer, Relaxed);
    NO_NEW_PRIVS.store(now.no_new_privs, Relaxed);
    FILTERS.store(now.filters, Relaxed);
}

/// Returns whether this process still has no more restrictions than when it joined. Returns false if the kernel told
/// them then and does not now.
///
/// The system calls made here (open, read, close) are also made at the start of each dynamic program. A filter that
/// forbids others may kill.
pub fn are_as_joined() -> bool {
    are(|_| true)
}

fn are(more: impl FnOnce(Bounds) -> bool) -> bool {
    let then = FILTERS.load(Relaxed);
    let is_traced = |now: &Bounds| now.tracer != 0 && now.tracer != TRACER.load(Relaxed);
    let same = |now: Bounds| now.filters <= then && !is_traced(&now) && more(now);
    then == UNKNOWN || proc::bounds(0).is_some_and(same)
}

/// Returns whether this process has no more filters than its parent. For checks before joining. If that cannot be read,
/// only the child of a fork is suspected.
pub fn are_as_above() -> bool {
    let above = |now: Bounds| proc::bounds(now.parent).is_some_and(|b| now.filters <= b.filters);
    let same = |now: Bounds| now.filters == 0 || now.parent > 0 && above(now);
    proc::bounds(0).map_or(!STATE.is_fork(), same)
}

/// Returns whether a job of this process may be exec'ed into the helper. Async-signal-safe; writes nothing that the
/// parent of a `vfork` child would miss.
pub fn allow_helper(client: &Client) -> bool {
    are_as_joined() && can_work(client)
}

/// [`allow_helper`] for a shell that libc starts, where a failing exec of the helper would not be noticed. A process
/// that restricts itself to some directories (landlock(7)) sets no_new_privs before.
pub fn allow_helper_in_shell(client: &Client) -> bool {
    are(|now| !now.no_new_privs || NO_NEW_PRIVS.load(Relaxed)) && can_work(client)
}

/// Another user, or a process without free descriptors, cannot open the ledger, and the helper could not either.
fn can_work(client: &Client) -> bool {
    let open = || sys::open(client.ledger_path().c(), libc::O_RDWR | libc::O_NOFOLLOW, 0);
    !client.helper.is_empty() && open().map(sys::close).is_ok()
}

/// Returns whether the helper is the same file as before, or another one that understands us: it may be replaced while
/// a build runs. Called in the process whose job is to be held, so that the warning comes once there, and not from each
/// child.
pub fn has_helper(client: &Client) -> bool {
    let there = !client.helper.is_empty();
    there && (is_known(client.helper) || is_ours(client.helper) || warn())
}

fn warn() -> bool {
    STATE.warn(b"jsshim-helper is not the one of this library; jobs cannot be held");
    false
}

/// Returns None if there is no such file.
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

/// Returns whether this file is a helper that understands us. Writes nothing that the parent of a `vfork` child would
/// miss.
pub fn is_still_ours(path: &CStr) -> bool {
    is_known(path) || spec::is_helper(path)
}

/// Returns whether this file is a helper that understands us. If so, remembers it.
pub fn is_ours(path: &CStr) -> bool {
    let Some(now) = identity(path).filter(|_| spec::is_helper(path)) else { return false };
    // Relaxed: a process that sees parts of two files checks again.
    HELPER.iter().zip(now).for_each(|(part, value)| part.store(value, Relaxed));
    true
}
