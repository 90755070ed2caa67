//! A pool that is outlived by daemons only.
//!
//! A daemon that a build leaves behind, as gradle, sccache and many others do, keeps using the pool of that build as
//! long as it lives. It has the number of slots that was wanted for that build; or if the pool was make's, none, since
//! make has taken its tokens out. So once the build has ended and only daemons are left, the guard gives the pool the
//! default size of a pool of our own, and keeps it open like one.
//!
//! - The build has ended with the root of our own pool, or with the make that made its pool.
//! - A daemon is a process of another session (setsid(2)) than the build's. Background jobs and programs started by
//!   nohup(1) belong to the build; while such a process has the pool open, or was told of it, nothing changes.
//!
//! A process that still counts the pool reads the tokens that are put in. So make must have ended as a process, and no
//! process may have the pool open that was not told of it: it may be the real maker. If make is not known, or may be in
//! a PID namespace that cannot be seen from here, then no process at all may have had the pool open for writing for
//! some time.

use core::sync::atomic::Ordering::{Acquire, Release};

use jsshim_engine::hold::inputs;
use jsshim_engine::join::started;
use jsshim_engine::ledger::record::Record;
use jsshim_engine::pool::{cpus, own_pool, pipe};
use jsshim_engine::slots::State;
use jsshim_engine::{proc, space, sys};

use super::state::{Guard, Make};

/// How often it is checked whether the build has ended, in ns.
const CHECK_NANOS: u64 = 50_000_000;
/// How often while other processes of the build still exist, in ns.
const OTHERS_NANOS: u64 = 1_000_000_000;
/// If make cannot be seen: how long no process may have had its pool open for writing, in ns.
const UNSEEN_NANOS: u64 = 1_000_000_000;

impl Guard<'_> {
    pub(super) fn is_outlived(&self) -> bool {
        self.ledger.header.outlived.load(Acquire) != 0
    }

    /// Gives a pool that only daemons use the default size.
    pub(super) fn see_to_daemons(&mut self) {
        if self.is_outlived() {
            // Leave the pool as another guard has left it.
            if self.end.wanted != 0 {
                self.resize();
            }
            return;
        }
        let now = sys::now();
        if self.end.make.is_none() && self.ledger.header.root.load(Acquire) == 0 {
            self.end.find(&self.ledger.header.path(), self.pool.id);
        }
        if self.end.fd >= 0 && self.end.has_ended(self.end.make.unwrap_or(0)) {
            self.end.due = 0;
        }
        if now < self.end.due {
            return;
        }
        self.end.due = now.saturating_add(CHECK_NANOS);
        if self.held < 0 || !self.has_ended(now) || self.records_of_build() || !proc::is_ours() {
            return;
        }
        if self.others_of_build() {
            self.end.due = now.saturating_add(OTHERS_NANOS);
        } else if self.take_on().is_some() {
            self.resize();
        }
    }

    /// Returns whether the build has ended for which the pool was made.
    fn has_ended(&mut self, now: u64) -> bool {
        let (path, root) = (self.ledger.header.path(), self.ledger.header.root.load(Acquire));
        if root != 0 {
            // The pool's name says the same, unless the ledger is broken.
            let named = own_pool::maker(path.name()).is_some_and(|(pid, ..)| pid == root);
            return named && !self.root_lives();
        }
        let (ended, seen) = match (own_pool::maker(path.name()), self.end.make.unwrap_or(0)) {
            // The guard of its namespace keeps its name.
            (Some((pid, of, _)), _) => {
                let seen = of == self.ledger.header.space();
                (!pipe::is_at(&path, self.pool.id) || seen && !proc::lives(pid), seen)
            }
            (None, 0) => (self.is_unwritten(), false),
            (None, make) => {
                let seen = self.ledger.header.space() == space::FIRST;
                (self.end.has_ended(make) && (seen || self.is_unwritten()), seen)
            }
        };
        self.end.since = match self.end.since {
            _ if !ended => 0,
            0 => now,
            since => since,
        };
        ended && (seen || now.saturating_sub(self.end.since) > UNSEEN_NANOS)
    }

    /// Returns whether no process has the pool open for writing, in any PID namespace.
    fn is_unwritten(&self) -> bool {
        // If the pool had no writer when it was opened, poll does not report a hang-up: open and close a writer first.
        let writer = pipe::open(&self.pool.path, self.pool.id, libc::O_WRONLY);
        writer.into_iter().for_each(sys::close);
        let mut one = [libc::pollfd { fd: self.held, events: 0, revents: 0 }];
        let [end] = &mut one;
        self.kept == Some(false)
            && sys::poll(core::slice::from_mut(end), 0).is_ok()
            && end.revents & libc::POLLHUP != 0
    }

    fn is_of_build(&self, pid: i32) -> bool {
        sys::getsid(pid) == Ok(self.ledger.header.session.load(Acquire))
    }

    /// Returns whether a client or job of the build's session is left, or one that has not recorded its pid yet.
    fn records_of_build(&self) -> bool {
        let is_of_build = |r: &Record| match r.pid.load(Acquire) {
            pid if pid > 0 => self.is_of_build(pid),
            _ => true,
        };
        self.ledger.records().any(|(_, r)| r.state() != State::Free && is_of_build(r))
    }

    /// Returns whether there is a process of the build's session that has the pool open or was told of it, or a process
    /// of another session that has it open and was told of no pool.
    fn others_of_build(&self) -> bool {
        let (dev, ino, _) = self.pool.id;
        let (me, double) = (sys::getpid(), self.double);
        let has = |pid| inputs::ends_at(pid, (dev, ino)) != (false, false);
        let is_other = |pid| match self.is_of_build(pid) {
            true => self.was_started_with(pid, false) || has(pid),
            false => has(pid) && !self.was_started_with(pid, true),
        };
        let mut found = false;
        proc::each_process(|pid| {
            found = found || pid != me && pid != double && is_other(pid);
        });
        found
    }

    /// Returns whether a process was started with this pool in `JSSHIM_POOL`; with `make`, also with any pool in
    /// MAKEFLAGS, since two makes may write the same.
    fn was_started_with(&self, pid: i32, make: bool) -> bool {
        let is_ours = |id| pipe::is_same(id, self.pool.id);
        started::with(pid, |auth, id| id.is_some_and(is_ours) || make && auth.is_some())
            == Some(true)
    }

    /// From now on the pool is kept like one of our own.
    fn take_on(&mut self) -> Option<()> {
        let header = &self.ledger.header;
        if header.root.load(Acquire) == 0 {
            let both = pipe::open(&self.pool.path, self.pool.id, libc::O_RDWR).ok()?;
            // Keep the descriptor's number, by which other processes open the pool.
            let moved = sys::dup_to(both, self.held, libc::O_CLOEXEC);
            sys::close(both);
            moved.ok()?;
            header.slots.store(self.count_slots()?, Release);
            // `-l` was that make's setting.
            header.load_milli.store(0, Release);
        }
        (self.owner, self.make) = (0, Make::Builds);
        self.end.wanted = cpus::default_slots();
        header.outlived.store(1, Release);
        Some(())
    }

    /// The number of tokens plus one. Returns None while a token is on its way.
    fn count_slots(&self) -> Option<u32> {
        let count = || {
            let out = self.ledger.records().filter(|(_, r)| r.has_token(r.now().1)).count();
            sys::level(self.held).ok().map(|level| level.saturating_add(out))
        };
        let before = count()?;
        sys::sleep_millis(1);
        (count()? == before).then(|| before.saturating_add(1) as u32)
    }

    /// Adds tokens, or removes free ones. A guard killed meanwhile has added too few.
    fn resize(&mut self) {
        let slots = &self.ledger.header.slots;
        loop {
            let now = slots.load(Acquire);
            if now < self.end.wanted {
                slots.store(now.saturating_add(1), Release);
                if sys::write(self.held, b"+") != Ok(1) {
                    return slots.store(now, Release);
                }
            } else if now > self.end.wanted && sys::read(self.held, &mut [0]) == Ok(1) {
                slots.store(now.saturating_sub(1), Release);
            } else {
                return;
            }
        }
    }
}
