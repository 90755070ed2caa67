//! The loop of a build tool.

use crate::sys::{self, Errno, Result};

use super::children::starting;
use super::mask::{Masked, QUIT};
use super::server::Host;
use super::table::{Job, Jobs, Slot};
use super::until::Until;
use super::waiting::sweep;
use super::wake;

/// What a host has to start now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// A job is ready.
    Ready,
    /// Nothing until one of the running jobs has ended.
    Later,
    /// Nothing any more.
    Nothing,
}

/// A host with a queue of jobs.
pub trait Work: Host {
    /// Returns whether a job is ready. Called before a slot is looked for, and after each end of a job.
    fn next(&mut self) -> Next;
    /// Starts that job, which has a slot now. Returns its pid, a child of this process, and the tag by which its end is
    /// reported. Runs with the caller's signal mask.
    ///
    /// # Errors
    /// Ends the loop when the running jobs have ended.
    fn start(&mut self) -> Result<(i32, <Self::Jobs as Jobs>::Tag)>;
}

/// How the loop ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// There is nothing more to start, and all jobs have ended.
    Done,
    /// This signal, SIGINT or SIGTERM, has stopped the starts. Jobs still run only if it came a second time.
    Quit(i32),
}

/// Runs the jobs of `host`, each on a slot, until there is none left. Asks for a slot only while a job is ready. One
/// job can always run, because the implicit slot is free then. Children of the program's own are left alone.
///
/// During the call SIGINT and SIGTERM are handled here, unless the program ignores them. The first one stops the
/// starts; the running jobs are waited for (on a terminal they got the same signal). The second one ends the loop.
///
/// # Errors
/// The error of the first start that failed. BADF: the pool cannot be read. In both cases the running jobs have been
/// waited for.
pub fn run<H: Work>(host: &mut H) -> Result<Outcome> {
    let mut masked = Masked::new();
    wake::watch_quits(&masked);
    let result = repeat(host, &mut masked);
    wake::unwatch_quits(&masked);
    result
}

fn repeat<H: Work>(host: &mut H, masked: &mut Masked) -> Result<Outcome> {
    let mut failed = Ok(());
    let mut quit: Option<i32> = None;
    loop {
        let mut again = false;
        host.server().wake.drain(|signal| {
            again |= quit.is_some();
            quit = quit.or(Some(signal));
        });
        if let (Some(signal), true) = (quit, again) {
            return Ok(Outcome::Quit(signal));
        }
        let mut slot = None;
        sweep(host, masked, Some(&mut slot));
        let ready = quit.is_none() && failed.is_ok() && next(host, masked) == Next::Ready;
        let idle = host.server().jobs.all().is_empty();
        let room = host.server().jobs.reserve();
        if ready && room.is_ok() && slot.is_none() {
            match host.server().slot() {
                Ok(free) => slot = free,
                Err(e) => failed = Err(e),
            }
        }
        match slot {
            Some(slot) if ready && room.is_ok() => {
                failed = begin(host, masked, slot);
                continue;
            }
            Some(slot) => host.server().put(slot),
            None => {}
        }
        if idle && !(ready && room.is_ok()) {
            return failed.and(if ready { room } else { Ok(()) }).map(|()| outcome(quit));
        }
        let token = ready && room.is_ok() && failed.is_ok();
        // If a handler of the program has run, that is the program's business.
        if host.server().sleep(masked, Until::millis(-1), token, QUIT) == Err(Errno::BADF) {
            failed = Err(Errno::BADF);
            sys::sleep_millis(10);
        }
    }
}

fn outcome(quit: Option<i32>) -> Outcome {
    quit.map_or(Outcome::Done, Outcome::Quit)
}

fn next<H: Work>(host: &mut H, masked: &mut Masked) -> Next {
    masked.outside(|| host.next())
}

fn begin<H: Work>(host: &mut H, masked: &mut Masked, slot: Slot) -> Result<()> {
    let mut tag = None;
    let pid = starting(|| {
        let (pid, known) = masked.outside(|| host.start())?;
        tag = Some(known);
        Ok(pid)
    });
    match (pid, tag) {
        (Ok(pid), Some(tag)) => host.server().jobs.add(Job { pid, slot, tag }),
        (failed, _) => {
            host.server().put(slot);
            failed?;
        }
    }
    Ok(())
}
