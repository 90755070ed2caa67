//! The keeper: a parent for the guard, where an orphan would become the child of a process that minds.
//!
//! An orphan is reparented to the nearest subreaper above, or else to process 1 of its PID namespace. The machine's
//! process 1 is an init, and does not mind one more child. A script, make or build driver that is the first process of
//! a container, or a subreaper that waits for all its children, does mind: it would wait for the guard, which waits for
//! it, or get an unknown pid from wait(2). Also, the guard would end with the first process of a container, and have no
//! time to clean up. There the guard is below a *keeper*: a child of the client that starts it, which no wait(2) sees,
//! because its exit signal is not SIGCHLD (`__WCLONE`, waitpid(2)). An exec would reset the exit signal to SIGCHLD, and
//! so would a new parent. So the keeper is a fork of the client that never execs, and it ends with its client. It gives
//! up the client's memory and descriptors, is the subreaper of all processes below it, and sleeps.
//!
//! The guard must outlive the client that started it. Each client that takes a token while the guard is not below one
//! of the client's ancestors has a keeper, too. Keepers that are not needed yet wait for the guard's lock, so the
//! kernel itself appoints the next one. A client that leaves asks the guard below it to make room, and reaps its
//! keeper. If no other keeper could take over, the guard stays, and is reparented as orphans are.

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

/// How long a client waits for the guard to make room, at its end or before a wait(2), in ms.
const PATIENCE: u32 = 1000;
/// How long a leaving client waits for another client's keeper, which may be about to start, in ms.
const GRACE: u32 = 100;

/// A client's state about its keeper.
pub struct Keeper {
    orphans: AtomicU32,
    /// The pid of the keeper, or 0 if none is needed; in the lower half the pid of the process to which this applies: a
    /// forked child has no keeper yet.
    known: AtomicU64,
}

impl Default for Keeper {
    fn default() -> Self {
        Self::new()
    }
}

impl Keeper {
    /// The state before anything is known.
    pub const fn new() -> Self {
        Self { orphans: AtomicU32::new(0), known: AtomicU64::new(0) }
    }

    /// Returns whether no guard of this process needs a keeper. `ledger` holds the answer of other processes, which may
    /// know better.
    pub fn is_needless(&self, ledger: &Ledger) -> bool {
        let orphans = match self.orphans.load(Acquire) {
            0 => self.find_adopter(ledger),
            known => known,
        };
        orphans == Orphans::Init as u32 && ledger.header.minds.load(Acquire) == 0
    }

    /// Returns whether process `me`, which is this one, has not yet determined whether it needs a keeper.
    pub fn is_open(&self, ledger: &Ledger, me: i32) -> bool {
        !self.is_needless(ledger) && self.known.load(Acquire) as u32 as i32 != me
    }

    /// Returns whether orphans of the ledger's processes are reparented to this process.
    pub fn adopts(&self) -> bool {
        self.orphans.load(Acquire) == Orphans::Here as u32
    }

    /// Determines where orphans go, and notes in the ledger if they come here.
    #[inline(never)]
    pub fn find_adopter(&self, ledger: &Ledger) -> u32 {
        let orphans = Orphans::find(ledger);
        self.orphans.store(orphans as u32, Release);
        if orphans == Orphans::Here {
            ledger.header.minds.store(1, Release);
        }
        orphans as u32
    }

    /// The keeper of this process, if it has a living one.
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

    /// Returns whether it is settled that this process has no keeper while a guard lives.
    fn is_settled(&self) -> bool {
        let known = self.known.load(Acquire);
        known as u32 as i32 == sys::getpid() && known.wrapping_shr(32) == 0
    }

    /// Makes sure that this process has a keeper, if it needs one. Returns false if it cannot have one. `lives`: there
    /// is a guard.
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

    /// Called when the client leaves: its keeper ends, if the guard below it is not needed or another keeper takes
    /// over.
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
            // Repeatedly: the first time the keeper may not be asleep yet.
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

    /// Called before a wait(2) for any child, in a process that adopts orphans: a guard that has become its child makes
    /// room for a guard that no wait sees.
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

    /// Returns whether this is the keeper of the calling process.
    pub fn is(&self, pid: i32) -> bool {
        let known = self.known.load(Acquire);
        pid > 0 && known.wrapping_shr(32) as i32 == pid && known as u32 as i32 == sys::getpid()
    }

    /// Returns whether the keeper is the only child that a wait(2) for children without exit signal can see; with
    /// `all`, the only child that a wait for any child can see.
    pub fn is_alone(&self, all: bool) -> bool {
        if all && sys::has_visible_child() {
            return false;
        }
        let mut others = false;
        proc::each_child(|pid| others |= !self.is(pid) && !sys::is_visible_child(pid));
        !others
    }

    /// Returns whether there is a keeper, which a wait(2) with `__WALL` would see.
    pub fn is_there(&self) -> bool {
        let known = self.known.load(Acquire);
        known.wrapping_shr(32) != 0 && known as u32 as i32 == sys::getpid()
    }
}

/// Returns whether this is a process of the guard, not one of the host's that has its pid by now. No process of the
/// host has a name of our programs, except a held one: that has a record, and as a rule the host's session.
fn is_ours(ledger: &Ledger, pid: i32) -> bool {
    let is_job = || ledger.records().any(|(_, r)| r.pid.load(Acquire) == pid && r.state().is_job());
    is_called(pid, b"jsshim-") && sys::getsid(pid) != sys::getsid(0) && !is_job()
}

fn is_called(pid: i32, start: &[u8]) -> bool {
    let mut name = [0u8; 16];
    let n = proc::read_file(&proc::of(pid).with(b"/comm"), &mut name).unwrap_or(0);
    name.get(..n).is_some_and(|name| name.starts_with(start))
}

/// The pid of a keeper that this process has from before an exec, or 0.
fn find() -> i32 {
    let mut found = 0;
    proc::each_child(|pid| {
        if is_called(pid, NAME.to_bytes()) {
            found = pid;
        }
    });
    // A child that ordinary waits see may have any name.
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

/// Returns whether another keeper waits for its turn.
fn has_next(path: &Path) -> bool {
    let Ok(file) = sys::open(path.c(), libc::O_RDWR, 0) else { return false };
    let next = sys::is_byte_locked(file, NEXT) == Ok(true);
    sys::close(file);
    next
}
