//! The guard's way to the pool. It holds the read end, which keeps no make waiting, and both ends if it is
//! a pool of our own. Only while there are jobs it has the pool of a make open for writing: a make that
//! ends counts its tokens until the last writer has gone, and must not miss one that is still to come back.

use core::sync::atomic::Ordering::{Acquire, Release};

use jsshim_engine::hold;
use jsshim_engine::join;
use jsshim_engine::pool::{self, Pool};
use jsshim_engine::proc;
use jsshim_engine::record::{Handle, Reason};
use jsshim_engine::slots::State;
use jsshim_engine::sys;
use jsshim_engine::text::{number, Path};

use super::Guard;

/// How often it is asked whether make counts, in ns.
const TICK_NANOS: u64 = 50_000_000;

/// The make that has made a pool, by the path of it: `/proc/PID/fd/N`, or the name of its fifo.
pub(super) fn owner_of(path: &Path) -> i32 {
    let bytes = path.bytes();
    let name = bytes.rsplit(|b| *b == b'/').next().unwrap_or(b"");
    let pid = bytes.strip_prefix(b"/proc/").or(name.strip_prefix(b"GMfifo"));
    pid.and_then(number).and_then(|(pid, _)| i32::try_from(pid).ok()).unwrap_or(0)
}

impl Guard<'_> {
    /// Finds a way to the pool: an own pool lives while somebody has it open, and that is us.
    pub(super) fn hold(&mut self, path: &Path) -> bool {
        let own = self.ledger.header.root.load(Acquire) != 0;
        let how = if own { libc::O_RDWR } else { libc::O_RDONLY };
        let opened = pool::open(path, self.pool.id, how);
        if let Ok(fd) = opened {
            self.pool.close();
            if self.held >= 0 {
                sys::close(self.held);
            }
            self.held = fd;
        }
        self.ledger.header.guard_fd.store(self.held, Release);
        // Not by our number, which changes.
        self.pool = Pool::new(self.pool.id, pool::fd_path(0, self.held), None);
        opened.is_ok()
    }

    /// The same by a process that has it open: one of the ledger, or any other.
    pub(super) fn hold_by_another(&mut self) -> bool {
        let (id, header) = (self.pool.id, &self.ledger.header);
        let way = |pid| join::holds_anywhere(pid, id).map(|fd| pool::fd_path(pid, fd));
        let mut used = self.ledger.records().filter(|(_, r)| r.state() != State::Free);
        let mut found = used.find_map(|(_, r)| way(r.pid.load(Acquire)));
        if found.is_none() && header.is_of_this_boot() {
            proc::each_number(&Path::new(b"/proc"), |pid, _| found = found.or_else(|| way(pid)));
        }
        self.hold(&found.unwrap_or(header.path()))
    }

    /// Has a make's pool open for writing exactly while there are jobs.
    pub(super) fn keep_open(&mut self) {
        let now = sys::now();
        if self.out && self.owner != 0 && !self.over && now >= self.look {
            self.look = now.saturating_add(TICK_NANOS);
            self.over = self.owner_counts();
        }
        let needed = if self.over { self.return_all() } else { self.out };
        if needed && self.owner != 0 && self.held >= 0 {
            self.pool.keep_for_writing();
        } else {
            self.pool.close();
        }
    }

    /// Has the make ended its build? Then it has closed its own write end, and reads until the last one is
    /// closed.
    fn owner_counts(&self) -> bool {
        let (dev, ino, _) = self.pool.id;
        hold::ends_at(self.owner, (dev, ino)) == (true, false)
            && self.ledger.records().all(|(_, r)| r.pid.load(Acquire) != self.owner)
    }

    /// What goes on in the background, and of those who were killed, goes on without: nobody is left who
    /// could use the slots, and make waits. Says whether there was anything of that.
    fn return_all(&self) -> bool {
        let mut any = false;
        for (index, record) in self.ledger.records() {
            let (state, generation) = record.now();
            let h = Handle { index, generation };
            any |= match state {
                State::Token => self.ledger.end(h, &self.pool),
                // It would take one of the tokens.
                State::Held | State::Waiting => self.ledger.overdraw_held(h, Reason::PoolGone),
                _ => record.has_token(generation),
            };
        }
        any
    }
}
