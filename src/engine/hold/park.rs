//! Coming back: a job that wakes up while its slot is lent waits until one is free, before it goes on
//! ([`crate::lending`]). The guard lets it, before any job that is held. Where the guard does not look any more, or the
//! ledger is broken, it goes on by itself.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::ledger::access::Ledger;
use crate::ledger::handle::Handle;
use crate::space;
use crate::sys::{self, Errno};

/// How often a job that waits makes sure that the guard looks, in ms.
const LOOK_MILLIS: u32 = 200;

/// After how many such times in which the guard has not looked a job goes on.
const MISSES: u32 = 25;

/// May this job, which will not compute for long, go on at once? One at a time may, while no more jobs compute than there
/// are slots. The guard takes that back when it sleeps again, or has computed for long after all.
fn has_grace(ledger: &Ledger, job: Handle) -> bool {
    let header = &ledger.header;
    // Relaxed: a hint. AcqRel: of two that come at once one has it.
    let taken = |by| header.debt.load(Relaxed) == 0 && by == 0;
    match header.grace.load(Acquire) {
        by if by == job.pack() => true,
        by if taken(by) => header.grace.compare_exchange(0, job.pack(), AcqRel, Acquire).is_ok(),
        _ => false,
    }
}

/// Waits in a process of this job, in any of its threads. `starts`: it is about to start something. Async-signal-safe; a
/// handler of the host runs meanwhile.
pub fn wait(ledger: &Ledger, job: Handle, starts: bool) {
    let Some(record) = ledger.get(job).filter(|r| r.state().runs()) else { return };
    // Relaxed: whether anybody waits is a hint.
    let is_wanted = ledger.header.looks.load(Relaxed) != 0;
    if !is_wanted || space::is_elsewhere() || ledger.take_spare() {
        record.set_sleeps(job.generation, false);
        return;
    }
    if !starts && record.is_light(job.generation) && has_grace(ledger, job) {
        return;
    }
    let Some(parked) = record.park(job.generation) else { return };
    ledger.call_guard();
    let mut watch = Watch { rounds: 0, missed: 0 };
    while record.home.load(Acquire) == parked {
        let waited = sys::wait_word(&record.home, parked, LOOK_MILLIS);
        if waited == Err(Errno(libc::ETIMEDOUT)) && !watch.is_seen(ledger, job) {
            // AcqRel: as by the guard.
            let _ = record.home.compare_exchange(parked, 0, AcqRel, Acquire);
        }
    }
}

/// The rounds that the guard has made when it was looked at last, and how often there were no more.
struct Watch {
    rounds: u32,
    missed: u32,
}

impl Watch {
    /// Is there a guard that looks at this job?
    fn is_seen(&mut self, ledger: &Ledger, job: Handle) -> bool {
        // Relaxed: a number that stands for itself.
        let rounds = ledger.header.rounds.load(Relaxed);
        let missed = if rounds == self.rounds { self.missed.saturating_add(1) } else { 0 };
        *self = Self { rounds, missed };
        let is_there = ledger.get(job).is_some_and(|r| r.state().runs());
        is_there && missed < MISSES && ledger.has_guard()
    }
}
