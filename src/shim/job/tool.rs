//! A tool of Go: a job of `go`, its parent, which has not the library. It is started through env(1) (`-toolexec`), in
//! which this runs: env claims the job for its parent, and becomes the tool, or the helper that waits before the tool
//! starts. So the guard alone sees its end.

use core::ffi::CStr;
use core::sync::atomic::Ordering::{Relaxed, Release};

use jsshim_engine::program::go;
use jsshim_engine::text::{self, Path};
use jsshim_engine::{proc, sys};

use crate::exec::bounds;
use crate::exec::environ::{self, Strings};
use crate::start::{join, program, settings};

use super::names::Plan;
use super::state::STATE;
use super::ticket::Ticket;
use super::{first, life};

/// A slot for this process, if it is about to become a tool. A tool that only tells its version needs none.
///
/// # Safety
/// `argv` must be NULL or a NULL-terminated array of C strings.
#[inline]
pub unsafe fn slot(argv: Strings) -> Option<Ticket> {
    if program::name() != b"env" {
        return None;
    }
    // SAFETY: by the contract.
    unsafe { slot_of_env(argv) }
}

#[inline(never)]
unsafe fn slot_of_env(argv: Strings) -> Option<Ticket> {
    let flags = environ::own(go::FLAGS)?;
    // SAFETY: by the contract of `slot`.
    let mut words = unsafe { environ::iter(argv) }.map(CStr::to_bytes);
    let is_tool = text::contains(flags, go::WORD) && is_below_go();
    if !is_tool
        || go::is_supervised(environ::own)
        || STATE.top.load(Relaxed)
        || words.any(|word| word == go::VERSION)
    {
        return None;
    }
    let client = STATE.join(join::find, first::record).filter(|c| bounds::has_helper(c))?;
    client.stand_for_parent()?;
    let job = client.claim()?;
    client.ledger().get(job)?.pid.store(sys::getpid(), Release);
    let ticket = life::slot(client, job, settings::Gate::Child, Plan::FORK);
    client.guard(STATE.env.load(Relaxed).cast_const(), true);
    Some(ticket)
}

/// Returns whether the parent is `go`, not a program below it that starts an env(1) of its own.
fn is_below_go() -> bool {
    let mut found = false;
    let path: Path = proc::of(sys::getppid()).with(b"/comm");
    proc::each_part::<32>(&path, b'\n', |line| found |= line == b"go");
    found
}

/// The exec of the tool has failed.
pub fn failed(ticket: Ticket) {
    life::started(ticket, -1);
    if let Some(client) = STATE.client() {
        client.stand_aside();
    }
}
