//! The purpose of a fork: the child execs soon (a shell's command), or never (a worker, a subshell).
//!
//! It is learned per call site (the return address of `fork`) from earlier children, in a page that all forks of one
//! program share, so that a subshell knows what its shell has learned, and the shell what the subshell has: a child that
//! execs notes it there. One exec marks the site for good: a child that execs must not be held inside `fork`, since its
//! parent may be waiting for that very exec (an error pipe), while a child that does not exec is held at its first
//! spawn anyway.
//!
//! As long as nothing is known, the host does not wait: its child does, which has no slot and would wait in any case.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicUsize};

use jsshim_engine::proc;
use jsshim_engine::sys;

/// How long a held child waits for an earlier child of its site to exec, in ms.
const SHOW_MILLIS: u64 = 20;
/// How long it waits if that child has not been on a CPU for all that time, in ms.
const BUSY_MILLIS: u64 = 200;
/// How often it checks meanwhile whether that child has exec'ed or ended, in ms.
const CHECK_MILLIS: u32 = 1;

/// One call site.
#[repr(C)]
pub struct Site {
    address: AtomicUsize,
    forks: AtomicU32,
    execs: AtomicU32,
    /// A child has gone on without exec for longer than that.
    seen_to_stay: AtomicU32,
    /// The pid of the last child, of whichever fork of this program.
    last: AtomicI32,
}

/// The site that this process came from itself.
pub struct Own(AtomicPtr<Site>);

impl Own {
    pub const fn new() -> Self {
        Self(AtomicPtr::new(core::ptr::null_mut()))
    }

    /// Called in a forked child. `site` is the site that this child came from, if it must note there that it execs.
    pub fn forked(&self, site: Option<&'static Site>) {
        let site = site.map_or(core::ptr::null_mut(), |s| core::ptr::from_ref(s).cast_mut());
        self.0.store(site, Release);
    }

    /// This process execs: notes that for its family.
    pub fn execs(&self) {
        // SAFETY: null, or a site of a page that is never unmapped.
        if let Some(own) = unsafe { self.0.load(Acquire).as_ref() } {
            own.execs.fetch_add(1, AcqRel);
        }
    }
}

/// What the children of a call site have done so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shown {
    /// They exec.
    Execs,
    /// They go on without exec.
    Stays,
    /// None has exec'ed yet. The last one has this pid.
    Nothing(i32),
}

impl Site {
    /// The entry of a call site. Returns None if there are more sites than entries.
    pub fn of(sites: &'static [Self], address: usize) -> Option<&'static Self> {
        sites.iter().find(|site| {
            let seen = site.address.load(Relaxed);
            let free = || site.address.compare_exchange(0, address, AcqRel, Relaxed).is_ok();
            seen == address || seen == 0 && free()
        })
    }

    /// A fork from here has succeeded.
    pub fn forked(&self, child: i32) {
        self.last.store(child, Relaxed);
        self.forks.fetch_add(1, Relaxed);
    }

    /// Returns whether a child from here has exec'ed. Called before a fork, since the page is not mapped in a child
    /// until it reads it.
    pub fn is_known(&self) -> bool {
        self.execs.load(Acquire) > 0
    }

    /// What its children have done so far. A site without children is taken for one whose children exec, which does no
    /// harm.
    pub fn shown(&self) -> Shown {
        if self.is_known() || self.forks.load(Relaxed) == 0 {
            Shown::Execs
        } else if self.seen_to_stay.load(Relaxed) != 0 {
            Shown::Stays
        } else {
            Shown::Nothing(self.last.load(Relaxed))
        }
    }

    /// Called in a held child of this site, of which [`Shown::Nothing`] is known: waits a short time until `earlier`,
    /// the child before it, execs or ends, or until `is_over`. Returns whether this child should go on to its exec, too.
    pub fn execs_soon(&self, earlier: i32, is_over: impl Fn() -> bool) -> bool {
        let begun = sys::now();
        while !self.is_known() {
            // One that has ended may have been about to exec, or not.
            let Some(seen) = proc::stat(earlier).filter(|s| !matches!(s.state, b'Z' | b'X')) else {
                return false;
            };
            if is_over() || self.seen_to_stay.load(Relaxed) != 0 {
                return false;
            }
            let waited = sys::now().saturating_sub(begun) / 1_000_000;
            let waits_for_processor = seen.state == b'R' && seen.ticks == 0;
            if waited >= SHOW_MILLIS && !waits_for_processor || waited >= BUSY_MILLIS {
                self.seen_to_stay.store(1, Relaxed);
                return false;
            }
            sys::sleep_millis(CHECK_MILLIS);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use jsshim_engine::sys::Peek;

    use crate::job::family::Family;

    use super::*;

    /// A child that stays until it is killed, or ends at once.
    fn fork(site: &Site, stays: bool) -> i32 {
        // SAFETY: the child makes system calls only.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            if stays {
                // SAFETY: no arguments.
                unsafe { libc::pause() };
            }
            sys::exit(0)
        }
        site.forked(pid);
        pid
    }

    fn await_end(pid: i32) {
        // SAFETY: a child of this test; no status is asked for.
        unsafe { libc::waitpid(pid, core::ptr::null_mut(), 0) };
    }

    fn collect(pid: i32) {
        // SAFETY: a child of this test.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        await_end(pid);
    }

    fn site(family: &Family) -> &'static Site {
        let site = family.site(1).expect("room for one");
        assert_eq!(site.shown(), Shown::Execs, "nobody has been forked yet");
        site
    }

    /// What a held child would do that is forked after `earlier`.
    fn execs(site: &Site, earlier: i32) -> bool {
        assert_eq!(site.shown(), Shown::Nothing(earlier));
        site.execs_soon(earlier, || false)
    }

    #[test]
    fn a_child_that_has_ended_is_no_worker() {
        let site = site(&Family::new());
        for _ in 0..3 {
            let pid = fork(site, false);
            while sys::peek(pid) == Peek::Running {
                sys::sleep_millis(1);
            }
            assert!(!execs(site, pid));
            collect(pid);
            assert!(!execs(site, pid), "it has been reaped, too");
        }
    }

    #[test]
    fn a_child_that_stays_is_a_worker() {
        let site = site(&Family::new());
        let pid = fork(site, true);
        assert!(!execs(site, pid));
        collect(pid);
        assert_eq!(site.shown(), Shown::Stays, "once seen, it is known");
    }

    #[test]
    fn a_slot_ends_the_wait() {
        let site = site(&Family::new());
        let pid = fork(site, true);
        assert!(!site.execs_soon(pid, || true));
        assert_eq!(site.shown(), Shown::Nothing(pid), "nothing has been learned");
        collect(pid);
    }

    #[test]
    fn one_exec_tells_of_all() {
        let site = site(&Family::new());
        let pid = fork(site, true);
        let child = Own::new();
        child.forked(Some(site));
        child.execs();
        assert_eq!(site.shown(), Shown::Execs);
        collect(pid);
    }

    #[test]
    fn all_forks_of_a_program_learn_from_each_other() {
        let (family, own) = (Family::new(), Own::new());
        let site = site(&family);
        // SAFETY: the child makes system calls only.
        let subshell = unsafe { libc::fork() };
        if subshell == 0 {
            // Its own child, which execs.
            // SAFETY: as above.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                own.forked(family.site(1));
                own.execs();
                sys::exit(0)
            }
            await_end(pid);
            sys::exit(0)
        }
        await_end(subshell);
        assert!(site.is_known(), "the shell knows what its subshell has learned");
    }
}
