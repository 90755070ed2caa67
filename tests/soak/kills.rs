//! Who is hit by which signal, and when those that were stopped go on.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};

use crate::harness::procs::Mark;

/// splitmix64: the same numbers for the same seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ word >> 31) % n
    }
}

/// A process that may be hit.
struct Target {
    pid: i32,
    group: i32,
    name: String,
}

impl Target {
    fn of(pid: i32) -> Option<Target> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (head, rest) = stat.rsplit_once(')')?;
        let mut numbers = rest.split_whitespace().skip(1);
        let (parent, group) = (numbers.next()?, numbers.next()?.parse().ok()?);
        let name = match head.split_once('(')?.1 {
            _ if is_first(pid) => FIRST.to_owned(),
            "jsshim-helper" => helper_name(pid),
            name if name.starts_with("python") && comm(parent) == name => WORKER.to_owned(),
            other => other.to_owned(),
        };
        Some(Target { pid, group, name })
    }
}

/// The first process of a PID namespace, with which all in it are killed.
const FIRST: &str = "first";

/// The line of its pids has that of this namespace first (proc(5)).
fn is_first(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mut lines = status.lines();
    let pids = lines.find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let mut pids = pids.split_whitespace();
    pids.next().is_some() && pids.next_back() == Some("1")
}

/// Those that matter most, as far as they are there.
const SPECIAL: [&str; 7] = ["guard", "hold", "ninja", FIRST, "borrower", "lender", "parked"];

/// A worker of a Python pool.
const WORKER: &str = "worker";

fn comm(pid: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
}

/// What a process of the helper does: `guard`, or `hold`, which names itself after its job.
fn helper_name(pid: i32) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let is_guard = words.split(|b| *b == 0).nth(1) == Some(b"guard");
    if is_guard { "guard" } else { "hold" }.to_owned()
}

/// Is this a process of the guard?
pub fn is_guard(pid: i32) -> bool {
    Target::of(pid).is_some_and(|target| matches!(&*target.name, "guard" | "jsshim-keeper"))
}

struct Kill {
    signal: i32,
    name: String,
    /// As kill(2) has it: below zero, a group.
    whom: i32,
    at: Instant,
}

#[derive(Default)]
pub struct Kills {
    /// In how many rounds nobody was left who knew of the tokens.
    pub unguarded: usize,
    /// Both processes of a guard were killed, the second one before it could see to the first.
    pub left_no_guard: bool,
    done: Vec<Kill>,
    dead_guards: Vec<i32>,
    stopped: Vec<(i32, Instant)>,
}

impl Kills {
    pub fn count(&self) -> usize {
        self.done.len()
    }

    pub fn add(&mut self, other: Kills) {
        self.done.extend(other.done);
        self.unguarded += other.unguarded;
    }

    /// One signal to a process below `root`, or to its group; with the part in lending of those that have one.
    pub fn one(
        &mut self,
        dice: &mut Dice,
        mark: &Mark,
        root: i32,
        parts: &HashMap<i32, &'static str>,
    ) {
        self.resume(Instant::now());
        let carriers = mark.carriers().into_iter().map(|pid| pid as i32).filter(|pid| *pid != root);
        let mut targets: Vec<_> = carriers.filter_map(Target::of).collect();
        for target in &mut targets {
            if let Some(part) = parts.get(&target.pid).filter(|_| !spared(target)) {
                target.name = (*part).to_owned();
            }
        }
        let signal = match dice.below(10) {
            0..=6 => libc::SIGKILL,
            7 => libc::SIGTERM,
            _ => libc::SIGSTOP,
        };
        targets.retain(|t| signal == libc::SIGSTOP || !spared(t));
        // The few that matter most are hit more often than by chance.
        let special = if dice.below(4) == 0 {
            SPECIAL[dice.below(SPECIAL.len() as u64) as usize]
        } else {
            ""
        };
        if targets.iter().any(|t| t.name == special) {
            targets.retain(|t| t.name == special);
        }
        targets.sort_by_key(|t| t.pid);
        if targets.is_empty() {
            return;
        }
        let target = targets.swap_remove(dice.below(targets.len() as u64) as usize);
        let apart = target.group > 1 && target.group != root;
        let whole = dice.below(8) == 0 && apart && !holds_make(mark, target.group);
        let whom = if whole { -target.group } else { target.pid };
        if !whole && !mark.is_on(target.pid as u32) {
            return;
        }
        let among = |t: &Target| t.pid == target.pid || whole && t.group == target.group;
        let hit: Vec<_> = match whole || target.name == "guard" {
            true => guards(mark).filter(among).map(|t| t.pid).collect(),
            false => Vec::new(),
        };
        if !self.send(whom, signal, &target.name) {
            return;
        }
        if signal == libc::SIGSTOP {
            let until = Instant::now() + Duration::from_millis(5 + dice.below(200));
            self.stopped.push((whom, until));
        }
        if signal == libc::SIGKILL && !hit.is_empty() {
            self.dead_guards.extend(hit);
            self.left_no_guard |= guards(mark).all(|t| self.dead_guards.contains(&t.pid));
        }
    }

    /// The end of the root, or of its whole group.
    pub fn root(&mut self, dice: &mut Dice, root: i32) {
        let signals = [libc::SIGKILL, libc::SIGTERM, libc::SIGINT, libc::SIGHUP];
        let signal = signals[dice.below(4) as usize];
        let whom = if dice.below(2) == 0 { root } else { -root };
        self.resume_all();
        self.send(whom, signal, "the root");
    }

    fn send(&mut self, pid: i32, signal: i32, name: &str) -> bool {
        // SAFETY: sends a signal; no memory is involved.
        let sent = unsafe { libc::kill(pid, signal) } == 0;
        if sent {
            self.done.push(Kill { signal, name: name.to_owned(), whom: pid, at: Instant::now() });
        }
        sent
    }

    fn resume(&mut self, now: Instant) {
        let (due, later) = self.stopped.iter().partition(|(_, until)| *until <= now);
        self.stopped = later;
        let due: Vec<(i32, Instant)> = due;
        for (pid, _) in due {
            // SAFETY: as above.
            unsafe { libc::kill(pid, libc::SIGCONT) };
        }
    }

    pub fn resume_all(&mut self) {
        self.resume(Instant::now() + Duration::from_secs(3600));
    }

    /// A line for each, in their order.
    pub fn list(&self) -> String {
        let mut text = String::new();
        for Kill { signal, name, whom, at } in &self.done {
            let ago = at.elapsed();
            let _ = writeln!(text, "  {} {whom} ({name}) {ago:?} ago", signal_name(*signal));
        }
        text
    }

    pub fn summary(&self) -> String {
        let mut counts = BTreeMap::new();
        for Kill { signal, name, .. } in &self.done {
            *counts.entry((name.as_str(), signal_name(*signal))).or_insert(0) += 1;
        }
        let mut text =
            format!("{} kills, rounds without guard {}", self.done.len(), self.unguarded);
        for ((name, signal), count) in counts {
            let _ = write!(text, ", {count} {signal} {name}");
        }
        text
    }
}

/// A make takes its tokens itself and has them nowhere but in its memory, or in the argument of a running recipe: what it
/// holds when it is killed is lost with it, without the library as with it. Nothing that is preloaded into it could
/// know, but by reading its reads.
///
/// A worker of a Python pool that ends with the lock of its queue in hand may let the others, and that the whole pool,
/// wait for ever: without the library as with it.
fn spared(target: &Target) -> bool {
    target.name.contains("make") || target.name == WORKER
}

fn guards(mark: &Mark) -> impl Iterator<Item = Target> {
    let targets = mark.carriers().into_iter().filter_map(|pid| Target::of(pid as i32));
    targets.filter(|t| t.name == "guard")
}

fn holds_make(mark: &Mark, group: i32) -> bool {
    let targets = mark.carriers().into_iter().filter_map(|pid| Target::of(pid as i32));
    targets.filter(|t| t.group == group).any(|t| t.name.contains("make"))
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        libc::SIGKILL => "SIGKILL",
        libc::SIGTERM => "SIGTERM",
        libc::SIGINT => "SIGINT",
        libc::SIGHUP => "SIGHUP",
        _ => "SIGSTOP",
    }
}
