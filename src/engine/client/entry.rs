//! How a process becomes a client, and enters a ledger.

use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::mem::MaybeUninit;
use core::ptr::null_mut;
use core::sync::atomic::AtomicBool;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use crate::guard::keeper::Keeper;
use crate::guard::{self, process};
use crate::join::word::{self, POOL_NAME};
use crate::ledger::access::Ledger;
use crate::ledger::handle::Handle;
use crate::ledger::life::Founding;
use crate::ledger::rundir;
use crate::pool::tokens::Pool;
use crate::proc;
use crate::share::Share;
use crate::sync::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64};
use crate::sys::{self, Errno, Result};
use crate::text::{Path, Text};
use crate::{clock, space};

use super::attach::{ask, attach, is_of};

/// A client. One per process; a forked child uses its parent's after [`Client::forked`].
pub struct Client {
    ledger: AtomicPtr<Ledger>,
    /// The path of the ledger, for the helper; and the path of the other ledger, if this process was forked into
    /// another PID namespace. See [`Client::ledger_path`]. A path by value would lie on the stack of a host.
    paths: [UnsafeCell<Path>; 2],
    /// Which of the two is valid.
    path: AtomicU32,
    /// The pool.
    pub pool: Pool,
    /// `JSSHIM_POOL=…`, for the environment of the jobs.
    pub pool_word: Text<400>,
    /// The path of the helper, for the guard; empty if there is none.
    pub helper: &'static CStr,
    pub(super) founding: Founding,
    pub(super) me: &'static AtomicU64,
    pub(super) keeper: Keeper,
    /// Its share of the pool.
    share: Share,
    /// Its standard output and standard error when it joined; a host may put files of a job in their place. Zeros: none.
    pub outputs: [(u64, u64); 2],
    /// `JSSHIM_DEBUG`: the ends of its jobs are reported.
    pub debug: AtomicBool,
}

/// The values from which a client is made.
pub struct Setup<'a> {
    /// Generation and index of this process's record; 0 before there is one. The only field that a forked child writes:
    /// best placed on a page that it writes anyway.
    pub me: &'static AtomicU64,
    /// The client's pool.
    pub pool: &'a Pool,
    /// `JSSHIM_DIR`, see [`rundir::find`].
    pub given: Option<&'a [u8]>,
    /// The run-time directory in which the pool has just been made. None: the ledger is opened in the directory that
    /// has it, or made in the first directory with room.
    pub dir: Option<&'a Path>,
    /// The path of the helper; empty if there is none.
    pub helper: &'static CStr,
    /// The limit of `-l` in thousandths, or 0.
    pub load_milli: u32,
    /// For a pool of our own, see [`crate::ledger::header::Header::root`].
    pub root: i32,
    /// For a pool of our own, see [`crate::ledger::header::Header::slots`].
    pub slots: u32,
    /// See [`word::OVERRIDE`].
    pub overrides: bool,
    /// `JSSHIM_SHARE`.
    pub share: Share,
    /// See [`crate::ledger::life::Founding::stats`].
    pub stats: bool,
    /// Writes [`crate::ledger::life::Founding::trace`], which is empty before.
    pub trace: &'a dyn Fn(&mut Path),
}

/// Values of [`Client::path`]: the first path is valid, or the second one is being written, or is valid.
const FIRST: u32 = 0;
const MOVING: u32 = 1;
const MOVED: u32 = 2;

// SAFETY: each path is written by one thread before any other reads it, see `Client::ledger_path`; all other fields are
// atomics, or never change.
unsafe impl Sync for Client {}

/// How often a ledger may close before we are in it. Each time other clients must have come and gone in between.
const ENTRIES: usize = 16;

impl Client {
    /// Opens or makes the ledger of the pool, and makes the client in `place`: it is large, and the stack of a host's
    /// signal handler is small.
    ///
    /// # Errors
    /// From the file system: no room, no permission.
    #[inline(never)]
    pub fn init<'a>(place: &'a mut MaybeUninit<Self>, setup: &Setup<'_>) -> Result<&'a Self> {
        clock::settle();
        let at = place.as_mut_ptr();
        // A process that was forked while a thread of its parent was joining finds the parent's record here.
        setup.me.store(0, Release);
        // SAFETY: each field in turn, all of them; a whole struct would lie on the stack first.
        let this = unsafe {
            (&raw mut (*at).ledger).write(AtomicPtr::new(null_mut()));
            let paths = (&raw mut (*at).paths).cast::<Path>();
            paths.write(Path::default());
            paths.add(1).write(Path::default());
            (&raw mut (*at).path).write(AtomicU32::new(FIRST));
            setup.pool.copy_to(&raw mut (*at).pool);
            (&raw mut (*at).pool_word).write(Text::default());
            (&raw mut (*at).helper).write(setup.helper);
            let founding = &raw mut (*at).founding;
            (&raw mut (*founding).id).write(setup.pool.id);
            (&raw mut (*founding).path).copy_from_nonoverlapping(&setup.pool.path, 1);
            (&raw mut (*founding).space).write(AtomicU64::new(space::own()));
            (&raw mut (*founding).root).write(AtomicI32::new(setup.root));
            (&raw mut (*founding).slots).write(setup.slots);
            (&raw mut (*founding).load_milli).write(setup.load_milli);
            (&raw mut (*founding).stats).write(setup.stats);
            (&raw mut (*founding).trace).write(Path::default());
            (setup.trace)(&mut (*founding).trace);
            (&raw mut (*at).me).write(setup.me);
            (&raw mut (*at).keeper).write(Keeper::new());
            (&raw mut (*at).share).write(setup.share);
            (&raw mut (*at).outputs).write([1, 2].map(|fd| sys::file_id(fd).unwrap_or_default()));
            (&raw mut (*at).debug).write(AtomicBool::new(false));
            &mut *at
        };
        let ledger = match setup.dir {
            Some(dir) => this.name_in(dir).attach()?,
            None => this.find_ledger(setup.given)?,
        };
        this.ledger.store(core::ptr::from_ref(ledger).cast_mut(), Release);
        this.pool_word.put(POOL_NAME).put(if setup.overrides { word::OVERRIDE } else { b"" });
        word::encode_to(&this.pool, &mut this.pool_word);
        this.keeper.find_adopter(ledger);
        Ok(this)
    }

    /// Opens the ledger in the first directory that has it, else makes it in the first directory that has room.
    #[inline(never)]
    fn find_ledger(&mut self, given: Option<&[u8]>) -> Result<&'static Ledger> {
        let found = rundir::search(given, |dir| {
            let ledger = Ledger::open(self.name_in(dir).ledger_path().c()).ok()?;
            is_of(ledger, &self.founding).then_some(ledger)
        });
        match found {
            Some(ledger) => {
                ask(ledger, &self.founding);
                Ok(ledger)
            }
            None => rundir::make_in(given, |dir| self.name_in(dir).attach()),
        }
    }

    /// Sets the path of the ledger to a file in this directory.
    fn name_in(&mut self, dir: &Path) -> &Self {
        let space = self.founding.space.load(Acquire);
        let [first, _] = &mut self.paths;
        *first.get_mut() = Path::default();
        rundir::put_ledger(dir, self.pool.id, space, first.get_mut());
        self
    }

    /// The ledger.
    pub fn ledger(&self) -> &'static Ledger {
        // SAFETY: set from a `&'static Ledger` only. Acquire: the mapping is seen with the pointer.
        unsafe { &*self.ledger.load(Acquire) }
    }

    /// The path of the ledger, for the helper.
    pub fn ledger_path(&self) -> &Path {
        let [first, moved] = &self.paths;
        let path = if self.path.load(Acquire) == MOVED { moved } else { first };
        // SAFETY: the first path is written before the client is shared, the other before `MOVED` is set.
        unsafe { &*path.get() }
    }

    /// Opens the ledger, or makes it.
    #[inline(never)]
    fn attach(&self) -> Result<&'static Ledger> {
        let path = self.ledger_path();
        if !path.fits() {
            return Err(Errno(libc::ENAMETOOLONG));
        }
        attach(path, &self.founding)
    }

    /// Forgets the record: in a forked child it is the parent's.
    pub fn forked(&self) {
        self.me.store(0, Release);
        self.pool.forked();
    }

    /// The index of this process's record, which is made if there is none. Returns None if the table is full.
    pub fn me(&self) -> Option<u32> {
        let me = self.known();
        if me != 0 {
            return Some(me);
        }
        let fresh = self.enter(sys::getpid())?;
        if self.ledger().is_watched() {
            self.ledger().find_home(fresh);
        }
        match self.me.compare_exchange(0, fresh.pack(), AcqRel, Acquire) {
            Ok(_) => Some(fresh.index),
            Err(other) => {
                self.ledger().free(fresh);
                Some(index_of(other))
            }
        }
    }

    /// The index of this process's record, or 0 if there is none yet.
    pub fn known(&self) -> u32 {
        index_of(self.me.load(Acquire))
    }

    /// The next job of this process is one of its parent, which takes no slots itself: with all jobs for which others
    /// stand for it, it has one implicit slot. Returns None if the table is full.
    pub fn stand_for_parent(&self) -> Option<()> {
        let parent = sys::getppid();
        // Each process that looks for its record waits for the others, which may be about to make it (flock(2)).
        let lock = sys::open(proc::of(parent).c(), libc::O_RDONLY | libc::O_DIRECTORY, 0);
        if let Ok(lock) = lock {
            let is_taken = || sys::lock(lock) == Err(Errno::AGAIN);
            (0..1000).take_while(|_| is_taken()).for_each(|_| sys::sleep_millis(1));
        }
        let found = self.of_process(parent);
        if let Ok(lock) = lock {
            sys::close(lock);
        }
        self.me.store(found?.pack(), Release);
        Some(())
    }

    /// The client that another process is, which takes no slots itself: its record is made if there is none. Returns
    /// None if the table is full.
    pub fn of_process(&self, pid: i32) -> Option<Handle> {
        let known = self.clients_of(pid).next();
        let found = known.or_else(|| self.enter(pid));
        if let (Some(fresh), None, true) = (found, known, self.ledger().is_watched()) {
            self.ledger().find_home(fresh);
        }
        found
    }

    /// After [`Client::stand_for_parent`]: the record is that of another process, which needs it on.
    pub fn stand_aside(&self) {
        self.me.store(0, Release);
    }

    fn enter(&self, pid: i32) -> Option<Handle> {
        clock::settle();
        self.come_home()?;
        for _ in 0..ENTRIES {
            if let Some(h) = self.ledger().enter(pid, self.ledger_path().c()) {
                self.ledger().set_share(h, self.share);
                return Some(h);
            }
            if !self.ledger().is_closed() {
                return None;
            }
            // The last client left, or the guard closed it, before we entered: make a new one.
            self.reattach()?;
        }
        None
    }

    fn reattach(&self) -> Option<()> {
        let again = self.attach().ok()?;
        self.ledger.store(core::ptr::from_ref(again).cast_mut(), Release);
        self.keeper.find_adopter(again);
        Some(())
    }

    /// If this process was forked into another PID namespace than its parent's, switches to the ledger of its own
    /// namespace: in the parent's ledger its pid would be meaningless. Returns None if that ledger is not to be had.
    fn come_home(&self) -> Option<()> {
        if space::is_own(self.founding.space.load(Acquire)) {
            return Some(());
        }
        self.move_to(space::own())
    }

    #[inline(never)]
    fn move_to(&self, space: u64) -> Option<()> {
        let dir = self.ledger_path().parent();
        let path = self.path.load(Acquire);
        let ours =
            path != MOVING && self.path.compare_exchange(path, MOVING, AcqRel, Acquire).is_ok();
        let [_, moved] = &self.paths;
        if !ours {
            return None;
        }
        // SAFETY: only the thread that has set `MOVING` writes this path, and none has read it yet: as long as this
        // process has no record here, no other thread of it uses the ledger.
        let to = unsafe { &mut *moved.get() };
        *to = Path::default();
        rundir::put_ledger(&dir, self.pool.id, space, to);
        // If the pool ends with a process at all, that process is in the other namespace.
        self.founding.root.store(0, Release);
        self.founding.space.store(space, Release);
        self.path.store(MOVED, Release);
        self.reattach()?;
        space::enter(space);
        Some(())
    }

    /// Returns whether the pool is gone, and every client of the ledger with it. This process was forked by one of
    /// them, and has not entered the ledger yet.
    pub fn is_left_behind(&self) -> bool {
        let gone = self.known() == 0 && self.ledger().is_closed();
        gone && self.pool.pollable().inspect(|_| self.pool.close()).is_none()
    }

    fn start(&self, envp: *const *const core::ffi::c_char) -> process::Start<'_> {
        let (path, pool, helper) = (self.ledger_path(), &self.pool, self.helper);
        process::Start { ledger: self.ledger(), path, pool, helper, envp }
    }

    /// Makes sure that a guard handles jobs that outlive their client. `envp` is the environment of the new process.
    /// `check`: verify a known guard, too, which may have been killed.
    pub fn guard(&self, envp: *const *const core::ffi::c_char, check: bool) {
        guard::ensure(&self.start(envp), Some(&self.keeper), check);
    }

    /// Called before a wait(2) for any child: a guard that has become a child of this process is replaced. `envp` as in
    /// [`Client::guard`].
    #[inline]
    pub fn before_wait(&self, envp: *const *const core::ffi::c_char) {
        if self.keeper.adopts() {
            self.keeper.take_in(&self.start(envp));
        }
    }

    /// The child of this process that is the guard's parent, if there is one.
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }
}

/// The index of the record of a packed handle; 0 for 0.
fn index_of(word: u64) -> u32 {
    Handle::unpack(word).map_or(0, |h| h.index)
}
