//! The state of this process. All of it is atomic: hooks run in any thread, in handlers, and in forked children of
//! threaded hosts.
//!
//! # The phases
//!
//! `UNSEEN`: no two jobs have run at once yet. The one job that may run is [`first`](State::first). It has the implicit
//! slot, and nothing else is known or needed: no environment read, no file opened.
//! `JOINING`: one thread looks for the pool. `ACTIVE`: the client is set up and never changes.
//! `OFF`: this process is not gated (it speaks the protocol itself, the user said so, or it cannot be). If privileges
//! have risen, this is the phase from the start, and there is no owner: every hook passes through.
//!
//! A change of phase is AcqRel: whoever sees `ACTIVE` sees the client.

use core::cell::UnsafeCell;
use core::ffi::{c_char, CStr};
use core::mem::MaybeUninit;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64};

use jsshim_engine::client::jobs::Jobs;
use jsshim_engine::client::Client;
use jsshim_engine::join::end::End;
use jsshim_engine::join::word::POOL_NAME;
use jsshim_engine::ledger::handle::Handle;
use jsshim_engine::sys;

use crate::exec::{environ, words};

use super::family::Family;
use super::fork_sites::Own;

pub const UNSEEN: u32 = 0;
pub const JOINING: u32 = 1;
pub const ACTIVE: u32 = 2;
pub const OFF: u32 = 3;

/// In `first`: no job.
pub const NONE: i32 = 0;
/// In `first`: a spawn is under way.
pub const STARTING: i32 = -1;
/// In `first`: the ledger accounts for the implicit slot now.
pub const RECORDED: i32 = -2;

/// The process state. Its small fields and the first slots of `jobs` lie on the page that the loader has written
/// (`layout.ld`): the first write to a page, also after a fork, costs a fault.
#[repr(C)]
pub struct State {
    /// The process to which all this belongs. A `vfork` child sees it too, but is another process.
    owner: AtomicI32,
    phase: AtomicU32,
    /// Which of the two clients is in use.
    which: AtomicU32,
    /// The pid of the job on the implicit slot while there is no ledger, or one of the values above.
    pub first: AtomicI32,
    /// This process was forked, and has not exec'ed.
    is_fork: AtomicBool,
    /// A warning was given; there is only one per process.
    warned: AtomicBool,
    /// `JSSHIM_DEBUG` is set.
    pub debug: AtomicBool,
    /// The environment names no pool.
    pub top: AtomicBool,
    /// Even the first job waits until the pool is known, since its children must be told of it: where a pool is to be
    /// made that all branches share, and in a make that makes its own.
    pub eager: AtomicBool,
    /// It has been checked whether this is a subreaper.
    pub asked: AtomicBool,
    /// The read end that MAKEFLAGS names, as it was at the start: device and inode; zeros: none.
    end: [AtomicU64; 2],
    /// The entry of MAKEFLAGS with which the process was started.
    flags: AtomicPtr<c_char>,
    /// The entry of LD_PRELOAD with which the process was started.
    preload: AtomicPtr<c_char>,
    /// The record of a forked child that must wait for its slot at its first exec or spawn.
    held: AtomicU64,
    /// The record of the job that this process is, as a fork of its client.
    job: AtomicU64,
    /// A trace is written, in which that job must be named.
    is_named: AtomicBool,
    /// What all forks of this program share.
    pub family: Family,
    /// The call site that this process was forked from.
    pub site: Own,
    /// The environment at the start of the process, for the guard. The kernel's array does not move, while that of
    /// setenv(3) does.
    pub env: AtomicPtr<*const c_char>,
    /// The arguments at the start of the process, if they are known.
    arguments: AtomicPtr<*const c_char>,
    /// See [`jsshim_engine::client::Setup`].
    pub me: AtomicU64,
    /// The jobs that are in the ledger.
    pub jobs: Jobs,
    clients: [UnsafeCell<MaybeUninit<Client>>; 2],
}

// SAFETY: each client is written once, by the thread that moved the phase to JOINING, before ACTIVE is published;
// afterwards it is only shared. The rest is atomics.
unsafe impl Sync for State {}

#[link_section = ".bss.state"]
pub static STATE: State = State {
    owner: AtomicI32::new(0),
    phase: AtomicU32::new(UNSEEN),
    which: AtomicU32::new(0),
    first: AtomicI32::new(NONE),
    clients: [const { UnsafeCell::new(MaybeUninit::uninit()) }; 2],
    me: AtomicU64::new(0),
    jobs: Jobs::new(),
    held: AtomicU64::new(0),
    job: AtomicU64::new(0),
    is_named: AtomicBool::new(false),
    family: Family::new(),
    site: Own::new(),
    warned: AtomicBool::new(false),
    is_fork: AtomicBool::new(false),
    debug: AtomicBool::new(false),
    top: AtomicBool::new(false),
    eager: AtomicBool::new(false),
    asked: AtomicBool::new(false),
    end: [const { AtomicU64::new(0) }; 2],
    flags: AtomicPtr::new(core::ptr::null_mut()),
    preload: AtomicPtr::new(core::ptr::null_mut()),
    env: AtomicPtr::new(core::ptr::null_mut()),
    arguments: AtomicPtr::new(core::ptr::null_mut()),
};

impl State {
    /// Called by the constructor: this process is the owner. Null arguments are unknown.
    pub fn begin(&self, arguments: environ::Strings, environment: environ::Strings) {
        self.arguments.store(arguments.cast_mut(), Release);
        self.env.store(environment.cast_mut(), Release);
        self.owner.store(sys::getpid(), Release);
    }

    /// Called by the constructor instead of [`State::begin`]: this process and its children are left alone. It stays
    /// [foreign](State::foreign) to every hook.
    pub fn stay_out(&self) {
        self.phase.store(OFF, Release);
    }

    /// Returns whether the caller is another process on this memory (the child of a vfork or of a raw clone), or this
    /// is before the constructor. Then hooks pass through and write nothing.
    pub fn foreign(&self) -> bool {
        self.owner.load(Acquire) != sys::getpid()
    }

    /// The pid to which this belongs; in a forked child before [`State::forked`], the parent's pid as the parent knows
    /// it.
    pub fn pid(&self) -> i32 {
        self.owner.load(Acquire)
    }

    pub fn phase(&self) -> u32 {
        self.phase.load(Acquire)
    }

    /// The client, once there is one.
    pub fn client(&self) -> Option<&Client> {
        if self.phase() != ACTIVE {
            return None;
        }
        let place = self.clients.get(self.which.load(Relaxed) as usize)?;
        // SAFETY: written before ACTIVE was published, and never again.
        Some(unsafe { (*place.get()).assume_init_ref() })
    }

    /// Lets exactly one thread set up the client by `find`, which returns whether it has. `enter` then records in the
    /// ledger the jobs that ran before, before any other thread sees the client. Other threads wait for up to a second,
    /// and then go on as not gated.
    pub fn join(
        &self,
        find: impl FnOnce(&mut MaybeUninit<Client>) -> bool,
        enter: fn(&Client),
    ) -> Option<&Client> {
        // Loaded first: an exchange writes the page even if it fails.
        let unseen = self.phase.load(Relaxed) == UNSEEN;
        if !unseen || !self.join_from(UNSEEN, || self.fill(find, enter)) {
            self.await_join();
        }
        self.client()
    }

    /// [`State::join`] once more, in a process that has no job and whose client `old` belongs to a pool that is gone.
    /// This is possible once; the second time `old` is kept.
    pub fn join_anew(
        &self,
        old: &Client,
        find: impl FnOnce(&mut MaybeUninit<Client>) -> bool,
        enter: fn(&Client),
    ) -> Option<&Client> {
        let is_old = |client: &Client| core::ptr::eq(client, old);
        let first = self.which.load(Relaxed) == 0 && self.client().is_some_and(is_old);
        let anew = || {
            self.job.store(0, Relaxed);
            self.which.store(1, Relaxed);
            self.fill(find, enter);
        };
        if !first || !self.join_from(ACTIVE, anew) {
            self.await_join();
        }
        self.client()
    }

    /// Moves the phase from `from` to JOINING and fills in the client. Returns whether the phase was `from`. Signals wait
    /// until that is done: a handler that starts a job in this thread would wait for this thread, in vain.
    fn join_from(&self, from: u32, fill: impl FnOnce()) -> bool {
        let mask = sys::sigmask(libc::SIG_BLOCK, u64::MAX);
        let moved = self.phase.compare_exchange(from, JOINING, AcqRel, Acquire).is_ok();
        if moved {
            fill();
        }
        if let Ok(mask) = mask {
            let _ = sys::sigmask(libc::SIG_SETMASK, mask);
        }
        moved
    }

    /// Called only by the thread that has moved the phase to JOINING.
    fn fill(&self, find: impl FnOnce(&mut MaybeUninit<Client>) -> bool, enter: fn(&Client)) {
        let Some(place) = self.clients.get(self.which.load(Relaxed) as usize) else { return };
        // SAFETY: only that thread comes here, once for each place.
        let place = unsafe { &mut *place.get() };
        let found = find(place);
        if found {
            // SAFETY: `find` has initialised it.
            enter(unsafe { place.assume_init_ref() });
        }
        self.phase.store(if found { ACTIVE } else { OFF }, Release);
    }

    /// The client, if there is or will be one: waits for a thread that is setting it up.
    pub fn coming_client(&self) -> Option<&Client> {
        self.await_join();
        self.client()
    }

    fn await_join(&self) {
        for _ in 0..1000 {
            if self.phase() != JOINING {
                return;
            }
            sys::sleep_millis(1);
        }
    }

    /// Called in a forked child, which is a new client with an implicit slot of its own. It uses the pool and the
    /// ledger of its parent.
    pub fn forked(&self) {
        self.is_fork.store(true, Relaxed);
        self.owner.store(sys::getpid(), Release);
        // In phase UNSEEN there are none, and their page has not been touched.
        if self.phase() != UNSEEN {
            self.jobs.clear();
        }
        let active = self.client().inspect(|c| c.forked()).is_some();
        self.first.store(if active { RECORDED } else { NONE }, Release);
        if self.phase() == JOINING {
            // The joining thread does not exist in this process.
            self.phase.store(UNSEEN, Release);
        }
        self.held.store(0, Release);
        self.job.store(0, Release);
    }

    /// Called in a forked child, after [`State::forked`]: which job it is, and whether it must be named in a trace.
    pub fn set_job(&self, job: Handle, named: bool) {
        self.is_named.store(named, Relaxed);
        self.job.store(job.pack(), Release);
    }

    /// The job that this process is, if it is known.
    pub fn job(&self) -> Option<Handle> {
        Handle::unpack(self.job.load(Acquire))
    }

    /// [`State::job`], if it must be named in a trace.
    pub fn named_job(&self) -> Option<Handle> {
        self.job().filter(|_| self.is_named.load(Relaxed))
    }

    /// The record for which this process must wait; returned once.
    pub fn take_held(&self) -> Option<Handle> {
        if self.held.load(Relaxed) == 0 {
            return None;
        }
        Handle::unpack(self.held.swap(0, AcqRel))
    }

    /// This process must wait for that record at its next exec or spawn.
    pub fn put_held(&self, job: Handle) {
        self.held.store(job.pack(), Release);
    }

    /// Called by the constructor: stores what MAKEFLAGS' read end is.
    pub fn set_end(&self, end: End) {
        if let (End::Was(dev, ino), [d, i]) = (end, &self.end) {
            d.store(dev, Relaxed);
            i.store(ino, Release);
        }
    }

    /// See [`End`].
    pub fn end(&self) -> End {
        let [d, i] = &self.end;
        match (i.load(Acquire), d.load(Relaxed)) {
            (0, _) => End::None,
            (ino, dev) => End::Was(dev, ino),
        }
    }

    /// Called by the constructor: stores the entry of LD_PRELOAD.
    pub fn set_preload(&self, word: &'static CStr) {
        self.preload.store(word.as_ptr().cast_mut(), Release);
    }

    /// How LD_PRELOAD named this library when the process started. Returns None if it did not. Some hosts overwrite
    /// that memory (setproctitle(3)); then it is not known.
    pub fn preload(&self) -> Option<&'static [u8]> {
        let word = self.preload.load(Acquire).cast_const();
        // SAFETY: a string of the environment that the kernel laid out, which stays mapped.
        let word = (!word.is_null()).then(|| unsafe { CStr::from_ptr(word) })?;
        word.to_bytes().strip_prefix(words::PRELOAD).and_then(words::entry)
    }

    /// The arguments with which the process was started, its name first. Returns None if they are not known.
    pub fn arguments(&self) -> Option<environ::Strings> {
        let arguments = self.arguments.load(Acquire).cast_const();
        (!arguments.is_null()).then_some(arguments)
    }

    /// Our variables with which the process was started.
    pub fn settings(&self) -> impl Iterator<Item = *const c_char> {
        let start = self.env.load(Acquire).cast_const();
        // SAFETY: the kernel's array, and strings that end in a NUL.
        unsafe { environ::pointers(start).filter(|s| environ::starts_with(*s, words::OURS)) }
    }

    /// Called by the constructor: stores the entry of MAKEFLAGS.
    pub fn set_flags(&self, entry: &'static CStr) {
        self.flags.store(entry.as_ptr().cast_mut(), Release);
    }

    /// The current value of MAKEFLAGS, or the value at the start if only that one names a pool.
    pub fn flags(&self) -> Option<&'static [u8]> {
        let now = environ::own(words::FLAGS);
        if now.is_some_and(words::names_pool) {
            return now;
        }
        self.first_flags().filter(|f| words::names_pool(f)).or(now)
    }

    /// The value of MAKEFLAGS at the start of the process.
    pub fn first_flags(&self) -> Option<&'static [u8]> {
        let name = words::FLAGS;
        let start = self.flags.load(Acquire).cast_const();
        // SAFETY: as above; unsetenv(3) removes an entry, but its string stays.
        unsafe {
            (!start.is_null() && environ::starts_with(start, name))
                .then(|| CStr::from_ptr(start.wrapping_add(name.len())).to_bytes())
        }
    }

    /// The current value of JSSHIM_POOL, else the value at the start of the process.
    pub fn pool(&self) -> Option<&'static [u8]> {
        let start = self.env.load(Acquire).cast_const();
        // SAFETY: as above.
        environ::own(POOL_NAME).or_else(|| unsafe { environ::get(start, POOL_NAME) })
    }

    /// Returns whether this tree is known to have a pool: named by the environment, or made here.
    pub fn has_pool(&self) -> bool {
        !self.top.load(Relaxed) || self.phase() == ACTIVE
    }

    /// Returns whether this process was forked and has not exec'ed since.
    pub fn is_fork(&self) -> bool {
        self.is_fork.load(Relaxed)
    }

    /// Writes a warning to stderr, once per process.
    pub fn warn(&self, text: &[u8]) {
        if !self.warned.swap(true, AcqRel) {
            jsshim_engine::show::stderr::say(text);
        }
    }
}
