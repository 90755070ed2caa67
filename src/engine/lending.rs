//! Lending: while everything that runs on a slot sleeps, a held job may run instead. Pure: no system call, no clock.
//!
//! N bounds the jobs that *compute*. A running job *sleeps* if all of its own processes sleep in waits that are no
//! work; processes of other jobs below it do not count ([`crate::watchdog`] decides). Every other running job computes.
//!
//! # The invariants
//!
//! 1. Lending is bookkeeping. No byte moves: the lender's token stays in its record, and goes back once, at its end.
//! 2. Slots are lent to the pool, not to a certain job. A slot is lent only if the jobs that compute, including the one
//!    that starts, are no more than the slots that the pool's jobs have ([`Census::spare`]).
//! 3. Only a job that wakes up, or goes on by rule 7, can raise the number of computing jobs above the number of slots.
//!    Each job above it is a *debt*.
//! 4. Debts are paid first: a token that becomes available, from a job that ends or from the pool, goes to a borrowed
//!    job that computes ([`State::Borrowed`] to `Token`) before a held job gets it. If jobs lack slots, a token that
//!    lies in the pool also goes to a borrowed job that sleeps: jobs below it may compute on its implicit slot.
//! 5. While a job is held and fewer jobs compute than there are slots, one more starts: no job waits for a job that
//!    sleeps. Of several that are held first comes one whose client is in a job itself, since that job can end only when
//!    this one has; but who has waited for a second comes before.
//! 6. A job that wakes up in a call that the library hooks waits there until a slot is spare ([`crate::hold::park`]).
//!    Such a job comes back before a held job starts. Only a job that has never computed for long goes on at once, one
//!    at a time, while there is no debt, until it sleeps again. So if all jobs sleep in such calls, at most one job is
//!    above the number of slots.
//! 7. If no parked job has come back for three seconds, the one that has waited longest goes on although no slot is
//!    spare: it may be the one that ends a job that computes, as a driver of tests does whose child is late. A job that has no
//!    jobs of its own and has computed for long must wait for a minute, and with each job above the slots the time is
//!    four times longer.
//! 8. A job of which one thread is active passes its slot on when that falls asleep in such a call, if jobs are parked
//!    often, if its slot was lent when it woke up last, or if a job of its own is held: to the job that has been parked
//!    longest, at once; else, unless jobs are parked often, to a held job of its own or of its client; else to the next
//!    one that wakes up or starts ([`crate::ledger::passing`]). One job less computes, and one more. When it wakes up it
//!    takes a slot that was passed on, or waits (rule 6). For any other held job it counts as computing until the guard
//!    has seen that it sleeps: a held job that starts is one job more for the machine, a parked one is not. If a job that
//!    sleeps ends, a slot that nobody has taken is not passed on any more: it may be that job's. A borrowed job that ends
//!    while it computes passes its slot on, too, and to any held job.
//! 9. A new job starts at once on a slot that was passed on, if no job is held: so a shell with a background job that
//!    sleeps starts its commands one after the other on that slot.
//!
//! Compared with a run without the library, lending only makes it hold back less, so it makes no build less correct.

use crate::slots::State;

/// The running jobs of a pool, counted at one time.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Census {
    /// The slots that the jobs have.
    pub slots: u32,
    /// How many jobs compute.
    pub computing: u32,
    /// How many jobs have passed their slot on, but have not been asleep for long (rule 8).
    pub passed: u32,
    /// How many of the computing jobs are borrowed.
    pub owed: u32,
}

impl Census {
    /// Counts one job. `shares`: its client runs in another job, so its implicit slot is that job's slot.
    pub fn add(&mut self, state: State, shares: bool, sleeps: bool) {
        let has_slot = state == State::Token || state == State::Implicit && !shares;
        self.slots = self.slots.saturating_add(has_slot.into());
        self.computing = self.computing.saturating_add((!sleeps).into());
        let owed = state == State::Borrowed && !sleeps;
        self.owed = self.owed.saturating_add(owed.into());
    }

    /// Counts one of the computing jobs as one that has passed its slot on.
    pub fn pass(&mut self, state: State) {
        self.passed = self.passed.saturating_add(1);
        self.computing = self.computing.saturating_sub(1);
        self.owed = self.owed.saturating_sub((state == State::Borrowed).into());
    }

    /// How many parked jobs may come back on slots whose jobs sleep.
    pub fn spare(&self) -> u32 {
        self.slots.saturating_sub(self.computing)
    }

    /// How many held jobs may start on such slots.
    pub fn spare_for_held(&self) -> u32 {
        self.spare().saturating_sub(self.passed)
    }

    /// How many more jobs compute than there are slots.
    pub fn debt(&self) -> u32 {
        self.computing.saturating_sub(self.slots)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a running job is at.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum At {
        Computes,
        Sleeps,
        /// Sleeps, and has passed its slot on.
        Passed,
        /// Has woken up, and waits to come back.
        Parked,
    }

    /// State, has a token, what it is at.
    type Job = (State, bool, At);

    /// The jobs of one client on a pool, as the ledger and the guard treat them.
    #[derive(Default)]
    struct Model {
        jobs: Vec<Job>,
        pool: u32,
        /// Slots that were passed on, and not taken yet.
        passed: u32,
        /// Wake-ups that nobody saw since a slot was lent last.
        woken: u32,
    }

    impl Model {
        fn census(&self) -> Census {
            let mut census = Census::default();
            for (state, _, at) in self.jobs.iter().filter(|j| j.0.runs()) {
                let sleeps = matches!(at, At::Sleeps | At::Parked);
                census.add(*state, false, sleeps);
                if *at == At::Passed {
                    census.pass(*state);
                }
            }
            census
        }

        fn find(&self, is: impl Fn(&Job) -> bool) -> Option<usize> {
            self.jobs.iter().position(is)
        }

        fn creditors(&self) -> usize {
            self.jobs.iter().filter(|j| Self::is_creditor(j)).count()
        }

        fn is_creditor(job: &Job) -> bool {
            job.0 == State::Borrowed && matches!(job.2, At::Computes | At::Parked)
        }

        fn creditor(&self) -> Option<usize> {
            self.find(Self::is_creditor)
        }

        fn parked(&self) -> Option<usize> {
            self.find(|j| j.0.runs() && j.2 == At::Parked)
        }

        fn spawn(&mut self) {
            let implicit = self.find(|j| j.0 == State::Implicit).is_none();
            let state = if implicit { State::Implicit } else { State::Held };
            let is_first = self.find(|j| j.0.is_held()).is_none();
            self.jobs.push((state, false, At::Computes));
            self.tokens_come();
            if let Some((State::Held, ..)) = self.jobs.last().filter(|_| is_first) {
                self.start_left();
            }
        }

        /// The first held job starts on a slot that was passed on.
        fn start_left(&mut self) {
            if self.passed > 0 {
                if let Some(held) = self.find(|j| j.0.is_held()) {
                    (self.jobs[held].0, self.passed) = (State::Borrowed, self.passed - 1);
                }
            }
        }

        /// Each token in the pool goes to whom it is due.
        fn tokens_come(&mut self) {
            while self.pool > 0 {
                let Some(to) = self.creditor().or_else(|| self.find(|j| j.0.is_held())) else {
                    return;
                };
                self.pool -= 1;
                self.jobs[to].0 = State::Token;
                self.jobs[to].1 = true;
            }
        }

        /// What the guard does: the slots that were passed on are counted anew.
        fn lend(&mut self) {
            self.passed = 0;
            while self.census().spare() > 0 {
                let held = self.find(|j| j.0.is_held());
                let held = held.filter(|_| self.census().spare_for_held() > 0);
                let Some(next) = self.parked().or(held) else { break };
                let job = &mut self.jobs[next];
                if job.2 == At::Parked {
                    job.2 = At::Computes;
                } else {
                    job.0 = State::Borrowed;
                    self.woken = 0;
                }
                assert!(self.census().computing <= self.census().slots, "lent more than there was");
            }
            self.passed = self.census().spare();
        }

        fn passes(&mut self, at: usize) {
            let job = &mut self.jobs[at];
            if !job.0.runs() || job.2 != At::Computes {
                return;
            }
            job.2 = At::Passed;
            if self.census().debt() > 0 || self.census().spare() == 0 {
                // It was above the slots.
                return;
            }
            if !self.leave_one() {
                self.start_left();
            }
        }

        /// Returns whether a parked job has taken it.
        fn leave_one(&mut self) -> bool {
            let parked = self.parked();
            match parked {
                Some(next) => self.jobs[next].2 = At::Computes,
                None => self.passed += 1,
            }
            parked.is_some()
        }

        /// A parked job has waited for long.
        fn is_overdue(&mut self, at: usize) {
            let job = &mut self.jobs[at];
            if job.0.runs() && job.2 == At::Parked {
                job.2 = At::Computes;
                self.woken += 1;
            }
        }

        fn end(&mut self, at: usize) {
            let leaves = self.census().debt() == 0;
            let (state, token, was) = self.jobs.remove(at);
            if leaves && (state, was) == (State::Borrowed, At::Computes) && !self.leave_one() {
                self.start_left();
            }
            if was != At::Computes {
                self.passed = self.passed.saturating_sub(1);
            }
            if token {
                let owed = self.creditors();
                self.pool += 1;
                self.tokens_come();
                assert!(owed == 0 || self.creditors() < owed, "a held job was first");
            }
            if state == State::Implicit {
                self.settle();
            }
        }

        fn settle(&mut self) {
            use crate::slots::{next, Next, View};
            let views = self.jobs.iter().enumerate().map(|(i, j)| View {
                job: i as u64,
                state: j.0,
                since: i as u64,
                sleeps: matches!(j.2, At::Sleeps | At::Passed),
            });
            if let Next::Back(i) | Next::Grant(i) = next(views) {
                self.jobs[i as usize].0 = State::Implicit;
                if std::mem::take(&mut self.jobs[i as usize].1) {
                    self.pool += 1;
                    self.tokens_come();
                }
            }
        }

        fn falls_asleep(&mut self, at: usize) {
            let job = &mut self.jobs[at];
            if job.0.runs() && job.2 == At::Computes {
                job.2 = At::Sleeps;
            }
        }

        /// `seen`: in a call that the library sees.
        fn wakes_up(&mut self, at: usize, seen: bool) {
            let job = &mut self.jobs[at];
            match job.2 {
                At::Sleeps if job.0.runs() && !seen => {
                    (job.2, self.woken) = (At::Computes, self.woken + 1);
                }
                At::Sleeps | At::Passed if job.0.runs() && self.passed > 0 => {
                    (job.2, self.passed) = (At::Computes, self.passed - 1);
                }
                At::Sleeps | At::Passed if job.0.runs() => job.2 = At::Parked,
                _ => {}
            }
            self.tokens_come();
        }

        fn tokens(&self) -> u32 {
            self.jobs.iter().filter(|j| j.1).count() as u32
        }
    }

    proptest! {
        #[test]
        fn what_is_lent_is_there_and_comes_back(
            n in 0u32..5,
            steps in proptest::collection::vec((0u8..12, 0usize..64), 0..300),
        ) {
            let mut m = Model { pool: n, ..Model::default() };
            for (what, which) in steps {
                let before = m.census().debt();
                match what {
                    0..=2 => m.spawn(),
                    3 => m.lend(),
                    _ if m.jobs.is_empty() => {}
                    4 | 5 => m.falls_asleep(which % m.jobs.len()),
                    6 => m.wakes_up(which % m.jobs.len(), false),
                    7 => m.wakes_up(which % m.jobs.len(), true),
                    8 => m.is_overdue(which % m.jobs.len()),
                    9 | 10 => m.passes(which % m.jobs.len()),
                    _ => m.end(which % m.jobs.len()),
                }
                let census = m.census();
                prop_assert_eq!(m.pool + m.tokens(), n);
                prop_assert!(census.slots <= n + 1);
                // Only who wakes, or has waited for long, brings them above the slots.
                // A slot may still be left though nobody saw who has woken up meanwhile.
                let woken = matches!(what, 6 | 8) || matches!(what, 0..=2 | 7) && m.woken > 0;
                prop_assert!(census.debt() <= before || woken, "{} after {}", census.debt(), what);
                prop_assert!(census.computing <= n + 1 + m.woken, "more compute than have woken");
                prop_assert!(m.pool == 0 || census.owed == 0, "a debt beside a token");
                if what == 3 {
                    let waits = m.jobs.iter().any(|j| j.0.is_held() || j.2 == At::Parked);
                    prop_assert!(!waits || census.spare_for_held() == 0, "a slot sleeps while a job waits");
                    prop_assert!(m.parked().is_none() || census.spare() == 0, "one is parked for no reason");
                }
            }
            while !m.jobs.is_empty() {
                m.end(0);
            }
            prop_assert_eq!(m.pool, n);
        }
    }

    #[test]
    fn a_slot_is_counted_once_for_all_that_share_it() {
        let mut census = Census::default();
        // A shell that waits, and its only child.
        census.add(State::Token, false, true);
        census.add(State::Implicit, true, false);
        assert_eq!((census.slots, census.computing, census.spare()), (1, 1, 0));
        // A third that started on the sleep of another one, which has woken.
        census.add(State::Borrowed, false, false);
        assert_eq!((census.owed, census.debt(), census.spare()), (1, 1, 0));
    }
}
