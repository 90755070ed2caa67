//! What those who wait, or end, see to themselves: where there is no guard, or one that does not reach the pool.

use core::sync::atomic::Ordering::Acquire;

use crate::pool::tokens::Pool;
use crate::slots::State;
use crate::sys::{self, Errno};
use crate::{proc, space};

use super::access::Ledger;
use super::handle::Handle;
use super::reason::Reason;
use super::record::Record;

impl Ledger {
    /// Is there a guard? Who is elsewhere cannot look, and leaves what a guard does to those who can.
    pub fn has_guard(&self) -> bool {
        if space::is_elsewhere() {
            return true;
        }
        let guard = self.header.guard.load(Acquire);
        guard > 0 && sys::kill(guard, 0) != Err(Errno::SRCH)
    }

    /// Ends the jobs that outlive their client, where no guard looks after them. One that waits for a slot starts
    /// without, and ends its record itself: a byte may come to it until then.
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

    /// Has a job that has waited been left to itself by [`Ledger::let_go`]?
    pub fn is_let_go(&self, job: Handle) -> bool {
        self.get(job).is_some_and(|record| record.reason() == Reason::Unheld)
    }

    /// Gives back the tokens of a client's jobs that the guard cannot give back, since it does not reach the
    /// pool; and where there is no guard, ends the jobs whose process has ended.
    #[inline(never)]
    pub fn sweep(&self, client: u32, pool: &Pool) {
        let alone = !self.has_guard();
        for (index, record) in self.records() {
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
