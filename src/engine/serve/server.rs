//! The slots and the jobs of one client or server.

use crate::proc;
use crate::sys::{self, Errno, Peek, Result};
use crate::text::{number, Path};

use super::children;
use super::mask::{Masked, CHILD};
use super::table::{Job, Jobs, Slot};
use super::tokens::Tokens;
use super::until::Until;
use super::wake::{self, Wake};

/// The user of a [`Server`]. The server is not borrowed while [`Host::ended`] runs.
pub trait Host {
    /// Its jobs.
    type Jobs: Jobs;
    /// Its server.
    fn server(&mut self) -> &mut Server<Self::Jobs>;
    /// Called when a job has ended, with its status (wait(2)). The job has been reaped, and its slot is free or in use
    /// again. Runs with the caller's signal mask.
    fn ended(&mut self, tag: <Self::Jobs as Jobs>::Tag, status: i32);
}

/// How many of the program's own children are remembered as reported.
const TOLD: usize = 16;

/// A client or server of a pool.
pub struct Server<J> {
    /// The running jobs.
    pub jobs: J,
    /// The pool.
    pub tokens: Tokens,
    /// Whether the implicit slot is free.
    pub implicit: bool,
    pub(super) wake: Wake,
    /// Children of the program's own that have ended and were reported, but have not been reaped since.
    told: [i32; TOLD],
}

impl<J: Jobs> Server<J> {
    /// A client or server of this pool. The first one of a process installs a handler of SIGCHLD; the handler from
    /// before still runs, after it.
    ///
    /// # Errors
    /// EMFILE, ENFILE: no descriptor; ENOMEM: there are 256 servers already; `None`: no signalfd. On an error the pool
    /// is left, and a pool that was made here is gone.
    pub fn new(mut tokens: Tokens, jobs: J) -> core::result::Result<Self, Option<Errno>> {
        let masked = Masked::new();
        match Wake::new(&masked, tokens.read) {
            Ok(wake) => Ok(Self { jobs, tokens, implicit: true, wake, told: [0; TOLD] }),
            Err(e) => {
                tokens.close(tokens.made);
                Err(e)
            }
        }
    }

    /// The self-pipe: readable when a child may have ended.
    pub fn wake_fd(&self) -> i32 {
        self.wake.fd
    }

    /// The descriptors that are used here only: of the self-pipe, and of the pool (or -1). A forked child that does not
    /// exec should close them.
    pub fn own_fds(&self) -> [i32; 2] {
        [self.wake.fd, self.tokens.own()]
    }

    /// In a process that was forked other than as a job: forgets the jobs, their tokens and the self-pipe, which are
    /// its parent's.
    pub fn adopt(&mut self, masked: &Masked) -> Result<()> {
        if !self.wake.is_foreign() {
            return Ok(());
        }
        let wake = Wake::new(masked, self.tokens.read).map_err(|e| e.unwrap_or(Errno::BADF))?;
        core::mem::replace(&mut self.wake, wake).leave(masked);
        while self.jobs.remove(0).is_some() {}
        (self.implicit, self.told) = (true, [0; TOLD]);
        Ok(())
    }

    /// A slot that is free now: the implicit one, else a token.
    ///
    /// # Errors
    /// BADF: the pool cannot be read.
    pub fn slot(&mut self) -> Result<Option<Slot>> {
        if core::mem::take(&mut self.implicit) {
            return Ok(Some(Slot::Implicit));
        }
        Ok(self.tokens.take()?.map(Slot::Token))
    }

    /// Called when a slot has become free. The implicit slot goes to a job on a token, whose token goes back instead.
    pub fn put(&mut self, slot: Slot) {
        match slot {
            Slot::Token(token) => self.tokens.give(token),
            Slot::Implicit => {
                let on_token = |job: &&mut Job<J::Tag>| job.slot != Slot::Implicit;
                match self.jobs.all().iter_mut().find(on_token) {
                    Some(job) => {
                        let slot = core::mem::replace(&mut job.slot, Slot::Implicit);
                        self.put(slot);
                    }
                    None => self.implicit = true,
                }
            }
        }
    }

    /// Reaps one job that has ended, if there is any, and returns its status. The caller must [put](Self::put) its
    /// slot.
    pub fn next_ended(&mut self) -> Option<(Job<J::Tag>, i32)> {
        let Some((pid, _)) = sys::peek_any() else { return self.next_vanished() };
        if let Some(at) = self.jobs.all().iter().position(|job| job.pid == pid) {
            return self.collect(at);
        }
        // A child that is no job of ours comes before ours.
        (0..self.jobs.all().len()).find_map(|at| self.collect(at))
    }

    fn collect(&mut self, at: usize) -> Option<(Job<J::Tag>, i32)> {
        let pid = self.jobs.all().get(at)?.pid;
        let status = sys::reap(pid, false).ok()?;
        children::remove(pid);
        Some((self.jobs.remove(at)?, status))
    }

    /// If the program ignores SIGCHLD by now, no job leaves a status behind: it is -1.
    fn next_vanished(&mut self) -> Option<(Job<J::Tag>, i32)> {
        if !sys::action(libc::SIGCHLD).is_ok_and(|a| a.reaps()) {
            return None;
        }
        let gone = |job: &Job<J::Tag>| sys::peek(job.pid) == Peek::Gone;
        let at = self.jobs.all().iter().position(gone)?;
        let job = self.jobs.remove(at)?;
        children::remove(job.pid);
        Some((job, -1))
    }

    /// Removes the job of a process that the program has reaped itself.
    pub fn collected(&mut self, pid: i32) -> Option<Job<J::Tag>> {
        let at = self.jobs.all().iter().position(|job| job.pid == pid)?;
        children::remove(pid);
        self.jobs.remove(at)
    }

    /// Sends SIGKILL to all jobs.
    pub fn kill_all(&mut self) {
        for job in self.jobs.all() {
            // After the program has reaped it, its pid may belong to another process.
            if sys::peek(job.pid) != Peek::Gone {
                let _ = sys::kill(job.pid, libc::SIGKILL);
            }
        }
    }

    /// Waits for the end of one job and reaps it. Its status is -1, which wait(2) never gives, if the program has
    /// reaped it before.
    pub fn await_one(&mut self) -> Option<(Job<J::Tag>, i32)> {
        let pid = self.jobs.all().first()?.pid;
        let status = sys::reap(pid, true).unwrap_or(-1);
        children::remove(pid);
        Some((self.jobs.remove(0)?, status))
    }

    /// Returns a child of the program's own that has ended: its pid and status, reported once. It is left for the
    /// program to reap, unless the action of SIGCHLD says that the program never will.
    pub fn stranger(&mut self, masked: &Masked) -> Option<(i32, i32)> {
        for pid in self.told.iter_mut().filter(|pid| **pid != 0) {
            if sys::peek(*pid) != Peek::Zombie {
                *pid = 0;
            }
        }
        let (first, _) = sys::peek_any()?;
        let (pid, status) = self.if_news(first).or_else(|| self.hidden())?;
        if wake::children_reap_themselves(masked) {
            let _ = sys::reap(pid, false);
        } else {
            self.told.rotate_right(1);
            if let Some(place) = self.told.first_mut() {
                *place = pid;
            }
        }
        Some((pid, status))
    }

    /// Returns the child if it is no job and had ended after the check for that: a job is reaped first, and then
    /// removed from the table.
    fn if_news(&self, pid: i32) -> Option<(i32, i32)> {
        if self.told.contains(&pid) || children::contains(pid) {
            return None;
        }
        sys::peek_status(pid).map(|status| (pid, status))
    }

    /// Finds an ended child behind the first: the kernel shows only the first, which may stay as long as its owner
    /// likes. So each child is asked for by pid.
    fn hidden(&self) -> Option<(i32, i32)> {
        let mut found = None;
        proc::each_number(&Path::new(b"/proc/self/task"), |thread, _| {
            let path = Path::new(b"/proc/self/task/").num(thread).with(b"/children");
            proc::each_part::<16>(&path, b' ', |word| {
                let pid = number(word).and_then(|(n, _)| i32::try_from(n).ok());
                found = found.or_else(|| self.if_news(pid?));
            });
        });
        found
    }

    /// Sleeps until a child may have ended, with `token` until a token may be there, or until the time is over. The
    /// signals in `through` are delivered to their handlers meanwhile, whatever the caller's mask.
    ///
    /// # Errors
    /// INTR: a handler of the program has run. BADF: one of our descriptors has been closed.
    pub(super) fn sleep(
        &self,
        masked: &mut Masked,
        until: Until,
        token: bool,
        through: u64,
    ) -> Result<()> {
        let watch = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let token = if token { self.tokens.pollable() } else { -1 };
        let mut fds = [watch(wake::signals()), watch(self.wake.fd), watch(token)];
        let mask = (masked.old | CHILD) & !through;
        let mut left = until.left();
        if !wake::is_sure(masked.old) {
            left = Some(left.unwrap_or(u64::MAX).min(UNSURE));
        }
        sys::ppoll(&mut fds, left, Some(mask))?;
        if fds.iter().any(|p| p.revents & libc::POLLNVAL != 0) {
            return Err(Errno::BADF);
        }
        let [signals, ..] = fds;
        if signals.revents != 0 {
            masked.let_child_in();
        }
        Ok(())
    }

    /// Closes the pool and the self-pipe; with `ends` also the announced descriptors, unless another server of this
    /// process has the same. The last server of a process restores the action of SIGCHLD.
    pub fn close(&mut self, ends: bool) {
        let masked = Masked::new();
        let last = self.wake.leave(&masked);
        self.tokens.close(ends && last);
    }
}

/// The longest sleep, in ns, if the end of a job may go unnoticed.
const UNSURE: u64 = 100_000_000;
