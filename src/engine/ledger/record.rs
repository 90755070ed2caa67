//! One record of the ledger: a client or a job, in atomics; its name is in a cache line of its own.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::pool::place::Place;
use crate::show::lanes::Shown;
use crate::show::name::Name;
use crate::slots::{State, Word};
use crate::sync::{AtomicI32, AtomicU16, AtomicU32, AtomicU64};
use crate::{space, sys};

use super::reason::Reason;

/// In a client's `implicit`: its implicit slot is in use, by a job that has no record yet.
pub const UNRECORDED: u64 = u64::MAX;

/// In [`Record::claimer`]: a process that is no client yet.
const ENTERS: u16 = u16::MAX;

/// In [`Record::since`]: a job that neither waits nor runs yet.
pub const UNTIMED: u64 = u64::MAX;

/// In a held job's [`Record::home`]: its helper has the program open, which may be deleted from now on.
pub const OPENED: u32 = 1;

/// A client or a job. What is looked for in scans is in the first of two cache lines.
#[repr(C, align(128))]
pub struct Record {
    pub(crate) word: AtomicU32,
    /// Where the kernel puts a token's byte that this job, or its client for it, reads from the pool.
    pub landing: Place,
    /// Where it is shown.
    pub lane: Shown,
    reason: AtomicU16,
    /// Who is about to use it: the index of a client, [`ENTERS`], or 0. See [`Record::reserve`].
    claimer: AtomicU16,
    /// The process; 0 while there is none yet.
    pub pid: AtomicI32,
    /// A job's client: the index of its record.
    pub client: AtomicU32,
    /// A client's implicit slot: 0 free, a job ([`super::handle::Handle::pack`]), or [`UNRECORDED`].
    pub implicit: AtomicU64,
    /// Mailbox for a token that this older job must get first.
    pub gift: Place,
    /// Of a client: the job in which it runs ([`super::handle::Handle::compact`]), or 0. Of a held job: 0, or [`OPENED`]. Of a
    /// running job: see [`Record::sleeps`].
    pub home: AtomicU32,
    /// Its process, in the upper half, and when that started, in clock ticks as [`crate::proc::Stat`] has them, if
    /// a guard has seen to it; otherwise 0. A guard that comes later knows by it that the number is that of another
    /// now.
    pub born: AtomicU64,
    /// Since when it waits, or runs, or is a client, in ns (`CLOCK_BOOTTIME`).
    pub since: AtomicU64,
    /// How long it has waited in its client before it was held; once it runs, in all. In ns. Of a client: its parent
    /// when it entered ([`Record::parent`]).
    pub queued: AtomicU64,
    name: [AtomicU64; 8],
}

impl Record {
    /// State and generation, read at once: what is read of the record afterwards may be of a later use,
    /// but then no step under this generation succeeds.
    pub fn now(&self) -> (State, u32) {
        // Acquire: what was written before the state was set is seen with it.
        let word = Word(self.word.load(Acquire));
        (word.state().unwrap_or(State::Free), word.generation())
    }

    /// The state as it is now.
    pub fn state(&self) -> State {
        self.now().0
    }

    /// One legal step, if the record is still in use `generation`; says from which state it went.
    pub(crate) fn step(&self, generation: u32, to: State) -> Option<State> {
        self.step_unless(generation, to, to)
    }

    /// [`Record::step`] from another state than `not`.
    pub(crate) fn step_unless(&self, generation: u32, not: State, to: State) -> Option<State> {
        let mut now = self.word.load(Acquire);
        loop {
            let word = Word(now);
            let from = word.state().filter(|s| word.generation() == generation && *s != not)?;
            let next = word.to(to)?;
            // Its place among the held is known with the state. Only its maker makes this step.
            if to == State::Held {
                self.since.store(sys::now(), Relaxed);
            }
            let since = self.since.load(Relaxed);
            // AcqRel: publishes the fields written before, sees those of the step before.
            match self.word.compare_exchange_weak(now, next.0, AcqRel, Acquire) {
                Ok(_) => {
                    // Running since now; a wait is no new beginning.
                    if to.runs() {
                        // An exchange: the job may have ended meanwhile, and this be the time of the next one.
                        let _ = self.since.compare_exchange(since, sys::now(), Relaxed, Relaxed);
                    }
                    return Some(from);
                }
                Err(seen) => now = seen,
            }
        }
    }

    /// Tells its process that the wait is over.
    pub(crate) fn wake(&self) {
        let pid = self.pid.load(Relaxed);
        // A broken ledger must not signal a group, or everybody (kill(2)). Elsewhere it is the pid of a stranger: the
        // job looks after itself soon.
        if pid > 0 && !space::is_elsewhere() {
            let _ = sys::kill(pid, crate::ledger::signals::WAKE);
        }
    }

    /// Both places.
    pub fn places(&self) -> [&Place; 2] {
        [&self.landing, &self.gift]
    }

    /// Does it hold a byte now?
    pub fn has_token(&self, generation: u32) -> bool {
        self.places().iter().any(|p| p.is_full(generation))
    }

    /// Of a client: the pid of its parent when it entered.
    pub fn parent(&self) -> i32 {
        i32::try_from(self.queued.load(Relaxed)).unwrap_or(0)
    }

    /// Does this job run and sleep, so that its slot is lent ([`crate::lending`])? One that waits to come back does.
    pub fn sleeps(&self, generation: u32) -> bool {
        // Relaxed: a wrong answer is one of the moment before.
        let seen = self.home.load(Relaxed);
        [LENT, LIGHT, PARKED].iter().any(|kind| seen == sleep(generation, *kind))
    }

    /// The guard's word for [`Record::sleeps`], and the job's own when it has woken up.
    pub fn set_sleeps(&self, generation: u32, sleeps: bool) {
        self.note_sleep(generation, if sleeps { sleep(generation, LENT) } else { 0 });
    }

    /// It sleeps, and what it does when it wakes up is little.
    pub fn set_sleeps_lightly(&self, generation: u32) {
        self.note_sleep(generation, sleep(generation, LIGHT));
    }

    fn note_sleep(&self, generation: u32, to: u32) {
        let seen = self.home.load(Relaxed);
        // An exchange: the record may be of another use by now, and this be the home of a client.
        if seen != to && seen != sleep(generation, PARKED) && self.now().1 == generation {
            let _ = self.home.compare_exchange(seen, to, Relaxed, Relaxed);
        }
    }

    /// The job has woken up, and waits until [`Record::unpark`]. Returns the word that says so; `None`: its slot is not
    /// lent any more.
    pub fn park(&self, generation: u32) -> Option<u32> {
        let parked = sleep(generation, PARKED);
        for kind in [LENT, LIGHT] {
            // AcqRel: whoever sees it waiting sees what it has done before.
            let seen = self.home.compare_exchange(sleep(generation, kind), parked, AcqRel, Acquire);
            if seen.is_ok() || seen == Err(parked) {
                return Some(parked);
            }
        }
        None
    }

    /// See [`Record::set_sleeps_lightly`].
    pub fn is_light(&self, generation: u32) -> bool {
        self.home.load(Relaxed) == sleep(generation, LIGHT)
    }

    /// Does it wait to come back?
    pub fn is_parked(&self, generation: u32) -> bool {
        self.home.load(Relaxed) == sleep(generation, PARKED)
    }

    /// Lets it go on.
    pub fn unpark(&self, generation: u32) {
        let parked = sleep(generation, PARKED);
        if self.home.compare_exchange(parked, 0, AcqRel, Relaxed).is_ok() {
            sys::wake_word(&self.home);
        }
    }

    /// Names the job, for those who look.
    pub fn set_name(&self, name: &Name) {
        let mut bytes = name.bytes().iter();
        for at in &self.name {
            let word = [(); 8].map(|()| bytes.next().copied().unwrap_or(0));
            at.store(u64::from_le_bytes(word), Relaxed);
        }
    }

    /// The name, as far as it is known.
    pub fn name(&self) -> Name {
        let mut name = Name::default();
        let words = self.name.iter().map(|word| word.load(Relaxed).to_le_bytes());
        words.flatten().take_while(|b| *b != 0).for_each(|b| name.push([b]));
        name
    }

    /// Why it runs without a slot.
    pub fn reason(&self) -> Reason {
        let reason = self.reason.load(Relaxed) & REASON;
        Reason::ALL.into_iter().find(|r| *r as u16 == reason).unwrap_or(Reason::None)
    }

    /// Notes why this use of the record runs without a slot.
    pub(crate) fn set_reason(&self, generation: u32, why: Reason) {
        let seen = self.reason.load(Relaxed);
        if seen | REASON == stamp(generation) | REASON {
            // Relaxed: the step that follows publishes it. It fails where the record is used for another job.
            let to = stamp(generation) | why as u16;
            let _ = self.reason.compare_exchange(seen, to, Relaxed, Relaxed);
        }
    }

    /// Reserves a free record for `client` (0: one that enters): until [`Record::release`] nobody else claims it. So
    /// whoever is stopped in the middle of a claim, however long, finds the record unused by others. Returns its
    /// word.
    pub(crate) fn reserve(&self, client: u32) -> Option<Word> {
        Word(self.word.load(Relaxed)).to(State::Claim)?;
        let claimer = claimer(client);
        // Acquire: what the use before has written comes before what is written now.
        self.claimer.compare_exchange(0, claimer, Acquire, Relaxed).ok()?;
        // It may have been claimed since it was looked at, but not from now on.
        let word = Word(self.word.load(Acquire));
        if word.to(State::Claim).is_none() {
            self.release(client);
            return None;
        }
        Some(word)
    }

    /// Ends `reserve`; also for one who was killed over it.
    pub fn release(&self, client: u32) {
        // Release: pairs with the next `reserve`. An exchange: the guard may have taken this claimer for dead.
        let _ = self.claimer.compare_exchange(claimer(client), 0, Release, Relaxed);
    }

    /// The client that has reserved this record; 0: one that enters. `None`: nobody.
    pub fn reserved_by(&self) -> Option<u32> {
        match self.claimer.load(Relaxed) {
            0 => None,
            ENTERS => Some(0),
            client => Some(client.into()),
        }
    }

    /// Makes it that of a new job of `client`, or of a process `pid` that enters. Only who has reserved it does so.
    pub(crate) fn reset(&self, generation: u32, client: u32, pid: i32) {
        self.places().iter().for_each(|p| p.reset(generation));
        self.reason.store(stamp(generation), Relaxed);
        self.pid.store(pid, Relaxed);
        self.born.store(0, Relaxed);
        self.client.store(client, Relaxed);
        self.implicit.store(0, Relaxed);
        self.since.store(UNTIMED, Relaxed);
        self.queued.store(0, Relaxed);
        self.lane.reset(generation);
        self.home.store(0, Relaxed);
        let [first, ..] = &self.name;
        first.store(0, Relaxed);
    }
}

/// The bits of [`Record::reason`] that hold one.
const REASON: u16 = 7;

/// The others: of which use it is, as far as they go.
fn stamp(generation: u32) -> u16 {
    (generation as u16).wrapping_shl(REASON.count_ones())
}

/// In [`Record::home`] of a running job: it sleeps, and its slot is lent.
const LENT: u32 = 2;
/// The same, and it will not compute for long.
const LIGHT: u32 = 3;
/// It has woken up, and waits.
const PARKED: u32 = 4;

/// One of these, of this use of the record: neither 0 nor [`OPENED`].
fn sleep(generation: u32, kind: u32) -> u32 {
    generation.wrapping_shl(3) | kind
}

/// Does this word of a job's [`Record::home`] say that its process must wait before it goes on? Another thread of it
/// may do so already.
pub fn is_lent(word: u32) -> bool {
    matches!(word & 7, LENT | LIGHT | PARKED)
}

fn claimer(client: u32) -> u16 {
    if client == 0 {
        ENTERS
    } else {
        client as u16
    }
}
