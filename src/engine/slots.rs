//! The states of a job, and where a free slot goes. Pure: no system call, no clock.
//!
//! # The invariants
//!
//! A client owns one *implicit* slot from its start to its end; it is never in the pool. Every other slot is a *token*:
//! a byte read from the pool that goes back exactly once, with the same value.
//!
//! 1. At most one job of a client is `Implicit`.
//! 2. A byte lies in the record of exactly one job, from the `read` to the `write`. The process that swaps it out of
//!    the record writes it back; no other can.
//! 3. A record is used for one job after another, each time with a new generation, so that a late step for an earlier
//!    job changes nothing.
//! 4. Only `Ending` frees a slot. A free slot goes first to a job that computes without a slot; then it replaces the
//!    token of a running job, which goes back to the pool; then it starts the job that has waited longest; then it goes
//!    to a job that sleeps without a slot. [`crate::lending`] defines what else a job may start on.

/// The state of one record of the ledger.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// Not in use.
    Free = 0,
    /// Claimed and being filled in by its client; no process yet.
    Claim = 1,
    /// Not a job: the record of a client.
    Client = 2,
    /// A job that exists or is about to, and has no slot yet.
    Held = 3,
    /// A held job in its wait: a grant must wake it.
    Waiting = 4,
    /// Runs on its client's implicit slot.
    Implicit = 5,
    /// Runs on a token.
    Token = 6,
    /// Runs without a slot.
    Overdraft = 7,
    /// Ended; the process that made this step gives back what the job had and frees the record.
    Ending = 8,
    /// Runs on the slot of a job that sleeps ([`crate::lending`]).
    Borrowed = 9,
}

impl State {
    /// By their numbers.
    const ALL: [Self; 10] = [
        Self::Free,
        Self::Claim,
        Self::Client,
        Self::Held,
        Self::Waiting,
        Self::Implicit,
        Self::Token,
        Self::Overdraft,
        Self::Ending,
        Self::Borrowed,
    ];

    /// Returns whether this is a job that runs or is held.
    pub fn is_job(self) -> bool {
        self >= Self::Held && self != Self::Ending
    }

    /// Returns whether the job waits for a slot.
    pub fn is_held(self) -> bool {
        matches!(self, Self::Held | Self::Waiting)
    }

    /// Returns whether the job runs on a slot of its own.
    pub fn is_backed(self) -> bool {
        matches!(self, Self::Implicit | Self::Token)
    }

    /// Returns whether the job runs, with or without a slot.
    pub fn runs(self) -> bool {
        self.is_backed() || matches!(self, Self::Overdraft | Self::Borrowed)
    }

    /// Returns whether the job runs or may run: a held job that has not come to its wait may be a forked process that
    /// runs.
    pub fn may_run(self) -> bool {
        self.runs() || self == Self::Held
    }

    /// Returns whether the step from this state to `to` is legal.
    pub fn may_become(self, to: Self) -> bool {
        use State::*;
        matches!(
            (self, to),
            (Free, Claim)
                | (Claim, Client | Held | Implicit | Token | Overdraft | Borrowed)
                | (Held, Waiting)
                | (Held | Waiting, Implicit | Token | Overdraft | Borrowed)
                | (Borrowed, Token)
                | (Token | Overdraft | Borrowed, Implicit)
                | (
                    Claim | Client | Held | Waiting | Implicit | Token | Overdraft | Borrowed,
                    Ending
                )
                | (Ending, Free)
        )
    }
}

/// The generations of a record: 48 bits. At a thousand starts in a second on one record all are used after 8,900 years.
pub const GENERATIONS: u64 = 0xffff_ffff_ffff;

/// The first word of a record: state and generation together, so that one compare-and-swap changes both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Word(pub u64);

impl Word {
    /// The state. Returns None if the shared memory holds an invalid value.
    pub fn state(self) -> Option<State> {
        State::ALL.get((self.0 & 0xff) as usize).copied()
    }

    /// How often the record has been used.
    pub fn generation(self) -> u64 {
        self.0 >> 8 & GENERATIONS
    }

    /// The word after a legal step. A record that becomes free starts a new generation.
    pub fn to(self, to: State) -> Option<Self> {
        if !self.state()?.may_become(to) {
            return None;
        }
        let step = u64::from(to == State::Free);
        let generation = self.generation().wrapping_add(step) & GENERATIONS;
        Some(Self(generation << 8 | to as u64))
    }
}

/// A record's place for a token's byte: the byte, which the kernel's `read` may write, its kind, and the generation of
/// the record, so that no process takes a byte of another use.
///
/// Two bytes of the word hold the kind. The byte alone makes a token only while a `read` is announced. So zeroed memory
/// holds no token, and a ledger in which a byte was overwritten may have lost a token, but never holds one that nobody
/// took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Token(pub u64);

impl Token {
    /// The byte's value while there is none. No known server uses it for tokens, so a byte that landed counts even if
    /// its reader was killed before it could mark it.
    const NOTHING: u8 = 0x9d;
    /// The bits of the kind: two bits, stored twice.
    const KIND: u64 = 0xc000_0000_0000_0300;
    /// No byte.
    const EMPTY: u64 = 0;
    /// No byte yet; a `read` may put one in.
    const READING: u64 = 0x4000_0000_0000_0100;
    /// A byte that its reader or giver has marked.
    const FULL: u64 = 0x8000_0000_0000_0200;
    /// No byte, and none may be put in.
    const SEALED: u64 = 0xc000_0000_0000_0300;

    fn new(kind: u64, generation: u64, byte: u8) -> Self {
        Self(kind | generation << 10 & !Self::KIND | u64::from(byte))
    }

    /// No byte, in this generation.
    pub fn empty(generation: u64) -> Self {
        Self::new(Self::EMPTY, generation, Self::NOTHING)
    }

    /// No byte yet, but a `read` is about to put one in.
    pub fn reading(generation: u64) -> Self {
        Self::new(Self::READING, generation, Self::NOTHING)
    }

    /// No byte, and none may be put in: the job has ended.
    pub fn sealed(generation: u64) -> Self {
        Self::new(Self::SEALED, generation, Self::NOTHING)
    }

    /// This byte, put in by its giver.
    pub fn full(generation: u64, byte: u8) -> Self {
        Self::new(Self::FULL, generation, byte)
    }

    /// The word once the `read` has returned: now each of the 256 values counts as a byte.
    pub fn marked(self) -> Self {
        Self(self.0 & !Self::KIND | Self::FULL)
    }

    fn is(self, kind: u64) -> bool {
        self.0 & Self::KIND == kind
    }

    /// Returns whether its reader or giver has marked the byte.
    pub fn is_marked(self) -> bool {
        self.is(Self::FULL)
    }

    /// Returns whether a `read` is announced.
    pub fn is_reading(self) -> bool {
        self.is(Self::READING)
    }

    /// The generation of the record.
    pub fn generation(self) -> u64 {
        (self.0 & !Self::KIND) >> 10
    }

    /// The byte, if there is one.
    pub fn byte(self) -> Option<u8> {
        let byte = self.0 as u8;
        let landed = self.is_reading() && byte != Self::NOTHING;
        (self.is_marked() || landed).then_some(byte)
    }
}

/// One job as [`next`] sees it.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// The job, in the caller's representation.
    pub job: u64,
    /// The job's state.
    pub state: State,
    /// When it entered this state, in ns; the smallest has waited longest.
    pub since: u64,
    /// Whether it runs and sleeps ([`crate::lending`]).
    pub sleeps: bool,
}

/// What to do with a free implicit slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// No job needs it.
    Keep,
    /// Make this running job the implicit job; its token, if it has one, goes back.
    Back(u64),
    /// Start this held job on it.
    Grant(u64),
}

/// Chooses which of a client's jobs gets its free implicit slot.
pub fn next(jobs: impl Iterator<Item = View>) -> Next {
    const HELD: u8 = 2;
    let rank = |j: &View| match j.state {
        State::Overdraft | State::Borrowed if j.sleeps => Some(3),
        State::Overdraft | State::Borrowed => Some(0),
        State::Token => Some(1),
        State::Held | State::Waiting => Some(HELD),
        _ => None,
    };
    let best = jobs.filter_map(|j| rank(&j).map(|r| (r, j.since, j.job))).min();
    match best {
        None => Next::Keep,
        Some((HELD, _, job)) => Next::Grant(job),
        Some((_, _, job)) => Next::Back(job),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn states_have_their_numbers() {
        for (number, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(state as usize, number);
            assert_eq!(Word(number as u64).state(), Some(state));
        }
    }

    #[test]
    fn words_keep_state_and_generation_apart() {
        let w = Word(super::GENERATIONS << 8 | State::Ending as u64);
        let free = w.to(State::Free).unwrap();
        assert_eq!((free.state(), free.generation()), (Some(State::Free), 0));
        assert_eq!(Word(0xee).state(), None);
    }

    /// Each generation that differs in how its bits lie beside the others.
    const GENERATIONS: [u64; 5] = [0, 1, 0x3f, 0x40, super::GENERATIONS];

    #[test]
    fn every_byte_value_is_a_token_once_marked() {
        for generation in GENERATIONS {
            let reading = Token::reading(generation);
            assert_eq!(reading.byte(), None);
            for b in 0..=255u8 {
                // The kernel writes the low byte only.
                let landed = Token(reading.0 & !0xff | u64::from(b));
                assert_eq!(landed.marked().byte(), Some(b));
                assert_eq!(landed.marked(), Token::full(generation, b));
                assert_eq!(landed.generation(), generation);
                assert_eq!(landed.byte().is_some(), landed != reading);
            }
        }
    }

    #[test]
    fn no_other_byte_makes_a_token() {
        assert_eq!(Token(0).byte(), None, "memory of zeros");
        for generation in GENERATIONS {
            let none = [Token::empty(generation), Token::sealed(generation)];
            for (token, at) in none.into_iter().flat_map(|t| (0..8).map(move |at| (t, at))) {
                assert_eq!((token.byte(), token.generation()), (None, generation));
                for mask in 0..=255u64 {
                    let broken = Token(token.0 ^ mask << (at * 8));
                    let counts = broken.generation() == generation && broken.byte().is_some();
                    assert!(!counts, "{token:x?} {broken:x?}");
                }
            }
        }
    }

    /// A model of one client over a pool: what the ledger does with compare-and-swap, done one by one.
    #[derive(Default)]
    struct Model {
        jobs: Vec<(State, bool, u64)>, // state, has a token, since
        pool: u32,
        clock: u64,
    }

    impl Model {
        fn implicit(&self) -> usize {
            self.jobs.iter().filter(|j| j.0 == State::Implicit).count()
        }
        fn tokens(&self) -> u32 {
            self.jobs.iter().filter(|j| j.1).count() as u32
        }
        fn spawn(&mut self) {
            self.clock += 1;
            let (state, token) = if self.implicit() == 0 {
                (State::Implicit, false)
            } else if self.pool > 0 {
                self.pool -= 1;
                (State::Token, true)
            } else {
                (State::Held, false)
            };
            self.jobs.push((state, token, self.clock));
        }
        fn give(&mut self, i: usize) {
            if std::mem::take(&mut self.jobs[i].1) {
                self.pool += 1;
            }
        }
        fn exit(&mut self, i: usize) {
            self.give(i);
            self.jobs.remove(i);
            self.settle();
        }
        fn settle(&mut self) {
            if self.implicit() > 0 {
                return;
            }
            let views = self.jobs.iter().enumerate().map(|(i, j)| View {
                job: i as u64,
                state: j.0,
                since: j.2,
                sleeps: false,
            });
            if let Next::Back(i) | Next::Grant(i) = next(views) {
                assert!(self.jobs[i as usize].0.may_become(State::Implicit));
                self.jobs[i as usize].0 = State::Implicit;
                self.give(i as usize);
            }
        }
        fn token_arrives(&mut self) {
            let held = self.jobs.iter().position(|j| j.0.is_held());
            if let (Some(i), true) = (held, self.pool > 0) {
                self.pool -= 1;
                self.jobs[i].0 = State::Token;
                self.jobs[i].1 = true;
            }
        }
        fn overdraw(&mut self) {
            if let Some(j) = self.jobs.iter_mut().find(|j| j.0.is_held()) {
                j.0 = State::Overdraft;
            }
        }
    }

    proptest! {
        #[test]
        fn tokens_are_conserved_and_never_above_n(
            n in 0u32..5,
            steps in proptest::collection::vec((0u8..8, 0usize..64), 0..200),
        ) {
            let mut m = Model { pool: n, ..Model::default() };
            for (what, which) in steps {
                match what {
                    0..=3 => m.spawn(),
                    4 => m.token_arrives(),
                    5 => m.overdraw(),
                    _ if m.jobs.is_empty() => {}
                    _ => m.exit(which % m.jobs.len()),
                }
                prop_assert_eq!(m.pool + m.tokens(), n);
                prop_assert!(m.implicit() <= 1);
                let backed = m.jobs.iter().filter(|j| j.0.is_backed()).count() as u32;
                prop_assert!(backed <= n + 1);
                // No held job waits while its client's implicit slot is free.
                prop_assert!(m.implicit() == 1 || m.jobs.is_empty());
            }
            while !m.jobs.is_empty() {
                m.exit(0);
            }
            prop_assert_eq!(m.pool, n);
        }

        #[test]
        fn illegal_steps_are_refused(word in any::<u64>(), to in 0usize..10) {
            let (word, to) = (Word(word), State::ALL[to]);
            match word.to(to) {
                None => {}
                Some(next) => {
                    prop_assert!(word.state().unwrap().may_become(to));
                    prop_assert_eq!(next.state(), Some(to));
                }
            }
        }

        #[test]
        fn the_longest_waiting_is_granted(since in proptest::collection::vec(any::<u64>(), 1..20)) {
            let jobs = since.iter().enumerate().map(|(i, s)| View {
                job: i as u64, state: State::Waiting, since: *s, sleeps: false,
            });
            let oldest = since.iter().enumerate().min_by_key(|(i, s)| (**s, *i)).unwrap().0;
            prop_assert_eq!(next(jobs), Next::Grant(oldest as u64));
        }
    }
}
