//! Runs a real program twice, without the library and with it, and judges both runs.
//!
//! The oracle, applied to every run whatever its test is about:
//! - the pool holds the same tokens before and after, and its descriptors' flags are untouched;
//! - as many jobs ended as were started, and never more ran at once than there are slots;
//! - exit status, standard output and standard error are what they were without the library;
//! - no process stays behind, and no file in the library's run-time folder;
//! - a real make at the top does not complain of its pool and is not kept waiting;
//! - nothing hangs: at the time-out everything is killed, and the failure tells who waited for what.
//!
//! A peak that is within the slots already without the library would prove nothing: that fails too.

pub mod bursts;
pub mod ledgers;
pub mod pool;
pub mod procs;
pub mod programs;
pub mod register;
mod scene;

use std::fmt::Write;
use std::fs;
use std::ops::RangeInclusive;
use std::os::fd::RawFd;
use std::process::ExitStatus;
use std::time::Duration;

use bursts::Bursts;
use pool::Kind;
use register::Counts;
use scene::Scene;

/// Where the library is put before a program.
#[derive(Clone, Copy, PartialEq)]
enum Preload {
    /// In the environment of the host.
    Host,
    /// In a recipe or script, by `LD_PRELOAD=$JSSHIM_LIB`.
    Inside,
    /// By `jsshim -jN --`; with `--all`?
    Cli(usize, bool),
}

pub struct Outcome {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
    pub jobs: Counts,
    pub bursts: Bursts,
    argv: Vec<String>,
    /// What took longer after the last job's end than it should.
    late: Option<String>,
}

impl Outcome {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Shows the outcome when a demand on it fails.
struct Told<'a>(&'a Outcome);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", report(self.0));
        }
    }
}

/// How the jobs that compute must keep to the slots, by the log of their bursts.
#[derive(Clone, Copy, PartialEq)]
enum Limit {
    /// Bursts are not looked at: jobs are counted whether they compute or sleep.
    Jobs,
    /// One that wakes may run above the slots for a moment.
    Nearly,
    /// Not one above the slots, at any time.
    Strictly,
    /// No limit: what wakes there cannot be made to wait.
    None,
}

/// A demand on an outcome.
type Check = Box<dyn Fn(&Outcome)>;

/// What is run, and what is expected of it.
pub struct Run {
    argv: Vec<String>,
    env: Vec<(String, String)>,
    files: Vec<(String, String)>,
    stdin: String,
    pool: Option<(Kind, usize)>,
    inherited: Vec<(RawFd, String)>,
    feeds: bool,
    preload: Preload,
    nobody: bool,
    pub slots: Option<usize>,
    must_exceed: bool,
    must_fill: bool,
    may_overdraw: bool,
    make: bool,
    settles: Option<u32>,
    breaks: bool,
    unordered: bool,
    limit: Limit,
    patience: Duration,
    warnings: RangeInclusive<usize>,
    times: usize,
    ignored: Option<String>,
    checks: Vec<Check>,
}

/// How often a run is made in which too few jobs meet, or something comes late: who is not late once is late because
/// other things take the processors.
const ATTEMPTS: usize = 5;

/// When a run hangs: many times what any needs, also where other things take the processors.
const TIMEOUT: Duration = Duration::from_secs(180);

impl Run {
    pub fn new<S: AsRef<str>>(argv: &[S]) -> Run {
        Run {
            argv: argv.iter().map(|arg| arg.as_ref().to_owned()).collect(),
            env: Vec::new(),
            files: Vec::new(),
            stdin: String::new(),
            pool: None,
            inherited: Vec::new(),
            feeds: false,
            preload: Preload::Host,
            nobody: false,
            slots: None,
            must_exceed: true,
            must_fill: true,
            may_overdraw: false,
            make: false,
            settles: None,
            breaks: false,
            unordered: false,
            limit: Limit::Jobs,
            patience: TIMEOUT,
            warnings: 0..=0,
            times: 1,
            ignored: None,
            checks: Vec::new(),
        }
    }

    /// Python with a program text; `jobs` is the module that signs the register.
    pub fn python(program: &str) -> Run {
        Run::new(&[&programs::python(), "-c", program])
    }

    pub fn arg(mut self, arg: &str) -> Run {
        self.argv.push(arg.to_owned());
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Run {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A file in the folder where the host starts.
    pub fn file(mut self, name: &str, text: &str) -> Run {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    pub fn stdin(mut self, text: &str) -> Run {
        self.stdin = text.to_owned();
        self
    }

    /// Gives the host a pool of the harness, as make would.
    pub fn pool(mut self, kind: Kind, slots: usize) -> Run {
        self.pool = Some((kind, slots));
        self.slots(slots)
    }

    /// The peak that the library must keep, and must reach.
    pub fn slots(mut self, slots: usize) -> Run {
        self.slots = Some(slots);
        self
    }

    /// Drops the demand that the peak is above the slots without the library, and reaches them with it.
    pub fn any_peak(mut self) -> Run {
        self.must_exceed = false;
        self.may_idle()
    }

    /// Drops the demand that the peak stays at the slots: the host's jobs wait for one another.
    pub fn may_overdraw(mut self) -> Run {
        self.may_overdraw = true;
        self.any_peak()
    }

    /// Drops the demand that the peak reaches the slots with the library: something else has a slot, too.
    pub fn may_idle(mut self) -> Run {
        self.must_fill = false;
        self
    }

    /// The host is a make that owns the pool.
    pub fn make(mut self, slots: usize) -> Run {
        self.make = true;
        self.slots(slots)
    }

    /// The library is preloaded further down, by `LD_PRELOAD=$JSSHIM_LIB`.
    pub fn preload_inside(mut self) -> Run {
        self.preload = Preload::Inside;
        self
    }

    /// The host is started by `jsshim -jN --`, which makes the pool.
    pub fn cli(self, slots: usize) -> Run {
        Run { preload: Preload::Cli(slots, false), ..self }.slots(slots)
    }

    /// The same by `jsshim --all -jN --`, for hosts that nothing is preloaded into.
    pub fn all(self, slots: usize) -> Run {
        Run { preload: Preload::Cli(slots, true), ..self }.slots(slots)
    }

    /// The host lives on after its `jobs` jobs (`wait_for_go`); the pool must be full again while it does.
    pub fn settles(mut self, jobs: u32) -> Run {
        self.settles = Some(jobs);
        self
    }

    /// Jobs are killed: not all of them start, or sign off, so that the peak says nothing.
    pub fn breaks(mut self) -> Run {
        self.breaks = true;
        self.may_overdraw()
    }

    /// The lines of standard output may come in any order.
    pub fn unordered(mut self) -> Run {
        self.unordered = true;
        self
    }

    /// The slots bound the jobs that compute, as they do by default: those that sleep lend theirs. All other runs
    /// have JSSHIM_COUNT=processes, since the jobs that stand in for real ones there sleep.
    pub fn running(mut self) -> Run {
        self.limit = Limit::Nearly;
        self.any_peak()
    }

    /// Not one job computes above the slots, at any time.
    pub fn strictly(mut self) -> Run {
        self.limit = Limit::Strictly;
        self
    }

    /// How many compute is not looked at.
    pub fn unlimited(mut self) -> Run {
        self.limit = Limit::None;
        self
    }

    /// Without the library more jobs compute at once than there are slots.
    pub fn exceeding(mut self) -> Run {
        self.must_exceed = true;
        self
    }

    /// With the library as many are there at once as there are slots.
    pub fn filling(mut self) -> Run {
        self.must_fill = true;
        self
    }

    /// A run that takes longer hangs.
    pub fn patience(mut self, patience: Duration) -> Run {
        self.patience = patience;
        self
    }

    /// Lines with this text are not compared.
    pub fn ignoring(mut self, text: &str) -> Run {
        self.ignored = Some(text.to_owned());
        self
    }

    /// The host inherits a file of its folder under this number, open for reading and writing.
    pub fn inherits(mut self, fd: RawFd, name: &str) -> Run {
        self.inherited.push((fd, name.to_owned()));
        self
    }

    /// The host has the write end of somebody's pipe. It might be needed there, so that it never waits in a
    /// gate: its jobs are held at once, however short those before them are.
    pub fn feeds_a_pipe(mut self) -> Run {
        self.feeds = true;
        self
    }

    /// The host runs without root's rights.
    pub fn by_nobody(mut self) -> Run {
        self.nobody = true;
        self
    }

    /// The library says one line on standard error.
    pub fn warns(mut self) -> Run {
        self.warnings = 1..=1;
        self
    }

    /// The library says so many lines on standard error.
    pub fn may_warn(mut self, lines: RangeInclusive<usize>) -> Run {
        self.warnings = lines;
        self
    }

    /// Runs with the library that often.
    pub fn times(mut self, times: usize) -> Run {
        self.times = times;
        self
    }

    /// One more demand on each run.
    pub fn check(mut self, demand: impl Fn(&Outcome) + 'static) -> Run {
        self.checks.push(Box::new(demand));
        self
    }

    /// Runs with the library only, where a second run would show nothing more.
    pub fn once(self) {
        self.run(programs::artifact("libjsshim.so").is_some());
    }

    /// The same for a host of which the two runs are not alike: all slots are used, and no more.
    pub fn once_full(self) {
        if programs::artifact("libjsshim.so").is_some() {
            self.judge_peak(&self.run_until(true, |o| self.is_fair(o)));
        }
    }

    /// Runs without and with the library and compares.
    pub fn both(self) {
        let exceeds = |peak| !self.must_exceed || self.slots.is_none_or(|slots| peak > slots);
        let plain = self.run_until(false, |o| exceeds(self.peak(o)));
        let _told = Told(&plain);
        let peak = self.peak(&plain);
        assert!(exceeds(peak), "{peak} jobs at once without the library: this shows nothing");
        if programs::artifact("libjsshim.so").is_none() {
            return;
        }
        for _ in 0..self.times {
            self.judge(&plain, &self.run_until(true, |o| self.is_fair(o)));
        }
    }

    /// Runs with the library and compares with an earlier run without it.
    pub fn against(&self, plain: &Outcome) {
        self.judge(plain, &self.run(true));
    }

    fn is_full(&self, peak: usize) -> bool {
        !self.must_fill || self.slots.is_none_or(|slots| peak >= slots)
    }

    /// Has this run shown something? A part of the time is only told where nothing else takes the processors from the
    /// guard.
    fn is_fair(&self, outcome: &Outcome) -> bool {
        let keeps = |slots| self.limit != Limit::Nearly || outcome.bursts.keep_nearly(slots);
        self.is_full(self.peak(outcome)) && self.slots.is_none_or(keeps)
    }

    /// Runs until it has shown something: on a machine that is busy with other things jobs do not always meet.
    fn run_until(&self, shimmed: bool, enough: impl Fn(&Outcome) -> bool) -> Outcome {
        for _ in 1..ATTEMPTS {
            let outcome = self.run(shimmed);
            if enough(&outcome) {
                return outcome;
            }
        }
        self.run(shimmed)
    }

    /// How many jobs were there at once, or how many computed where the slots bound those.
    fn peak(&self, outcome: &Outcome) -> usize {
        match self.limit {
            Limit::Jobs => outcome.jobs.peak as usize,
            _ => outcome.bursts.peak(),
        }
    }

    fn judge_peak(&self, shimmed: &Outcome) {
        let _told = Told(shimmed);
        let (Some(slots), peak) = (self.slots, self.peak(shimmed)) else { return };
        let keeps = match self.limit {
            Limit::Jobs => peak <= slots || self.may_overdraw,
            Limit::Nearly => shimmed.bursts.keep_nearly(slots),
            Limit::Strictly => peak <= slots,
            Limit::None => true,
        };
        assert!(keeps, "{peak} jobs at once on {slots} slots; {}", shimmed.bursts.describe(slots));
        assert!(self.is_full(peak), "only {peak} jobs at once on {slots} slots");
    }

    fn judge(&self, plain: &Outcome, shimmed: &Outcome) {
        self.judge_peak(shimmed);
        let _told = Told(shimmed);
        if !self.breaks {
            assert_eq!(shimmed.jobs.started, plain.jobs.started, "jobs started, with and without");
        }
        assert_eq!(shimmed.status, plain.status, "exit, with and without");
        self.compare_output(plain, shimmed);
    }

    fn compare_output(&self, plain: &Outcome, shimmed: &Outcome) {
        let (before, after) = (self.kept(&plain.text()), self.kept(&shimmed.text()));
        if before != after {
            panic!("standard output differs{}", difference(&plain.text(), &shimmed.text()));
        }
        let sorted = |text: &str| {
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines.sort_unstable();
            lines
        };
        let mut said = sorted(&shimmed.stderr);
        said.retain(|line| !line.starts_with("jsshim:"));
        let warnings = shimmed.stderr.lines().count() - said.len();
        let wanted = &self.warnings;
        assert!(wanted.contains(&warnings), "{warnings} lines from the library, not {wanted:?}");
        if said != sorted(&plain.stderr) {
            panic!("standard error differs{}", difference(&plain.stderr, &shimmed.stderr));
        }
    }

    /// The lines of standard output that must be the same, in the order that must be.
    fn kept(&self, text: &str) -> Vec<String> {
        let is_ignored = |line: &str| self.ignored.as_ref().is_some_and(|i| line.contains(i));
        let mut lines: Vec<_> = text.split('\n').map(str::to_owned).collect();
        lines.retain(|line| !is_ignored(line));
        if self.unordered {
            lines.sort_unstable();
        }
        lines
    }

    /// One run and the oracle on it.
    pub fn run(&self, shimmed: bool) -> Outcome {
        let outcome = self.run_in_time(shimmed);
        let told = Told(&outcome);
        self.checks.iter().for_each(|check| check(&outcome));
        drop(told);
        outcome
    }

    fn run_in_time(&self, shimmed: bool) -> Outcome {
        for left in (0..ATTEMPTS).rev() {
            let mut scene = Scene::new(self);
            let outcome = scene.play(self, shimmed);
            let _ = fs::remove_dir_all(&scene.dir);
            match &outcome.late {
                Some(late) if left > 0 => eprintln!("run again: {late}"),
                Some(late) => panic!("{late}, in {ATTEMPTS} runs\n{}", report(&outcome)),
                None => return outcome,
            }
        }
        unreachable!("the last one returns or panics")
    }
}

fn report(outcome: &Outcome) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}", head(&outcome.argv.join(" ")));
    let _ = writeln!(text, "{}, {:?}", outcome.status, outcome.jobs);
    let _ = writeln!(text, "standard error:\n{}", head(&outcome.stderr));
    let _ = writeln!(text, "standard output:\n{}", head(&outcome.text()));
    text
}

fn head(text: &str) -> String {
    let mut lines: Vec<_> = text.lines().take(40).map(|l| l.get(..160).unwrap_or(l)).collect();
    if text.lines().count() > lines.len() {
        lines.push("...");
    }
    lines.join("\n")
}

/// The first lines that are in one text only.
fn difference(plain: &str, shimmed: &str) -> String {
    let only = |a: &str, b: &str| {
        let b: std::collections::HashSet<_> = b.lines().collect();
        head(&a.lines().filter(|line| !b.contains(line)).collect::<Vec<_>>().join("\n"))
    };
    let (lost, gained) = (only(plain, shimmed), only(shimmed, plain));
    format!("\nonly without the library:\n{lost}\nonly with it:\n{gained}")
}
