//! The role `guard`: gives back what dead or sleeping clients cannot, keeps an own pool open, and ends
//! when nothing is left.
//!
//! It watches every process in the ledger by a pidfd, which names a process beyond its pid and tells of
//! its end even while nobody reaps it; new ones are noticed at the next tick. Of the pool it holds the
//! read end, both ends only if it is one of our own; it opens it anew to give a token back.

use core::ffi::CStr;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use jsshim_engine::lanes::Kind;
use jsshim_engine::ledger::{Shared, RECORDS};
use jsshim_engine::pool::{self, Pool};
use jsshim_engine::proc::{self, lives};
use jsshim_engine::record::{Handle, Record, UNRECORDED};
use jsshim_engine::slots::State;
use jsshim_engine::stall::Breaker;
use jsshim_engine::sys::{self, Errno};
use jsshim_engine::text::Path;
use jsshim_engine::trace;

/// How long a new record may go unnoticed, in ms.
const TICK_MILLIS: i64 = 50;

/// Descriptors that are left for the pool and for /proc, however many processes are watched.
const SPARE: i32 = 4;

/// How long a record may be in the making before its maker is looked for, in ns.
const STUCK_NANOS: u64 = 500_000_000;

/// The watch of one record.
#[derive(Clone, Copy)]
struct Watch {
    pid: i32,
    generation: u32,
    /// The pidfd, or -1 where there is none to be had.
    fd: i32,
    /// Since when it is watched (`CLOCK_BOOTTIME`, ns).
    since: u64,
}

const NO_WATCH: Watch = Watch { pid: 0, generation: 0, fd: -1, since: 0 };
/// In place of a pid: a record that is being filled in.
const CLAIMED: i32 = -1;

struct Guard<'a> {
    ledger: &'a Shared,
    pool: Pool,
    watches: &'a mut [Watch; RECORDS],
    polls: &'a mut [libc::pollfd; RECORDS],
    breaker: Breaker,
    /// Pidfds are below this number.
    most: i32,
}

/// Runs the guard of the ledger at `path` until it is not needed any more. `stall`: see [`Breaker::new`].
/// `stats` is the file for what nobody was left to tell; empty: none.
pub fn run(path: &'static CStr, stall: u64, stats: &Path) -> ! {
    let Ok(ledger) = Shared::open(path) else { sys::exit(1) };
    detach();
    let id = ledger.header.id();
    let root = ledger.header.root.load(Acquire);
    // An own pool lives while somebody has it open: from here on, that is us. Of another's we hold the
    // read end only, which keeps no make waiting and is a way back to the pool for us and others.
    let how = if root == 0 { libc::O_RDONLY } else { libc::O_RDWR };
    let held = pool::open(&ledger.header.path(), id, how).unwrap_or(-1);
    ledger.header.guard_fd.store(held, Release);
    ledger.header.guard.store(sys::getpid(), Release);
    let mut watches = [NO_WATCH; RECORDS];
    let mut polls = [libc::pollfd { fd: -1, events: libc::POLLIN, revents: 0 }; RECORDS];
    let pool = Pool::new(id, pool::fd_path(sys::getpid(), held), None);
    let breaker = Breaker::new(stall);
    let most = sys::open_files_limit().min(i32::MAX as u64) as i32;
    let most = most.saturating_sub(SPARE);
    let (watches, polls) = (&mut watches, &mut polls);
    let mut guard = Guard { ledger, pool, watches, polls, breaker, most };
    guard.watch_over(path, root);
    if root != 0 {
        let _ = sys::unlink(ledger.header.path().c());
    }
    tell(ledger, stats);
    sys::exit(0)
}

/// Tells the statistics of those who were killed, where a file was asked for.
fn tell(ledger: &Shared, file: &Path) {
    let (h, counts) = (&ledger.header, ledger.header.stats.take());
    if counts.jobs > 0 && !file.bytes().is_empty() {
        let slots = h.slots.load(Acquire);
        let block = counts.block(b"all its processes", h.lanes.peak(Kind::Slot), slots);
        let _ = trace::append(file.c(), block.bytes(), true);
    }
}

/// Leaves the session, directory and descriptors of whoever started it.
fn detach() {
    sys::setsid();
    let _ = sys::chdir(c"/");
    if sys::close_from(0).is_err() {
        (0..sys::open_files_limit().min(65_536) as i32).for_each(sys::close);
    }
    for _ in 0..3 {
        let _ = sys::open(c"/dev/null", libc::O_RDWR, 0);
    }
    sys::raise_open_files_limit();
    let _ = sys::sigmask(libc::SIG_SETMASK, 0);
}

impl Guard<'_> {
    fn watch_over(&mut self, path: &CStr, root: i32) {
        loop {
            let busy = self.round();
            self.pool.close();
            let needed = root != 0 && lives(root);
            if !busy && !needed && self.ledger.close_if_idle(path) {
                return;
            }
            // Another guard has taken over: ours was thought dead, or the file was replaced.
            if self.ledger.header.guard.load(Acquire) != sys::getpid() {
                sys::exit(0);
            }
            if busy {
                self.breaker.round(self.ledger);
            }
            self.sleep();
        }
    }

    /// Looks at every record once. Says whether any is in use.
    fn round(&mut self) -> bool {
        let mut busy = false;
        for (index, record) in self.ledger.records() {
            let (state, generation) = record.now();
            busy |= state != State::Free;
            let handle = Handle { index, generation };
            match state {
                State::Free => self.forget(index),
                // Whoever was at it is slow, was killed, or could not reach the pool.
                State::Ending => self.ledger.finish(handle, &self.pool),
                State::Client => self.client(handle, record),
                State::Claim if !self.is_stuck(handle) => {}
                _ => self.job(handle, record),
            }
        }
        busy
    }

    fn client(&mut self, h: Handle, record: &Record) {
        let dead = self.is_dead(h, record.pid.load(Acquire));
        if dead {
            let _ = record.implicit.compare_exchange(UNRECORDED, 0, AcqRel, Acquire);
            if !self.has_records(h.index) {
                self.ledger.free(h);
                return;
            }
        }
        // A client settles its slot itself; this is for one that died on the way.
        self.ledger.settle(h.index, &self.pool);
    }

    /// Has it any record left, a claim included?
    fn has_records(&self, client: u32) -> bool {
        self.ledger.records().any(|(_, r)| {
            r.client.load(Acquire) == client && !matches!(r.state(), State::Free | State::Client)
        })
    }

    fn job(&mut self, h: Handle, record: &Record) {
        let pid = record.pid.load(Acquire);
        let gone = if pid > 0 {
            self.is_dead(h, pid)
        } else {
            // No process yet: in the making, unless its client died over it.
            let client = self.ledger.record(record.client.load(Acquire));
            client.is_none_or(|c| c.state() != State::Client || !lives(c.pid.load(Acquire)))
        };
        if gone {
            let has_token = record.has_token(h.generation);
            if self.ledger.end(h, &self.pool) && has_token {
                self.ledger.header.stats.recovered();
            }
            self.forget(h.index);
        } else {
            self.complete(h, record);
        }
    }

    /// Does the rest of what a process that was killed in the middle had begun.
    fn complete(&self, h: Handle, record: &Record) {
        match record.state() {
            State::Implicit if record.has_token(h.generation) => {
                self.ledger.release_lane(h, record);
                self.pool.give(record, h.generation);
            }
            State::Held | State::Waiting => drop(self.ledger.accept_gift(h)),
            _ => {}
        }
    }

    /// Has this record been claimed for long? What it says may be about the job before until then.
    fn is_stuck(&mut self, h: Handle) -> bool {
        let Some(watch) = self.watches.get_mut(h.index as usize) else { return false };
        if (watch.pid, watch.generation) != (CLAIMED, h.generation) {
            self.forget(h.index);
            if let Some(watch) = self.watches.get_mut(h.index as usize) {
                *watch =
                    Watch { pid: CLAIMED, generation: h.generation, fd: -1, since: sys::now() };
            }
            return false;
        }
        sys::now().saturating_sub(watch.since) > STUCK_NANOS
    }

    /// Has the process of this record ended, reaped or not? Starts to watch it if it is new.
    fn is_dead(&mut self, h: Handle, pid: i32) -> bool {
        let Some(watch) = self.watches.get_mut(h.index as usize) else {
            return false;
        };
        if (watch.pid, watch.generation) != (pid, h.generation) {
            if watch.fd >= 0 {
                sys::close(watch.fd);
            }
            *watch = Watch { pid, generation: h.generation, fd: -1, since: sys::now() };
            match sys::pidfd_open(pid) {
                Ok(fd) if fd < self.most => watch.fd = fd,
                Ok(fd) => sys::close(fd),
                Err(Errno::SRCH) => return true,
                Err(_) => {}
            }
        }
        if watch.fd < 0 {
            return !lives(pid);
        }
        proc::has_ended_by(watch.fd, pid)
    }

    fn forget(&mut self, index: u32) {
        if let Some(watch) = self.watches.get_mut(index as usize) {
            if watch.fd >= 0 {
                sys::close(watch.fd);
            }
            *watch = NO_WATCH;
        }
    }

    /// Until a watched process ends, or a tick.
    fn sleep(&mut self) {
        let mut n = 0usize;
        for fd in self.watches.iter().map(|w| w.fd).filter(|fd| *fd >= 0) {
            if let Some(p) = self.polls.get_mut(n) {
                (p.fd, p.revents) = (fd, 0);
                n = n.saturating_add(1);
            }
        }
        // More than RLIMIT_NOFILE are refused, say.
        if sys::poll(self.polls.get_mut(..n).unwrap_or(&mut []), TICK_MILLIS).is_err() {
            sys::sleep_millis(TICK_MILLIS as u32);
        }
    }
}
