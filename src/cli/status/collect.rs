//! From the ledgers and /proc to what is shown.

use std::collections::{HashMap, HashSet};
use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Acquire;

use jsshim_engine::ledger::access::Ledger;
use jsshim_engine::ledger::record::{Record, UNTIMED};
use jsshim_engine::ledger::rundir;
use jsshim_engine::program::target;
use jsshim_engine::show::name;
use jsshim_engine::slots;
use jsshim_engine::{proc, space, sys};

use super::model::{Escaped, Job, Pool, Process, State, Statistics, Status};
use crate::program;
use jsshim_engine::pool::pipe;

/// A process that is younger may not have loaded its libraries yet.
const SETTLED_SECONDS: f64 = 1.0;

/// Looks at everything once.
pub fn status() -> Status {
    let tree = Tree::read();
    let space = space::own();
    let open = |path: PathBuf| {
        let file = CString::new(path.as_os_str().as_bytes()).ok()?;
        let look = |ledger: &Ledger| match ledger.header.space() == space {
            true => one(&path, ledger, &tree),
            // Its pids are not of this namespace.
            false => Pool { elsewhere: true, ..one(&path, ledger, &Tree::default()) },
        };
        Ledger::look(&file, look).ok()
    };
    let mut pools: Vec<_> = ledgers().into_iter().filter_map(open).collect();
    pools.sort_by(|a, b| a.path.cmp(&b.path));
    Status { pools }
}

/// The ledgers in the run-time directories.
fn ledgers() -> Vec<PathBuf> {
    let told = std::env::var_os("JSSHIM_DIR");
    let told = rundir::given(told.as_ref().map(|d| d.as_bytes()));
    let dirs = (0..if told.is_some() { 1 } else { 2 }).map(|n| rundir::candidate(told, n));
    let files = dirs.flat_map(|dir| {
        let dir = fs::read_dir(OsStr::from_bytes(dir.bytes()));
        dir.into_iter().flatten().flatten()
    });
    let paths = files.map(|f| f.path());
    paths.filter(|path| path.extension().is_some_and(|e| e == "ledger")).collect()
}

fn one(path: &Path, ledger: &Ledger, tree: &Tree) -> Pool {
    let header = &ledger.header;
    let mut jobs: Vec<_> = ledger.records().filter_map(|(_, r)| job(ledger, r, tree)).collect();
    let age = |a: &Job, b: &Job| b.seconds.total_cmp(&a.seconds);
    jobs.sort_by(|a, b| (a.state != State::Held).cmp(&(b.state != State::Held)).then(age(a, b)));
    let root = Some(header.root.load(Acquire)).filter(|pid| tree.0.contains_key(pid));
    let clients: HashSet<i32> = clients(ledger).collect();
    let slots = Some(header.slots.load(Acquire)).filter(|n| *n > 0);
    let free = free(ledger);
    let in_use = match (slots, free) {
        (Some(all), Some(free)) => all.saturating_sub(free),
        _ => used(&jobs, &clients, tree),
    };
    let members = clients.iter().chain(root.iter()).copied().chain(jobs.iter().map(|j| j.pid));
    Pool {
        path: String::from_utf8_lossy(header.path().bytes()).into(),
        ledger: path.to_string_lossy().into(),
        elsewhere: false,
        root: root.map(|pid| tree.process(pid)),
        slots,
        in_use,
        free,
        escaped: tree.escaped(members.filter(|pid| *pid > 0).collect()),
        jobs,
        statistics: statistics(ledger),
    }
}

fn clients(ledger: &Ledger) -> impl Iterator<Item = i32> + '_ {
    let all = ledger.records().filter(|(_, r)| r.state() == slots::State::Client);
    all.map(|(_, r)| r.pid.load(Acquire))
}

fn job(ledger: &Ledger, record: &Record, tree: &Tree) -> Option<Job> {
    let (state, generation) = record.now();
    let state = match state {
        slots::State::Held | slots::State::Waiting => State::Held,
        // Its client waits at the gate, before there is a process.
        slots::State::Claim if record.since.load(Acquire) != UNTIMED => State::Held,
        slots::State::Implicit => State::Implicit,
        slots::State::Token => State::Token,
        slots::State::Borrowed => State::Borrowed,
        slots::State::Overdraft => State::Overdraft,
        _ => return None,
    };
    let pid = record.pid.load(Acquire);
    let (command, file) = tree.command(pid);
    let client = ledger.record(record.client.load(Acquire)).map_or(0, |c| c.pid.load(Acquire));
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    let words = command.iter().map(|w| w.as_bytes());
    let name = match tree.0.contains_key(&pid) {
        true => name::of(file.as_bytes(), words),
        false => record.name(),
    };
    let job = Job {
        pid,
        program: file.rsplit('/').next().unwrap_or("").to_owned(),
        name: String::from_utf8_lossy(name.bytes()).into(),
        command,
        state,
        sleeps: record.sleeps(generation),
        reason: (state == State::Overdraft).then(|| record.reason().text().to_owned()),
        seconds: seconds(sys::now().saturating_sub(record.since.load(Acquire))),
        waited_seconds: seconds(record.queued.load(Acquire)),
        client: tree.process(client),
    };
    // It may have ended, and its record be another's now.
    (record.now().1 == generation).then_some(job)
}

/// How many tokens lie in the pool.
fn free(ledger: &Ledger) -> Option<u32> {
    let fd = pipe::open(&ledger.header.reach(), ledger.header.id(), libc::O_RDONLY).ok()?;
    let level = sys::level(fd);
    sys::close(fd);
    u32::try_from(level.ok()?).ok()
}

/// The slots of these jobs: a token each, and one for each client that runs in none of them.
fn used(jobs: &[Job], clients: &HashSet<i32>, tree: &Tree) -> u32 {
    let pids: HashSet<_> = jobs.iter().map(|j| j.pid).collect();
    let tops = clients.iter().filter(|pid| !tree.line(**pid).any(|above| pids.contains(&above)));
    let tokens = jobs.iter().filter(|j| j.state == State::Token);
    u32::try_from(tops.count() + tokens.count()).unwrap_or(u32::MAX)
}

fn statistics(ledger: &Ledger) -> Statistics {
    let counts = ledger.header.stats.counts();
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    Statistics {
        jobs: counts.jobs,
        waits: counts.waited(),
        median_seconds: seconds(counts.quantile(50)),
        p95_seconds: seconds(counts.quantile(95)),
        longest_seconds: seconds(counts.longest),
        held_seconds: seconds(counts.total),
        borrowed: counts.borrowed,
        lent_seconds: seconds(counts.lent),
        above_seconds: seconds(counts.debt),
        overdrafts: counts.overdrawn(),
        recovered: counts.recovered,
    }
}

/// All processes and their parents; empty for a ledger of another PID namespace, or where /proc shows another one.
#[derive(Default)]
struct Tree(HashMap<i32, proc::Stat>);

impl Tree {
    fn read() -> Self {
        if !proc::is_ours() {
            return Self::default();
        }
        let names = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = names.filter_map(|e| e.file_name().to_str()?.parse().ok());
        Self(pids.filter_map(|pid| Some((pid, proc::stat(pid)?))).collect())
    }

    /// The command line of a job, and its program; of a held one, what it will be.
    fn command(&self, pid: i32) -> (Vec<String>, String) {
        if !self.0.contains_key(&pid) {
            return (Vec::new(), String::new());
        }
        let text = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let text = text.strip_suffix(b"\0").unwrap_or(&text);
        let mut words: Vec<_> =
            text.split(|b| *b == 0).map(|w| String::from_utf8_lossy(w).into_owned()).collect();
        if words.first().is_some_and(|w| w == "jsshim-helper") && words.len() > 2 {
            let target = words[2].clone();
            words.drain(..3);
            return (words, target);
        }
        let program = words.first().cloned().unwrap_or_default();
        (words, program)
    }

    fn process(&self, pid: i32) -> Process {
        if !self.0.contains_key(&pid) {
            return Process { pid, program: String::new() };
        }
        let comm = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
        Process { pid, program: String::from_utf8_lossy(comm.trim_ascii()).into() }
    }

    /// A process, its parent, its parent, and so on.
    fn line(&self, pid: i32) -> impl Iterator<Item = i32> + '_ {
        let parent = |pid: &i32| self.0.get(pid).map(|stat| stat.parent).filter(|p| *p > 1);
        std::iter::successors(Some(pid), parent).take(256)
    }

    /// Those at or below `members` that the library is not in, or cannot gate.
    fn escaped(&self, members: HashSet<i32>) -> Vec<Escaped> {
        let below = self.0.keys().filter(|pid| self.line(**pid).any(|p| members.contains(&p)));
        let mut escaped: Vec<_> = below
            .filter_map(|pid| {
                let why = self.why_escaped(*pid)?;
                Some(Escaped { pid: *pid, program: self.process(*pid).program, why })
            })
            .collect();
        escaped.sort_by_key(|e| e.pid);
        escaped
    }

    fn why_escaped(&self, pid: i32) -> Option<String> {
        let stat = self.0.get(&pid).filter(|s| !matches!(s.state, b'Z' | b'X'))?;
        let link = format!("/proc/{pid}/exe");
        let Ok(exe) = fs::read_link(&link) else {
            // Kernel threads are nobody's children here; others hide theirs by their rights.
            return Some("belongs to another user, or is setuid".to_owned());
        };
        if exe.file_name().is_some_and(|n| n == "jsshim-helper" || n == "jsshim") {
            return None;
        }
        let file = CString::new(link.clone()).ok()?;
        if let Some(why) = target::foretell(&file)
            .ok()
            .and_then(|kind| program::out_of_reach(Path::new(&link), kind))
        {
            return Some(why.to_owned());
        }
        let maps = fs::read(format!("/proc/{pid}/maps")).ok()?;
        let loaded = maps.windows(10).any(|part| part == b"libjsshim.");
        (!loaded && age(stat) > SETTLED_SECONDS).then(|| "has not loaded the library".to_owned())
    }
}

/// For how long a process has been running, in seconds.
fn age(stat: &proc::Stat) -> f64 {
    sys::now().saturating_sub(stat.start_nanos()) as f64 / 1e9
}
