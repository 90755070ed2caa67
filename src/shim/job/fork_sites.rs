//! The purpose of a fork: the child execs soon (a shell's command), or never (a worker, a subshell).
//!
//! It is learned per call site (the return address of `fork`) from earlier children, in a page that they share with
//! their parent: a child that execs notes it there. One exec marks the site for good: a child that execs must not be
//! held inside `fork`, since its parent may be waiting for that very exec (an error pipe), while a child that does not
//! exec is held at its first spawn anyway.

use core::mem::size_of;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize};

use jsshim_engine::proc;
use jsshim_engine::sys::{self, Peek};

/// How long a fork waits for an earlier child to exec, in ms.
const SHOW_MILLIS: u64 = 20;
/// How long it waits if that child has not been on a CPU for all that time, in ms.
const BUSY_MILLIS: u64 = 200;
/// How often it checks meanwhile whether that child has exec'ed or ended, in ms.
const LOOK_MILLIS: u32 = 1;
const SITES: usize = 128;

/// One call site.
#[repr(C)]
pub struct Site {
    address: AtomicUsize,
    forks: AtomicU32,
    execs: AtomicU32,
    /// A child has gone on without exec for longer than that.
    seen_to_stay: AtomicU32,
    /// The pid of the last child.
    last: AtomicI32,
}

/// The most children at a time that go on as a sibling ([`Sites::hand_on`]) without the parent's knowledge yet.
const HEIRS: usize = 16;

#[repr(C)]
struct Page {
    sites: [Site; SITES],
    /// The pid of a child in the upper half, and in the lower half the pid of the sibling as which it goes on; or 0.
    heirs: [AtomicU64; HEIRS],
}

/// The fork sites of this process, and the site that it came from itself.
pub struct Sites {
    page: AtomicPtr<Page>,
    own: AtomicPtr<Site>,
    /// The parent's page.
    parents: AtomicPtr<Page>,
}

impl Sites {
    pub const fn new() -> Self {
        const NONE: *mut Page = core::ptr::null_mut();
        let own = AtomicPtr::new(core::ptr::null_mut());
        Self { page: AtomicPtr::new(NONE), own, parents: AtomicPtr::new(NONE) }
    }

    fn page(&self) -> Option<&'static Page> {
        let seen = self.page.load(Acquire);
        let page = if seen.is_null() { self.map()? } else { seen };
        // SAFETY: zeroed shared memory of that size, never unmapped; zeros are valid.
        Some(unsafe { &*page })
    }

    fn map(&self) -> Option<*mut Page> {
        let fresh = sys::map_shared_anonymous(size_of::<Page>()).ok()?.cast::<Page>();
        match self.page.compare_exchange(core::ptr::null_mut(), fresh, AcqRel, Acquire) {
            Ok(_) => Some(fresh),
            Err(other) => {
                // SAFETY: no one has seen it.
                unsafe { sys::unmap(fresh.cast(), size_of::<Page>()) };
                Some(other)
            }
        }
    }

    /// The entry of a call site. Returns None if there are more sites than entries.
    pub fn of(&self, address: usize) -> Option<&'static Site> {
        self.page()?.sites.iter().find(|site| {
            let seen = site.address.load(Relaxed);
            seen == address
                || seen == 0 && site.address.compare_exchange(0, address, AcqRel, Relaxed).is_ok()
        })
    }

    /// Called in a forked child: the page is the parent's. `site` is the site that this child came from, if it must
    /// note there that it execs.
    pub fn forked(&self, site: Option<&'static Site>) {
        let site = site.map_or(core::ptr::null_mut(), |s| core::ptr::from_ref(s).cast_mut());
        self.own.store(site, Release);
        self.parents.store(self.page.swap(core::ptr::null_mut(), AcqRel), Release);
    }

    /// This process, which came from a known site, goes on as `sibling`: notes that for its parent.
    pub fn hand_on(&self, me: i32, sibling: i32) {
        let page = self.parents.load(Acquire);
        // SAFETY: null, or the parent's page, which is never unmapped.
        let Some(page) = (unsafe { page.as_ref() }) else { return };
        // AcqRel: whoever takes the entry sees what was done before.
        let put =
            |at: &AtomicU64| at.compare_exchange(0, pair(me, sibling), AcqRel, Relaxed).is_ok();
        if !page.heirs.iter().any(put) {
            // Overwrite an entry: the parent never takes those of children that it does not reap.
            if let Some(at) = page.heirs.get(me.unsigned_abs() as usize & (HEIRS - 1)) {
                at.store(pair(me, sibling), Release);
            }
        }
    }

    /// The sibling as which a child has gone on; returned once.
    pub fn heir(&self, child: i32) -> Option<i32> {
        // SAFETY: null, or as in `page`.
        let page = unsafe { self.page.load(Acquire).as_ref() }?;
        page.heirs.iter().find_map(|at| {
            let seen = at.load(Acquire);
            let ours = seen != 0 && (seen >> 32) as i32 == child;
            let taken = ours && at.compare_exchange(seen, 0, AcqRel, Relaxed).is_ok();
            taken.then_some(seen as i32)
        })
    }

    /// This process execs: notes that for its parent.
    pub fn execs(&self) {
        let own = self.own.load(Acquire);
        if !own.is_null() {
            // SAFETY: a site of a page that is never unmapped.
            unsafe { &*own }.execs.fetch_add(1, AcqRel);
        }
    }
}

fn pair(child: i32, heir: i32) -> u64 {
    u64::from(child.unsigned_abs()) << 32 | u64::from(heir.unsigned_abs())
}

/// What the children of a call site have done so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shown {
    /// They exec.
    Execs,
    /// They go on without exec.
    Stays,
    /// None has exec'ed, and the last one has ended: its slot may be free now.
    Ended,
}

impl Site {
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

    /// Returns whether its children exec, as far as known. If no child has exec'ed yet, waits a short time until the
    /// last one execs or ends. A site without children is taken for one whose children exec, which does no harm.
    pub fn shown(&self) -> Shown {
        let begun = sys::now();
        loop {
            if self.is_known() || self.forks.load(Relaxed) == 0 {
                return Shown::Execs;
            }
            let waited = sys::now().saturating_sub(begun) / 1_000_000;
            let is_over = waited >= SHOW_MILLIS && !self.waits_for_processor();
            if self.seen_to_stay.load(Relaxed) != 0 || is_over || waited >= BUSY_MILLIS {
                break;
            }
            if sys::peek(self.last.load(Relaxed)) != Peek::Running {
                return Shown::Ended;
            }
            sys::sleep_millis(LOOK_MILLIS);
        }
        self.seen_to_stay.store(1, Relaxed);
        if self.is_known() {
            Shown::Execs
        } else {
            Shown::Stays
        }
    }

    /// Returns whether the last child has hardly run yet, because the CPUs are busy.
    fn waits_for_processor(&self) -> bool {
        proc::stat(self.last.load(Relaxed)).is_some_and(|s| s.state == b'R' && s.ticks == 0)
    }
}

#[cfg(test)]
mod tests {
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

    fn collect(pid: i32) {
        // SAFETY: a child of this test; no status is asked for.
        unsafe {
            libc::kill(pid, libc::SIGKILL);
            libc::waitpid(pid, core::ptr::null_mut(), 0);
        }
    }

    fn site(sites: &Sites) -> &'static Site {
        let site = sites.of(1).expect("room for one");
        assert_eq!(site.shown(), Shown::Execs, "nobody has been forked yet");
        site
    }

    #[test]
    fn a_child_that_has_ended_is_no_worker() {
        let sites = Sites::new();
        let site = site(&sites);
        for _ in 0..3 {
            let pid = fork(site, false);
            while sys::peek(pid) == Peek::Running {
                sys::sleep_millis(1);
            }
            assert_eq!(site.shown(), Shown::Ended);
            collect(pid);
            assert_eq!(site.shown(), Shown::Ended, "it has been reaped, too");
        }
    }

    #[test]
    fn a_child_that_stays_is_a_worker() {
        let sites = Sites::new();
        let site = site(&sites);
        let pid = fork(site, true);
        assert_eq!(site.shown(), Shown::Stays);
        collect(pid);
        assert_eq!(site.shown(), Shown::Stays, "once seen, it is known");
    }

    #[test]
    fn one_exec_tells_of_all() {
        let sites = Sites::new();
        let site = site(&sites);
        let pid = fork(site, true);
        let child = Sites::new();
        child.forked(Some(site));
        child.execs();
        assert_eq!(site.shown(), Shown::Execs);
        collect(pid);
    }
}
