//! One record of the ledger: a client or a job, in atomics; its name is in a cache line of its own.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use crate::lanes::Shown;
use crate::ledger::RECORDS;
use crate::slots::{State, Token, Word};
use crate::space;
use crate::sync::{AtomicI32, AtomicU16, AtomicU32, AtomicU64};
use crate::sys;
use crate::text::Text;

/// In a client's `implicit`: its implicit slot is in use, by a job that has no record yet.
pub const UNRECORDED: u64 = u64::MAX;

/// In [`Record::claimer`]: a process that is no client yet.
const ENTERS: u16 = u16::MAX;

/// In [`Record::since`]: a job that neither waits nor runs yet.
pub const UNTIMED: u64 = u64::MAX;

/// In a held job's [`Record::home`]: its helper has the program open, which may be deleted from now on.
pub const OPENED: u32 = 1;

/// Why a job runs without a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum Reason {
    /// It does not.
    None = 0,
    /// Reads from a pipe that a running sibling writes: a pipeline is one job.
    Partner = 1,
    /// The pool has gone: its last writer closed it.
    PoolGone = 2,
    /// It could not be held (no helper, a target that cannot be foretold).
    Unheld = 3,
    /// A signal handler of the host jumped out of its wait.
    Left = 4,
    /// All running jobs of its client wait for others of the tree, perhaps for this one.
    Stall = 5,
}

impl Reason {
    pub(crate) const ALL: [Self; 6] =
        [Self::None, Self::Partner, Self::PoolGone, Self::Unheld, Self::Left, Self::Stall];

    /// In words, for those who look.
    pub fn text(self) -> &'static str {
        match self {
            Self::None => "nobody knows why",
            Self::Partner => "reads what a running job writes",
            Self::PoolGone => "the pool is gone",
            Self::Unheld => "it cannot be held",
            Self::Left => "a signal handler left its wait",
            Self::Stall => "the running jobs wait for others",
        }
    }
}

/// What a job is called.
pub type Name = Text<64>;

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
    /// A client's implicit slot: 0 free, a job ([`Handle::pack`]), or [`UNRECORDED`].
    pub implicit: AtomicU64,
    /// Where a younger sibling puts a byte that is due to this job first.
    pub gift: Place,
    /// Of a client: the job in which it runs ([`Handle::compact`]), or 0. Of a held job: 0, or [`OPENED`]. Of a
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

/// Room for one token's byte ([`Token`]). Everything but the kernel's own write is a compare-and-swap
/// under the generation that the caller means: AcqRel, since a byte changes hands by it.
pub struct Place(AtomicU32);

impl Place {
    /// Where read(2) is to put a byte.
    pub fn address(&self) -> *mut u8 {
        let low = if cfg!(target_endian = "big") { 3 } else { 0 };
        self.0.as_ptr().cast::<u8>().wrapping_add(low)
    }

    fn now(&self, generation: u32) -> Option<Token> {
        Some(Token(self.0.load(Acquire))).filter(|t| t.generation() == generation)
    }

    /// Changes what is there, if it is still of this use and `f` wants to; gives what was there.
    fn change(&self, generation: u32, f: impl Fn(Token) -> Option<Token>) -> Option<Token> {
        loop {
            let seen = self.now(generation)?;
            let next = f(seen)?;
            if self.0.compare_exchange(seen.0, next.0, AcqRel, Acquire).is_ok() {
                return Some(seen);
            }
        }
    }

    /// Announces a read(2). `false`: a byte is there already, or none may come.
    #[must_use]
    pub fn announce(&self, generation: u32) -> bool {
        let reading = Token::reading(generation);
        let free = |t| t == Token::empty(generation) || t == reading;
        self.change(generation, |t| free(t).then_some(reading)).is_some()
    }

    /// Says that no read(2) is under way any more, and that it has put nothing there. What is there all the same is
    /// no token: the ledger was broken.
    pub fn forgo(&self, generation: u32) {
        let empty = Token::empty(generation);
        self.change(generation, |t| t.is_reading().then_some(empty));
    }

    /// Says that read(2) has put a byte there. Until then only the reader may take it out, or who has
    /// seen the reader dead.
    pub fn mark(&self, generation: u32) {
        self.change(generation, |t| Some(t.marked()));
    }

    /// Is a read(2) announced, which may put a byte there?
    pub fn is_reading(&self, generation: u32) -> bool {
        self.now(generation).is_some_and(Token::is_reading)
    }

    /// Is there a byte whose reader is done with it?
    pub fn is_marked(&self, generation: u32) -> bool {
        self.now(generation).is_some_and(Token::is_marked)
    }

    /// Is there a byte?
    pub fn is_full(&self, generation: u32) -> bool {
        self.now(generation).is_some_and(|t| t.byte().is_some())
    }

    /// Makes the page writable that it is on, if the ledger is on a disk: that takes long, and a byte that is on
    /// its way here would be lost with who is killed over it.
    pub fn touch(&self, generation: u32) {
        self.change(generation, Some);
    }

    /// Takes the byte out, if there is one. The caller puts it where it belongs at once.
    #[must_use]
    pub fn take(&self, generation: u32) -> Option<u8> {
        let empty = Token::empty(generation);
        self.change(generation, |t| t.byte().map(|_| empty))?.byte()
    }

    /// [`Place::take`], and no byte can be put in any more.
    #[must_use]
    pub fn seal(&self, generation: u32) -> Option<u8> {
        self.change(generation, |_| Some(Token::sealed(generation)))?.byte()
    }

    /// Seals an empty place. `false`: a byte has come.
    pub fn seal_empty(&self, generation: u32) -> bool {
        let sealed = Token::sealed(generation);
        self.change(generation, |t| t.byte().is_none().then_some(sealed));
        !self.is_full(generation)
    }

    /// Puts a byte in, if the place is empty and not sealed.
    #[must_use]
    pub fn put(&self, generation: u32, byte: u8) -> bool {
        let full = Token::full(generation, byte);
        self.change(generation, |t| (t == Token::empty(generation)).then_some(full)).is_some()
    }

    /// Undoes a [`Place::take`] or [`Place::seal`] whose byte cannot go where it belongs now. `false`: a read
    /// has been announced meanwhile.
    #[must_use]
    pub fn put_back(&self, generation: u32, byte: u8) -> bool {
        let full = Token::full(generation, byte);
        let unused = |t| t == Token::empty(generation) || t == Token::sealed(generation);
        self.change(generation, |t| unused(t).then_some(full)).is_some()
    }

    /// Starts a new use.
    fn reset(&self, generation: u32) {
        self.0.store(Token::empty(generation).0, Relaxed);
    }
}

const INDEX_BITS: u32 = RECORDS.trailing_zeros();

/// A record under one generation. The generation makes old handles harmless.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handle {
    /// Which record.
    pub index: u32,
    /// Which use of it.
    pub generation: u32,
}

impl Handle {
    /// In one word, never 0.
    pub fn pack(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// [`Handle::pack`] undone; `None` for 0.
    pub fn unpack(word: u64) -> Option<Self> {
        (word != 0).then_some(Self { index: word as u32, generation: (word >> 32) as u32 })
    }

    /// In half a word: the index takes as many bits as it needs. Never 0.
    pub fn compact(self) -> u32 {
        self.generation.wrapping_shl(INDEX_BITS) | self.index
    }

    /// [`Handle::compact`] undone; `None` for 0.
    pub fn expand(word: u32) -> Option<Self> {
        let index = word & (RECORDS as u32).wrapping_sub(1);
        (word != 0).then_some(Self { index, generation: word.wrapping_shr(INDEX_BITS) })
    }
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
            let _ = sys::kill(pid, crate::hold::WAKE);
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
