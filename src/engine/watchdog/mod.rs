//! Held jobs that need not wait: the guard lets them start. What it goes by is how `JSSHIM_COUNT` counts.
//!
//! `running`: a slot whose jobs sleep is lent ([`crate::lending`]). A job sleeps that has used no processor for the
//! limit, or very little over a second, and waits for the clock, for a terminal, for a change of a file, or for others
//! of the tree. A disk, a network, another tree: that is work. Where a client and all its jobs sleep in waits that only
//! each other and held jobs can end, that is enough, and no time must pass.
//!
//! `processes`: a job has its slot from its start to its end, whether it sleeps or not. Only where all running jobs of
//! a client have waited for others of the tree for the limit, a held one may be whom they wait for, and starts without
//! a slot. One job at a time is let go, of the client that started last: the others may wait for its end only. As long
//! as no job of that client has ended, its next one needs a fifth of the limit.
//!
//! What cannot be seen counts only after ten times the limit.

mod activity;
pub mod alive;
mod breaker;
mod ends;
mod lend;
mod lent;
mod pace;
mod part;
pub mod settings;
mod tree;
mod verdict;
mod waits;

use crate::ledger::access::Ledger;
use crate::{proc, sys};

use breaker::Breaker;
use lend::Lender;
use settings::Count;
use verdict::Look;

pub use pace::Pace;

/// See the module.
pub struct Watchdog {
    limit: u64,
    /// `None`: all jobs count.
    lender: Option<Lender>,
    breaker: Breaker,
    look: Option<&'static mut Look>,
}

impl Watchdog {
    /// One that counts so; `limit` in ns, 0: it does nothing.
    pub fn new(count: Count, limit: u64) -> Self {
        let lender = (count == Count::Running).then(|| Lender::new(limit));
        Self { limit, lender, breaker: Breaker::new(limit), look: None }
    }

    /// How many slots the jobs lacked in the last round that compute, or wait to come back.
    pub fn missing(&self) -> u32 {
        self.lender.as_ref().map_or(0, Lender::missing)
    }

    /// Looks at all clients, and lets start what may.
    pub fn round(&mut self, ledger: &Ledger) -> Pace {
        // Where /proc shows the pids of another PID namespace, nothing is to be seen of the jobs.
        if self.limit == 0 || !proc::is_ours() {
            return Pace::Rest;
        }
        if self.look.is_none() {
            // SAFETY: zeros are an empty look. It is large, and takes no memory before it is used.
            self.look = unsafe { sys::map_zeroed() }.ok();
        }
        let Some(look) = self.look.as_deref_mut() else { return Pace::Rest };
        match &mut self.lender {
            Some(lender) => lender.round(ledger, look),
            None => {
                self.breaker.round(ledger, look);
                Pace::Rest
            }
        }
    }

    /// No job is left: tells the trace of those that slept at their end.
    pub fn finish(&mut self, ledger: &Ledger) {
        if let Some(lender) = &mut self.lender {
            lender.note_lent(ledger);
        }
    }
}
