//! A job's own processes, their CPU clocks, and whether they sleep.

use crate::ledger::access::Ledger;
use crate::ledger::record::Record;
use crate::{proc, sys};

use super::tree::Tree;
use super::verdict::{Mood, Snapshot};
use super::when::When;

/// The most processes of one job that are followed; a job with more counts as computing.
const MOST: usize = 16;

/// CPU time in ns: a job that used no more over the last second sleeps, and one that used no more since it woke up
/// sleeps on.
const LITTLE: u64 = 20_000_000;
/// Half of that second, in ns.
const HALF: u64 = 500_000_000;

/// A job that used no more than [`LITTLE`] this many times in a row when it woke up is light: it will not compute for
/// long the next time either.
const LIGHT: u32 = 8;

/// See [`Part::is_astray`]. A job that wakes up and passes its slot on again and again is seen as such by chance.
const STRAYS: u32 = 5;

/// A job rests if it has used no more CPU time since the last check than one part in this many of the time.
const RESTS: u64 = 8;

/// The least time until a wait that was no sleep is judged again, in ns.
pub const PAUSE: u64 = 50_000_000;

/// How many times longer a job must have slept in a wait that cannot be determined.
const UNCLEAR: u64 = 10;

/// The CPU time used over the last second or a little less.
#[derive(Clone, Copy, Default)]
pub struct Spent {
    /// When counting began, and when the current half second began.
    begun: u64,
    half: u64,
    now: u64,
    before: u64,
}

impl Spent {
    pub fn from(now: u64) -> Self {
        Self { begun: now, half: now, ..Self::default() }
    }

    pub fn add(&mut self, nanos: u64, now: u64) {
        let age = now.saturating_sub(self.half);
        if age >= HALF {
            self.before = if age < 2 * HALF { self.now } else { 0 };
            (self.now, self.half) = (0, now);
        }
        self.now = self.now.saturating_add(nanos);
    }

    fn is_little(&self) -> bool {
        self.now.saturating_add(self.before) < LITTLE
    }

    /// Returns whether little was used over a whole second.
    pub fn is_quiet(&self, now: u64) -> bool {
        now.saturating_sub(self.begun) >= 2 * HALF && self.is_little()
    }
}

/// A job's own processes: its process and all below it, without those of other jobs. All zeros: none.
#[derive(Clone, Copy)]
pub struct Part {
    /// The job ([`Handle::pack`]), or the client to which the process belongs.
    pub job: u64,
    pids: [i32; MOST],
    clocks: [u64; MOST],
    used: usize,
    overflown: bool,
    /// Since when no clock has moved.
    pub still: u64,
    pub spent: Spent,
    pub sleeps: bool,
    /// It was found asleep though a clock had moved not long before: it wakes up now and then, and uses little.
    dozes: bool,
    /// Its record says that it sleeps, unless the job has taken that back.
    pub published: bool,
    /// How many checks in a row it computed, although its record says that it has passed its slot on.
    strays: u32,
    /// CPU time used since it last woke up or fell asleep; and how often in a row that was little.
    pub burst: u64,
    light: u32,
    /// The waits have been judged since a clock last moved.
    pub known: bool,
    /// When to judge them next.
    pub next: u64,
    /// For a client: the pid of the job in which it runs; 0: it runs in none; -1: not known yet.
    pub inside: i32,
    /// When its clocks were read last, and whether they had moved by little, for that time, since the check before.
    ticked: u64,
    rests: bool,
    /// The checks in this second; at how many of them all processes slept and had rested; the start of the second; and
    /// whether most checks of the second before were such.
    checks: u32,
    naps: u32,
    second: u64,
    pub drowsy: bool,
}

impl Part {
    pub fn begin(&mut self, job: u64, now: u64) {
        // Its pids are overwritten.
        (self.job, self.used, self.overflown) = (job, 0, false);
        (self.still, self.spent, self.next) = (now, Spent::from(now), 0);
        (self.sleeps, self.known, self.inside) = (false, false, -1);
        (self.dozes, self.ticked, self.rests) = (false, now, false);
        self.strays = 0;
        (self.burst, self.light, self.published) = (0, 0, false);
        (self.checks, self.naps, self.second, self.drowsy) = (0, 0, now, false);
    }

    pub fn pids(&self) -> &[i32] {
        self.pids.get(..self.used).unwrap_or(&[])
    }

    pub fn add(&mut self, pid: i32, clock: u64) {
        if pid <= 0 || self.pids().contains(&pid) {
            return;
        }
        match (self.pids.get_mut(self.used), self.clocks.get_mut(self.used)) {
            (Some(at), Some(of)) => {
                (*at, *of) = (pid, clock);
                self.used = self.used.saturating_add(1);
            }
            _ => self.overflown = true,
        }
    }

    /// Returns whether its first process has used little CPU time in all.
    pub fn is_small(&self) -> bool {
        self.clocks.first().is_some_and(|clock| *clock < LITTLE)
    }

    /// Reads the clocks, and drops processes that have ended. Returns whether a clock has moved.
    pub fn tick(&mut self, now: u64) -> bool {
        let (mut spent, mut moved, mut left) = (0u64, false, 0usize);
        for at in 0..self.used.min(MOST) {
            let (Some(pid), Some(clock)) = (self.pids.get(at), self.clocks.get(at)) else { break };
            let (pid, clock, read) = (*pid, *clock, time_of(*pid));
            moved |= read != Some(clock);
            let Some(read) = read else { continue };
            spent = spent.saturating_add(read.saturating_sub(clock));
            if let (Some(to), Some(of)) = (self.pids.get_mut(left), self.clocks.get_mut(left)) {
                (*to, *of) = (pid, read);
                left = left.saturating_add(1);
            }
        }
        self.used = left;
        self.count(spent, now);
        // A round may take longer than a polling loop sleeps: then the clocks always have moved.
        self.rests = spent <= now.saturating_sub(self.ticked) / RESTS;
        self.ticked = now;
        if moved {
            (self.still, self.known) = (now, false);
        }
        self.sleeps &= self.spent.is_little();
        moved
    }

    fn count(&mut self, spent: u64, now: u64) {
        self.spent.add(spent, now);
        self.burst = self.burst.saturating_add(spent);
    }

    /// Its record says that it has passed its slot on. Returns whether it computes all the same: in a handler of a
    /// signal, or after a handler that did not return to the call.
    pub fn is_astray(&mut self) -> bool {
        let runs = |pid: &i32| proc::stat(*pid).is_some_and(|s| s.state == b'R');
        let strays = !self.rests && self.pids().first().is_some_and(runs);
        self.strays = if strays { self.strays.saturating_add(1) } else { 0 };
        self.strays >= STRAYS
    }

    /// Counts how often it sleeps, though it uses more than a little CPU time. Called when a job has waited for long.
    pub fn nap(&mut self, now: u64) {
        let asleep = |pid: &i32| proc::stat(*pid).is_none_or(|s| matches!(s.state, b'S' | b'Z'));
        let naps = self.rests && self.pids().iter().all(asleep);
        self.checks = self.checks.saturating_add(1);
        self.naps = self.naps.saturating_add(naps.into());
        if now.saturating_sub(self.second) >= 2 * HALF {
            self.drowsy = self.naps > self.checks / 2;
            (self.checks, self.naps, self.second) = (0, 0, now);
        }
    }

    /// Marks it as asleep, or asleep again. `dozes`: a clock has moved not long ago.
    pub fn falls_asleep(&mut self, now: u64, dozes: bool) {
        if !self.sleeps {
            self.spent = Spent::from(now);
        }
        self.light = match self.burst {
            0 => self.light,
            1..LITTLE => self.light.saturating_add(1),
            _ => 0,
        };
        (self.sleeps, self.dozes, self.known, self.burst) = (true, dozes, true, 0);
    }

    /// Marks it as awake.
    pub fn wakes_up(&mut self, now: u64) {
        (self.sleeps, self.known, self.still) = (false, false, now);
        self.spent = Spent::from(now);
    }

    /// Lists its processes anew. Returns whether there is a new one; the CPU time of new ones is counted.
    pub fn find(&mut self, roots: &Roots<'_>, now: u64) -> bool {
        let old = *self;
        (self.used, self.overflown) = (0, false);
        roots.each(|pid| self.add(pid, 0));
        let mut at = 0usize;
        while let Some(pid) = self.pids().get(at).copied() {
            proc::each_child_of(pid, |child| {
                if !roots.jobs.has(child) {
                    self.add(child, 0);
                }
            });
            at = at.saturating_add(1);
        }
        let (mut new, mut spent) = (false, 0u64);
        for (pid, clock) in self.pids.iter().zip(&mut self.clocks).take(self.used) {
            let known = old.pids().iter().position(|p| p == pid);
            *clock = match known.and_then(|at| old.clocks.get(at)) {
                Some(clock) => *clock,
                None => {
                    new = true;
                    let used = time_of(*pid).unwrap_or(0);
                    spent = spent.saturating_add(used);
                    used
                }
            };
        }
        self.count(spent, now);
        new
    }
}

/// The CPU time of a process. Returns None if it has ended. Without such clocks the ticks in /proc must do.
pub fn time_of(pid: i32) -> Option<u64> {
    sys::cpu_time_of(pid).ok().or_else(|| {
        let stat = proc::stat(pid).filter(|s| !matches!(s.state, b'Z' | b'X'))?;
        Some(stat.ticks.saturating_mul(10_000_000))
    })
}

/// The roots of a job's processes.
pub struct Roots<'a> {
    /// The job's pid; 0: a process that libc starts and reaps (system), which is some child of the client.
    pub pid: i32,
    pub client: i32,
    /// The processes of all jobs.
    pub jobs: &'a Tree,
}

impl Roots<'_> {
    fn each(&self, mut f: impl FnMut(i32)) {
        if self.pid > 0 {
            return f(self.pid);
        }
        proc::each_child_of(self.client, |child| {
            if !self.jobs.has(child) {
                f(child);
            }
        });
    }
}

impl Part {
    /// Stores whether it sleeps. A job that woke up just before the store may not have seen it; but it has used CPU
    /// time since then, and is marked as awake. Not one that dozes: it may wake up during each of these checks.
    pub fn publish(&mut self, record: &Record, generation: u64, now: u64) {
        let before = self.published;
        self.note(record, generation);
        if self.published && !before && self.tick(now) && !(self.dozes && self.sleeps) {
            self.wakes_up(now);
            self.note(record, generation);
        }
    }

    /// Stores whether it sleeps. Before the job has left its wait the word has another use.
    fn note(&mut self, record: &Record, generation: u64) {
        self.published = self.sleeps && record.state().runs();
        match self.sleeps {
            _ if !record.state().runs() => {}
            true if self.light >= LIGHT => record.set_sleeps_lightly(generation),
            sleeps => record.set_sleeps(generation, sleeps),
        }
    }

    pub fn judge(
        &mut self,
        ledger: &Ledger,
        snapshot: &mut Snapshot,
        roots: &Roots<'_>,
        when: When,
    ) {
        let When { limit, now, .. } = when;
        let rested = now.saturating_sub(self.still);
        let new = self.find(roots, now);
        if new && !self.sleeps && !when.long && !self.spent.is_quiet(now) {
            self.still = now;
            return;
        }
        let drowsy = when.long && self.drowsy;
        if self.overflown || !drowsy && !self.spent.is_little() && rested < when.least {
            self.sleeps = false;
            return;
        }
        self.next = now.saturating_add(when.least.min(PAUSE));
        let long = rested >= limit || self.sleeps || drowsy || self.spent.is_quiet(now);
        let dozes = rested < when.least;
        match snapshot.rest(self.pids(), ledger) {
            // It is on a CPU at this moment; the clocks will tell for how long.
            Mood::Runs => {}
            Mood::Idle | Mood::Waits => self.falls_asleep(now, dozes),
            Mood::Timed if long => self.falls_asleep(now, dozes),
            Mood::Unclear if rested >= limit.saturating_mul(UNCLEAR) => {
                self.falls_asleep(now, dozes)
            }
            Mood::Timed | Mood::Unclear | Mood::Works => self.sleeps = false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::State;

    const MS: u64 = 1_000_000;

    #[test]
    fn little_is_a_fiftieth_of_the_last_second() {
        let mut spent = Spent::from(0);
        for tick in 1..200u64 {
            spent.add(MS / 10, tick * 10 * MS);
            assert!(spent.is_little(), "a hundredth, at {tick}");
            assert_eq!(spent.is_quiet(tick * 10 * MS), tick >= 100);
        }
        spent.add(19 * MS, 2_000 * MS);
        assert!(!spent.is_little());
        // It counts for half a second at least, and for a second at most.
        spent.add(0, 2_400 * MS);
        assert!(!spent.is_little());
        spent.add(0, 2_600 * MS);
        spent.add(0, 3_200 * MS);
        assert!(spent.is_little());
    }

    fn empty() -> Box<Part> {
        // SAFETY: zeros are none.
        unsafe { Box::new(std::mem::zeroed()) }
    }

    #[test]
    fn clocks_tell_who_computes() {
        let mut child = std::process::Command::new("/bin/sh")
            .args(["-c", "read x; i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; read x"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut part = empty();
        let pid = child.id() as i32;
        part.begin(1, sys::now());
        part.add(pid, 0);
        while part.tick(sys::now()) {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        part.sleeps = true;
        assert!(!part.tick(sys::now()) && part.sleeps);
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"go\n").unwrap();
        let woken = part.still;
        while part.sleeps {
            part.tick(sys::now());
        }
        assert!(part.still > woken && !part.known);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(part.tick(sys::now()), "an end is a move");
    }

    /// It computes as often as it is told to, and then sleeps again.
    const COUNTS: &str =
        "while read n; do i=0; while [ $i -lt $n ]; do i=$((i+1)); done; echo; done";

    #[test]
    fn who_dozes_may_wake_up_while_it_is_looked_at() {
        use std::io::{BufRead, BufReader, Write};
        use std::process::{Command, Stdio};

        let mut child = Command::new("/bin/sh")
            .args(["-c", COUNTS])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id() as i32;
        let mut replies = BufReader::new(child.stdout.take().unwrap());
        let mut computes = |n: u32| {
            writeln!(child.stdin.as_mut().unwrap(), "{n}").unwrap();
            replies.read_line(&mut String::new()).unwrap();
        };
        // SAFETY: zeros are a free record.
        let record: Box<Record> = unsafe { Box::new(std::mem::zeroed()) };
        record.step(0, State::Claim).unwrap();
        let generation = record.now().1;
        record.step(generation, State::Implicit).unwrap();
        for (dozes, n, sleeps) in [(true, 1, true), (false, 1, false), (true, 1_000_000, false)] {
            computes(0);
            let mut part = empty();
            part.begin(1, sys::now());
            part.add(pid, time_of(pid).unwrap());
            part.falls_asleep(sys::now(), dozes);
            computes(n);
            part.publish(&record, generation, sys::now());
            let told = (part.sleeps, record.sleeps(generation));
            assert_eq!(told, (sleeps, sleeps), "dozes: {dozes}, {n}");
            record.set_sleeps(generation, false);
        }
        drop(child.stdin.take());
        child.wait().unwrap();
    }

    #[test]
    fn a_little_in_a_long_round_is_rest() {
        let part = |spent: u64, round: u64| {
            let mut child = std::process::Command::new("/bin/sleep").arg("600").spawn().unwrap();
            let pid = child.id() as i32;
            let (mut part, mut used) = (empty(), 0);
            // It has been exec'ed when its clock stands still.
            while time_of(pid) != Some(used) || used == 0 {
                used = time_of(pid).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            part.begin(1, 0);
            part.add(pid, used.saturating_sub(spent));
            for at in 1..1_500 * MS / round {
                part.tick(at * round);
                if let Some(clock) = part.clocks.first_mut() {
                    *clock = used.saturating_sub(spent);
                }
                part.nap(at * round);
            }
            child.kill().unwrap();
            child.wait().unwrap();
            part.drowsy
        };
        assert!(part(0, 10 * MS), "nothing at all");
        assert!(part(MS / 100, 10 * MS), "a thousandth");
        assert!(!part(MS / 10, MS / 2), "a fifth");
    }

    #[test]
    fn there_is_room_for_so_many_processes() {
        let mut part = empty();
        (1..=MOST as i32).for_each(|pid| part.add(pid, 0));
        part.add(1, 0);
        assert!(!part.overflown);
        part.add(MOST as i32 + 1, 0);
        assert!(part.overflown);
    }
}
