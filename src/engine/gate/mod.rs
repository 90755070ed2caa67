//! The gate: the one wait of a client for a slot.
//!
//! A host may sleep here only while nothing else needs it: it has one thread, none of its jobs is held already, it
//! feeds no pipe of another process, and nothing that it reads has data. It sleeps in one ppoll on the pool, on the ends
//! of its running jobs and on the pipes and sockets that the host reads. A handler of the host that runs ends the wait as
//! data does.
//! What was to be read from its standard input before is no reason: it starts a job first.
//!
//! How long? A job that waits for the host sleeps, and then a slot is spare, which ends the wait. What can still need the
//! host is a clock of its own. In an event loop that would be late for jobs that have ended long ago: a host with
//! sockets or descriptors that are no files (epoll(7), timerfd) waits for a second. Any other host asks first which jobs
//! have ended; it waits until one ends, so that no clock runs for a job that has not begun. It may also have to end a
//! job that would compute for ever: from when a job has run for three seconds, it waits for a second, too.
//!
//! Where builds have unequal shares of the pool, no host waits here.
//!
//! The end of a job is reported by a pidfd: no signal handler is installed and no mask changed, it does not matter
//! whether SIGCHLD is handled, ignored, blocked or left alone, and nothing is taken from the host's queue. Where there
//! are no pidfds (Linux before 5.3, some sandboxes), it is SIGCHLD and a self-pipe (`signals`). `JSSHIM_WAIT` chooses.

mod signals;

use core::sync::atomic::Ordering::Relaxed;

use crate::client::jobs::Jobs;
use crate::client::Client;
use crate::ledger::handle::Handle;
use crate::ledger::record::Record;
use crate::pool::pipe;
use crate::proc;
use crate::slots::State;
use crate::sys::{self, Errno};
use signals::Signals;

/// The longest wait of a host that may be needed by a clock, in ns.
const SHORT_NANOS: u64 = 1_000_000_000;
/// Other hosts wait for longer until one of their jobs has run for this long, in ns: they may have to end that one.
const OLD_NANOS: u64 = 3_000_000_000;
/// How often it checks whether a held job could start on the slot of a sleeping job, in ms.
const CHECK_MILLIS: u64 = 20;
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
    /// The host may have clocks that must not be late.
    short: bool,
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
        Self { fds: [none; MOST_FDS], used: 0, own: MOST_FDS, signals: None, short: false }
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
        let must_queue = client.ledger().must_queue(client.known());
        if !(alone || eager) || must_queue || client.has_held() {
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
        self.short |= matches!(kind, 0 | libc::S_IFSOCK);
        if !matches!(kind, libc::S_IFIFO | libc::S_IFSOCK) || pipe::is(fd, client.pool.id) {
            return true;
        }
        match pipe::access(fd).unwrap_or(0) {
            // A running job may wait for what the host writes to a pipe other than its output.
            libc::O_WRONLY => eager || fd <= 2 || is_output(client, fd) || has_both_ends(fd),
            _ if fd == 1 || fd == 2 => true,
            _ if is_input(fd) && has_input() => true,
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
        let begun = sys::now();
        loop {
            client.sweep(jobs);
            if let Some(state) = client.start_now(job, || ()) {
                return Some(state);
            }
            if client.ledger().withholds_tokens() {
                // Tokens in the pool would wake us again and again.
                return None;
            }
            let polled = self.sleep(CHECK_MILLIS);
            if client.ledger().has_spare() {
                return None;
            }
            match polled {
                Woken::Ready if self.is_gone() || self.host_is_needed() => return None,
                Woken::Ready => {}
                Woken::Not if !self.is_over(client, begun) => {}
                Woken::Not | Woken::Host => {
                    // One of our jobs may have ended with it.
                    client.sweep(jobs);
                    return client.start_now(job, || ());
                }
            }
        }
    }

    /// Returns whether the host has waited for long enough.
    fn is_over(&self, client: &Client, begun: u64) -> bool {
        let now = sys::now();
        let is_young = |(_, state, r): (Handle, State, &Record)| {
            state.runs().then(|| now.saturating_sub(r.since.load(Relaxed)) < OLD_NANOS)
        };
        let mut jobs = client.ledger().busy_jobs_of(client.known()).filter_map(is_young).peekable();
        let is_short = self.short || jobs.peek().is_none() || !jobs.all(|young| young);
        is_short && now.saturating_sub(begun) >= SHORT_NANOS
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

/// Returns whether this is a copy of the standard output or standard error with which the host began.
fn is_output(client: &Client, fd: i32) -> bool {
    sys::file_id(fd).is_ok_and(|file| client.outputs.contains(&file))
}

/// Returns whether the host has the reading end of this pipe, too: it is for the job that is about to start, or for the
/// host itself.
fn has_both_ends(end: i32) -> bool {
    let (Ok(pipe), mut found) = (sys::file_id(end), false) else { return false };
    proc::each_fd(0, |fd| {
        found |=
            fd != end && sys::file_id(fd) == Ok(pipe) && pipe::access(fd) != Ok(libc::O_WRONLY);
    });
    found
}

/// Returns whether this is the standard input, or a copy of it.
fn is_input(fd: i32) -> bool {
    fd == 0 || sys::file_id(fd).is_ok_and(|file| sys::file_id(0) == Ok(file))
}

/// Returns whether there is something to be read from the standard input.
fn has_input() -> bool {
    let mut one = [libc::pollfd { fd: 0, events: libc::POLLIN, revents: 0 }];
    sys::poll(&mut one, 0) != Ok(0)
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
