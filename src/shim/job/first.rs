//! The job on the implicit slot of a process without a ledger, and its record once there is a ledger.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use jsshim_engine::client::Client;
use jsshim_engine::ledger::handle::Handle;
use jsshim_engine::ledger::record::UNRECORDED;
use jsshim_engine::sys::{self, Peek};

use super::names;
use super::state::{NONE, RECORDED, STARTING, STATE};

/// Takes the implicit slot while this process has no ledger. Returns whether it was free.
pub fn claim() -> bool {
    let seen = seen();
    let free = seen == NONE || seen > 0 && sys::peek(seen) != Peek::Running;
    free && STATE.first.compare_exchange(seen, STARTING, AcqRel, Acquire).is_ok()
}

/// Records the job that took the implicit slot before there was a ledger, and the jobs from before an exec.
pub fn record(client: &Client) {
    client.adopt(&STATE.jobs);
    seen();
    let first = STATE.first.swap(RECORDED, AcqRel);
    if first == RECORDED || first == NONE {
        return;
    }
    if let Some(me) = client.me().and_then(|me| client.ledger().record(me)) {
        me.implicit.store(UNRECORDED, Release);
    }
    if first > 0 {
        enter(client, first);
    }
}

fn enter(client: &Client, pid: i32) {
    if let Some(job) = client.claim() {
        set_process(client, job, pid);
        client.ledger().adopt(client.known(), job, pid);
        client.ledger().record_implicit(job);
        names::process(client.ledger(), job, pid);
    }
}

/// The job has this pid; below 0: no process was made.
pub fn started(pid: i32) {
    let now = if pid > 0 { pid } else { NONE };
    if STATE.first.compare_exchange(STARTING, now, AcqRel, Acquire).is_ok() {
        return;
    }
    // Another thread has opened the ledger meanwhile.
    let Some(client) = STATE.coming_client() else { return };
    if pid > 0 {
        enter(client, pid);
    } else if let Some(me) = client.me().and_then(|me| client.ledger().record(me)) {
        me.implicit.store(0, Release);
        client.settle();
    }
}

/// Stores the pid of a job of the ledger.
pub fn set_process(client: &Client, job: Handle, pid: i32) {
    // The child may have ended already, and its record may be in use for another job.
    let now = client.ledger().set_process(job, pid, || STATE.family.heir(pid));
    STATE.jobs.add(now, job);
}

/// The pid of the job on the implicit slot while there is no ledger, or another value of `State::first`. If the process
/// has gone on as a sibling, returns the sibling's pid.
pub fn seen() -> i32 {
    let seen = STATE.first.load(Acquire);
    let Some(heir) = (seen > 0).then(|| STATE.family.heir(seen)).flatten() else { return seen };
    match STATE.first.compare_exchange(seen, heir, AcqRel, Acquire) {
        Ok(_) => heir,
        Err(other) => other,
    }
}
