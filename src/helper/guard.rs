//! The role `guard`: gives back what dead or sleeping clients cannot, keeps an own pool open, and ends
//! when nothing is left.
//!
//! Processes that are new in the ledger are noticed at the next tick.

mod budget;
mod daemons;
mod detach;
mod pool;

use core::ffi::CStr;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use jsshim_engine::guard::process::{FILE, KEPT};
use jsshim_engine::ledger::access::Ledger;
use jsshim_engine::ledger::handle::Handle;
use jsshim_engine::ledger::handle::RECORDS;
use jsshim_engine::ledger::header::{LIFE, NEXT};
use jsshim_engine::ledger::record::{Record, UNRECORDED};
use jsshim_engine::pool::pipe::maker;
use jsshim_engine::pool::tokens::{Pool, Taken};
use jsshim_engine::proc;
use jsshim_engine::show::lanes::Kind;
use jsshim_engine::show::trace;
use jsshim_engine::slots::State;
use jsshim_engine::space;
use jsshim_engine::sys::{self, Errno};
use jsshim_engine::text::Path;
use jsshim_engine::watchdog::alive::Watches;
use jsshim_engine::watchdog::settings::Count;
use jsshim_engine::watchdog::{Pace, Watchdog};

use crate::double::{self, Role};
use crate::stale::{self, Neighbours};

use budget::{tick, Budget};
use daemons::End;
use detach::{called, close_from, detach};
use jsshim_engine::ledger::signals;

/// How long a claim may stay unfinished before its claimer is looked for, in ns. One that lives may take any time.
const STUCK_NANOS: u64 = 500_000_000;
/// In what time a job that waits must have said which process it is, in ns.
const BORN_NANOS: u64 = 5_000_000_000;
/// How long a token is kept for a pool that cannot be found, in ns.
const LOST_NANOS: u64 = 2_000_000_000;

/// How long a guard that has been asked to make room looks for the next one, in ms.
const ROOM_MILLIS: u32 = 300;

/// With fewer descriptors than these, none is used for anything but the pool and the ledger.
const SCARCE: u64 = 32;

/// The first descriptor behind the standard ones.
const FIRST: i32 = 3;

/// Where there is no close_range(2), no descriptor above this one is looked for.
const MOST: i32 = 65_536;

/// States in which a record is watched without a process.
const CLAIMED: i32 = -1;
const ENDING: i32 = -2;

/// What the make does whose pool it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Make {
    /// It builds, or another process has its pool open.
    Builds,
    /// It counts its tokens.
    Counts,
    /// Nobody is to be seen who has the pool open.
    Unseen,
}

struct Guard<'a> {
    ledger: &'a Ledger,
    path: Path,
    /// The ledger, for its lock.
    file: i32,
    pool: Pool,
    /// The descriptor by which the pool is opened, or -1.
    held: i32,
    /// Is the pool open for writing at [`KEPT`]? `None`: not known.
    kept: Option<bool>,
    watches: Watches,
    watchdog: Watchdog,
    /// The clients, by index, with a job that may need their implicit slot.
    needy: &'static mut [bool; RECORDS],
    /// The ledger is another one than that of who started this process. It was between its making and its guard.
    adopted: bool,
    /// The ledger's file has no name any more, or another file has it: who comes makes another one.
    nameless: bool,
    budget: Budget,
    /// See [`double`]; and a pidfd of it, or -1.
    double: i32,
    double_fd: i32,
    /// Readable when somebody calls ([`signals::CALL`]); or -1.
    calls: i32,
    /// Of the process with which an own pool ends: is there one; a pidfd, or -1.
    has_root: bool,
    root: i32,
    /// A process that has the pool of a make open for writing, that make first, as far as is known; or 0.
    owner: i32,
    /// The ledgers of other PID namespaces on this pool.
    neighbours: Neighbours,
    /// A process that may be a make that counts, if it still is when looked at again; or 0.
    counts: i32,
    /// What is known of the make.
    make: Make,
    /// When to look next whether it counts its tokens.
    look: u64,
    /// There are jobs, so that a token may be out.
    out: bool,
    /// While make counts: was nothing out when last looked at?
    was_in: bool,
    /// Since when a pool that cannot be opened is empty while nothing is out; 0: it is not.
    drained: u64,
    /// What is known of the end of the build.
    end: End,
}

/// What a guard was told by the environment.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    /// `JSSHIM_COUNT`.
    pub count: Count,
    /// `JSSHIM_STALL`, in ns; 0 is off.
    pub stall: u64,
    /// The file for the statistics that nobody was left to write; empty: none.
    pub stats: &'a CStr,
}

/// Runs the guard of the ledger at `path` until it is not needed any more.
/// `locked`: the second word in its command line was `engine::guard::LOCKED`.
pub fn run(path: &CStr, locked: bool, told: Told<'_>) -> ! {
    let file = if locked { sys::fcntl(FILE, libc::F_DUPFD_CLOEXEC, FIRST) } else { Ok(-1) };
    serve(Path::new(path.to_bytes()), file.unwrap_or(-1), told, true)
}

/// `file` is the ledger, locked already; or -1. `sweeps`: also looks after what others have left.
fn serve(path: Path, file: i32, told: Told<'_>, sweeps: bool) -> ! {
    let stats = told.stats;
    detach(file);
    let Ok(ledger) = Ledger::open(path.c()) else { sys::exit(1) };
    let opened = if file < 0 { sys::open(path.c(), libc::O_RDWR, 0) } else { Ok(file) };
    let Ok(file) = opened else { sys::exit(1) };
    let header = &ledger.header;
    // Where there are no locks, the last one that comes stays.
    let other = sys::lock_byte(file, LIFE) == Err(Errno::AGAIN);
    // Of another PID namespace nothing can be judged here.
    if other || !header.is_at(sys::fstat(file)) || !space::enter(header.space()) {
        sys::exit(0)
    }
    proc::settle();
    let id = header.id();
    let owner = if header.root.load(Acquire) == 0 { maker(&header.path()) } else { 0 };
    let Ok(watches) = Watches::new() else { sys::exit(1) };
    // SAFETY: zeros are false.
    let Ok(needy) = (unsafe { sys::map_zeroed() }) else { sys::exit(1) };
    let mut guard = Guard {
        ledger,
        path,
        file,
        pool: Pool::new(id, Path::default(), Some((-1, KEPT))),
        held: -1,
        kept: None,
        watches,
        watchdog: Watchdog::new(told.count, told.stall),
        needy,
        adopted: !sweeps,
        nameless: false,
        budget: Budget::new(),
        double: 0,
        double_fd: -1,
        calls: if sys::open_files_limit() < SCARCE { -1 } else { called() },
        has_root: false,
        root: -1,
        owner,
        neighbours: Neighbours::new(header.space()),
        counts: 0,
        make: Make::Builds,
        look: 0,
        out: false,
        was_in: false,
        drained: 0,
        end: End::new(),
    };
    if !guard.hold(&header.path()) {
        guard.hold_by_another();
    }
    guard.watch_root();
    guard.split(|| {
        if sweeps && !ledger.is_nameless(file, path.c()) {
            let adopt = |other: &Path| {
                double::apart(|| {
                    // This ledger's pool is not the other one's.
                    sys::close(KEPT);
                    serve(*other, -1, Told { stats: c"", ..told }, false)
                });
            };
            stale::sweep(&path, header.space(), adopt, &|deserted| tell(deserted, stats));
        }
    });
    guard.watch_over(stats);
    if header.root.load(Acquire) != 0 {
        let _ = sys::unlink(header.path().c());
    }
    tell(ledger, stats);
    sys::exit(0)
}

/// Tells the statistics of those who were killed, where a file was asked for.
fn tell(ledger: &Ledger, file: &CStr) {
    let (h, counts) = (&ledger.header, ledger.header.stats.take());
    if counts.jobs > 0 && !file.is_empty() {
        let slots = h.slots.load(Acquire);
        let block = counts.block(b"all its processes", h.lanes.peak(Kind::Slot), slots);
        let _ = trace::append(file, block.bytes(), true);
    }
}

impl Guard<'_> {
    /// Goes on as a child; this process becomes its double. `first`: what that does at the beginning.
    fn split(&mut self, first: impl FnOnce()) {
        let mut first = Some(first);
        self.double = loop {
            match double::fork() {
                Role::Guard(double) => break double,
                Role::Double(child) => {
                    if let Some(first) = first.take() {
                        first();
                    }
                    if !double::was_killed(child) {
                        sys::exit(0)
                    }
                    self.take_over();
                }
            }
        };
        if self.double_fd >= 0 {
            sys::close(self.double_fd);
        }
        // Only to be woken at once; where descriptors are scarce, the next tick tells.
        let scarce = sys::open_files_limit() < SCARCE;
        let double = if scarce { Err(Errno(libc::EMFILE)) } else { sys::pidfd_open(self.double) };
        self.double_fd = double.unwrap_or(-1);
        self.ledger.header.double.store(self.double, Release);
        self.ledger.header.guard.store(sys::getpid(), Release);
    }

    /// After the other one was killed, whose descriptors are here: what it has the pool open by stays.
    fn take_over(&mut self) {
        let held = self.ledger.header.guard_fd.load(Acquire).min(MOST);
        let spared = [self.file, held, self.root, self.calls];
        let last = spared.into_iter().max().unwrap_or(self.file);
        (3..last).filter(|fd| !spared.contains(fd)).for_each(sys::close);
        close_from(last.saturating_add(1));
        self.watches.forget_all();
        self.end.forget();
        (self.double_fd, self.kept) = (-1, None);
        self.use_pool(held);
    }

    fn watch_over(&mut self, stats: &CStr) {
        loop {
            let begun = sys::cpu_time();
            if !self.is_whole() {
                sys::exit(1);
            }
            self.nameless = self.ledger.is_nameless(self.file, self.path.c());
            let busy = self.round();
            self.see_to_deserted(busy, stats);
            // If it is not closed after all, somebody has come in, and may take a token any moment.
            let done = !busy && !self.root_lives() && !self.neighbours.keep_guard();
            if done && self.ledger.close_if_idle(self.path.c()) {
                return;
            }
            self.keep_open();
            if busy {
                self.see_to_daemons();
            }
            // Another guard has taken over.
            if self.ledger.header.guard.load(Acquire) != sys::getpid() || self.makes_room() {
                sys::exit(0);
            }
            let pace = if busy { self.watchdog.round(self.ledger) } else { Pace::Rest };
            self.pay();
            // The end of its double is no end of a job.
            let wakes = [self.double_fd, self.calls];
            self.budget.rest(sys::cpu_time().saturating_sub(begun), pace, wakes);
            self.watches.sleep(&[self.double_fd, self.calls, self.end.wakes()], tick(pace));
            sys::discard_pending(sys::sigset(signals::CALL));
            if sys::getppid() != self.double {
                self.split(|| ());
            }
        }
    }

    /// Is the ledger as large as it was made? Where somebody has cut it off there is nothing left to look after, and to
    /// look would be the end.
    fn is_whole(&self) -> bool {
        sys::fstat(self.file).is_ok_and(|st| st.st_size == core::mem::size_of::<Ledger>() as i64)
    }

    fn watch_root(&mut self) {
        let header = &self.ledger.header;
        let (root, born) = (header.root.load(Acquire), header.root_born.load(Acquire));
        let is_it = |s: proc::Stat| born == 0 || s.start as u32 == born;
        self.has_root = root != 0 && proc::stat(root).is_none_or(is_it);
        self.root = sys::pidfd_open(root).unwrap_or(-1);
    }

    /// Asked to, or where it has only helped out, lets another guard have the ledger, from a keeper that waits for its turn. What this one has the pool
    /// open by stays until then. Says whether there is another one.
    fn makes_room(&self) -> bool {
        let (header, me) = (&self.ledger.header, sys::getpid());
        let asked = header.resign.compare_exchange(me, 0, AcqRel, Acquire).is_ok();
        let is_next = || sys::is_byte_locked(self.file, NEXT) == Ok(true);
        if !asked && (!self.adopted || !is_next()) {
            return false;
        }
        sys::unlock_byte(self.file, LIFE);
        let is_other = || header.guard.load(Acquire) != me;
        for _ in 0..ROOM_MILLIS {
            if is_other() {
                break;
            }
            sys::sleep_millis(1);
        }
        // Whoever has the lock now will be the guard.
        is_other() || sys::lock_byte(self.file, LIFE) == Err(Errno::AGAIN)
    }

    fn root_lives(&mut self) -> bool {
        let header = &self.ledger.header;
        let root = header.root.load(Acquire);
        let lives = match self.root {
            _ if !self.has_root => return false,
            // It is at its end, and waits for ours.
            _ if header.leaving.load(Acquire) == root => false,
            // Gone already, or pidfds are not to be had.
            -1 => proc::lives(root),
            pidfd => !proc::has_ended_by(pidfd, root),
        };
        if !lives {
            // Where descriptors are few, the end takes this one.
            sys::close(self.root);
            (self.has_root, self.root) = (false, -1);
        }
        lives
    }

    /// Looks at every record once. Says whether any is in use.
    fn round(&mut self) -> bool {
        let mut busy = false;
        self.out = false;
        for (index, record) in self.ledger.records() {
            let (state, generation) = record.now();
            busy |= state != State::Free;
            let handle = Handle { index, generation };
            match state {
                State::Free => self.free(index, record),
                // Whoever was at it is slow, was killed, or could not reach the pool.
                State::Ending => self.finish(handle, record),
                State::Client => self.client(handle, record),
                State::Claim if self.watches.age(handle, CLAIMED) < STUCK_NANOS => {}
                _ => self.job(handle, record),
            }
            self.out |= !matches!(record.state(), State::Free | State::Client);
        }
        self.settle_needy();
        busy
    }

    /// Takes tokens that lie in the pool for jobs that have borrowed and compute.
    fn pay(&self) {
        while let Some(h) = self.ledger.creditor() {
            let Some(job) = self.ledger.get(h) else { return };
            // Not to where it may read itself.
            if self.pool.take_into(&job.gift, h.generation) != Taken::Yes {
                return;
            }
            // It may have come to a slot otherwise, or ended.
            if !self.ledger.accept_gift(h) {
                self.pool.give_from(&job.gift, h.generation);
            }
        }
    }

    /// A client settles its slot itself; this is for one that died on the way.
    fn settle_needy(&mut self) {
        for (client, needy) in (0u32..).zip(self.needy.iter_mut()) {
            if core::mem::take(needy) {
                self.ledger.settle(client, &self.pool);
            }
        }
    }

    fn free(&mut self, index: u32, record: &Record) {
        self.watches.forget(index);
        // Of a process that was killed before it was a client nobody knows: that record is lost to this ledger.
        let client = record.reserved_by().filter(|client| *client != 0);
        if let Some(client) = client.filter(|client| self.is_dead_client(*client)) {
            record.release(client);
        }
    }

    fn finish(&mut self, h: Handle, record: &Record) {
        self.ledger.finish(h, &self.pool);
        if record.now() != (State::Ending, h.generation) {
            return;
        }
        let lost = self.watches.age(h, ENDING) > LOST_NANOS;
        if lost && !self.hold_by_another() && self.client_is_dead(record) {
            self.ledger.write_off(h, &self.pool);
        }
    }

    fn client(&mut self, h: Handle, record: &Record) {
        let pid = record.pid.load(Acquire);
        if self.watches.is_dead(h, record, pid) || self.nameless && !self.has_ledger(pid) {
            let _ = record.implicit.compare_exchange(UNRECORDED, 0, AcqRel, Acquire);
            if !self.has_records(h.index) {
                self.ledger.free(h);
            }
        }
    }

    /// Does this process use the ledger? One that has become another program since makes another, where this one has no
    /// name; one of another PID namespace is another process by this number.
    fn has_ledger(&self, pid: i32) -> bool {
        sys::fstat(self.file).is_ok_and(|st| proc::maps(pid, st.st_ino))
    }

    /// Has it any record left, a claim included?
    fn has_records(&self, client: u32) -> bool {
        self.ledger.records().any(|(_, r)| {
            r.client.load(Acquire) == client && !matches!(r.state(), State::Free | State::Client)
        })
    }

    fn client_is_dead(&mut self, job: &Record) -> bool {
        self.is_dead_client(job.client.load(Acquire))
    }

    fn is_dead_client(&mut self, index: u32) -> bool {
        let Some(client) = self.ledger.record(index) else { return true };
        match client.now() {
            (State::Client, generation) => {
                let pid = client.pid.load(Acquire);
                self.watches.is_dead(Handle { index, generation }, client, pid)
            }
            _ => true,
        }
    }

    fn job(&mut self, h: Handle, record: &Record) {
        let pid = record.pid.load(Acquire);
        // No process yet: in the making, unless its client died over it.
        let unborn = pid <= 0;
        let gone =
            if unborn { self.client_is_dead(record) } else { self.watches.is_dead(h, record, pid) };
        if gone {
            let has_token = record.has_token(h.generation);
            // There may be one after all, which waits by now and reads the pool. In a broken ledger, too, it says
            // which it is.
            let may_wait = unborn && self.watches.age(h, CLAIMED) < BORN_NANOS;
            let not = if may_wait { State::Waiting } else { State::Ending };
            if !self.ledger.end_unless(h, not, &self.pool) {
                return;
            }
            if has_token {
                self.ledger.header.stats.recovered();
            }
            self.watches.forget(h.index);
        } else {
            self.complete(h, record);
        }
    }

    /// Does the rest of what a process that was killed in the middle had begun.
    fn complete(&mut self, h: Handle, record: &Record) {
        match record.state() {
            State::Implicit if record.has_token(h.generation) => {
                self.ledger.release_lane(h, record);
                self.pool.give(record, h.generation);
            }
            State::Held | State::Waiting | State::Borrowed => drop(self.ledger.accept_gift(h)),
            _ => {}
        }
        let client = record.client.load(Acquire) as usize;
        let may_take = !matches!(record.state(), State::Claim | State::Implicit | State::Ending);
        if let Some(needy) = self.needy.get_mut(client).filter(|_| may_take) {
            *needy = true;
        }
    }
}
