//! What waiting and ending processes do themselves if there is no guard, or if it cannot reach the pool.

use core::sync::atomic::Ordering::Acquire;

use crate::pool::tokens::Pool;
use crate::slots::State;
use crate::{proc, space};

use super::access::Ledger;
use super::handle::Handle;
use super::reason::Reason;
use super::record::Record;

impl Ledger {
    /// Returns whether there is a guard. In another PID namespace this cannot be checked; the answer is true, and the
    /// guard's work is left to processes that can check.
    pub fn has_guard(&self) -> bool {
        if space::is_elsewhere() {
            return true;
        }
        let guard = self.header.guard.load(Acquire);
        // Where the first process of a container reaps nobody, a killed guard keeps its pid.
        guard > 0 && !proc::has_ended(guard)
    }

    /// Ends the jobs that outlive their client, where there is no guard. A job that waits for a slot starts without
    /// one, and ends its record itself: a byte may arrive until then.
    #[inline(never)]
    pub fn let_go(&self, client: u32, pool: &Pool) {
        let jobs = || self.jobs_of(client);
        for (job, ..) in jobs() {
            self.overdraw_held(job, Reason::Unheld);
        }
        let waits = |job, r: &Record| self.is_let_go(job) || r.landing.is_reading(job.generation);
        for (job, ..) in jobs().filter(|(job, _, r)| !waits(*job, r)) {
            self.end(job, pool);
        }
    }

    /// Returns whether [`Ledger::let_go`] has released this job from its wait.
    pub fn is_let_go(&self, job: Handle) -> bool {
        self.get(job).is_some_and(|record| record.reason() == Reason::Unheld)
    }

    /// Gives back the tokens of a client's jobs that the guard cannot give back, since it cannot reach the pool. If
    /// there is no guard, also ends the jobs whose process has ended.
    #[inline(never)]
    pub fn sweep(&self, client: u32, pool: &Pool) {
        let alone = !self.has_guard();
        let records = if alone { self.records() } else { self.not_waiting() };
        for (index, record) in records {
            let (state, generation) = record.now();
            let (h, pid) = (Handle { index, generation }, record.pid.load(Acquire));
            if record.client.load(Acquire) != client {
                continue;
            }
            if state == State::Ending {
                self.finish(h, pool);
            } else if alone && state.is_job() && pid > 0 && proc::has_ended(pid) {
                self.end(h, pool);
            }
        }
    }
}
