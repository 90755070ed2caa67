//! From the ledgers and /proc to what is shown.

use std::collections::HashSet;
use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Acquire;
use std::time::SystemTime;

use jsshim_engine::ledger::access::Ledger;
use jsshim_engine::ledger::record::{Record, UNTIMED};
use jsshim_engine::ledger::rundir;
use jsshim_engine::pool::pipe;
use jsshim_engine::share::Share;
use jsshim_engine::show::name;
use jsshim_engine::slots;
use jsshim_engine::text::Text;
use jsshim_engine::{space, sys};

use super::model::{Job, Pool, Process, Shared, State, Statistics, Status, VERSION};
use super::tree::{memory, Tree};

/// Room for the name of a job: as much of its command as a line may hold.
type Name = Text<1024>;

/// Looks at everything once.
pub fn status() -> Status {
    let tree = Tree::read();
    let read = |path: &Path, ledger: &Ledger| whole(path, ledger, &tree);
    let mut pools: Vec<_> = each_ledger(read).collect();
    pools.sort_by(|a, b| a.path.cmp(&b.path));
    Status { version: VERSION, pools }
}

/// The pool of this process and what is below it: what changes, without what is not in the library's reach.
pub fn pool_of(pid: i32) -> Option<Pool> {
    let tree = Tree::read();
    let is_below = |member: i32| tree.line(member).any(|above| above == pid);
    let read = |path: &Path, ledger: &Ledger| {
        let root = ledger.header.root.load(Acquire);
        let is_its = root == pid || clients(ledger).any(is_below);
        is_its.then(|| of(path, ledger, &tree))
    };
    let mut pools: Vec<_> = each_ledger(read).flatten().collect();
    // One of its own below another's.
    pools.sort_by_key(|pool| pool.root.as_ref().is_none_or(|root| root.pid != pid));
    pools.into_iter().next()
}

/// What is to be told of each ledger in the run-time directories.
fn each_ledger<T>(f: impl Fn(&Path, &Ledger) -> T) -> impl Iterator<Item = T> {
    ledgers().into_iter().filter_map(move |path| {
        let file = CString::new(path.as_os_str().as_bytes()).ok()?;
        Ledger::inspect(&file, |ledger: &Ledger| f(&path, ledger)).ok()
    })
}

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

fn whole(path: &Path, ledger: &Ledger, tree: &Tree) -> Pool {
    if ledger.header.space() != space::own() {
        // Its pids are not of this namespace.
        return Pool { elsewhere: true, ..of(path, ledger, &Tree::default()) };
    }
    let pool = of(path, ledger, tree);
    Pool { escaped: tree.escaped(&processes(ledger, tree, &pool)), ..pool }
}

/// All but those that are out of reach.
fn of(path: &Path, ledger: &Ledger, tree: &Tree) -> Pool {
    let header = &ledger.header;
    let mut jobs: Vec<_> = ledger.records().filter_map(|(_, r)| job(ledger, r, tree)).collect();
    let is_held = |job: &Job| job.state == State::Held;
    let longest = |a: &Job, b: &Job| b.time().total_cmp(&a.time());
    jobs.sort_by(|a, b| is_held(a).cmp(&is_held(b)).then_with(|| longest(a, b)));
    let root = Some(header.root.load(Acquire)).filter(|pid| tree.has(*pid));
    let slots = Some(header.slots.load(Acquire)).filter(|n| *n > 0);
    let free = free(ledger);
    let in_use = match (slots, free) {
        (Some(all), Some(free)) => all.saturating_sub(free),
        _ => used(&jobs, &clients(ledger).collect(), tree),
    };
    let count = |is: fn(&Job) -> bool| {
        u32::try_from(jobs.iter().filter(|job| is(job)).count()).unwrap_or(u32::MAX)
    };
    let (held, statistics) = (count(|j| j.state == State::Held), statistics(ledger));
    let running = count(|j| j.state != State::Held);
    let lent = count(|j| j.state == State::Borrowed);
    let mut pool = Pool {
        path: String::from_utf8_lossy(header.path().bytes()).into(),
        ledger: path.to_string_lossy().into(),
        elsewhere: false,
        root: root.map(|pid| tree.process(pid)),
        slots,
        in_use,
        free,
        lent,
        // Of the last check of the guard, which checks while jobs wait.
        above: if held + lent > 0 { header.debt.load(Acquire) } else { 0 },
        running,
        held,
        done: statistics.jobs.saturating_sub(running),
        seconds: age(path),
        memory_bytes: 0,
        shares: shares(ledger, tree),
        escaped: Vec::new(),
        jobs,
        statistics,
    };
    pool.memory_bytes = memory(&processes(ledger, tree, &pool));
    pool
}

/// The processes of its clients and jobs, and all below them.
fn processes(ledger: &Ledger, tree: &Tree, pool: &Pool) -> Vec<i32> {
    let (root, jobs) = (pool.root.iter().map(|r| r.pid), pool.jobs.iter().map(|j| j.pid));
    let members: HashSet<_> = clients(ledger).chain(root).chain(jobs).filter(|p| *p > 0).collect();
    tree.below(&members)
}

/// For how long there has been this file, in seconds.
fn age(path: &Path) -> f64 {
    let meta = fs::metadata(path).ok();
    // A file system without the time of a birth has that of the last change of its names.
    let born = meta.and_then(|meta| meta.created().or_else(|_| meta.modified()).ok());
    let age = born.and_then(|born| SystemTime::now().duration_since(born).ok());
    age.map_or(0.0, |age| seconds(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)))
}

fn client_records(ledger: &Ledger) -> impl Iterator<Item = (u32, &Record)> {
    ledger.records().filter(|(_, r)| r.state() == slots::State::Client)
}

/// Their pids.
fn clients(ledger: &Ledger) -> impl Iterator<Item = i32> + '_ {
    client_records(ledger).map(|(_, r)| r.pid.load(Acquire))
}

/// The clients whose share is not that of most.
fn shares(ledger: &Ledger, tree: &Tree) -> Vec<Shared> {
    let shared = client_records(ledger).filter_map(|(index, r)| {
        let share = match ledger.share(index) {
            share if share == Share::default() => return None,
            Share::Weight(weight) => weight,
            Share::Background => 0,
        };
        Some(Shared { client: process(r, tree), share })
    });
    shared.collect()
}

/// The client of a job, if it is still there.
fn client(ledger: &Ledger, job: &Record, tree: &Tree) -> Process {
    let client = ledger.record(job.client.load(Acquire));
    let client = client.filter(|c| c.state() == slots::State::Client);
    client.map_or(Process { pid: 0, program: String::new() }, |c| process(c, tree))
}

/// The process of a client's record.
fn process(client: &Record, tree: &Tree) -> Process {
    tree.since(client.pid.load(Acquire), client.since.load(Acquire))
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
    let words = command.iter().map(|w| w.as_bytes());
    let name: Name = match tree.has(pid) {
        true => name::of(file.as_bytes(), words),
        false => Text::new(record.name().bytes()),
    };
    let since = sys::now().saturating_sub(record.since.load(Acquire));
    let before = record.queued.load(Acquire);
    let waited = if state == State::Held { before.saturating_add(since) } else { before };
    let job = Job {
        pid,
        program: file.rsplit('/').next().unwrap_or("").to_owned(),
        name: String::from_utf8_lossy(name.bytes()).into(),
        command,
        state,
        sleeps: record.sleeps(generation),
        returns: record.is_parked(generation),
        reason: (state == State::Overdraft).then(|| record.reason().text().to_owned()),
        state_seconds: seconds(since),
        waited_seconds: seconds(waited),
        client: client(ledger, record, tree),
    };
    // It may have ended, and its record be another's now.
    (record.now().1 == generation).then_some(job)
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
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
