//! The gate: the one wait of a client for a slot.
//!
//! A host may sleep here only while nothing else needs it: it has one thread, none of its jobs is held already, it
//! feeds no pipe, and nothing that it reads has data. It sleeps in one ppoll on the pool, on a pidfd of each running
//! job and on the pipes and sockets that the host reads, for at most a second. No signal handler is installed and no
//! mask changed: a pidfd reports a job's end whether SIGCHLD is handled, ignored, blocked or left alone, and takes
//! nothing from the host's queue. A handler of the host that runs ends the wait as data does. Where there are no pidfds
//! (Linux before 5.3, some sandboxes), no parent waits: the job is held instead.

use crate::client::jobs::Jobs;
use crate::client::Client;
use crate::ledger::handle::Handle;
use crate::pool::pipe;
use crate::proc;
use crate::slots::State;
use crate::sys::{self, Errno};

/// The longest wait, in ms.
const MOST_MILLIS: u64 = 1000;
/// How often it checks whether a held job could start on the slot of a sleeping job, in ms.
const LOOK_MILLIS: u64 = 20;
/// The most descriptors that a gate watches; a host with more does not wait.
const MOST_FDS: usize = 24;

/// The descriptors that a gate watches.
pub struct Watch {
    fds: [libc::pollfd; MOST_FDS],
    used: usize,
    /// From this index on: pidfds, which are ours to close.
    own: usize,
}

impl Default for Watch {
    fn default() -> Self {
        Self::new()
    }
}

impl Watch {
    /// Watches nothing yet.
    pub fn new() -> Self {
        let none = libc::pollfd { fd: -1, events: libc::POLLIN, revents: 0 };
        Self { fds: [none; MOST_FDS], used: 0, own: MOST_FDS }
    }

    /// Waits for a slot for a claimed job. Returns None if the job must be held. `eager` waits even if another thread
    /// or a reader could need the host.
    ///
    /// A handler of the host may jump out of this; then the caller must call [`Watch::close`].
    pub fn wait(
        &mut self,
        client: &Client,
        jobs: &Jobs,
        job: Handle,
        eager: bool,
    ) -> Option<State> {
        let alone = eager || proc::stat(0).is_some_and(|s| s.threads == 1);
        if !alone || client.has_held() {
            return None;
        }
        let started = self.add_pool(client) && self.add_host(client, eager) && self.add_jobs(jobs);
        let got = if started { self.run(client, jobs, job) } else { None };
        self.close();
        got
    }

    fn add(&mut self, fd: i32) -> bool {
        let Some(at) = self.fds.get_mut(self.used) else {
            return false;
        };
        at.fd = fd;
        self.used = self.used.saturating_add(1);
        true
    }

    fn add_pool(&mut self, client: &Client) -> bool {
        client.pool.pollable().is_some_and(|fd| self.add(fd))
    }

    /// Adds the pipes and sockets that the host reads. Returns false if the host must not wait.
    fn add_host(&mut self, client: &Client, eager: bool) -> bool {
        let mut fine = true;
        let listed = proc::each_fd(0, |fd| fine = fine && self.add_host_fd(client, fd, eager));
        self.own = self.used;
        listed && fine
    }

    fn add_host_fd(&mut self, client: &Client, fd: i32, eager: bool) -> bool {
        let kind = sys::fstat(fd).map_or(0, |st| st.st_mode & libc::S_IFMT);
        if !matches!(kind, libc::S_IFIFO | libc::S_IFSOCK) || pipe::is(fd, client.pool.id) {
            return true;
        }
        let mode = sys::fcntl(fd, libc::F_GETFL, 0).unwrap_or(0) & libc::O_ACCMODE;
        match mode {
            // A running job may wait for what the host writes to a pipe other than its output.
            libc::O_WRONLY => fd <= 2 || eager,
            _ if fd == 1 || fd == 2 => true,
            _ => self.add(fd),
        }
    }

    fn add_jobs(&mut self, jobs: &Jobs) -> bool {
        jobs.iter().all(|(pid, _)| match sys::pidfd_open(pid) {
            Ok(fd) if self.add(fd) => true,
            Ok(fd) => {
                sys::close(fd);
                false
            }
            Err(Errno::SRCH) => true,
            Err(_) => false,
        })
    }

    fn run(&mut self, client: &Client, jobs: &Jobs, job: Handle) -> Option<State> {
        let until = sys::now().saturating_add(MOST_MILLIS.saturating_mul(1_000_000));
        loop {
            client.sweep(jobs);
            if let Some(state) = client.start_now(job, || ()) {
                return Some(state);
            }
            if client.ledger().withholds_tokens() {
                // Tokens in the pool would wake us again and again.
                return None;
            }
            let left = until.saturating_sub(sys::now()) / 1_000_000;
            let fds = self.fds.get_mut(..self.used)?;
            let polled = sys::poll(fds, left.min(LOOK_MILLIS) as i64);
            if client.ledger().has_spare() {
                return None;
            }
            if left > LOOK_MILLIS && polled == Ok(0) {
                continue;
            }
            if !matches!(polled, Ok(1..)) {
                // Time over, or a handler of the host ran. One of our jobs may have ended with it.
                client.sweep(jobs);
                return client.start_now(job, || ());
            }
            // A pool that only hangs up is gone.
            let gone = |p: &libc::pollfd| p.revents & libc::POLLIN == 0 && p.revents != 0;
            if fds.first().is_some_and(gone) || self.host_is_needed() {
                return None;
            }
        }
    }

    /// Returns whether one of the host's descriptors has something for it. Closes the pidfds that fired.
    fn host_is_needed(&mut self) -> bool {
        let mut needed = false;
        for (i, p) in self.fds.iter_mut().enumerate().take(self.used).skip(1) {
            if p.revents != 0 && i >= self.own {
                sys::close(p.fd);
                p.fd = -1;
            } else if p.revents != 0 {
                needed = true;
            }
        }
        needed
    }

    /// Closes the pidfds.
    pub fn close(&mut self) {
        for p in self.fds.iter_mut().take(self.used).skip(self.own) {
            if p.fd >= 0 {
                sys::close(p.fd);
                p.fd = -1;
            }
        }
    }
}
