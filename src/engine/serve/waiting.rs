//! Waiting for a slot, and for the end of a job.

use crate::sys::Errno;

use super::mask::Masked;
use super::server::Host;
use super::table::{Jobs, Slot};
use super::until::Until;

/// Why a wait gave no result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// An error: AGAIN, the time is over; INTR, a handler of the program has run; BADF, the pool cannot be read.
    Failed(Errno),
    /// A child of the program's own has ended: its pid and status.
    Stranger(i32, i32),
}

impl From<Errno> for Stop {
    fn from(e: Errno) -> Self {
        Self::Failed(e)
    }
}

/// Waits for a slot for a new job. The slot of a job of ours that has ended goes straight to the new job, and is used
/// before a token.
///
/// # Errors
/// See [`Stop`]. No slot is lost.
pub fn obtain<H: Host>(
    host: &mut H,
    masked: &mut Masked,
    until: Until,
) -> core::result::Result<Slot, Stop> {
    if core::mem::take(&mut host.server().implicit) {
        return Ok(Slot::Implicit);
    }
    loop {
        host.server().wake.drain(drop);
        let mut kept = None;
        sweep(host, masked, Some(&mut kept));
        if let Some(slot) = kept {
            return Ok(slot);
        }
        if let Some(slot) = host.server().slot()? {
            return Ok(slot);
        }
        if let Some((pid, status)) = host.server().stranger(masked) {
            return Err(Stop::Stranger(pid, status));
        }
        if until.is_over() {
            return Err(Errno::AGAIN.into());
        }
        host.server().sleep(masked, until, true, 0)?;
    }
}

/// Waits until at least one job has ended, if any runs. Returns how many are left; if the time is over, as many as
/// before.
///
/// # Errors
/// See [`Stop`].
pub fn wait<H: Host>(
    host: &mut H,
    masked: &mut Masked,
    until: Until,
) -> core::result::Result<usize, Stop> {
    loop {
        host.server().wake.drain(drop);
        let ended = sweep(host, masked, None);
        let left = host.server().jobs.all().len();
        if ended || left == 0 {
            return Ok(left);
        }
        if let Some((pid, status)) = host.server().stranger(masked) {
            return Err(Stop::Stranger(pid, status));
        }
        if !host.server().tokens.is_open() {
            return Err(Errno::BADF.into());
        }
        if until.is_over() {
            return Ok(left);
        }
        host.server().sleep(masked, until, false, 0)?;
    }
}

/// Reaps all jobs that have ended. The slot of the first goes into `kept`. Returns whether there was any.
pub fn sweep<H: Host>(
    host: &mut H,
    masked: &mut Masked,
    mut kept: Option<&mut Option<Slot>>,
) -> bool {
    let mut any = false;
    while let Some((job, status)) = host.server().next_ended() {
        any = true;
        match kept.take() {
            Some(kept) => *kept = Some(job.slot),
            None => host.server().put(job.slot),
        }
        masked.outside(|| host.ended(job.tag, status));
    }
    any
}
