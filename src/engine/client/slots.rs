//! The slots of a client's jobs: taking them, passing them on, giving them back.

use core::sync::atomic::Ordering::{Acquire, Relaxed};

use crate::ledger::handle::Handle;
use crate::pool::tokens::Taken;
use crate::show::stderr;
use crate::slots::State;
use crate::sys::{self, Peek};

use super::entry::Client;
use super::jobs::Jobs;

impl Client {
    /// Claims a record for a new job. Returns None if the table is full.
    pub fn claim(&self) -> Option<Handle> {
        let me = self.me()?;
        if let Some((guard, fd)) = self.ledger().header.kept_by() {
            self.pool.reach_by(guard, fd);
        }
        self.ledger().claim(me, self.ledger_path().c())
    }

    /// Gives a claimed job a slot if one is free now: the implicit slot, else a token, else the slot of a job that sleeps.
    /// Jobs that are held already come first.
    ///
    /// `before_token` is called before a token is read from the pool: from then on a guard must watch over it.
    pub fn start_now(&self, job: Handle, before_token: impl FnOnce()) -> Option<State> {
        self.start_now_of(self.known(), job, before_token)
    }

    /// [`Client::start_now`] for a job of another client, with this index.
    pub fn start_now_of(
        &self,
        client: u32,
        job: Handle,
        before_token: impl FnOnce(),
    ) -> Option<State> {
        if self.ledger().first_held(client).is_some() {
            return None;
        }
        if self.ledger().take_implicit(job) {
            return Some(State::Implicit);
        }
        if self.ledger().is_background(client) && self.ledger().yields_for() > 0 {
            return None;
        }
        let record = self.ledger().get(job)?;
        let took = !self.ledger().withholds_tokens() && {
            before_token();
            self.pool.take(record, job.generation) == Taken::Yes
        };
        if !took {
            return self.ledger().borrow_now(job).then_some(State::Borrowed);
        }
        if self.ledger().step(job, State::Token).is_some() {
            return Some(State::Token);
        }
        self.pool.give(record, job.generation);
        None
    }

    /// Returns whether a job of this process is held.
    pub fn has_held(&self) -> bool {
        self.ledger().first_held(self.known()).is_some()
    }

    /// Returns whether a job runs on the implicit slot of this process.
    pub fn is_busy(&self, jobs: &Jobs) -> bool {
        self.sweep_all(jobs);
        let me = self.ledger().record(self.known());
        me.is_some_and(|r| r.implicit.load(Acquire) != 0)
    }

    /// Adds the jobs that this process has from before an exec, so that their ends are noticed here, too. They stay
    /// jobs of the former client: its implicit slot is not the slot of this program.
    pub fn adopt(&self, jobs: &Jobs) {
        let pid = sys::getpid();
        for (job, _, r) in self.former().flat_map(|h| self.ledger().jobs_of(h.index)) {
            let child = r.pid.load(Acquire);
            if child > 0 && child != pid {
                jobs.add(child, job);
            }
        }
    }

    /// Gives the implicit slot to a job, if it is free.
    pub fn settle(&self) {
        if let Some(me) = self.me() {
            self.ledger().settle(me, &self.pool);
        }
    }

    /// Ends a job and passes its slot on. If the guard is already ending it, this helps: when it returns, the token is
    /// back.
    pub fn end(&self, job: Handle) {
        if !self.ledger().end(job, &self.pool) {
            self.ledger().finish(job, &self.pool);
        }
    }

    /// Ends the jobs whose process has exited, reaped or not. Of many jobs it looks at some, each time at others, and
    /// not at those that wait: the guard looks at all. Returns whether there was any.
    pub fn sweep(&self, jobs: &Jobs) -> bool {
        let many = jobs.are_many();
        let has_slot = |job| self.ledger().get(job).is_none_or(|r| !r.state().is_held());
        self.sweep_these(jobs, jobs.some().filter(|(_, job)| !many || has_slot(*job)))
    }

    /// [`Client::sweep`] of all jobs.
    pub(super) fn sweep_all(&self, jobs: &Jobs) {
        self.sweep_these(jobs, jobs.iter());
    }

    fn sweep_these(&self, jobs: &Jobs, these: impl Iterator<Item = (i32, Handle)>) -> bool {
        let mut any = false;
        for (pid, _) in these {
            if sys::peek(pid) == Peek::Running {
                continue;
            }
            if let Some(job) = jobs.remove(pid) {
                any |= !self.goes_on(job, pid, jobs);
            }
        }
        any
    }

    /// Ends the job of a process that has ended, and that was removed from `jobs`. Returns true if the job goes on
    /// instead, as a sibling that the process made (CLONE_PARENT, clone(2)) and wrote into the record.
    pub fn goes_on(&self, job: Handle, pid: i32, jobs: &Jobs) -> bool {
        let now = self.ledger().get(job).map_or(0, |r| r.pid.load(Acquire));
        let goes_on = now > 0 && now != pid && sys::peek(now) == Peek::Running;
        if goes_on {
            jobs.add(now, job);
        } else {
            if self.debug.load(Relaxed) {
                stderr::debug(self.ledger().end_of(job, pid).bytes());
            }
            self.end(job);
        }
        goes_on
    }

    /// Closes the pool's descriptor if no job is left.
    pub fn rest(&self, jobs: &Jobs) {
        if jobs.iter().next().is_none() {
            self.pool.close();
        }
    }
}
