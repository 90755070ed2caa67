//! What this process knows of itself. All of it is atomics: hooks run in any thread, in handlers, and
//! in forked children of threaded hosts.
//!
//! # The phases
//!
//! `UNSEEN`: no two jobs have run at once yet. The one job that may run is [`first`](State::first); it
//! has the implicit slot, and nothing else is known or needed: no environment read, no file opened.
//! `JOINING`: one thread looks for the pool. `ACTIVE`: the client is set up and never changes.
//! `OFF`: this process is not gated (it speaks the protocol itself, the user said so, or it cannot be). Where
//! privileges have risen it is so from the start, and nobody is the owner: every hook passes through.
//!
//! The order of a change of phase is AcqRel: who sees `ACTIVE` sees the client.

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

use super::fork_sites::Sites;

pub const UNSEEN: u32 = 0;
pub const JOINING: u32 = 1;
pub const ACTIVE: u32 = 2;
pub const OFF: u32 = 3;

/// In `first`: no job.
pub const NONE: i32 = 0;
/// In `first`: a spawn is under way.
pub const STARTING: i32 = -1;
/// In `first`: the implicit slot is accounted for in the ledger now.
pub const RECORDED: i32 = -2;

/// The process state. Its small parts and the first slots of `jobs` lie on the page that the loader has written
/// (`layout.ld`): a page that is written first, or after a fork, costs a fault.
#[repr(C)]
pub struct State {
    /// The process to which all this belongs; a `vfork` child sees it too and is another one.
    owner: AtomicI32,
    phase: AtomicU32,
    /// Which of the two clients counts.
    which: AtomicU32,
    /// The job on the implicit slot while there is no ledger, or one of the words above.
    pub first: AtomicI32,
    /// This process is a fork of another, and has not become a program of its own.
    is_fork: AtomicBool,
    /// Warnings are given once.
    warned: AtomicBool,
    /// `JSSHIM_DEBUG` is set.
    pub debug: AtomicBool,
    /// Nothing in the environment names a pool.
    pub top: AtomicBool,
    /// Even the first job waits until the pool is known, since its children must be told: where one is to
    /// be made that all branches share, and in a make that makes its own.
    pub eager: AtomicBool,
    /// It has been asked whether this is a subreaper.
    pub asked: AtomicBool,
    /// The read end that MAKEFLAGS names, as it was at the start: device and inode; zeros: none.
    end: [AtomicU64; 2],
    /// MAKEFLAGS, as the process was started with it.
    flags: AtomicPtr<c_char>,
    /// LD_PRELOAD, as the process was started with it.
    preload: AtomicPtr<c_char>,
    /// A forked child that must wait for its slot at its first exec or spawn: its record.
    held: AtomicU64,
    /// The job that this process is, as a fork of its client: its record.
    job: AtomicU64,
    /// A trace is written, in which that job is to be named.
    is_named: AtomicBool,
    /// What the fork call sites of this process are for.
    pub sites: Sites,
    /// The environment of the process' start, for the guard. The kernel's array stays where it is, while
    /// that of setenv(3) moves.
    pub env: AtomicPtr<*const c_char>,
    /// The arguments of the process' start, if they are known.
    arguments: AtomicPtr<*const c_char>,
    /// For the client, see [`jsshim_engine::client::Setup`].
    pub me: AtomicU64,
    /// The jobs that are in the ledger.
    pub jobs: Jobs,
    clients: [UnsafeCell<MaybeUninit<Client>>; 2],
}

// SAFETY: each client is written once, by the thread that moved the phase to JOINING, before ACTIVE is
// published; afterwards it is only shared. The rest is atomics.
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
    sites: Sites::new(),
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
    /// The constructor: this process is the owner. Null arguments: they are not known.
    pub fn begin(&self, arguments: environ::Strings, environment: environ::Strings) {
        self.arguments.store(arguments.cast_mut(), Release);
        self.env.store(environment.cast_mut(), Release);
        self.owner.store(sys::getpid(), Release);
    }

    /// The constructor, in place of [`State::begin`]: the process is left alone, and so is what it starts. It stays
    /// [foreign](State::foreign) to every hook.
    pub fn stay_out(&self) {
        self.phase.store(OFF, Release);
    }

    /// Is the caller another process on this memory (the child of a vfork or of a raw clone), or is
    /// this before the constructor? Then hooks pass through and write nothing.
    pub fn foreign(&self) -> bool {
        self.owner.load(Acquire) != sys::getpid()
    }

    /// The process to which this belongs; in a forked child, before [`State::forked`], its parent, as that knows it.
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
        // SAFETY: written before ACTIVE was published, never again.
        Some(unsafe { (*place.get()).assume_init_ref() })
    }

    /// Makes `find` set up the client, in exactly one thread (`true`: it has), and `enter` put into the
    /// ledger what ran before there was one, before any other thread sees it. The others wait for it for at
    /// most a second (and then go on as not gated).
    pub fn join(
        &self,
        find: impl FnOnce(&mut MaybeUninit<Client>) -> bool,
        enter: fn(&Client),
    ) -> Option<&Client> {
        // Looked at first: an exchange writes the page, even where it fails.
        let phase = &self.phase;
        let unseen = phase.load(Relaxed) == UNSEEN;
        if unseen && phase.compare_exchange(UNSEEN, JOINING, AcqRel, Acquire).is_ok() {
            self.fill(find, enter);
        } else {
            self.await_join();
        }
        self.client()
    }

    /// [`State::join`] once more, in a process that has no job and whose client `old` is of a pool that has gone. That
    /// can be done once; a second time `old` is kept.
    pub fn join_anew(
        &self,
        old: &Client,
        find: impl FnOnce(&mut MaybeUninit<Client>) -> bool,
        enter: fn(&Client),
    ) -> Option<&Client> {
        let is_old = |client: &Client| core::ptr::eq(client, old);
        let first = self.which.load(Relaxed) == 0 && self.client().is_some_and(is_old);
        if first && self.phase.compare_exchange(ACTIVE, JOINING, AcqRel, Acquire).is_ok() {
            self.job.store(0, Relaxed);
            self.which.store(1, Relaxed);
            self.fill(find, enter);
        } else {
            self.await_join();
        }
        self.client()
    }

    /// Only for the thread that has moved the phase to JOINING.
    fn fill(&self, find: impl FnOnce(&mut MaybeUninit<Client>) -> bool, enter: fn(&Client)) {
        let Some(place) = self.clients.get(self.which.load(Relaxed) as usize) else { return };
        // SAFETY: only that thread comes here, once for each place.
        let place = unsafe { &mut *place.get() };
        let found = find(place);
        if found {
            // SAFETY: `find` has filled it in.
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

    /// In a forked child: a new client with an implicit slot of its own, which goes on with the pool
    /// and the ledger of its parent.
    pub fn forked(&self, held: Option<Handle>) {
        self.is_fork.store(true, Relaxed);
        self.owner.store(sys::getpid(), Release);
        // Before that there are none, and their page has not been touched.
        if self.phase() != UNSEEN {
            self.jobs.clear();
        }
        let active = self.client().inspect(|c| c.forked()).is_some();
        self.first.store(if active { RECORDED } else { NONE }, Release);
        if self.phase() == JOINING {
            // The thread that joined is not in this process.
            self.phase.store(UNSEEN, Release);
        }
        self.held.store(held.map_or(0, Handle::pack), Release);
        self.job.store(0, Release);
    }

    /// In a forked child, after [`State::forked`]: which job it is, and whether it is to be named in a trace.
    pub fn set_job(&self, job: Handle, named: bool) {
        self.is_named.store(named, Relaxed);
        self.job.store(job.pack(), Release);
    }

    /// The job that this process is, if it is known.
    pub fn job(&self) -> Option<Handle> {
        Handle::unpack(self.job.load(Acquire))
    }

    /// The same, if it is to be named in a trace.
    pub fn named_job(&self) -> Option<Handle> {
        self.job().filter(|_| self.is_named.load(Relaxed))
    }

    /// The record by which this process is to wait for its slot, given once.
    pub fn take_held(&self) -> Option<Handle> {
        if self.held.load(Relaxed) == 0 {
            return None;
        }
        Handle::unpack(self.held.swap(0, AcqRel))
    }

    /// Puts it back, for the next exec: this one failed.
    pub fn put_held(&self, job: Handle) {
        self.held.store(job.pack(), Release);
    }

    /// The constructor: what MAKEFLAGS' read end is.
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

    /// The constructor: where LD_PRELOAD is.
    pub fn set_preload(&self, word: &'static CStr) {
        self.preload.store(word.as_ptr().cast_mut(), Release);
    }

    /// How LD_PRELOAD named this library when the process started, if it did. Some hosts write over that
    /// memory (setproctitle(3)); then it is not known.
    pub fn preload(&self) -> Option<&'static [u8]> {
        let word = self.preload.load(Acquire).cast_const();
        // SAFETY: a string of the environment that the kernel laid out, which stays mapped.
        let word = (!word.is_null()).then(|| unsafe { CStr::from_ptr(word) })?;
        word.to_bytes().strip_prefix(words::PRELOAD).and_then(words::entry)
    }

    /// The arguments that the process was started with, its name the first. `None`: they are not known.
    pub fn arguments(&self) -> Option<environ::Strings> {
        let arguments = self.arguments.load(Acquire).cast_const();
        (!arguments.is_null()).then_some(arguments)
    }

    /// The variables of ours that the process was started with.
    pub fn settings(&self) -> impl Iterator<Item = *const c_char> {
        let start = self.env.load(Acquire).cast_const();
        // SAFETY: the kernel's array, and strings that end in a NUL.
        unsafe { environ::pointers(start).filter(|s| environ::starts_with(*s, words::OURS)) }
    }

    /// The constructor: where MAKEFLAGS is.
    pub fn set_flags(&self, entry: &'static CStr) {
        self.flags.store(entry.as_ptr().cast_mut(), Release);
    }

    /// The value of MAKEFLAGS now, or that of the process' start if only that one names a pool.
    pub fn flags(&self) -> Option<&'static [u8]> {
        let now = environ::own(words::FLAGS);
        if now.is_some_and(words::names_pool) {
            return now;
        }
        self.first_flags().filter(|f| words::names_pool(f)).or(now)
    }

    /// The value of MAKEFLAGS when the process started.
    pub fn first_flags(&self) -> Option<&'static [u8]> {
        let name = words::FLAGS;
        let start = self.flags.load(Acquire).cast_const();
        // SAFETY: as above; unsetenv(3) takes an entry away, but its string stays.
        unsafe {
            (!start.is_null() && environ::starts_with(start, name))
                .then(|| CStr::from_ptr(start.wrapping_add(name.len())).to_bytes())
        }
    }

    /// The value of JSSHIM_POOL now, or else when the process started.
    pub fn pool(&self) -> Option<&'static [u8]> {
        let start = self.env.load(Acquire).cast_const();
        // SAFETY: as above.
        environ::own(POOL_NAME).or_else(|| unsafe { environ::get(start, POOL_NAME) })
    }

    /// Is this tree known to have a pool: named by the environment, or made here?
    pub fn has_pool(&self) -> bool {
        !self.top.load(Relaxed) || self.phase() == ACTIVE
    }

    /// Has this process been forked and not become another program since?
    pub fn is_fork(&self) -> bool {
        self.is_fork.load(Relaxed)
    }

    /// Says something on stderr, once per process.
    pub fn warn(&self, text: &[u8]) {
        if !self.warned.swap(true, AcqRel) {
            jsshim_engine::show::stderr::say(text);
        }
    }
}
