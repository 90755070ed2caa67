//! The ledger: shared memory with one record for every client and every job of a pool.
//!
//! # How it works
//!
//! The file is fixed in size and never grows: two pages of header, then records of 128 bytes. Its blocks are
//! reserved when it is made, so that a full /dev/shm is an error then and not a SIGBUS in a host later.
//! Every field is an atomic; there is no lock. A record's first word holds state and generation and
//! moves by compare-and-swap only ([`crate::slots`] says which steps are legal); who makes the step to
//! `Ending` frees the record. A token's byte is read by the kernel straight into the record, and who
//! swaps it out writes it back to the pool: so a byte is never in two hands, and a process that is
//! killed between the `read` and its next instruction has lost nothing.
//!
//! The guard, which has a double, holds a lock on the first byte of the file ([`LIFE`]); who
//! starts one, on the second ([`START`]), and who would take over, on the third ([`NEXT`]). Locks go with their holder, so no number of a process has to be
//! trusted for long.
//!
//! All pids in it are of one PID namespace, which the file's name tells as well ([`crate::space`]).
//!
//! The file appears under its name complete (link(2)), and goes when the guard has seen the last client
//! go: `Open` → `Closing` → `Closed`. A client first claims its record, then looks at that word; the
//! guard first writes the word, then looks at the records. Each has a fence between the two, so one of
//! them sees the other. Names are given and taken under a lock ([`crate::rundir::Lock`]), which no client needs that finds
//! its ledger open. Everything else is `AcqRel`: a state publishes the fields written before it.
//!
//! All of it is async-signal-safe, and safe in the child of a fork: the mapping is shared.

mod claim;
mod debts;
mod deserted;
mod life;
mod opening;
mod unguarded;

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, SeqCst};

use crate::lanes::Lanes;
use crate::pool::{self, Id, Pool};
use crate::proc;
use crate::record::{Handle, Reason, Record, UNRECORDED};
use crate::slots::{next, Next, State, View};
use crate::space;
use crate::stats::Stats;
use crate::sync::{AtomicI32, AtomicU32, AtomicU64, AtomicU8};
use crate::sys::{self, Result};
use crate::text::Path;
use crate::watch::Watch;

pub use deserted::{is_deserted, settle_deserted, Outcome};
pub use life::Founding;

/// Records in a ledger, the unused record 0 included.
pub const RECORDS: usize = 4096;
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"jsshim\x00\x05");
const OPEN: u32 = 1;
const CLOSING: u32 = 2;
const CLOSED: u32 = 3;
/// The byte of the file on which the guard holds a lock.
pub const LIFE: i64 = 0;
/// The byte on which a starter of the guard holds one.
pub const START: i64 = 1;
/// The byte on which keepers that wait for their turn share one.
pub const NEXT: i64 = 2;

/// What the file starts with. The plain values are written before the file has a name.
#[repr(C, align(4096))]
pub struct Header {
    magic: AtomicU64,
    state: AtomicU32,
    /// The guard's pid; 0 when there was none yet.
    pub guard: AtomicI32,
    /// The guard's descriptor of the pool, by which others can open it; -1 if it has none.
    pub guard_fd: AtomicI32,
    /// Records ever used: nothing lies above.
    high: AtomicU32,
    hint: AtomicU32,
    id: [AtomicU64; 3],
    /// For a pool of our own: the process with which it ends; otherwise 0.
    pub root: AtomicI32,
    /// Slots of the pool, the implicit one of its root included; 0 if unknown.
    pub slots: AtomicU32,
    /// No start while the load is above this many thousandths; 0: no limit (`-l`).
    pub load_milli: AtomicU32,
    /// When the root started, as [`crate::record::Record::born`]; 0 if unknown.
    pub root_born: AtomicU32,
    /// The guard's double; 0 if it has none.
    pub double: AtomicI32,
    /// The keeper that the guard is below, and the client that it belongs to; 0 if there is none. See
    /// [`crate::keeper`].
    pub keeper: AtomicI32,
    /// See `keeper`.
    pub owner: AtomicI32,
    /// Orphans of the ledger's processes go to one that minds them.
    pub minds: AtomicU32,
    /// The guard that is asked to make room for another one.
    pub resign: AtomicI32,
    /// The root, when it is at its end.
    pub leaving: AtomicI32,
    /// Not 0: a job that computes may have borrowed its slot ([`crate::lending`]).
    pub owed: AtomicU32,
    /// Not 0: the guard knows that jobs wait, and looks often.
    pub looks: AtomicU32,
    /// How many more jobs computed than there were slots when the guard looked last.
    pub debt: AtomicU32,
    /// The job that has woken up without waiting, since it will not compute for long ([`Handle::pack`]); 0: none.
    pub grace: AtomicU64,
    /// How often the guard has looked.
    pub rounds: AtomicU32,
    /// Slots whose jobs slept when the guard looked last, and that nobody has taken since.
    pub spare: AtomicU32,
    /// The session of the build that the pool was made for; 0: one from outside this PID namespace.
    pub session: AtomicI32,
    /// That build has ended. Only daemons of it are left, and the guard keeps the pool for them.
    pub outlived: AtomicU32,
    /// The PID namespace of all pids in it ([`crate::space::own`]); 0 if its maker could not tell.
    space: AtomicU64,
    /// See [`proc::boot`].
    boot: AtomicU64,
    /// Device and inode of the file itself.
    file: [AtomicU64; 2],
    path: [AtomicU8; 256],
    /// Who asked for lanes and a trace.
    pub watch: Watch,
    /// What has been counted.
    pub stats: Stats,
    /// Which slot is which.
    pub lanes: Lanes,
}

/// The whole file.
#[repr(C)]
pub struct Shared {
    /// See [`Header`].
    pub header: Header,
    records: [Record; RECORDS],
}

const _: () =
    assert!(core::mem::size_of::<Record>() == 128 && core::mem::size_of::<Header>() == 8192);

impl Header {
    /// Which pool it is.
    pub fn id(&self) -> Id {
        let [dev, ino, birth] = &self.id;
        (dev.load(Relaxed), ino.load(Relaxed), birth.load(Relaxed))
    }

    /// The PID namespace to which the pids in it belong ([`crate::space::own`]).
    pub fn space(&self) -> u64 {
        self.space.load(Relaxed)
    }

    /// A path by which the pool can be opened now: the one it was found by, else the guard's.
    pub fn reach(&self) -> Path {
        let path = self.path();
        let guard = self.guard.load(Acquire);
        match pool::open(&path, self.id(), libc::O_RDONLY) {
            Ok(fd) => sys::close(fd),
            Err(_) if guard > 0 => {
                return pool::fd_path(guard, self.guard_fd.load(Acquire));
            }
            Err(_) => {}
        }
        path
    }

    /// The guard that keeps the pool for daemons which have outlived their build, and its descriptor.
    pub fn kept_by(&self) -> Option<(i32, i32)> {
        if self.outlived.load(Acquire) == 0 {
            return None;
        }
        Some((self.guard.load(Acquire), self.guard_fd.load(Acquire)))
    }

    /// The path by which the pool was found, if it is a proper string.
    pub fn path(&self) -> Path {
        let mut p = Path::default();
        for b in self.path.iter().map(|b| b.load(Relaxed)).take_while(|b| *b != 0) {
            p.push([b]);
        }
        p
    }

    /// Is this file (still) the ledger's own, and not one that came later under its name?
    pub fn is_at(&self, file: Result<libc::stat>) -> bool {
        let [dev, ino] = &self.file;
        file.is_ok_and(|st| (st.st_dev, st.st_ino) == (dev.load(Relaxed), ino.load(Relaxed)))
    }

    /// Was it made since the machine was started? If so, a pipe of its pool's number is its pool.
    pub fn is_of_this_boot(&self) -> bool {
        let boot = self.boot.load(Relaxed);
        boot != 0 && boot == proc::boot()
    }

    fn set_path(&self, path: &Path) {
        for (at, b) in self.path.iter().zip(path.c().to_bytes_with_nul()) {
            at.store(*b, Relaxed);
        }
    }
}

impl Shared {
    /// A record that may be used, unless the index is nonsense.
    pub fn record(&self, index: u32) -> Option<&Record> {
        self.records.get(index as usize).filter(|_| index != 0)
    }

    /// The record of a handle, while it is still in that use.
    pub fn get(&self, h: Handle) -> Option<&Record> {
        self.record(h.index).filter(|r| r.now().1 == h.generation)
    }

    /// All records that have ever been used.
    pub fn records(&self) -> impl Iterator<Item = (u32, &Record)> {
        let high = self.header.high.load(SeqCst) as usize;
        (0u32..).zip(self.records.iter()).take(high.saturating_add(1)).skip(1)
    }

    /// The jobs of a client and their states.
    pub fn jobs_of(&self, client: u32) -> impl Iterator<Item = (Handle, State, &Record)> {
        self.records().filter_map(move |(index, r)| {
            let (state, generation) = r.now();
            let ours = state.is_job() && r.client.load(Relaxed) == client;
            ours.then_some((Handle { index, generation }, state, r))
        })
    }

    /// One legal step of a job; says from which state. `None`: it is not there any more, or not so.
    pub fn step(&self, h: Handle, to: State) -> Option<State> {
        self.step_unless(h, to, to)
    }

    fn step_unless(&self, h: Handle, not: State, to: State) -> Option<State> {
        let record = self.record(h.index)?;
        let since = record.since.load(Relaxed);
        let from = record.step_unless(h.generation, not, to)?;
        self.stepped(h, record, from, to, since);
        Some(from)
    }

    /// Starts a job without a slot and says why.
    pub fn overdraw(&self, h: Handle, why: Reason) -> Option<State> {
        let record = self.get(h)?;
        record.set_reason(h.generation, why);
        let before = self.step(h, State::Overdraft)?;
        self.header.stats.overdraft(why);
        Some(before)
    }

    /// [`Shared::overdraw`] by another process than the held one. Says whether that has come of it.
    pub fn overdraw_held(&self, h: Handle, why: Reason) -> bool {
        let before =
            self.get(h).filter(|r| r.state().is_held()).and_then(|_| self.overdraw(h, why));
        if let (Some(State::Waiting), Some(record)) = (before, self.get(h)) {
            record.wake();
        }
        before.is_some()
    }

    /// Frees a record that has nothing to give back.
    pub fn free(&self, h: Handle) {
        if self.step(h, State::Ending).is_some() {
            self.header.hint.fetch_min(h.index, Relaxed);
            self.step(h, State::Free);
        }
    }

    /// Is the load above the limit, so that only implicit slots may start a job (`make -l`)?
    pub fn too_loaded(&self) -> bool {
        match self.header.load_milli.load(Relaxed) {
            0 => false,
            limit => sys::load_milli() > limit,
        }
    }

    /// Gives a claimed job its client's implicit slot, if that is free.
    pub fn take_implicit(&self, h: Handle) -> bool {
        let Some((_, client)) = self.with_client(h) else {
            return false;
        };
        if client.implicit.compare_exchange(0, h.pack(), AcqRel, Relaxed).is_err() {
            return false;
        }
        if self.step(h, State::Implicit).is_some() {
            return true;
        }
        let _ = client.implicit.compare_exchange(h.pack(), 0, AcqRel, Relaxed);
        false
    }

    /// Makes the job that spawned before there was a ledger the implicit one of its client.
    pub fn record_implicit(&self, h: Handle) -> bool {
        let Some((_, client)) = self.with_client(h) else {
            return false;
        };
        let moved = client.implicit.compare_exchange(UNRECORDED, h.pack(), AcqRel, Relaxed).is_ok();
        moved && self.step(h, State::Implicit).is_some()
    }

    fn with_client(&self, h: Handle) -> Option<(&Record, &Record)> {
        let record = self.get(h)?;
        Some((record, self.record(record.client.load(Relaxed))?))
    }

    /// Ends a job: its token goes back, its implicit slot goes on. Says whether this call was the one.
    pub fn end(&self, h: Handle, pool: &Pool) -> bool {
        self.end_unless(h, State::Ending, pool)
    }

    /// [`Shared::end`] from another state than `not`.
    pub fn end_unless(&self, h: Handle, not: State, pool: &Pool) -> bool {
        let won = self.step_unless(h, not, State::Ending).is_some();
        if won {
            self.finish(h, pool);
        }
        won
    }

    /// Does what is left to do for a job that is ending. Any number of processes may do it at once, and
    /// the guard does it again: each part is done by exactly one. Where the pool cannot be reached the
    /// record stays, for whoever can.
    pub fn finish(&self, h: Handle, pool: &Pool) {
        let Some(record) = self.get(h).filter(|r| r.state() == State::Ending) else { return };
        self.release_lane(h, record);
        if self.is_watched() {
            self.tell_end(h, record, None);
        }
        self.pay_debts(h, record, pool);
        let given = pool.give_all(record, h.generation);
        let owner = record.client.load(Relaxed);
        let client = self.record(owner);
        let was_implicit = client
            .is_some_and(|c| c.implicit.compare_exchange(h.pack(), 0, AcqRel, Relaxed).is_ok());
        if given {
            self.header.hint.fetch_min(h.index, Relaxed);
            record.step(h.generation, State::Free);
        }
        // The implicit slot is not the token's: it goes on even where the guard cannot reach the pool.
        if was_implicit {
            self.settle(owner, pool);
        }
    }

    /// Ends a job whose bytes have nowhere to go back to: the pool is gone.
    pub fn write_off(&self, h: Handle, pool: &Pool) {
        if let Some(record) = self.get(h).filter(|r| r.state() == State::Ending) {
            for place in record.places() {
                let _ = place.seal(h.generation);
            }
            self.finish(h, pool);
        }
    }

    /// Finds a use for the implicit slot of a client, if it is free ([`next`]).
    pub fn settle(&self, client: u32, pool: &Pool) {
        let Some(owner) = self.record(client) else { return };
        // Each round either finds nobody, succeeds, or loses against somebody who made progress.
        for _ in 0..RECORDS {
            let taken = owner.implicit.load(Acquire);
            if taken != 0 && self.is_in_use(owner, client, taken, pool) {
                return;
            }
            let views = self.jobs_of(client).map(|(job, state, r)| View {
                job: job.pack(),
                state,
                since: r.since.load(Relaxed),
                sleeps: r.sleeps(job.generation),
            });
            let (Next::Back(job) | Next::Grant(job)) = next(views) else { return };
            let Some(job) = Handle::unpack(job) else { return };
            if owner.implicit.compare_exchange(0, job.pack(), AcqRel, Relaxed).is_ok() {
                self.start_on_implicit(owner, job, pool);
            }
        }
    }

    /// Does this word of a client's `implicit` name a job of its own? If not, the ledger was broken, and
    /// the slot is free again. Finishes what a giver who was killed has begun.
    fn is_in_use(&self, owner: &Record, client: u32, taken: u64, pool: &Pool) -> bool {
        let Some(h) = Handle::unpack(taken).filter(|_| taken != UNRECORDED) else { return true };
        let job = self.get(h).filter(|r| r.client.load(Relaxed) == client);
        match job.map_or(State::Free, Record::state) {
            State::Claim | State::Implicit | State::Ending => true,
            State::Free | State::Client => {
                owner.implicit.compare_exchange(taken, 0, AcqRel, Relaxed).is_err()
            }
            _ => {
                self.start_on_implicit(owner, h, pool);
                true
            }
        }
    }

    /// The second half of giving an implicit slot to a job. More than one may be at it.
    fn start_on_implicit(&self, owner: &Record, h: Handle, pool: &Pool) {
        let Some(job) = self.record(h.index) else { return };
        match self.step(h, State::Implicit) {
            // It wakes, sees that it is implicit, and gives back a byte that came as well.
            Some(State::Waiting) => job.wake(),
            Some(_) => drop(pool.give(job, h.generation)),
            // Another was faster.
            None if job.now() == (State::Implicit, h.generation) => {}
            None => drop(owner.implicit.compare_exchange(h.pack(), 0, AcqRel, Relaxed)),
        }
    }

    /// A job that waits looks after itself: it writes again by what others find it, and sees to what
    /// somebody who was killed has left half done. Says whether it has to wait on.
    pub fn look_after(&self, h: Handle, client: u32, pool: &Pool) -> bool {
        let Some(record) = self.get(h) else { return false };
        // They differ in a broken ledger only. Elsewhere this pid is not the one by which it is known.
        let me = if space::is_elsewhere() { record.pid.load(Relaxed) } else { sys::getpid() };
        if (record.pid.load(Relaxed), record.client.load(Relaxed)) != (me, client) {
            record.pid.store(me, Relaxed);
            record.client.store(client, Relaxed);
        }
        self.header.high.fetch_max(h.index, SeqCst);
        self.accept_gift(h);
        self.sweep(client, pool);
        self.settle(client, pool);
        let has_client = self.record(client).is_some_and(|r| r.state() == State::Client);
        has_client && record.now() == (State::Waiting, h.generation)
    }
}
