//! A parent for the guard where an orphan would become the child of somebody who minds.
//!
//! An orphan goes to the nearest subreaper above, or else to process 1 of its PID namespace. That of the machine is an
//! init, and does not mind one more. A script, make or a build driver as the first process of a container, or a
//! subreaper that waits for all its children, does: it would wait for the guard, which waits for it, or meet a pid in
//! wait(2) that it has never heard of. And whatever is the first of a container, the guard would end with it, and have
//! no time to clean up. There the guard is below a *keeper*, which is a child of the client that starts it, but one that no wait(2)
//! sees: its exit signal is not SIGCHLD (`__WCLONE`, waitpid(2)). An exec would make it SIGCHLD, and so would a new
//! parent. So the keeper is a fork of the client that never becomes another program, and it ends with its client: it
//! lets go of the client's memory and descriptors, is the subreaper of all that is below it, and sleeps.
//!
//! The guard must outlive the client that has started it. Each client that takes a token while the guard is not below
//! one of its own ancestors has a keeper, too. Those that are not needed yet wait for the guard's lock, so that the
//! kernel itself appoints the next one. A client that leaves asks the guard below it to make room, and collects its
//! keeper. Where nobody else could take over, the guard stays, and goes where orphans go.

use core::sync::atomic::Ordering::{Acquire, Release};

use crate::ledger::access::Ledger;
use crate::ledger::header::NEXT;
use crate::ledger::signals::CALL;
use crate::proc;
use crate::sync::{AtomicU32, AtomicU64};
use crate::sys::{self, Errno, Peek};
use crate::text::Path;

use super::keeping::{self, NAME, RETIRE};
use super::orphans::Orphans;
use super::process::Start;

/// How long a client waits, at its end or before a wait(2), for the guard to make room, in ms.
const PATIENCE: u32 = 1000;
/// How long a client that leaves waits for another one's keeper, which may be on its way, in ms.
const GRACE: u32 = 100;

/// What a client knows of its keeper.
pub struct Keeper {
    orphans: AtomicU32,
    /// The pid of the keeper, or 0 where none is needed; in the lower half that of the process that it is about: a forked
    /// child has none yet.
    known: AtomicU64,
}

impl Default for Keeper {
    fn default() -> Self {
        Self::new()
    }
}

impl Keeper {
    /// None yet.
    pub const fn new() -> Self {
        Self { orphans: AtomicU32::new(0), known: AtomicU64::new(0) }
    }

    /// Does no guard of this process need a keeper? `ledger` has it where another process knows better.
    pub fn is_needless(&self, ledger: &Ledger) -> bool {
        let orphans = match self.orphans.load(Acquire) {
            0 => self.look(ledger),
            known => known,
        };
        orphans == Orphans::Init as u32 && ledger.header.minds.load(Acquire) == 0
    }

    /// Has process `me`, this one, yet to find out whether it needs a keeper?
    pub fn is_open(&self, ledger: &Ledger, me: i32) -> bool {
        !self.is_needless(ledger) && self.known.load(Acquire) as u32 as i32 != me
    }

    /// Do the orphans of the ledger's processes come to this one?
    pub fn adopts(&self) -> bool {
        self.orphans.load(Acquire) == Orphans::Here as u32
    }

    /// Finds out where orphans go, and tells the others if they come here.
    #[inline(never)]
    pub fn look(&self, ledger: &Ledger) -> u32 {
        let orphans = Orphans::look(ledger);
        self.orphans.store(orphans as u32, Release);
        if orphans == Orphans::Here {
            ledger.header.minds.store(1, Release);
        }
        orphans as u32
    }

    /// The keeper of this process, if it has one that lives.
    fn own(&self) -> Option<i32> {
        let (me, known) = (sys::getpid(), self.known.load(Acquire));
        let pid = if known as u32 as i32 == me { known.wrapping_shr(32) as i32 } else { find() };
        if pid <= 0 {
            return None;
        }
        match sys::peek(pid) {
            Peek::Running => {
                self.set(pid);
                Some(pid)
            }
            Peek::Zombie => {
                let _ = sys::reap_clone(pid);
                None
            }
            Peek::Gone => None,
        }
    }

    fn set(&self, pid: i32) {
        let me = sys::getpid();
        self.known.store(u64::from(pid as u32) << 32 | u64::from(me as u32), Release);
    }

    /// Is this process done with the question, while a guard lives?
    fn is_settled(&self) -> bool {
        let known = self.known.load(Acquire);
        known as u32 as i32 == sys::getpid() && known.wrapping_shr(32) == 0
    }

    /// Makes sure of a keeper of this process, if it needs one. `false`: it cannot have one. `lives`: there is a guard.
    #[inline(never)]
    pub fn ensure(&self, start: &Start<'_>, lives: bool) -> bool {
        let header = &start.ledger.header;
        if lives && self.is_settled() || self.own().is_some() {
            return true;
        }
        // Parents outlive their children, as a rule.
        let owner = header.owner.load(Acquire);
        if lives && owner > 0 && proc::ancestors().any(|pid| pid == owner) {
            self.set(0);
            return true;
        }
        match keeping::make(start) {
            Some(pid) => {
                self.set(pid);
                true
            }
            None => {
                self.set(0);
                false
            }
        }
    }

    /// The client leaves: its keeper goes, if the guard below it is not needed or another keeper takes over.
    #[inline(never)]
    pub fn leave(&self, ledger: &Ledger, path: &Path) {
        let Some(pid) = (if self.is_needless(ledger) { None } else { self.own() }) else { return };
        let header = &ledger.header;
        let (root, me) = (header.root.load(Acquire), sys::getpid());
        if root == me {
            header.leaving.store(me, Release);
        }
        let mut grace = GRACE.saturating_mul(5);
        for _ in 0..PATIENCE.saturating_mul(5) {
            // Again and again: the first time it may not sleep yet.
            let _ = sys::kill(pid, RETIRE);
            if header.keeper.load(Acquire) == pid {
                let guard = header.guard.load(Acquire);
                if !ledger.is_idle() || root != 0 && root != me && proc::lives(root) {
                    if has_next(path) {
                        header.resign.store(guard, Release);
                    } else if grace == 0 {
                        return;
                    }
                    grace = grace.saturating_sub(1);
                }
                call(guard);
            }
            if sys::peek(pid) != Peek::Running {
                let _ = sys::reap_clone(pid);
                return;
            }
            sys::sleep_micros(200);
        }
    }

    /// Before a wait(2) for any child, in a process to which orphans come: a guard that has become its child makes room
    /// for one that no wait sees.
    #[inline(never)]
    pub fn take_in(&self, start: &Start<'_>) {
        let header = &start.ledger.header;
        for top in [&header.keeper, &header.double] {
            let pid = top.load(Acquire);
            if pid <= 0 || !sys::is_visible_child(pid) || !is_ours(start.ledger, pid) {
                continue;
            }
            if self.own().is_none() {
                match keeping::make(start) {
                    Some(pid) => self.set(pid),
                    None => return,
                }
            }
            for _ in 0..PATIENCE {
                let guard = header.guard.load(Acquire);
                header.resign.store(guard, Release);
                call(guard);
                if sys::reap(pid, false) != Err(Errno::AGAIN) {
                    break;
                }
                sys::sleep_millis(1);
            }
        }
    }

    /// Is this the keeper of the calling process?
    pub fn is(&self, pid: i32) -> bool {
        let known = self.known.load(Acquire);
        pid > 0 && known.wrapping_shr(32) as i32 == pid && known as u32 as i32 == sys::getpid()
    }

    /// Is the keeper the only child that a wait(2) for those which send no signal can see; or, with `all`, for any?
    pub fn is_alone(&self, all: bool) -> bool {
        if all && sys::has_visible_child() {
            return false;
        }
        let mut others = false;
        proc::each_child(|pid| others |= !self.is(pid) && !sys::is_visible_child(pid));
        !others
    }

    /// Is there a keeper that a wait(2) with `__WALL` would see?
    pub fn is_there(&self) -> bool {
        let known = self.known.load(Acquire);
        known.wrapping_shr(32) != 0 && known as u32 as i32 == sys::getpid()
    }
}

/// Is this a process of the guard, and not one of the host's that has its pid by now? Those have no name of our
/// programs, but for one that is held: that has a record, and as a rule the host's session.
fn is_ours(ledger: &Ledger, pid: i32) -> bool {
    let is_job = || ledger.records().any(|(_, r)| r.pid.load(Acquire) == pid && r.state().is_job());
    is_called(pid, b"jsshim-") && sys::getsid(pid) != sys::getsid(0) && !is_job()
}

fn is_called(pid: i32, start: &[u8]) -> bool {
    let mut name = [0u8; 16];
    let n = proc::read_file(&proc::of(pid).with(b"/comm"), &mut name).unwrap_or(0);
    name.get(..n).is_some_and(|name| name.starts_with(start))
}

/// A keeper that this process has from before an exec, or 0.
fn find() -> i32 {
    let mut found = 0;
    proc::each_child(|pid| {
        if is_called(pid, NAME.to_bytes()) {
            found = pid;
        }
    });
    // A child that other waits see may have any name.
    if sys::is_visible_child(found) {
        0
    } else {
        found
    }
}

fn call(guard: i32) {
    if guard > 0 {
        let _ = sys::kill(guard, CALL);
    }
}

/// Does another keeper wait for its turn?
fn has_next(path: &Path) -> bool {
    let Ok(file) = sys::open(path.c(), libc::O_RDWR, 0) else { return false };
    let next = sys::is_byte_locked(file, NEXT) == Ok(true);
    sys::close(file);
    next
}
