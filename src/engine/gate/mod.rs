//! The gate: the one wait of a client for a slot.
//!
//! A host may sleep here only while nothing else needs it: it has one thread, none of its jobs is held already, it
//! feeds no pipe, and nothing that it reads has data. It sleeps in one ppoll on the pool, on the ends of its running
//! jobs and on the pipes and sockets that the host reads, for at most a second. A handler of the host that runs ends the
//! wait as data does.
//!
//! The end of a job is reported by a pidfd: no signal handler is installed and no mask changed, it does not matter
//! whether SIGCHLD is handled, ignored, blocked or left alone, and nothing is taken from the host's queue. Where there
//! are no pidfds (Linux before 5.3, some sandboxes), it is SIGCHLD and a self-pipe (`signals`). `JSSHIM_WAIT` chooses.

mod signals;

use crate::client::jobs::Jobs;
use crate::client::Client;
use crate::ledger::handle::Handle;
use crate::pool::pipe;
use crate::proc;
use crate::slots::State;
use crate::sys::{self, Errno};
use signals::Signals;

/// The longest wait, in ms.
const MOST_MILLIS: u64 = 1000;
/// How often it checks whether a held job could start on the slot of a sleeping job, in ms.
const LOOK_MILLIS: u64 = 20;
/// The most descriptors that a gate watches; a host with more does not wait.
const MOST_FDS: usize = 24;

/// How the end of a job is noticed (`JSSHIM_WAIT`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Means {
    /// By pidfds, or by the self-pipe where there are none.
    Any,
    /// By pidfds. Where there are none, no parent waits, and its job is held instead.
    Pidfd,
    /// By SIGCHLD and a self-pipe.
    SelfPipe,
}

/// When a client waits, and how.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// It waits even if another thread or a reader could need the host.
    pub eager: bool,
    /// How the ends of jobs are noticed.
    pub means: Means,
}

/// What a gate watches.
pub struct Watch {
    fds: [libc::pollfd; MOST_FDS],
    used: usize,
    /// From this index on: descriptors of the gate itself; pidfds, if there are no `signals`.
    own: usize,
    signals: Option<Signals>,
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
        Self { fds: [none; MOST_FDS], used: 0, own: MOST_FDS, signals: None }
    }

    /// Waits for a slot for a claimed job. Returns None if the job must be held.
    ///
    /// A handler of the host may jump out of this; then the caller must call [`Watch::close`].
    pub fn wait(
        &mut self,
        client: &Client,
        jobs: &Jobs,
        job: Handle,
        Manner { eager, means }: Manner,
    ) -> Option<State> {
        let alone = proc::stat(0).is_some_and(|s| s.threads == 1);
        if !(alone || eager) || client.has_held() {
            return None;
        }
        let started = self.add_pool(client) && self.add_host(client, eager);
        let started = started && self.add_jobs(jobs, alone, means);
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

    fn add_jobs(&mut self, jobs: &Jobs, alone: bool, means: Means) -> bool {
        if means != Means::SelfPipe && self.add_pidfds(jobs) {
            return true;
        }
        // Another thread could have a handler of its own, and take SIGCHLD.
        means != Means::Pidfd && alone && self.add_signals()
    }

    fn add_pidfds(&mut self, jobs: &Jobs) -> bool {
        let all = jobs.iter().all(|(pid, _)| match sys::pidfd_open(pid) {
            Ok(fd) if self.add(fd) => true,
            Ok(fd) => {
                sys::close(fd);
                false
            }
            Err(Errno::SRCH) => true,
            Err(_) => false,
        });
        if !all {
            self.close();
            self.used = self.own;
        }
        all
    }

    fn add_signals(&mut self) -> bool {
        self.signals = Signals::begin();
        let fds = self.signals.as_ref().map(Signals::fds);
        fds.is_some_and(|fds| fds.into_iter().all(|fd| self.add(fd)))
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
            let polled = self.sleep(left.min(LOOK_MILLIS));
            if client.ledger().has_spare() {
                return None;
            }
            match polled {
                Woken::Ready if self.is_gone() || self.host_is_needed() => return None,
                Woken::Ready => {}
                Woken::Not if left > LOOK_MILLIS => {}
                Woken::Not | Woken::Host => {
                    // One of our jobs may have ended with it.
                    client.sweep(jobs);
                    return client.start_now(job, || ());
                }
            }
        }
    }

    fn sleep(&mut self, millis: u64) -> Woken {
        let Some(fds) = self.fds.get_mut(..self.used) else { return Woken::Host };
        let mask = self.signals.as_ref().map(Signals::mask);
        let polled = sys::ppoll(fds, Some(millis.saturating_mul(1_000_000)), mask);
        let interrupted = match &mut self.signals {
            Some(signals) => signals.take_in(),
            None => polled == Err(Errno::INTR),
        };
        match polled {
            _ if interrupted => Woken::Host,
            Ok(1..) => Woken::Ready,
            // Our own handler.
            Ok(_) | Err(Errno::INTR) => Woken::Not,
            Err(_) => Woken::Host,
        }
    }

    /// Returns whether the pool only hangs up.
    fn is_gone(&self) -> bool {
        self.fds.first().is_some_and(|p| p.revents & libc::POLLIN == 0 && p.revents != 0)
    }

    /// Returns whether one of the host's descriptors has something for it. Closes the pidfds that fired.
    fn host_is_needed(&mut self) -> bool {
        let mut needed = false;
        for (i, p) in self.fds.iter_mut().enumerate().take(self.used).skip(1) {
            if p.revents == 0 || (i >= self.own && self.signals.is_some()) {
                continue;
            }
            if i < self.own {
                needed = true;
            } else {
                sys::close(p.fd);
                p.fd = -1;
            }
        }
        needed
    }

    /// Closes what is the gate's own. Handlers of the host may run, and may jump out of this.
    pub fn close(&mut self) {
        if let Some(signals) = self.signals.take() {
            self.used = self.own;
            return signals.end();
        }
        for p in self.fds.iter_mut().take(self.used).skip(self.own) {
            if p.fd >= 0 {
                sys::close(p.fd);
                p.fd = -1;
            }
        }
    }
}

/// Why a sleep ended.
enum Woken {
    /// A descriptor is ready.
    Ready,
    /// The time is over.
    Not,
    /// A handler of the host has run or wants to.
    Host,
}
