//! One record of the ledger, all atomics: a client or a job. Its name has its own cache line.

use core::sync::atomic::Ordering;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::pool::place::Place;
use crate::show::lanes::Shown;
use crate::show::name::Name;
use crate::slots::{State, Word};
use crate::sync::{AtomicI32, AtomicU32, AtomicU64};
use crate::{space, sys};

use super::reason::Reason;

/// In a client's `implicit`: a job that has no record yet uses the implicit slot.
pub const UNRECORDED: u64 = u64::MAX;

/// In [`Record::claimer`]: a process that is not a client yet, or that frees the record.
const UNKNOWN: u32 = u32::MAX;

/// In [`Record::since`]: the job neither waits nor runs yet.
pub const UNTIMED: u64 = u64::MAX;

/// In a held job's [`Record::note`]: its helper has opened the program, which may be deleted from now on.
pub const OPENED: u32 = 1;

/// In a held job's [`Record::note`]: the thread that makes it may wait until it starts ([`crate::hold::exec_pipe`]).
pub const AWAITED: u32 = 5;

/// A client or a job. The fields that scans read are in the first of three cache lines, the name is in the last one.
/// A job in a word of another record is its [`super::handle::Handle::pack`]; 0: none.
#[repr(C, align(64))]
pub struct Record {
    pub(crate) word: AtomicU64,
    /// Where the kernel puts a token's byte that this job reads from the pool, or that its client reads for it.
    pub landing: Place,
    /// Mailbox for a token that this older job must get first.
    pub gift: Place,
    /// Since when it has waited, run, or been a client, in ns (`CLOCK_BOOTTIME`).
    pub since: AtomicU64,
    /// A client's implicit slot: 0 free, a job, or [`UNRECORDED`].
    pub implicit: AtomicU64,
    /// The pid; 0 while there is none yet.
    pub pid: AtomicI32,
    /// The index of the record of a job's client.
    pub client: AtomicU32,
    /// For a held job: 0, [`OPENED`] or [`AWAITED`]. For a running job: see [`Record::sleeps`]. For a client: its share
    /// ([`super::background`]).
    pub note: AtomicU32,
    /// Who is about to use the record: the index of a client, [`UNKNOWN`], or 0. See [`Record::reserve`].
    claimer: AtomicU32,
    /// The lane that shows it.
    pub lane: Shown,
    /// Why it runs without a slot, and the generation.
    reason: AtomicU64,
    /// For a client: the job in which it runs, or 0. For a parked job: since when, in ns.
    pub home: AtomicU64,
    /// For a client: its first held job, and the job that was held last ([`super::order`]).
    pub(super) first: AtomicU64,
    pub(super) last: AtomicU64,
    /// For a held job: the job of the same client that was held next.
    pub(super) next: AtomicU64,
    /// If a guard has checked the process: its pid in the upper half, and its start in the lower half, in clock ticks
    /// as in [`crate::proc::Stat`]. Otherwise 0. By this a later guard notices that the pid belongs to another process
    /// now.
    pub born: AtomicU64,
    /// For a job that does not run: how long it waited in its client before it was held, in ns. For a running job: how
    /// long it waited in all, in ns. For a client: its parent's pid when it entered ([`Record::parent`]).
    pub queued: AtomicU64,
    name: [AtomicU64; 8],
}

impl Record {
    /// State and generation, read at once. Fields read afterwards may belong to a later use, but then no step under
    /// this generation succeeds.
    #[inline(never)]
    pub fn now(&self) -> (State, u64) {
        // Acquire: what was written before the state was set is seen with it.
        let word = Word(self.word.load(Acquire));
        (word.state().unwrap_or(State::Free), word.generation())
    }

    /// The state as it is now.
    pub fn state(&self) -> State {
        self.now().0
    }

    /// Makes one legal step if the record is still in this generation. Returns the state before the step.
    pub(crate) fn step(&self, generation: u64, to: State) -> Option<State> {
        self.step_unless(generation, to, to)
    }

    /// [`Record::step`], unless the state is `not`.
    pub(crate) fn step_unless(&self, generation: u64, not: State, to: State) -> Option<State> {
        let mut now = self.word.load(Acquire);
        loop {
            let word = Word(now);
            let from = word.state().filter(|s| word.generation() == generation && *s != not)?;
            let next = word.to(to)?;
            // The job's place in the queue is set together with its state. Only the maker of the job makes this step.
            if to == State::Held {
                self.since.store(sys::now(), Relaxed);
            }
            let since = self.since.load(Relaxed);
            // AcqRel: publishes the fields written before, sees those of the step before.
            match self.word.compare_exchange_weak(now, next.0, AcqRel, Acquire) {
                Ok(_) => {
                    // The job runs since now. A step to `Waiting` keeps `since`.
                    if to.runs() {
                        // An exchange: the job may have ended meanwhile, and `since` may belong to the record's next
                        // job.
                        let _ = self.since.compare_exchange(since, sys::now(), Relaxed, Relaxed);
                    }
                    return Some(from);
                }
                Err(seen) => now = seen,
            }
        }
    }

    /// Signals the job's process that the wait is over.
    pub(crate) fn wake(&self) {
        let pid = self.pid.load(Relaxed);
        // With a broken ledger this must not signal a group, or every process (kill(2)). In another PID namespace the
        // pid belongs to a stranger; the job checks for itself soon.
        if pid > 0 && !space::is_elsewhere() {
            let _ = sys::kill(pid, crate::ledger::signals::WAKE);
        }
    }

    /// Both places for a byte.
    pub fn places(&self) -> [&Place; 2] {
        [&self.landing, &self.gift]
    }

    /// Returns whether the record holds a byte now.
    pub fn has_token(&self, generation: u64) -> bool {
        self.places().iter().any(|p| p.is_full(generation))
    }

    /// The pid that a client's parent had when the client entered.
    pub fn parent(&self) -> i32 {
        i32::try_from(self.queued.load(Relaxed)).unwrap_or(0)
    }

    /// Returns whether this job runs and sleeps, so that its slot is lent ([`crate::lending`]). A parked job counts as
    /// asleep.
    pub fn sleeps(&self, generation: u64) -> bool {
        // Relaxed: a wrong answer was right a moment ago.
        matches!(self.kind(generation, Relaxed), LENT | LIGHT | PARKED | PASSED)
    }

    /// Which of the kinds below the note is; larger than all of them: it is of another use of the record.
    fn kind(&self, generation: u64, order: Ordering) -> u32 {
        self.note.load(order) ^ sleep(generation, 0)
    }

    /// Sets [`Record::sleeps`]. Called by the guard, and by the job itself when it has woken up.
    pub fn set_sleeps(&self, generation: u64, sleeps: bool) {
        self.note_sleep(generation, if sleeps { sleep(generation, LENT) } else { 0 });
    }

    /// The job sleeps, and will compute little when it wakes up.
    pub fn set_sleeps_lightly(&self, generation: u64) {
        self.note_sleep(generation, sleep(generation, LIGHT));
    }

    fn note_sleep(&self, generation: u64, to: u32) {
        let seen = self.note.load(Relaxed);
        let own = matches!(seen ^ sleep(generation, 0), PARKED | PASSED | CALLED);
        // An exchange: the record may be in another use by now.
        if seen != to && !own && self.now().1 == generation {
            let _ = self.note.compare_exchange(seen, to, Relaxed, Relaxed);
        }
    }

    /// Returns whether a running job counts as computing.
    pub fn computes(&self) -> bool {
        self.note.load(Relaxed) == 0
    }

    /// The job sleeps, and has passed its slot on.
    pub(super) fn pass(&self, generation: u64) {
        let _ = self.note.compare_exchange(0, sleep(generation, PASSED), AcqRel, Relaxed);
    }

    /// A job that sleeps counts as computing again. Returns what [`Record::sleep_on`] gets.
    pub(super) fn wake_up(&self, generation: u64) -> Option<u32> {
        let seen = self.note.load(Acquire);
        let sleeps = matches!(seen ^ sleep(generation, 0), LENT | LIGHT | PASSED);
        let woken = sleeps && self.note.compare_exchange(seen, 0, AcqRel, Relaxed).is_ok();
        woken.then_some(seen)
    }

    /// Takes [`Record::wake_up`] back.
    pub(super) fn sleep_on(&self, seen: u32) {
        let _ = self.note.compare_exchange(0, seen, AcqRel, Relaxed);
    }

    /// It counts as computing again. Returns whether it had passed its slot on.
    pub fn unpass(&self, generation: u64) -> bool {
        self.note.compare_exchange(sleep(generation, PASSED), 0, AcqRel, Relaxed).is_ok()
    }

    /// Returns whether the job has passed its slot on, and sleeps.
    pub fn has_passed(&self, generation: u64) -> bool {
        self.kind(generation, Acquire) == PASSED
    }

    /// The job has woken up, and waits until [`Record::unpark`]. Returns the parked value of `note`. Returns None if
    /// its slot is not lent any more.
    pub fn park(&self, generation: u64) -> Option<u32> {
        let parked = sleep(generation, PARKED);
        if !self.is_parked(generation) {
            self.home.store(sys::now(), Relaxed);
        }
        for kind in [LENT, LIGHT, PASSED] {
            // AcqRel: whoever sees it parked sees what it did before.
            let seen = self.note.compare_exchange(sleep(generation, kind), parked, AcqRel, Acquire);
            if seen.is_ok() || seen == Err(parked) {
                return Some(parked);
            }
        }
        None
    }

    /// See [`Record::set_sleeps_lightly`].
    pub fn is_light(&self, generation: u64) -> bool {
        self.kind(generation, Relaxed) == LIGHT
    }

    /// Returns whether the job is parked.
    pub fn is_parked(&self, generation: u64) -> bool {
        self.kind(generation, Relaxed) == PARKED
    }

    /// If the job is parked, it counts as computing from now on, but still waits. Returns whether it was parked.
    pub(super) fn call(&self, generation: u64) -> bool {
        let (parked, called) = (sleep(generation, PARKED), sleep(generation, CALLED));
        self.note.compare_exchange(parked, called, AcqRel, Relaxed).is_ok()
    }

    /// After `call`: the job goes on, or stays parked. Also called by the job itself, since its caller may have
    /// been killed. Returns whether it was called.
    pub fn answer(&self, generation: u64, goes_on: bool) -> bool {
        let to = if goes_on { 0 } else { sleep(generation, PARKED) };
        let called = sleep(generation, CALLED);
        let done = self.note.compare_exchange(called, to, AcqRel, Relaxed).is_ok();
        if done && goes_on {
            sys::wake_word(&self.note);
        }
        done
    }

    /// Returns whether the job waits until it is let go on.
    pub fn waits(&self, generation: u64) -> bool {
        matches!(self.kind(generation, Acquire), PARKED | CALLED)
    }

    /// Ends the wait of a parked job. Returns whether it was parked.
    pub fn unpark(&self, generation: u64) -> bool {
        let parked = sleep(generation, PARKED);
        let was = self.note.compare_exchange(parked, 0, AcqRel, Relaxed).is_ok();
        if was {
            sys::wake_word(&self.note);
        }
        was
    }

    /// Stores the job's name, which is shown only.
    pub fn set_name(&self, name: &Name) {
        let mut bytes = name.bytes().iter();
        for at in &self.name {
            let word = [(); 8].map(|()| bytes.next().copied().unwrap_or(0));
            at.store(u64::from_le_bytes(word), Relaxed);
        }
    }

    /// The name, as far as it was stored.
    pub fn name(&self) -> Name {
        let mut name = Name::default();
        let words = self.name.iter().map(|word| word.load(Relaxed).to_le_bytes());
        words.flatten().take_while(|b| *b != 0).for_each(|b| name.push([b]));
        name
    }

    /// Why the job runs without a slot.
    pub fn reason(&self) -> Reason {
        let reason = self.reason.load(Relaxed) & REASON;
        Reason::ALL.into_iter().find(|r| *r as u64 == reason).unwrap_or(Reason::None)
    }

    /// Stores why this use of the record runs without a slot.
    pub(crate) fn set_reason(&self, generation: u64, why: Reason) {
        let seen = self.reason.load(Relaxed);
        if seen | REASON == stamp(generation) | REASON {
            // Relaxed: the step that follows publishes it. That step fails if the record is used for another job.
            let to = stamp(generation) | why as u64;
            let _ = self.reason.compare_exchange(seen, to, Relaxed, Relaxed);
        }
    }

    /// Reserves a free record for `client` (0: a process that enters or frees it). Until [`Record::release`] no other
    /// process claims it. So a process that is stopped in the middle of a claim, however long, finds the record unused. Returns
    /// the record's word.
    pub(crate) fn reserve(&self, client: u32) -> Option<Word> {
        Word(self.word.load(Relaxed)).to(State::Claim)?;
        let claimer = claimer(client);
        // Acquire: writes of the use before come before the writes that follow.
        self.claimer.compare_exchange(0, claimer, Acquire, Relaxed).ok()?;
        // It may have been claimed since the first load, but cannot be from now on.
        let word = Word(self.word.load(Acquire));
        if word.to(State::Claim).is_none() {
            self.release(client);
            return None;
        }
        Some(word)
    }

    /// Ends the reservation; also called for a killed claimer.
    pub fn release(&self, client: u32) {
        // Release: pairs with the next `reserve`. An exchange: the guard may have declared this claimer dead.
        let _ = self.claimer.compare_exchange(claimer(client), 0, Release, Relaxed);
    }

    /// The client that has reserved this record; 0: another process. Returns None if it is not reserved.
    pub fn reserved_by(&self) -> Option<u32> {
        match self.claimer.load(Relaxed) {
            0 => None,
            UNKNOWN => Some(0),
            client => Some(client),
        }
    }

    /// Prepares the record for a new job of `client`, or for a process `pid` that enters. Only the process that
    /// reserved it calls this.
    pub(crate) fn reset(&self, generation: u64, client: u32, pid: i32) {
        self.places().iter().for_each(|p| p.reset(generation));
        self.reason.store(stamp(generation), Relaxed);
        self.pid.store(pid, Relaxed);
        self.born.store(0, Relaxed);
        self.client.store(client, Relaxed);
        self.implicit.store(0, Relaxed);
        self.since.store(UNTIMED, Relaxed);
        self.queued.store(0, Relaxed);
        self.lane.reset(generation);
        self.note.store(0, Relaxed);
        for none in [&self.home, &self.first, &self.last, &self.next] {
            none.store(0, Relaxed);
        }
        let [first, ..] = &self.name;
        first.store(0, Relaxed);
    }
}

/// The bits of [`Record::reason`] that hold the reason.
const REASON: u64 = 7;

/// The other bits: the generation.
fn stamp(generation: u64) -> u64 {
    generation.wrapping_shl(REASON.count_ones())
}

/// In [`Record::note`] of a running job: the job sleeps, and its slot is lent.
const LENT: u32 = 2;
/// As [`LENT`], and the job will not compute for long.
const LIGHT: u32 = 3;
/// The job has woken up, and waits.
const PARKED: u32 = 4;
/// The job sleeps, and has passed its slot on.
const PASSED: u32 = 6;
/// The job waits, and another process is about to let it go on.
const CALLED: u32 = 7;

/// One of these kinds with the low bits of this generation: neither 0, [`OPENED`] nor [`AWAITED`]. A word on which
/// processes sleep has 32 bits (futex(2)); each use of the record begins with 0.
fn sleep(generation: u64, kind: u32) -> u32 {
    (generation as u32).wrapping_shl(3) | kind
}

/// Returns whether this value of a job's [`Record::note`] means that its process must wait before it goes on. Another
/// thread of the process may be waiting already.
pub fn is_lent(word: u32) -> bool {
    matches!(word & 7, LENT | LIGHT | PARKED | PASSED | CALLED)
}

fn claimer(client: u32) -> u32 {
    if client == 0 {
        UNKNOWN
    } else {
        client
    }
}
