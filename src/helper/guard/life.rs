//! The life of a guard: its double, its rounds, its end.

use core::ffi::CStr;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use jsshim_engine::guard::process::{close_from, MOST};
use jsshim_engine::ledger::header::{LIFE, NEXT};
use jsshim_engine::ledger::signals;
use jsshim_engine::proc;
use jsshim_engine::sys::{self, Errno};
use jsshim_engine::watchdog::Pace;

use crate::double::{self, Role};

use super::budget::tick;
use super::detach::SCARCE;
use super::state::Guard;

/// How long a guard that was asked to make room waits for the next guard, in ms.
const ROOM_MILLIS: u32 = 300;

impl Guard<'_> {
    /// Continues as a child; this process becomes its double. `first`: what the double does first.
    pub(super) fn split(&mut self, first: impl FnOnce()) {
        let mut first = Some(first);
        self.double = loop {
            match double::fork() {
                Role::Guard(double) => break double,
                Role::Double(child) => {
                    if let Some(first) = first.take() {
                        first();
                    }
                    if !double::was_killed(child) {
                        sys::exit(0)
                    }
                    self.take_over();
                }
            }
        };
        if self.double_fd >= 0 {
            sys::close(self.double_fd);
        }
        // The pidfd is only for waking at once; if descriptors are scarce, the next tick notices.
        let scarce = sys::open_files_limit() < SCARCE;
        let double = if scarce { Err(Errno(libc::EMFILE)) } else { sys::pidfd_open(self.double) };
        self.double_fd = double.unwrap_or(-1);
        self.ledger.header.double.store(self.double, Release);
        self.ledger.header.guard.store(sys::getpid(), Release);
        // Whoever has started this guard waits for it.
        sys::wake_pid_word(&self.ledger.header.guard);
    }

    /// Called after the other process was killed; its descriptors are shared with this one. Keeps the descriptor of the
    /// pool.
    fn take_over(&mut self) {
        let held = self.ledger.header.guard_fd.load(Acquire).min(MOST);
        let spared = [self.file, held, self.root, self.calls];
        let last = spared.into_iter().max().unwrap_or(self.file);
        (3..last).filter(|fd| !spared.contains(fd)).for_each(sys::close);
        close_from(last.saturating_add(1));
        self.watches.forget_all();
        self.end.forget();
        (self.double_fd, self.kept) = (-1, None);
        self.use_pool(held);
    }

    pub(super) fn watch_over(&mut self, stats: &CStr) {
        loop {
            let begun = sys::cpu_time();
            // A truncated ledger: nothing is left to do, and reading it would end in SIGBUS.
            if !self.ledger.is_whole(self.file) {
                sys::exit(1);
            }
            self.nameless = self.ledger.is_nameless(self.file, self.path.c());
            let busy = self.round();
            self.see_to_deserted(busy, stats);
            // If the ledger is not closed after all, a client has entered, and may take a token at any moment.
            let done = !busy && !self.root_lives() && !self.neighbours.keep_guard();
            if done && self.ledger.close_if_idle(self.path.c()) {
                return;
            }
            self.keep_open();
            if busy {
                self.see_to_daemons();
            }
            // Another guard has taken over.
            if self.ledger.header.guard.load(Acquire) != sys::getpid() || self.makes_room() {
                sys::exit(0);
            }
            let pace = if busy { self.watchdog.round(self.ledger) } else { Pace::Rest };
            self.pay();
            // The end of its double is not the end of a job.
            let wakes = [self.double_fd, self.calls];
            let took = sys::cpu_time().saturating_sub(begun);
            self.budget.rest(took, pace, wakes);
            self.watches.sleep([self.double_fd, self.calls, self.end.wakes()], tick(pace, took));
            sys::discard_pending(sys::sigset(signals::CALL));
            if sys::getppid() != self.double {
                self.split(|| ());
            }
        }
    }

    pub(super) fn watch_root(&mut self) {
        let header = &self.ledger.header;
        let (root, born) = (header.root.load(Acquire), header.root_born.load(Acquire));
        let is_it = |s: proc::Stat| born == 0 || proc::is_same_start(s.start as u32, born);
        self.has_root = root != 0 && proc::stat(root).is_none_or(is_it);
        self.root = sys::pidfd_open(root).unwrap_or(-1);
    }

    /// If asked to, or if this guard has only helped out, passes the ledger to another guard, started by a keeper that
    /// waits for its turn. Keeps its descriptors of the pool until then. Returns whether there is another guard.
    fn makes_room(&self) -> bool {
        let (header, me) = (&self.ledger.header, sys::getpid());
        let asked = header.resign.compare_exchange(me, 0, AcqRel, Acquire).is_ok();
        let is_next = || sys::is_byte_locked(self.file, NEXT) == Ok(true);
        if !asked && (!self.adopted || !is_next()) {
            return false;
        }
        sys::unlock_byte(self.file, LIFE);
        let is_other = || header.guard.load(Acquire) != me;
        for _ in 0..ROOM_MILLIS {
            if is_other() {
                break;
            }
            sys::sleep_millis(1);
        }
        // The holder of the lock will be the guard.
        is_other() || sys::lock_byte(self.file, LIFE) == Err(Errno::AGAIN)
    }

    pub(super) fn root_lives(&mut self) -> bool {
        let header = &self.ledger.header;
        let root = header.root.load(Acquire);
        let lives = match self.root {
            _ if !self.has_root => return false,
            // The root is about to end, and waits for our end.
            _ if header.leaving.load(Acquire) == root => false,
            // It is gone already, or no pidfd is to be had.
            -1 => proc::lives(root),
            pidfd => !proc::has_ended_by(pidfd, root),
        };
        if !lives {
            // If descriptors are scarce, the guard's own end needs this one.
            sys::close(self.root);
            (self.has_root, self.root) = (false, -1);
        }
        lives
    }
}
