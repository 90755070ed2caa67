//! The end of a client, and the client that the process was before an exec.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::ledger::handle::Handle;
use crate::slots::State;
use crate::text::Path;
use crate::{proc, sys};

use super::entry::Client;
use super::jobs::Jobs;

impl Client {
    /// Frees the record of a client that has no jobs.
    fn free_idle(&self, client: Handle) {
        if self.ledger().jobs_of(client.index).next().is_none() {
            self.ledger().free(client);
        }
    }

    /// Called when the process ends: gives back what exited jobs had, and frees the client's record unless jobs outlive
    /// it. `envp` is for the guard that handles those jobs.
    pub fn leave(&self, jobs: &Jobs, envp: *const *const core::ffi::c_char) {
        self.sweep_all(jobs);
        self.rest(jobs);
        let Some(me) = Handle::unpack(self.me.swap(0, AcqRel)) else { return };
        // Where no guard is needed or to be had, no other process cleans up or handles orphans. A killed guard may be
        // about to be replaced.
        let needs = self.ledger().jobs_of(me.index).any(|(_, state, _)| state != State::Implicit);
        if needs {
            self.guard(envp, true);
        }
        let alone = !self.ledger().has_guard() && (!needs || self.helper.is_empty());
        let path = self.ledger_path();
        if alone {
            self.ledger().let_go(me.index, &self.pool);
        }
        // Give back what could not be given back before: afterwards only a process that reaches the pool itself could.
        self.ledger().sweep(me.index, &self.pool);
        self.pool.close();
        if !alone {
            self.free_idle(me);
            self.close_if_last(path);
        } else {
            self.ledger().free(me);
            self.former().for_each(|client| self.free_idle(client));
            self.close_if_idle(path);
        }
        self.keeper.leave(self.ledger(), path);
    }

    /// If this process is the first process of its PID namespace, or a child of it, the namespace may end with it, and
    /// the guard too, before the guard can clean up.
    fn close_if_last(&self, path: &Path) {
        let (root, pid) = (self.ledger().header.root.load(Acquire), sys::getpid());
        if (root == 0 || root == pid) && (pid == 1 || sys::getppid() <= 1) {
            self.close_if_idle(path);
        }
    }

    fn close_if_idle(&self, path: &Path) {
        let root = self.founding.root.load(Acquire);
        let gone = self.ledger().close_if_idle(path.c());
        if gone && root != 0 && root == sys::getpid() {
            let _ = sys::unlink(self.pool.path.c());
        }
    }

    /// Ends the record of the job that this process is, if `Ledger::let_go` has released it: no other process would.
    pub fn end_if_let_go(&self, job: Handle) {
        if self.ledger().is_let_go(job) {
            self.end(job);
            self.ledger().close_if_idle(self.ledger_path().c());
        }
    }

    /// The clients that this process was as other programs, before an exec.
    pub(super) fn former(&self) -> impl Iterator<Item = Handle> {
        self.clients_of(sys::getpid())
    }

    /// The records of a process, without that of this client.
    pub(super) fn clients_of(&self, pid: i32) -> impl Iterator<Item = Handle> {
        let (ledger, me) = (self.ledger(), self.known());
        let mut start = None;
        ledger.records().filter_map(move |(index, r)| {
            let (state, generation) = r.now();
            if state != State::Client || r.pid.load(Acquire) != pid || index == me {
                return None;
            }
            // Another process may have had this pid, and its orphans may still run.
            let start = *start.get_or_insert_with(|| proc::stat(pid).map(|s| s.start_nanos()));
            let ours = start.is_some_and(|start| r.since.load(Relaxed) >= start);
            ours.then_some(Handle { index, generation })
        })
    }
}
