//! A client: a process that takes slots of a pool for its jobs.

mod attach;

use core::cell::UnsafeCell;
use core::ffi::CStr;
use core::mem::MaybeUninit;
use core::ptr::null_mut;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::jobs::Jobs;
use crate::keeper::Keeper;
use crate::ledger::{Founding, Shared};
use crate::pool::{Pool, Taken};
use crate::proc;
use crate::record::{Handle, Record};
use crate::rundir;
use crate::slots::State;
use crate::space;
use crate::sync::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64};
use crate::sys::{self, Errno, Peek, Result};
use crate::text::{Path, Text};
use crate::{guard, join};
use attach::{ask, attach, is_of};

/// The private variable by which the pool travels.
pub const POOL_NAME: &[u8] = b"JSSHIM_POOL=";

/// See the module. One per process; a forked child goes on with its parent's after [`Client::forked`].
pub struct Client {
    ledger: AtomicPtr<Shared>,
    /// Where the ledger is, for the helper, and where the one is of another PID namespace, if this process has been
    /// forked into that; see [`Client::ledger_path`]. A path by value would lie on the stack of a host.
    paths: [UnsafeCell<Path>; 2],
    /// Which of the two counts.
    path: AtomicU32,
    /// The pool.
    pub pool: Pool,
    /// `JSSHIM_POOL=…`, for the environment of the jobs.
    pub pool_word: Text<400>,
    /// The helper, for the guard; empty if there is none.
    pub helper: &'static CStr,
    founding: Founding,
    me: &'static AtomicU64,
    keeper: Keeper,
}

/// What a client is made of.
pub struct Setup<'a> {
    /// For this process' record: generation and index; 0 before there is one. It is all of a client that a
    /// forked child writes, so it is best kept on a page which that writes anyway.
    pub me: &'static AtomicU64,
    /// Its pool.
    pub pool: &'a Pool,
    /// `JSSHIM_DIR`, see [`rundir::find`].
    pub given: Option<&'a [u8]>,
    /// The run-time directory in which the pool has just been made. `None`: the ledger is where it is, or is made
    /// where there is room.
    pub dir: Option<&'a Path>,
    /// The helper; empty if there is none.
    pub helper: &'static CStr,
    /// The limit of `-l` in thousandths, or 0.
    pub load_milli: u32,
    /// For a pool of our own, see [`crate::ledger::Header::root`].
    pub root: i32,
    /// For a pool of our own, see [`crate::ledger::Header::slots`].
    pub slots: u32,
    /// See [`join::OVERRIDE`].
    pub overrides: bool,
    /// See [`crate::ledger::Founding::stats`].
    pub stats: bool,
    /// Writes [`crate::ledger::Founding::trace`] where it belongs; it is empty before.
    pub trace: &'a dyn Fn(&mut Path),
}

/// In [`Client::path`]: the first one, or the other one, which is being written or has been.
const FIRST: u32 = 0;
const MOVING: u32 = 1;
const MOVED: u32 = 2;

// SAFETY: the paths are written by one thread each before another one looks at them, see `Client::ledger_path`; the
// rest is atomics, and what never changes.
unsafe impl Sync for Client {}

/// How often a ledger may be closed before we are in it: others must come and go in between, each time.
const ENTRIES: usize = 16;

impl Client {
    /// Opens or makes the ledger of the pool and makes the client in `place`: it is large, and the stack
    /// of a host's signal handler small.
    ///
    /// # Errors
    /// What the file system says: no room, no permission.
    #[inline(never)]
    pub fn init<'a>(place: &'a mut MaybeUninit<Self>, setup: &Setup<'_>) -> Result<&'a Self> {
        let at = place.as_mut_ptr();
        // A process that was forked while a thread of its parent joined finds that one's record there.
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
            &mut *at
        };
        let ledger = match setup.dir {
            Some(dir) => this.name_in(dir).attach()?,
            None => this.find_ledger(setup.given)?,
        };
        this.ledger.store(core::ptr::from_ref(ledger).cast_mut(), Release);
        this.pool_word.put(POOL_NAME).put(if setup.overrides { join::OVERRIDE } else { b"" });
        join::encode_to(&this.pool, &mut this.pool_word);
        this.keeper.look(ledger);
        Ok(this)
    }

    /// The ledger, in the first directory that has it, else in the first that has room.
    #[inline(never)]
    fn find_ledger(&mut self, given: Option<&[u8]>) -> Result<&'static Shared> {
        let found = rundir::search(given, |dir| {
            let ledger = Shared::open(self.name_in(dir).ledger_path().c()).ok()?;
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

    /// The ledger is to be in this directory.
    fn name_in(&mut self, dir: &Path) -> &Self {
        let space = self.founding.space.load(Acquire);
        let [first, _] = &mut self.paths;
        *first.get_mut() = Path::default();
        rundir::put_ledger(dir, self.pool.id, space, first.get_mut());
        self
    }

    /// The ledger.
    pub fn ledger(&self) -> &'static Shared {
        // SAFETY: set from a `&'static Shared` only. Acquire: the mapping is seen with the pointer.
        unsafe { &*self.ledger.load(Acquire) }
    }

    /// Where it is, for the helper.
    pub fn ledger_path(&self) -> &Path {
        let [first, moved] = &self.paths;
        let path = if self.path.load(Acquire) == MOVED { moved } else { first };
        // SAFETY: the first one is written before the client is shared, the other one before `MOVED` is set.
        unsafe { &*path.get() }
    }

    /// Opens the ledger, or makes it.
    #[inline(never)]
    fn attach(&self) -> Result<&'static Shared> {
        let path = self.ledger_path();
        if !path.fits() {
            return Err(Errno(libc::ENAMETOOLONG));
        }
        attach(path, &self.founding)
    }

    /// Forgets whose record it was: in a forked child that is the parent's.
    pub fn forked(&self) {
        self.me.store(0, Release);
        self.pool.forked();
    }

    /// The index of this process' record, made at need. `None`: the table is full.
    pub fn me(&self) -> Option<u32> {
        let me = self.me.load(Acquire);
        if me != 0 {
            return Some(me as u32);
        }
        let fresh = self.enter()?;
        if self.ledger().is_watched() {
            self.ledger().find_home(fresh);
        }
        match self.me.compare_exchange(0, fresh.pack(), AcqRel, Acquire) {
            Ok(_) => Some(fresh.index),
            Err(other) => {
                self.ledger().free(fresh);
                Some(other as u32)
            }
        }
    }

    /// The index of this process' record, or 0 if there is none yet.
    pub fn known(&self) -> u32 {
        self.me.load(Acquire) as u32
    }

    fn enter(&self) -> Option<Handle> {
        self.come_home()?;
        for _ in 0..ENTRIES {
            if let Some(h) = self.ledger().enter(sys::getpid(), self.ledger_path().c()) {
                return Some(h);
            }
            if !self.ledger().is_closed() {
                return None;
            }
            // Its last client went, or its guard closed it, before we came in: a new one is due.
            self.reattach()?;
        }
        None
    }

    fn reattach(&self) -> Option<()> {
        let again = self.attach().ok()?;
        self.ledger.store(core::ptr::from_ref(again).cast_mut(), Release);
        self.keeper.look(again);
        Some(())
    }

    /// A process that was forked into another PID namespace than its parent's goes on with the ledger of its own:
    /// nobody could judge its pid in the other one. `None`: that cannot be had.
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
        // SAFETY: whoever has set `MOVING` is the only one, and nobody has asked for this path: as long as this
        // process has no record here, no other thread of it does anything with the ledger.
        let to = unsafe { &mut *moved.get() };
        *to = Path::default();
        rundir::put_ledger(&dir, self.pool.id, space, to);
        // Its pool ends with a process of the other one, if with any.
        self.founding.root.store(0, Release);
        self.founding.space.store(space, Release);
        self.path.store(MOVED, Release);
        self.reattach()?;
        space::enter(space);
        Some(())
    }

    /// Has the pool gone, and with it everybody who was in the ledger? This process, which has not been in it yet, was
    /// forked by one of them.
    pub fn is_left_behind(&self) -> bool {
        let gone = self.known() == 0 && self.ledger().is_closed();
        gone && self.pool.pollable().inspect(|_| self.pool.close()).is_none()
    }

    /// A record for a new job. `None`: the table is full.
    pub fn claim(&self) -> Option<Handle> {
        let me = self.me()?;
        if let Some((guard, fd)) = self.ledger().header.kept_by() {
            self.pool.reach_by(guard, fd);
        }
        self.ledger().claim(me)
    }

    /// Gives a claimed job a slot if one is free now: the implicit one, else a token. Jobs that are held
    /// already are due first.
    ///
    /// `before_token` is called before one is read from the pool: from then on somebody must look after it.
    pub fn start_now(
        &self,
        job: Handle,
        jobs: &Jobs,
        before_token: impl FnOnce(),
    ) -> Option<State> {
        if self.has_held(jobs) {
            return None;
        }
        if self.ledger().take_implicit(job) {
            return Some(State::Implicit);
        }
        if self.ledger().withholds_tokens() {
            return None;
        }
        before_token();
        let record = self.ledger().get(job)?;
        if self.pool.take(record, job.generation) != Taken::Yes {
            return None;
        }
        if self.ledger().step(job, State::Token).is_some() {
            return Some(State::Token);
        }
        self.pool.give(record, job.generation);
        None
    }

    /// Is a job of this process held? One that another thread is about to make does not count yet.
    pub fn has_held(&self, jobs: &Jobs) -> bool {
        let me = self.me.load(Acquire) as u32;
        let held = |r: &Record| r.state().is_held() && r.client.load(Relaxed) == me;
        jobs.iter().any(|(_, job)| self.ledger().get(job).is_some_and(held))
    }

    /// Does a job run on the implicit slot of this process?
    pub fn is_busy(&self, jobs: &Jobs) -> bool {
        self.sweep(jobs);
        let me = self.ledger().record(self.me.load(Acquire) as u32);
        me.is_some_and(|r| r.implicit.load(Acquire) != 0)
    }

    /// The clients that this process was as other programs, before an exec.
    fn former(&self) -> impl Iterator<Item = Handle> {
        let (ledger, pid, me) = (self.ledger(), sys::getpid(), self.me.load(Acquire) as u32);
        let mut start = None;
        ledger.records().filter_map(move |(index, r)| {
            let (state, generation) = r.now();
            if state != State::Client || r.pid.load(Acquire) != pid || index == me {
                return None;
            }
            // Another process may have had this pid, and orphans of it run.
            let start = *start.get_or_insert_with(|| proc::stat(0).map(|s| s.start_nanos()));
            let ours = start.is_some_and(|start| r.since.load(Relaxed) >= start);
            ours.then_some(Handle { index, generation })
        })
    }

    /// Adds the jobs that this process has from before an exec, so that their ends are seen here, too. They
    /// stay that client's: its implicit slot is not the one of this program.
    pub fn adopt(&self, jobs: &Jobs) {
        let pid = sys::getpid();
        for (job, _, r) in self.former().flat_map(|h| self.ledger().jobs_of(h.index)) {
            let child = r.pid.load(Acquire);
            if child > 0 && child != pid {
                jobs.add(child, job);
            }
        }
    }

    /// Frees the record of a client that has no jobs.
    fn free_idle(&self, client: Handle) {
        if self.ledger().jobs_of(client.index).next().is_none() {
            self.ledger().free(client);
        }
    }

    /// Makes sure that somebody looks after jobs whose client does not. `envp` is for the new process.
    /// `check`: also if one is known, which may have been killed.
    pub fn guard(&self, envp: *const *const core::ffi::c_char, check: bool) {
        guard::ensure(&self.start(envp), Some(&self.keeper), check);
    }

    fn start(&self, envp: *const *const core::ffi::c_char) -> guard::Start<'_> {
        let (path, pool, helper) = (self.ledger_path(), &self.pool, self.helper);
        guard::Start { ledger: self.ledger(), path, pool, helper, envp }
    }

    /// Before a wait(2) for any child: a guard that has become one is none afterwards. `envp` as in [`Client::guard`].
    #[inline]
    pub fn before_wait(&self, envp: *const *const core::ffi::c_char) {
        if self.keeper.adopts() {
            self.keeper.take_in(&self.start(envp));
        }
    }

    /// The child of this process by which the guard lives, if it has one.
    pub fn keeper(&self) -> &Keeper {
        &self.keeper
    }

    /// Finds a use for the implicit slot, if it is free.
    pub fn settle(&self) {
        if let Some(me) = self.me() {
            self.ledger().settle(me, &self.pool);
        }
    }

    /// Ends a job and passes its slot on. Where the guard is at it already, this helps: when it returns,
    /// the token is back.
    pub fn end(&self, job: Handle) {
        if !self.ledger().end(job, &self.pool) {
            self.ledger().finish(job, &self.pool);
        }
    }

    /// Ends the jobs whose process has exited, reaped or not. Says whether there was any.
    pub fn sweep(&self, jobs: &Jobs) -> bool {
        let mut any = false;
        for (pid, _) in jobs.iter() {
            if sys::peek(pid) == Peek::Running {
                continue;
            }
            if let Some(job) = jobs.remove(pid) {
                any |= !self.goes_on(job, pid, jobs);
            }
        }
        any
    }

    /// Ends the job of a process that has ended, and was taken out of `jobs`. `true`: it goes on instead, as a sibling
    /// that the process has made (CLONE_PARENT, clone(2)) and written into the record.
    pub fn goes_on(&self, job: Handle, pid: i32, jobs: &Jobs) -> bool {
        let now = self.ledger().get(job).map_or(0, |r| r.pid.load(Acquire));
        let goes_on = now > 0 && now != pid && sys::peek(now) == Peek::Running;
        if goes_on {
            jobs.add(now, job);
        } else {
            self.end(job);
        }
        goes_on
    }

    /// Lets go of the pool's descriptor when no job is left.
    pub fn rest(&self, jobs: &Jobs) {
        if jobs.iter().next().is_none() {
            self.pool.close();
        }
    }

    /// The process ends: what has exited is given back, and its record goes unless jobs outlive it. `envp` is for
    /// a guard that looks after those.
    pub fn leave(&self, jobs: &Jobs, envp: *const *const core::ffi::c_char) {
        self.sweep(jobs);
        self.rest(jobs);
        let Some(me) = Handle::unpack(self.me.swap(0, AcqRel)) else { return };
        // Where no guard is needed, or can be had, nobody else cleans up, nor looks after orphans. One that was
        // killed may be on its way back.
        let needs = self.ledger().jobs_of(me.index).any(|(_, state, _)| state != State::Implicit);
        if needs {
            self.guard(envp, true);
        }
        let alone = !self.ledger().has_guard() && (!needs || self.helper.is_empty());
        let path = self.ledger_path();
        if alone {
            self.ledger().let_go(me.index, &self.pool);
        }
        // What could not be given back before: afterwards nobody could who does not reach the pool himself.
        self.ledger().sweep(me.index, &self.pool);
        self.pool.close();
        if !alone {
            self.free_idle(me);
            self.close_if_last(path);
        } else {
            self.ledger().free(me);
            self.former().for_each(|client| self.free_idle(client));
            self.close_if_idle(path);
        }
        self.keeper.leave(self.ledger(), path);
    }

    /// Where this process is the first one of its PID namespace, or started by that, the namespace may end with it, and
    /// the guard, before it can see to what is left.
    fn close_if_last(&self, path: &Path) {
        let (root, pid) = (self.ledger().header.root.load(Acquire), sys::getpid());
        if (root == 0 || root == pid) && (pid == 1 || sys::getppid() <= 1) {
            self.close_if_idle(path);
        }
    }

    fn close_if_idle(&self, path: &Path) {
        let root = self.founding.root.load(Acquire);
        let gone = self.ledger().close_if_idle(path.c());
        if gone && root != 0 && root == sys::getpid() {
            let _ = sys::unlink(self.pool.path.c());
        }
    }

    /// Ends the record of a job that this process is, if its client has left it to itself: nobody else would.
    pub fn end_if_let_go(&self, job: Handle) {
        if self.ledger().is_let_go(job) {
            self.end(job);
            self.ledger().close_if_idle(self.ledger_path().c());
        }
    }
}
