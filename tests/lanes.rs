//! Which tests run side by side: a lane for each kind of what a test needs.
//!
//! What computes has the processors, what sleeps needs none, and what measures how slots are kept has the processors
//! for itself: under more load than that its jobs would meet by chance only.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::thread::{self, Thread};

use crate::Test;

/// What a test mostly does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// It keeps a processor busy.
    Computes,
    /// It waits: for timers, grants, time-outs.
    Sleeps,
    /// It looks at times or at processors: none that computes beside it.
    Measures,
}

impl Lane {
    pub fn name(self) -> &'static str {
        match self {
            Lane::Computes => "computes",
            Lane::Sleeps => "sleeps",
            Lane::Measures => "measures",
        }
    }
}

/// How many that compute run at once.
const COMPUTE: usize = 2;
/// How many that sleep run beside those.
const SLEEP: usize = 6;

pub fn sleeping(tests: Vec<Test>) -> Vec<Test> {
    tests.into_iter().map(|test| test.in_lane(Lane::Sleeps)).collect()
}

pub fn measuring(tests: Vec<Test>) -> Vec<Test> {
    tests.into_iter().map(|test| test.in_lane(Lane::Measures)).collect()
}

/// A place in the order in which tests start: what must not be the tail first.
type Rank = usize;

#[derive(Default)]
struct State {
    running: Vec<Lane>,
    waiting: BTreeMap<Rank, (Lane, Thread)>,
}

impl State {
    fn count(&self, lane: Lane) -> usize {
        self.running.iter().filter(|other| **other == lane).count()
    }

    /// Has the lane room for one more?
    fn has_room(&self, lane: Lane) -> bool {
        let (compute, measure) = (self.count(Lane::Computes), self.count(Lane::Measures));
        match lane {
            Lane::Computes => compute < COMPUTE && measure == 0,
            Lane::Measures => compute == 0 && measure == 0,
            Lane::Sleeps => self.count(Lane::Sleeps) < SLEEP,
        }
    }

    /// The first of the queue of those that sleep, or of that of the others: what measures would never be alone if what
    /// computes did not queue behind it.
    fn first(&self, sleeps: bool) -> Option<(&Rank, &(Lane, Thread))> {
        self.waiting.iter().find(|(_, (lane, _))| (*lane == Lane::Sleeps) == sleeps)
    }

    /// Wakes those whose turn it may be.
    fn wake(&self) {
        for (_, (_, thread)) in [true, false].into_iter().filter_map(|sleeps| self.first(sleeps)) {
            thread.unpark();
        }
    }
}

pub struct Lanes {
    state: Mutex<State>,
    /// How many run at once in all.
    most: usize,
}

impl Lanes {
    pub fn new(most: Option<usize>) -> Lanes {
        Lanes { state: Mutex::default(), most: most.unwrap_or(usize::MAX) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits for room in the lane.
    pub fn enter(&self, lane: Lane, rank: Rank) -> Room<'_> {
        let mut state = self.state();
        state.waiting.insert(rank, (lane, thread::current()));
        loop {
            let is_first = state.first(lane == Lane::Sleeps).is_some_and(|(r, _)| *r == rank);
            if is_first && state.has_room(lane) && state.running.len() < self.most {
                break;
            }
            drop(state);
            thread::park();
            state = self.state();
        }
        state.waiting.remove(&rank);
        state.running.push(lane);
        state.wake();
        Room { lanes: self, lane }
    }
}

/// A place in a lane, until it is dropped.
pub struct Room<'a> {
    lanes: &'a Lanes,
    lane: Lane,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let mut state = self.lanes.state();
        let at = state.running.iter().position(|lane| *lane == self.lane).expect("it ran");
        state.running.swap_remove(at);
        state.wake();
    }
}
