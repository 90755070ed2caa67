//! Parking: a job that wakes up while its slot is lent waits here until a slot is free ([`crate::lending`]). The guard
//! releases it before any held job. If the guard has stopped checking, or the ledger is broken, the job goes on by
//! itself.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::ledger::access::Ledger;
use crate::ledger::handle::Handle;
use crate::ledger::record::{Record, UNRECORDED};
use crate::slots::State;
use crate::sys::{self, Errno, Peek};
use crate::{proc, space};

/// How often a parked job checks that the guard is at work, in ms.
const CHECK_MILLIS: u32 = 200;

/// After how many such checks without progress of the guard a job goes on.
const MISSES: u32 = 25;

/// How often a job tries to get the grace, and the pause after each try, in µs. Who has woken it has it still, and sleeps
/// soon.
const TRIES: u32 = 20;
const TRY_MICROS: u32 = 50;

/// A process with more children counts as computing until the guard has seen that it sleeps.
const CHILDREN: u32 = 64;

/// So many processes of a job may stand above the one that passes its slot on.
const DEPTH: usize = 4;

/// Why a job goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum On {
    /// It need not wait, or not any longer.
    Slot,
    /// By the grace, which this call has taken: see [`give_back`].
    Grace,
}

/// Returns whether this job, which will not compute for long, may go on at once. One job at a time may, while no more
/// jobs compute than there are slots. The guard takes the grace back when the job sleeps again, or has computed for
/// long after all. But between jobs that wake each other again and again the guard would be too slow: so the thread that
/// has taken it gives it back when it sleeps.
fn has_grace(ledger: &Ledger, job: Handle) -> Option<On> {
    let header = &ledger.header;
    // Relaxed: a hint. AcqRel: of two jobs that come at once, one gets it.
    let take = |by| {
        let is_free = by == 0 && header.debt.load(Relaxed) == 0;
        is_free && header.grace.compare_exchange(0, job.pack(), AcqRel, Acquire).is_ok()
    };
    match header.grace.load(Acquire) {
        // Another thread or process of the job has it.
        by if by == job.pack() => Some(On::Slot),
        by => take(by).then_some(On::Grace),
    }
}

/// The thread to which [`wait`] has returned [`On::Grace`] sleeps again.
pub fn give_back(ledger: &Ledger, job: Handle) {
    // AcqRel: the guard may have taken it, and another job have it. Whoever takes it sees what this job did before.
    let _ = ledger.header.grace.compare_exchange(job.pack(), 0, AcqRel, Relaxed);
}

/// This process is about to sleep: passes its slot on, if it is the whole job. Otherwise the guard sees when the job
/// sleeps. `own`: the record of this process as a client; 0: it has none.
pub fn pass(ledger: &Ledger, job: Handle, own: u32) {
    let Some(record) = ledger.get(job).filter(|r| r.computes()) else { return };
    let is_all = || is_whole(ledger) && only_wait(record.pid.load(Relaxed));
    if !space::is_elsewhere() && !is_busy(ledger, own) && is_all() {
        match user_of_slot(ledger, record) {
            User::Job => ledger.pass_slot(job, own),
            User::Client => ledger.sleep_beside_client(job, false),
            User::Waits => ledger.sleep_beside_client(job, true),
        }
    }
}

/// Returns whether a job computes on the implicit slot of this client.
fn is_busy(ledger: &Ledger, client: u32) -> bool {
    let Some(client) = ledger.record(client).filter(|_| client != 0) else { return false };
    let word = client.implicit.load(Acquire);
    let job = Handle::unpack(word).and_then(|h| ledger.get(h));
    word == UNRECORDED || job.is_some_and(Record::computes)
}

/// Who uses the slot of a job that is about to sleep.
enum User {
    /// The job alone.
    Job,
    /// Its client, too: the slot is that of the client's own job, which does not count as asleep.
    Client,
    /// As before, but the client sleeps just now.
    Waits,
}

fn user_of_slot(ledger: &Ledger, record: &Record) -> User {
    if record.state() != State::Implicit {
        return User::Job;
    }
    let client = ledger.record(record.client.load(Relaxed)).map_or(0, |c| c.pid.load(Relaxed));
    let sleeps = || proc::stat(client).is_some_and(|s| s.state == b'S');
    match ledger.job_with(client) {
        Some((_, job)) if !job.computes() => User::Job,
        None if sleeps() => User::Job,
        Some(_) if sleeps() => User::Waits,
        _ => User::Client,
    }
}

/// Returns whether this process has one thread, and its children are jobs of their own or have ended. One that computes
/// on the implicit slot has the slot of this process.
fn is_whole(ledger: &Ledger) -> bool {
    // A directory has two links, and one more for each of its directories (proc(5)).
    let threads = sys::stat(c"/proc/self/task", true);
    if !threads.is_ok_and(|st| st.st_nlink == 3) {
        return false;
    }
    if !sys::has_any_child() {
        return true;
    }
    let is_job = |pid| {
        ledger.records().any(|(_, r)| {
            let state = r.state();
            let has_ours = state == State::Implicit && r.computes();
            state.is_job() && !has_ours && r.pid.load(Relaxed) == pid
        })
    };
    let (mut count, mut are_jobs) = (0u32, true);
    proc::each_child(|pid| {
        count = count.saturating_add(1);
        are_jobs &= count <= CHILDREN && (is_job(pid) || sys::peek(pid) == Peek::Zombie);
    });
    // Not every kernel tells them.
    are_jobs && count > 0
}

/// Returns whether this process is `job`, or all above it up to that one only wait for it, as the shell of a recipe does
/// for a script: they sleep, have one thread, and no other child.
fn only_wait(job: i32) -> bool {
    let own = sys::getpid();
    if job == own {
        return true;
    }
    let mut below = own;
    for pid in proc::line_of(own).skip(1).take(DEPTH) {
        let waits = proc::stat(pid).is_some_and(|s| s.state == b'S' && s.threads == 1);
        let mut alone = true;
        let told = proc::each_child_of(pid, |child| alone &= child == below);
        if !waits || !told || !alone {
            return false;
        }
        if pid == job {
            return true;
        }
        below = pid;
    }
    false
}

/// Waits in a process of this job, in any of its threads. `starts`: it is about to start a process. Async-signal-safe;
/// handlers of the host run meanwhile.
pub fn wait(ledger: &Ledger, job: Handle, starts: bool) -> On {
    let Some(record) = ledger.get(job).filter(|r| r.state().runs()) else { return On::Slot };
    let passed = record.has_passed(job.generation);
    if !ledger.lends() || space::is_elsewhere() {
        record.unpass(job.generation);
        record.set_sleeps(job.generation, false);
        return On::Slot;
    }
    for _ in 0..TRIES {
        if ledger.take_slot(job, record) {
            return On::Slot;
        }
        if starts || !record.is_light(job.generation) {
            break;
        }
        if let Some(on) = has_grace(ledger, job) {
            return on;
        }
        if ledger.passes() {
            break;
        }
        sys::sleep_micros(TRY_MICROS);
    }
    let Some(parked) = record.park(job.generation) else { return On::Slot };
    // Relaxed: a measure.
    ledger.header.parks.fetch_add(1, Relaxed);
    if !passed || !ledger.passes() {
        ledger.call_guard();
    }
    ledger.release_parked();
    let mut watch = Watch { rounds: 0, missed: 0 };
    while record.waits(job.generation) {
        match sys::wait_word(&record.note, parked, CHECK_MILLIS) {
            Err(Errno(libc::ETIMEDOUT)) if !watch.is_seen(ledger, job) => {
                record.unpark(job.generation);
            }
            // It is called just now, which takes a moment, unless the caller was killed or stopped.
            Err(Errno::AGAIN) if record.waits(job.generation) => {
                sys::sleep_millis(1);
                record.answer(job.generation, false);
            }
            _ => {}
        }
    }
    On::Slot
}

/// The guard's round counter at the last check, and how many checks in a row found it unchanged.
struct Watch {
    rounds: u32,
    missed: u32,
}

impl Watch {
    /// Returns whether there is a guard that checks this job.
    fn is_seen(&mut self, ledger: &Ledger, job: Handle) -> bool {
        // Relaxed: the number alone matters.
        let rounds = ledger.header.rounds.load(Relaxed);
        let missed = if rounds == self.rounds { self.missed.saturating_add(1) } else { 0 };
        *self = Self { rounds, missed };
        let is_there = ledger.get(job).is_some_and(|r| r.state().runs());
        is_there && missed < MISSES && ledger.has_guard()
    }
}
