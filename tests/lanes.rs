//! Which tests run side by side: a lane for each kind of what a test needs.
//!
//! What computes has the processors, what sleeps needs none, and what measures how slots are kept has the processors
//! for itself: under more load than that its jobs would meet by chance only.
//!
//! Nothing only computes or only sleeps: while processors are idle, more tests start than the lanes have places for. And
//! none starts before scripts/setup has put what its theme needs into the toolbox.

mod setup;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, Thread};
use std::time::Duration;

use crate::Test;
use setup::Setup;

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
/// How many more than these, at most, while processors are idle.
const SPARE: usize = 2;

/// How often idle processors are looked for.
const TICK: Duration = Duration::from_millis(500);
/// Above this part of idle time one more test starts.
const IDLE: f64 = 0.2;
/// Below it, one fewer.
const BUSY: f64 = 0.05;

pub fn sleeping(tests: Vec<Test>) -> Vec<Test> {
    tests.into_iter().map(|test| test.in_lane(Lane::Sleeps)).collect()
}

pub fn measuring(tests: Vec<Test>) -> Vec<Test> {
    tests.into_iter().map(|test| test.in_lane(Lane::Measures)).collect()
}

/// A place in the order in which tests start: what must not be the tail first.
type Rank = usize;

struct Waiting {
    lane: Lane,
    theme: String,
    thread: Thread,
}

#[derive(Default)]
struct State {
    running: Vec<Lane>,
    waiting: BTreeMap<Rank, Waiting>,
    /// What is still to come for which themes.
    setup: Setup,
    /// How many may run above the widths of the lanes.
    spare: usize,
}

impl State {
    fn count(&self, lane: Lane) -> usize {
        self.running.iter().filter(|other| **other == lane).count()
    }

    /// How many run above the widths of the lanes.
    fn above(&self) -> usize {
        let above = |lane, width| self.count(lane).saturating_sub(width);
        above(Lane::Computes, COMPUTE) + above(Lane::Sleeps, SLEEP)
    }

    /// Has the lane room for one more?
    fn has_room(&self, lane: Lane) -> bool {
        let (compute, measure) = (self.count(Lane::Computes), self.count(Lane::Measures));
        let is_spare = self.above() < self.spare;
        match lane {
            Lane::Computes => (compute < COMPUTE || is_spare) && measure == 0,
            Lane::Measures => compute == 0 && measure == 0,
            Lane::Sleeps => self.count(Lane::Sleeps) < SLEEP || is_spare,
        }
    }

    /// The first of the queue of those that sleep, or of that of the others: what measures would never be alone if what
    /// computes did not queue behind it.
    fn first(&self, sleeps: bool) -> Option<(&Rank, &Waiting)> {
        let may_be = |test: &Waiting| {
            (test.lane == Lane::Sleeps) == sleeps && !self.setup.keeps_waiting(&test.theme)
        };
        self.waiting.iter().find(|(_, test)| may_be(test))
    }

    /// Wakes those whose turn it may be.
    fn wake(&self) {
        for (_, test) in [true, false].into_iter().filter_map(|sleeps| self.first(sleeps)) {
            test.thread.unpark();
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

    /// Looks at the processors, and at the setup, as long as the lanes are there.
    pub fn watch(self: &Arc<Lanes>, setup: Option<PathBuf>) {
        let lanes = Arc::downgrade(self);
        let read = move || setup.as_deref().map(Setup::read).unwrap_or_default();
        self.state().setup = read();
        thread::spawn(move || {
            let mut before = processors();
            loop {
                thread::sleep(TICK);
                let now = processors();
                let Some(lanes) = lanes.upgrade() else { return };
                lanes.state().setup = read();
                lanes.were_idle((now.0 - before.0) as f64 / (now.1 - before.1).max(1) as f64);
                before = now;
            }
        });
    }

    /// For which part of the last tick the processors were idle.
    fn were_idle(&self, part: f64) {
        let mut state = self.state();
        let above = state.above();
        if part > IDLE && state.spare <= above {
            state.spare = (above + 1).min(SPARE);
        } else if part < BUSY {
            state.spare = above.saturating_sub(1);
        }
        state.wake();
    }

    /// Waits for room in the lane, and for what the theme needs; none if that will not come.
    pub fn enter(&self, lane: Lane, rank: Rank, theme: &str) -> Option<Room<'_>> {
        let mut state = self.state();
        let test = Waiting { lane, theme: theme.to_owned(), thread: thread::current() };
        state.waiting.insert(rank, test);
        loop {
            if state.setup.has_failed() {
                state.waiting.remove(&rank);
                state.wake();
                return None;
            }
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
        Some(Room { lanes: self, lane })
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

/// The time of all processors since the machine started: idle, and all. A wait for a disk is not idle.
fn processors() -> (u64, u64) {
    let text = fs::read_to_string("/proc/stat").expect("/proc is there");
    let line = text.lines().next().expect("the line of all processors");
    // user, nice, system, idle and more; what guests had is counted under user.
    let times: Vec<u64> = line.split_whitespace().skip(1).take(8).flat_map(str::parse).collect();
    (times[3], times.iter().sum())
}

pub fn tests() -> Vec<Test> {
    let mut list = setup::tests();
    list.extend(crate::tests![
        each_lane_keeps_its_width,
        one_at_a_time,
        the_lower_rank_first,
        idle_processors_have_more_to_do,
        what_is_there_starts_first,
        nothing_starts_after_a_failed_setup,
    ]);
    list
}

/// Many enter in any order; each looks at who is there.
fn crowd(most: Option<usize>, judge: impl Fn(&dyn Fn(Lane) -> usize) + Sync) {
    let (lanes, inside) = (Lanes::new(most), Mutex::new(Vec::new()));
    let visit = |lane: Lane, rank: Rank| {
        let room = lanes.enter(lane, rank, "").expect("no setup fails");
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
        let first = lanes.enter(Lane::Computes, 0, "");
        for rank in [3, 1, 2] {
            let (lanes, order) = (&lanes, &order);
            scope.spawn(move || {
                let _room = lanes.enter(Lane::Computes, rank, "");
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

/// One more each time, none while processors are busy, and beside what measures none that computes.
fn idle_processors_have_more_to_do() {
    let lanes = Lanes::new(None);
    let mut rooms: Vec<_> =
        (0..COMPUTE).map(|rank| lanes.enter(Lane::Computes, rank, "")).collect();
    assert!(
        !lanes.state().has_room(Lane::Computes),
        "no place, and nothing is known of processors"
    );
    for more in 1..=SPARE {
        lanes.were_idle(0.5);
        lanes.were_idle(0.1);
        assert!(lanes.state().has_room(Lane::Computes), "idle for half of the time");
        rooms.push(lanes.enter(Lane::Computes, COMPUTE + more, ""));
        assert!(!lanes.state().has_room(Lane::Computes), "one at a time");
    }
    lanes.were_idle(0.9);
    assert!(!lanes.state().has_room(Lane::Computes), "these are enough");
    rooms.truncate(COMPUTE + 2);
    lanes.were_idle(0.0);
    rooms.pop();
    assert!(!lanes.state().has_room(Lane::Computes), "one fewer, since processors are busy");
    rooms.clear();
    lanes.were_idle(0.5);
    let _alone = lanes.enter(Lane::Measures, 0, "");
    let sleepers: Vec<_> = (0..SLEEP).map(|rank| lanes.enter(Lane::Sleeps, rank, "")).collect();
    lanes.were_idle(0.5);
    assert!(lanes.state().has_room(Lane::Sleeps) && !lanes.state().has_room(Lane::Computes));
    drop(sleepers);
}

fn saying(lanes: &Lanes, words: &[&str]) {
    let mut state = lanes.state();
    state.setup = Setup::of(&words.join("\n"));
    state.wake();
}

/// In the order in which their themes have what they need, and then by rank.
fn what_is_there_starts_first() {
    let (lanes, order) = (Lanes::new(Some(1)), Mutex::new(Vec::new()));
    let started = |count| {
        while order.lock().expect("nobody panics with it").len() < count {
            thread::yield_now();
        }
    };
    saying(&lanes, &["*"]);
    thread::scope(|scope| {
        for (rank, theme) in ["late", "early", "last", "early"].into_iter().enumerate() {
            let (lanes, order) = (&lanes, &order);
            scope.spawn(move || {
                let _room = lanes.enter(Lane::Sleeps, rank, theme);
                order.lock().expect("nobody panics with it").push(rank);
            });
        }
        while lanes.state().waiting.len() < 4 {
            thread::yield_now();
        }
        for (words, count) in [(&["last", "late"][..], 2), (&["last"], 3), (&[], 4)] {
            saying(&lanes, words);
            started(count);
        }
    });
    assert_eq!(order.into_inner().expect("as above"), [1, 3, 0, 2]);
}

fn nothing_starts_after_a_failed_setup() {
    let lanes = &Lanes::new(None);
    saying(lanes, &["*"]);
    thread::scope(|scope| {
        let waits = [0, 1]
            .map(|rank| scope.spawn(move || lanes.enter(Lane::Sleeps, rank, "any").is_none()));
        while lanes.state().waiting.len() < 2 {
            thread::yield_now();
        }
        saying(lanes, &["failed"]);
        assert!(waits.into_iter().all(|wait| wait.join().expect("it returns")));
    });
}
