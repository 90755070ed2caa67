//! The guard's access to the pool. It holds the read end, which keeps no make waiting, and both ends of a pool of our
//! own. Until the ledger is closed it also has a make's pool open for writing: a make that ends counts its tokens until
//! the last writer has closed the pool, and must not miss a token that is still to come back.

use core::ffi::CStr;
use core::sync::atomic::Ordering::{Acquire, Release};

use jsshim_engine::guard::process::KEPT;
use jsshim_engine::hold::inputs;
use jsshim_engine::join::holders;
use jsshim_engine::ledger::handle::Handle;
use jsshim_engine::ledger::reason::Reason;
use jsshim_engine::ledger::record::Record;
use jsshim_engine::pool::tokens::Pool;
use jsshim_engine::pool::{own_pool, pipe};
use jsshim_engine::slots::State;
use jsshim_engine::text::Path;
use jsshim_engine::{proc, sys};

use super::state::{Guard, Make};
use super::statistics;

/// How often it is checked whether make counts, in ns.
const TICK_NANOS: u64 = 50_000_000;
/// How often if the check must search all processes, in ns.
const SEARCH_NANOS: u64 = 1_000_000_000;

/// The inode of the PID namespace of a process.
fn space_of(pid: i32) -> Option<u64> {
    sys::stat(proc::of(pid).with(b"/ns/pid").c(), true).ok().map(|st| st.st_ino)
}

impl Guard<'_> {
    /// Opens the pool. A pool of our own lives while a process has it open, which is this one.
    pub(super) fn hold(&mut self, path: &Path) -> bool {
        // This includes a pool of our own that another PID namespace has made.
        let ours = own_pool::maker(path.name()).is_some() || self.is_outlived();
        let how = if ours { libc::O_RDWR } else { libc::O_RDONLY };
        let opened = pipe::open_same(path, self.pool.id, how);
        if let Ok(fd) = opened {
            if self.held >= 0 {
                sys::close(self.held);
            }
            self.use_pool(fd);
        }
        opened.is_ok()
    }

    /// Gives back the tokens of processes of other PID namespaces that were killed together with their guard.
    pub(super) fn see_to_deserted(&mut self, busy: bool, stats: &CStr) {
        let Self { neighbours, pool, path, .. } = self;
        neighbours.note(busy);
        neighbours.check(path, pool, &|ledger| statistics::write(ledger, stats));
    }

    /// Uses this descriptor from now on.
    pub(super) fn use_pool(&mut self, held: i32) {
        self.held = held;
        self.ledger.header.guard_fd.store(held, Release);
        // Not by our pid, which changes.
        self.pool = Pool::new(self.pool.id, pipe::fd_path(0, held), Some((held, KEPT)));
    }

    /// [`Guard::hold`] through a process that has the pool open: one of the ledger, or any other.
    pub(super) fn hold_by_another(&mut self) -> bool {
        let (id, header) = (self.pool.id, &self.ledger.header);
        let mut used = self.ledger.records().filter(|(_, r)| r.state() != State::Free);
        let known = used.find_map(|(_, r)| {
            let pid = r.pid.load(Acquire);
            holders::holds_anywhere(pid, id).map(|fd| (pid, fd))
        });
        let any = || if header.is_of_this_boot() { holders::find(id, |_, _| true) } else { None };
        let found = known.or_else(any).map(|(pid, fd)| pipe::fd_path(pid, fd));
        self.hold(&found.unwrap_or(header.path()))
    }

    /// Keeps a make's pool open for writing until the ledger is closed: each client may take a token, and be killed
    /// with it.
    pub(super) fn keep_open(&mut self) {
        if self.is_outlived() {
            return self.keep(false);
        }
        if self.held < 0 {
            return self.keep_unopened();
        }
        let now = sys::now();
        let asks = match self.make {
            Make::Builds => true,
            Make::Counts => false,
            Make::Unseen => self.out,
        };
        if asks && self.owner != 0 && now >= self.look {
            self.make = self.check_make();
            let search = self.make == Make::Unseen && self.counts == 0;
            let pause = if search { SEARCH_NANOS } else { TICK_NANOS };
            self.look = now.saturating_add(pause);
        }
        let needed = match self.make {
            Make::Builds => true,
            // A client may take what make has not read yet. A token that passes from one record to another through the
            // pool can be missed once, but not twice.
            Make::Counts => {
                let out = self.return_all()
                    || self.neighbours.keep_guard()
                    || sys::level(self.held).is_ok_and(|n| n > 0);
                let was_in = core::mem::replace(&mut self.was_in, !out);
                out || !was_in
            }
            Make::Unseen => self.out,
        };
        self.keep(needed && self.owner != 0);
    }

    /// Handles a pool that cannot be opened, for example another user's. The descriptor that the starter handed down is
    /// the only way to give tokens back, and cannot be opened again. It is closed if make seems to count: if the pool
    /// has been empty for long, no token is out, and no client has a write end, for which make would have to wait.
    fn keep_unopened(&mut self) {
        let counts = !self.out && sys::level(KEPT) == Ok(0);
        let now = sys::now();
        self.drained = match self.drained {
            _ if !counts => 0,
            0 => now,
            since => since,
        };
        if counts && now.saturating_sub(self.drained) > SEARCH_NANOS {
            if self.is_written_by_client() {
                self.drained = now;
            } else {
                self.keep(false);
            }
        }
    }

    fn is_written_by_client(&self) -> bool {
        let (dev, ino, _) = self.pool.id;
        let writes = |r: &Record| {
            let pid = r.pid.load(Acquire);
            pid > 0 && inputs::ends_at(pid, (dev, ino)).1
        };
        let clients = || self.ledger.records().filter(|(_, r)| r.state() == State::Client);
        proc::is_ours() && clients().any(|(_, r)| writes(r))
    }

    fn keep(&mut self, open: bool) {
        if self.kept == Some(open) {
            return;
        }
        let wanted = open.then(|| pipe::open(&self.pool.path, self.pool.id, libc::O_WRONLY));
        let opened = wanted.and_then(Result::ok);
        if let Some(fd) = opened {
            let _ = sys::dup_to(fd, KEPT, libc::O_CLOEXEC);
            sys::close(fd);
        } else if !open {
            // Keep the descriptor's number reserved.
            let _ = sys::dup_to(1, KEPT, libc::O_CLOEXEC);
        }
        self.kept = (open == opened.is_some()).then_some(open);
    }

    /// A make that has ended its build has closed its own write end, and reads until the last writer has closed its
    /// end.
    fn check_make(&mut self) -> Make {
        let (dev, ino, _) = self.pool.id;
        let (me, double) = (sys::getpid(), self.double);
        let is_client = |pid| self.ledger.records().any(|(_, r)| r.pid.load(Acquire) == pid);
        // If /proc shows other pids, ours are not valid there.
        if !proc::is_ours() {
            return Make::Unseen;
        }
        // Processes of another PID namespace that read the pool are clients of a ledger there.
        let space = space_of(me);
        let is_of_ours = |pid| space.is_some() && space_of(pid) == space;
        let of = |pid| match inputs::ends_at(pid, (dev, ino)) {
            _ if pid == me || pid == double => Make::Unseen,
            (_, true) => Make::Builds,
            (true, false) if !is_client(pid) && is_of_ours(pid) => Make::Counts,
            _ => Make::Unseen,
        };
        let (mut owner, mut make) = (self.owner, of(self.owner));
        if make == Make::Unseen {
            proc::each_process(|pid| match of(pid) {
                Make::Unseen => {}
                _ if make == Make::Builds => {}
                seen => (owner, make) = (pid, seen),
            });
        }
        // The child of a client has the pool open just as a make that counts, until it is recorded or execs.
        let found = make == Make::Counts && owner != self.owner;
        if found && owner != core::mem::replace(&mut self.counts, owner) {
            return Make::Unseen;
        }
        self.counts = 0;
        self.owner = owner;
        make
    }

    /// Takes back the tokens of jobs that go on in the background and of killed clients; the jobs go on without. No
    /// process is left that could use the slots, and make waits. Returns whether there was anything to take back.
    fn return_all(&self) -> bool {
        let mut any = false;
        for (index, record) in self.ledger.records() {
            let (state, generation) = record.now();
            let h = Handle { index, generation };
            any |= match state {
                State::Token => self.ledger.end(h, &self.pool),
                // A held job would take one of the tokens.
                State::Held | State::Waiting => self.ledger.overdraw_held(h, Reason::PoolGone),
                _ => record.has_token(generation),
            };
        }
        any
    }
}
