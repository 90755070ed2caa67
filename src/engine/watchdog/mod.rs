//! The watchdog: lets held jobs start that need not wait. `JSSHIM_COUNT` chooses the rule.
//!
//! `running`: a slot whose jobs sleep is lent ([`crate::lending`]). A job sleeps if it has used no CPU time for the
//! limit, or very little over a second, and waits for the clock, a terminal, a change of a file, or other processes of
//! the tree. Waiting for a disk, a network or another tree is work. If a client and all its jobs sleep in waits that
//! only each other and held jobs can end, that suffices at once.
//!
//! `processes`: a job has its slot from its start to its end, whether it sleeps or not. If all running jobs of a client
//! have waited for other processes of the tree for the limit, they may wait for a held job, which then starts without a
//! slot. Only one job at a time is let go, of the client that started last: the other clients may wait for the end of
//! that one only. While no job of that client has ended, its next job needs a fifth of the limit.
//!
//! A wait that cannot be determined counts only after ten times the limit.

mod activity;
pub mod alive;
mod breaker;
mod ends;
mod lend;
mod lent;
mod pace;
mod part;
pub mod settings;
mod trade;
mod tree;
mod verdict;
mod waits;
mod when;

use core::sync::atomic::Ordering::Release;

use crate::ledger::access::Ledger;
use crate::ledger::debts::NEVER;
use crate::{proc, sys};

use breaker::Breaker;
use lend::Lender;
use settings::Count;
use verdict::Snapshot;

pub use pace::Pace;

/// The watchdog of a guard.
pub struct Watchdog {
    limit: u64,
    /// None: all jobs count.
    lender: Option<Lender>,
    breaker: Breaker,
    snapshot: Option<&'static mut Snapshot>,
}

impl Watchdog {
    /// A watchdog with this rule; `limit` in ns, 0: it does nothing.
    pub fn new(count: Count, limit: u64) -> Self {
        let lender = (count == Count::Running).then(|| Lender::new(limit));
        Self { limit, lender, breaker: Breaker::new(limit), snapshot: None }
    }

    /// How many slots were missing in the last round for jobs that compute or are parked.
    pub fn missing(&self) -> u32 {
        self.lender.as_ref().map_or(0, Lender::missing)
    }

    /// Checks all clients, and starts the held jobs that may start.
    pub fn round(&mut self, ledger: &Ledger) -> Pace {
        // If /proc shows the pids of another PID namespace, the jobs cannot be observed.
        if self.limit == 0 || !proc::is_ours() {
            return Pace::Rest;
        }
        if self.snapshot.is_none() {
            // SAFETY: zeros are an empty snapshot. It is large, and uses no memory before it is needed.
            self.snapshot = unsafe { sys::map_zeroed() }.ok();
        }
        let Some(snapshot) = self.snapshot.as_deref_mut() else { return Pace::Rest };
        match &mut self.lender {
            Some(lender) => lender.round(ledger, snapshot),
            None => {
                // Release: as in the lender.
                ledger.header.lending.store(NEVER, Release);
                self.breaker.round(ledger, snapshot);
                Pace::Rest
            }
        }
    }

    /// Called when no job is left: reports to the trace the jobs that slept at their end.
    pub fn finish(&mut self, ledger: &Ledger) {
        if let Some(lender) = &mut self.lender {
            lender.note_lent(ledger);
        }
    }
}
