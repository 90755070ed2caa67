//! What programs' own tests say of them: with the library they give the same list of results.
//!
//! The tests come from Debian's source packages, since Debian installs none of them but Python's; the
//! programs are Debian's own. Dash has no tests. suites/NAME.sh knows how to run one suite and how to
//! read its results; a *part* is what it can run by itself, mostly a file. Chosen are the parts that
//! have to do with processes, signals, terminals and descriptors.
//!
//! Left out, besides what suite.py and make.sh name: perl's dist/IO/t/io_sock.t, which leaves a process
//! behind.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, on_path, script, tool};
use crate::harness::Run;
use crate::lanes::sleeping;
use crate::Test;

pub fn tests() -> Vec<Test> {
    let mut list = crate::tests![python, python_on_a_busy_pool, perl, bash, zsh, mksh];
    list.extend(sleeping(crate::tests![
        python_multiprocessing,
        bash_jobs,
        make_of_debian,
        make_4_4,
        make_on_two_slots,
        coreutils_on_two_slots,
    ]));
    list
}

/// The results of each part, in any order: parts print from several processes.
type Results = BTreeMap<String, Vec<String>>;

/// A pool, and how the library is told to wait. `None`: no make is above, and the pool is our own.
type Variant = (Option<Kind>, usize, &'static str);

/// Slots enough: many of these tests count on what their children have done after a second.
const VARIANTS: [Variant; 3] = [PIPE, FIFO, OURS];
const PIPE: Variant = (Some(Kind::NonBlocking), 9, "auto");
const FIFO: Variant = (Some(Kind::Fifo), 9, "child");
/// Slots are never scarce, so that not one result may differ.
const OURS: Variant = (None, 64, "auto");

struct Suite {
    /// Runs and reads it.
    driver: &'static str,
    /// Its folder in the toolbox, if Debian does not install it.
    from: Option<&'static str>,
    /// The make that is tested.
    make: String,
    /// Parts that run side by side. They sleep most of the time.
    width: usize,
    /// What the slots bound: the jobs that compute, or all.
    running: bool,
    /// Results that there must be at least, or this shows nothing.
    least: usize,
    parts: Vec<String>,
}

impl Suite {
    fn new(driver: &'static str, from: Option<&'static str>, parts: &str) -> Suite {
        let parts = parts.split_whitespace().map(str::to_owned).collect();
        Suite { driver, from, make: String::new(), width: 4, running: false, least: 0, parts }
    }

    fn least(mut self, least: usize) -> Suite {
        self.least = least;
        self
    }

    /// Those that sleep lend their slots, as they do by default.
    fn running(mut self) -> Suite {
        self.running = true;
        self
    }

    fn width(mut self, width: usize) -> Suite {
        self.width = width;
        self
    }

    /// Further words for each part.
    fn words(mut self, words: &str) -> Suite {
        self.parts.iter_mut().for_each(|part| *part = format!("{part} {words}"));
        self
    }

    fn run(&self, (kind, slots, gate): Variant, parts: &[String], shimmed: bool) -> Results {
        let driver = script(&format!("suites/{}.sh", self.driver));
        let width = if parts.len() == self.parts.len() { self.width } else { 1 };
        let argv = ["sh", &script("suites/run.sh"), &driver, &width.to_string()].map(str::to_owned);
        let run = Run::new(&[&argv[..], parts].concat());
        let run = match kind {
            Some(kind) => run.pool(kind, slots),
            None => run.env("JSSHIM_JOBS", &slots.to_string()).slots(slots),
        };
        let run = if self.running { run.running().unlimited() } else { run };
        let folder = self.from.map(|from| tool(from, "")).unwrap_or_default();
        let outcome = run
            .any_peak()
            .patience(PATIENCE)
            .env("LC_ALL", "C.UTF-8")
            .env("SUITES", &script("suites"))
            .env("SUITE", folder.trim_end_matches('/'))
            .env("MAKE", &self.make)
            .env("JSSHIM_GATE", gate)
            .check(|outcome| {
                assert!(outcome.status.success(), "the suite does not run");
                assert_eq!(outcome.stderr, "", "lines that nobody asked for");
            })
            .run(shimmed);
        let mut results = Results::new();
        for line in outcome.text().lines() {
            let (part, result) = line.split_once(": ").unwrap_or((line, ""));
            results.entry(part.to_owned()).or_default().push(result.to_owned());
        }
        results.values_mut().for_each(|list| list.sort_unstable());
        results
    }

    /// Runs the suite without the library, and with it in each variant, and compares. What differs gets two more chances,
    /// by itself: these tests have time limits of their own, some of 10 us, by which two runs without the library differ,
    /// too. What one of those has shown is no fault of the library.
    fn same_results(&self, variants: &[Variant]) {
        let plain = self.run(variants[0], &self.parts, false);
        let count: usize = plain.values().map(|list| told(list).count()).sum();
        assert!(count >= self.least, "only {count} results without the library: {plain:#?}");
        if artifact("libjsshim.so").is_none() {
            return;
        }
        for &variant in variants {
            let shimmed = self.run(variant, &self.parts, true);
            for part in &self.parts {
                let text = difference(&plain, &shimmed, part);
                if !text.is_empty() {
                    self.again(variant, part, vec![plain.clone()], text);
                }
            }
        }
    }

    /// Runs a part that differs by itself.
    fn again(&self, variant: Variant, part: &String, mut plain: Vec<Results>, mut text: String) {
        for _ in 0..2 {
            eprintln!("{part} is run again{text}");
            let alone = std::slice::from_ref(part);
            plain.push(self.run(variant, alone, false));
            let shimmed = self.run(variant, alone, true);
            let texts = plain.iter().map(|plain| difference(plain, &shimmed, part));
            match texts.min_by_key(String::len) {
                Some(least) if !least.is_empty() => text = least,
                _ => return,
            }
        }
        panic!("{part} differs, with {variant:?}{text}");
    }
}

/// The results without the reasons of failures, which name addresses and times.
fn told(list: &[String]) -> impl Iterator<Item = &String> {
    list.iter().filter(|line| !line.starts_with('#'))
}

/// The results of a part that only one of the two has; the reasons of what fails are shown with them.
fn difference(plain: &Results, shimmed: &Results, part: &str) -> String {
    let none = Vec::new();
    let (plain, shimmed) = (plain.get(part).unwrap_or(&none), shimmed.get(part).unwrap_or(&none));
    if told(plain).eq(told(shimmed)) {
        return String::new();
    }
    let only = |a: &[String], b: &[String]| {
        let lines = a.iter().filter(|line| !b.contains(line)).take(60).cloned();
        lines.collect::<Vec<_>>().join("\n")
    };
    let (lost, gained) = (only(plain, shimmed), only(shimmed, plain));
    format!("\nonly without the library:\n{lost}\nonly with it:\n{gained}")
}

/// A suite takes minutes.
const PATIENCE: Duration = Duration::from_secs(600);

const PYTHON: &str = "
    test.test_subprocess test.test_signal test.test_asyncio.test_subprocess test.test_threadsignals
    test.test_fork1 test.test_wait3 test.test_wait4 test.test_os test.test_posix test.test_popen
    test.test_pty";

fn python() {
    Suite::new("python", None, PYTHON).least(900).same_results(&VARIANTS);
}

/// Almost every job is held, since the slots are somebody else's for most of the time.
fn python_on_a_busy_pool() {
    let suite = Suite::new("python", None, PYTHON).words("busy").least(900).width(3);
    suite.same_results(&[(Some(Kind::Fifo), 5, "child")]);
}

/// Not its threads, which are no processes, nor its managers, which show nothing new.
fn python_multiprocessing() {
    let suite = Suite::new("python", None, "test.test_multiprocessing_fork").words(
        "WithProcesses TestWait TestResourceTracker TestSimpleQueue TestCloseFds TestIgnoreEINTR \
         TestTimeouts TestSemaphoreTracker TestStartMethod TestPoolNotLeakOnFailure TestNoForkBomb",
    );
    suite.least(100).same_results(&[(Some(Kind::Fifo), 9, "auto"), OURS]);
}

fn perl() {
    let suite = Suite::new(
        "perl",
        Some("suite-perl"),
        "t/op/fork.t t/op/exec.t t/op/kill0.t t/op/sigdispatch.t t/op/sigsystem.t t/op/alarm.t
        t/op/die_exit.t t/op/getpid.t t/op/getppid.t t/op/waitpid.t t/op/sleep.t t/op/magic.t
        t/io/pipe.t t/io/dup.t t/io/openpid.t t/io/closepid.t t/io/errnosig.t t/io/socketpair.t
        t/io/socket.t t/io/argv.t t/io/fs.t t/io/open.t t/run/exit.t t/run/runenv.t t/run/cloexec.t
        t/run/fresh_perl.t t/run/switches.t t/run/script.t ext/POSIX/t/waitpid.t
        ext/POSIX/t/sigaction.t ext/POSIX/t/sigset.t ext/POSIX/t/posix.t ext/POSIX/t/wrappers.t
        ext/IPC-Open3/t/IPC-Open2.t ext/IPC-Open3/t/IPC-Open3.t ext/IPC-Open3/t/fd.t
        cpan/IPC-Cmd/t/01_IPC-Cmd.t cpan/IPC-Cmd/t/03_run-forked.t cpan/Test-Harness/t/process.t
        cpan/Test-Harness/t/harness.t cpan/Test-Harness/t/multiplexer.t dist/IO/t/io_pipe.t",
    );
    suite.least(3000).same_results(&VARIANTS);
}

/// One kind of pool: some of them show how many descriptors the shell was given.
fn bash() {
    let suite = Suite::new(
        "bash",
        Some("suite-bash"),
        "trap.tests trap4.sub read.tests procsub.tests coproc.tests execscript lastpipe.tests
        posixpipe.tests set-e.tests builtins.tests comsub.tests comsub-posix.tests func.tests
        heredoc.tests herestr.tests redir.tests vredir.tests set-x.tests mapfile.tests invert.tests
        input.tests exportfunc.tests",
    );
    let [auto, child] = ["auto", "child"].map(|gate| (Some(Kind::NonBlocking), 9, gate));
    suite.least(1000).same_results(&[auto, child, OURS]);
}

/// These have up to six jobs at once, and jobs that sleep for minutes until they are killed.
fn bash_jobs() {
    let suite = Suite::new(
        "bash",
        Some("suite-bash"),
        "jobs.tests jobs1.sub jobs2.sub jobs3.sub jobs4.sub jobs5.sub jobs6.sub jobs7.sub",
    );
    suite.width(3).least(100).same_results(&[(Some(Kind::Fifo), 9, "auto"), OURS]);
}

fn zsh() {
    let suite = Suite::new(
        "zsh",
        Some("suite-zsh"),
        "A05execution W02jobs C03traps E01options V14system A01grammar W03jobparameters A04redirect
        C04funcdef D08cmdsubst A07control B04read B05eval B11kill B13whence C05debug D03procsubst
        E02xtrace E03posix V08zpty",
    );
    suite.least(1000).same_results(&VARIANTS);
}

fn mksh() {
    let parts = (0..8).map(|n| format!("{n}/8 ")).collect::<String>();
    Suite::new("mksh", Some("suite-mksh"), &parts).least(550).same_results(&VARIANTS);
}

/// Not on a pool of our own, of which each make here would be told: its MAKEFLAGS and its number of jobs are what these
/// tests look at.
const MAKE: &str = "
    features/jobserver features/parallelism features/output-sync features/exec features/export
    features/recursion features/reinvoke features/errors features/shell_assignment functions/shell
    options/dash-n options/dash-k options/dash-l options/dash-q options/dash-t
    variables/MAKEFLAGS variables/MAKELEVEL variables/MAKE_RESTARTS variables/SHELL";

fn make_of_debian() {
    let mut suite = Suite::new("make", Some("suite-debian-make"), MAKE).least(30);
    suite.make = on_path("make");
    suite.same_results(&[PIPE]);
}

fn make_4_4() {
    let mut suite = Suite::new("make", Some("suite-make-4.4.1"), MAKE).least(30);
    suite.make = tool("make-4.4.1", "make");
    suite.same_results(&[FIFO]);
}

/// Fewer slots than parts that run side by side, each with its own jobs that wait for one another.
const TWO: Variant = (Some(Kind::Fifo), 2, "auto");

fn make_on_two_slots() {
    let mut suite = Suite::new("make", Some("suite-debian-make"), MAKE).least(30).running();
    suite.make = on_path("make");
    suite.same_results(&[(Some(Kind::NonBlocking), 2, "auto")]);
}

/// Each has a tail in the background that waits for what the test's foreground writes; `timeout` and `sleep` tell
/// the time beside them.
const COREUTILS: &str = "
    tail/F-headers tail/F-vs-missing tail/F-vs-rename tail/append-only tail/assert-2 tail/assert
    tail/descriptor-vs-rename tail/flush-initial tail/follow-name tail/follow-stdin
    tail/inotify-hash-abuse tail/inotify-hash-abuse2 tail/inotify-only-regular
    tail/inotify-dir-recreate tail/inotify-rotate-resources tail/overlay-headers tail/pid
    tail/pipe-f tail/pipe-f2 tail/retry tail/symlink tail/tail-c tail/tail-n0f tail/truncate
    tail/wait misc/timeout misc/timeout-parameters misc/tee misc/env-signal-handler dd/stats
    split/filter";

fn coreutils_on_two_slots() {
    let suite = Suite::new("coreutils", Some("suite-coreutils"), COREUTILS).least(30);
    suite.running().same_results(&[TWO, OURS]);
}
