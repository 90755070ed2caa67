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

pub fn tests() -> Vec<Test> {
    crate::tests![each_lane_keeps_its_width, one_at_a_time, the_lower_rank_first]
}

/// Many enter in any order; each looks at who is there.
fn crowd(most: Option<usize>, judge: impl Fn(&dyn Fn(Lane) -> usize) + Sync) {
    let (lanes, inside) = (Lanes::new(most), Mutex::new(Vec::new()));
    let visit = |lane: Lane, rank: Rank| {
        let room = lanes.enter(lane, rank);
        let mut now = inside.lock().expect("a judge panics, and then all do");
        now.push(lane);
        judge(&|lane| now.iter().filter(|other| **other == lane).count());
        drop(now);
        thread::sleep(std::time::Duration::from_millis(1));
        let mut now = inside.lock().expect("as above");
        let at = now.iter().position(|other| *other == lane).expect("it is there");
        now.swap_remove(at);
        drop((now, room));
    };
    thread::scope(|scope| {
        for rank in 0..90 {
            let lane = [Lane::Computes, Lane::Sleeps, Lane::Measures][rank % 3];
            scope.spawn(move || visit(lane, 90 - rank));
        }
    });
    assert_eq!(inside.into_inner().expect("as above"), []);
}

fn each_lane_keeps_its_width() {
    let beside = Mutex::new(0);
    crowd(None, |count| {
        let (compute, sleep) = (count(Lane::Computes), count(Lane::Sleeps));
        assert!(compute <= COMPUTE && sleep <= SLEEP, "{compute} compute, {sleep} sleep");
        assert!(count(Lane::Measures) <= usize::from(compute == 0), "not alone");
        let mut beside = beside.lock().expect("nobody panics with it");
        *beside = (*beside).max(sleep);
    });
    assert_eq!(beside.into_inner().expect("as above"), SLEEP, "they run side by side");
}

fn one_at_a_time() {
    let lanes = [Lane::Computes, Lane::Sleeps, Lane::Measures];
    crowd(Some(1), |count| assert_eq!(lanes.map(count).iter().sum::<usize>(), 1));
}

fn the_lower_rank_first() {
    let (lanes, order) = (Lanes::new(Some(1)), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        let first = lanes.enter(Lane::Computes, 0);
        for rank in [3, 1, 2] {
            let (lanes, order) = (&lanes, &order);
            scope.spawn(move || {
                let _room = lanes.enter(Lane::Computes, rank);
                order.lock().expect("nobody panics with it").push(rank);
            });
        }
        while lanes.state().waiting.len() < 3 {
            thread::yield_now();
        }
        drop(first);
    });
    assert_eq!(order.into_inner().expect("as above"), [1, 2, 3]);
}
