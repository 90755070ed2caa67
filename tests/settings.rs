//! The variables that steer the library: pools of our own, who is gated and how, and what is said.

use std::time::Duration;

use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, on_path, tool};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    let mut list = crate::tests![
        jobs_makes_a_pool_before_the_start,
        jobs_for_a_make_at_the_top,
        jobs_below_a_pool_is_not_used,
        jobs_in_an_unsafe_folder,
        nothing_set_at_all,
        two_branches_share_a_pool_of_our_own,
        two_branches_share_the_pool_of_jobs,
        debug_tells_what_happens,
        debug_tells_of_held_jobs,
        debug_off_says_nothing,
        skip,
        only,
        gate_modes,
        gate_junk,
        helper_missing,
        helper_elsewhere,
        dry_run_in_a_recipe,
        dry_run_of_a_preloaded_make,
        dry_run_in_a_large_environment,
        load_limit,
        load_limit_junk,
    ];
    for (name, folder) in FOLDERS {
        list.push(crate::test(&format!("settings::folder_{name}"), move || unsafe_folder(folder)));
    }
    for (name, value) in JUNK {
        list.push(crate::test(&format!("settings::jobs_{name}"), move || junk_jobs(value)));
    }
    list
}

const JOBS: &str = "for i in 1 2 3 4 5 6 7 8; do $JOB -b 5 -s 40 -i j$i -k 1 & done; wait; exit 5";

/// Eight jobs at once.
fn eight() -> Run {
    let run = Run::new(&["dash", "-c", JOBS]).unordered();
    run.check(|o| assert_eq!(o.status.code(), Some(5)))
}

/// A script below which the library is preloaded by `$SHIM`; `[ $ON ]` in the run with it.
fn script(text: &str) -> Run {
    let head = "ON=$JSSHIM_LIB SHIM=${ON:+env LD_PRELOAD=$ON}\n";
    Run::new(&["bash", "-c", &(head.to_owned() + text)]).preload_inside()
}

fn is_here() -> bool {
    artifact("libjsshim.so").is_some()
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

// ---- pools of our own ----------------------------------------------------------------------

/// The program itself finds the pool in its environment.
fn jobs_makes_a_pool_before_the_start() {
    eight().env("JSSHIM_JOBS", "3").slots(3).both();
    eight().env("JSSHIM_JOBS", "1").slots(1).both();
    eight().env("JSSHIM_JOBS", "65536").slots(8).any_peak().both();
    let text = "exec $SHIM dash -c 'echo \"${MAKEFLAGS-none}\"; ls $JSSHIM_DIR; echo $JSSHIM_POOL'";
    let check = |o: &Outcome| {
        let text = o.text();
        assert_eq!(text.lines().next(), Some("none"), "make's words are for those who read them");
        let pool = text.lines().find(|l| l.starts_with("pool-")).expect("a file of the pool");
        assert!(text.lines().last().is_some_and(|l| l.ends_with(pool)), "{text}");
        assert_eq!(o.stderr, "");
    };
    if is_here() {
        script(text).env("JSSHIM_JOBS", "3").check(check).once();
    }
}

fn jobs_for_a_make_at_the_top() {
    let makefile = "ALL = a b c d e f g h\n.PHONY: all $(ALL)\nall: $(ALL)\n\
                    $(ALL):\n\t@$$JOB -b 10 -s 60 -i $@ -k 1\n";
    for make in [on_path("make"), tool("make-4.4.1", "make")] {
        script(&format!("[ $ON ] || J=-j8; export JSSHIM_JOBS=3; exec $SHIM {make} $J -f M"))
            .file("M", makefile)
            .check(|o| assert_eq!(o.stderr, "", "no warning"))
            .slots(3)
            .unordered()
            .both();
    }
}

/// What make has handed down is what counts.
fn jobs_below_a_pool_is_not_used() {
    for kind in [Kind::Blocking, Kind::NonBlocking, Kind::Fifo] {
        eight().env("JSSHIM_JOBS", "7").pool(kind, 2).both();
    }
}

/// What JSSHIM_JOBS may hold besides a number above zero.
const JUNK: [(&str, &str); 6] = [
    ("zero", "0"),
    ("negative", "-3"),
    ("word", "many"),
    ("half_a_number", "3x"),
    ("too_large", "99999999999"),
    ("blank", " "),
];

fn more_than_cpus() -> Run {
    let script = JOBS.replace("1 2 3 4 5 6 7 8", &vec!["1"; 2 * cpus() + 6].join(" "));
    let run = Run::new(&["dash", "-c", &script]).unordered();
    run.check(|o| assert_eq!(o.status.code(), Some(5)))
}

fn junk_jobs(value: &str) {
    let said = |o: &Outcome| assert!(o.stderr.is_empty() || o.stderr.contains("JSSHIM_JOBS"));
    more_than_cpus().env("JSSHIM_JOBS", value).slots(cpus()).warns().check(said).both();
}

fn nothing_set_at_all() {
    more_than_cpus().slots(cpus()).both();
    more_than_cpus().env("JSSHIM_JOBS", "").env("JSSHIM_GATE", "").slots(cpus()).both();
    let named = ["JSSHIM_SKIP", "JSSHIM_ONLY", "JSSHIM_LOAD", "JSSHIM_HELPER", "JSSHIM_DEBUG"];
    named.into_iter().fold(more_than_cpus(), |run, n| run.env(n, "")).slots(cpus()).both();
    eight().env("MAKEFLAGS", "").env("JSSHIM_JOBS", "2").slots(2).both();
}

/// The top starts two programs, and each of them many jobs.
fn branches(jobs: usize) -> Run {
    let part = format!("for i in $(seq {jobs}); do $JOB -b 5 -s 60 & done; wait");
    let text = "dash -c \"$PART\" & sleep 0.1; dash -c \"$PART\" & wait; exit 5";
    let run = Run::new(&["dash", "-c", text]).env("PART", &part);
    run.check(|o| assert_eq!(o.status.code(), Some(5)))
}

fn two_branches_share_a_pool_of_our_own() {
    branches(2 * cpus() + 4).slots(cpus()).both();
}

fn two_branches_share_the_pool_of_jobs() {
    branches(8).env("JSSHIM_JOBS", "3").slots(3).both();
}

// ---- what is said ----------------------------------------------------------------------------

fn debug_tells_what_happens() {
    if !is_here() {
        return;
    }
    let check = |o: &Outcome| {
        assert!(!o.stderr.is_empty());
        let mut last = 0.0;
        for line in o.stderr.lines() {
            let rest = line.strip_prefix("jsshim[").unwrap_or_else(|| panic!("{line}"));
            let (pid, rest) = rest.split_once("] ").unwrap_or_else(|| panic!("{line}"));
            assert!(pid.parse::<u32>().is_ok(), "{line}");
            let (time, rest) = rest.split_once(' ').unwrap_or_else(|| panic!("{line}"));
            let time: f64 = time.parse().unwrap_or_else(|_| panic!("{line}"));
            // The kernel cuts off hundredths.
            let is_then = time > last - 1.0 && time < uptime() + 0.01;
            assert!(is_then, "seconds since the start: {line}");
            last = time;
            assert!(rest.contains(": "), "{line}");
        }
        let starts = |word: &str| o.stderr.lines().filter(|l| l.contains(word)).count();
        assert!(o.stderr.contains("dash: "), "the program is named");
        assert!(starts("a token") > 0, "starts on tokens");
    };
    eight().env("JSSHIM_DEBUG", "1").pool(Kind::NonBlocking, 2).check(check).once();
    let holds = |o: &Outcome| assert!(o.stderr.contains("holds a job"), "a job is held");
    let held = eight().env("JSSHIM_DEBUG", "1").env("JSSHIM_GATE", "child");
    held.pool(Kind::NonBlocking, 2).check(check).check(holds).once();
}

fn uptime() -> f64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// Each job that was held, by its name: since when it runs, on what, after which wait, and its end.
fn debug_tells_of_held_jobs() {
    if !is_here() {
        return;
    }
    for gate in ["child", "auto"] {
        let check = move |o: &Outcome| {
            let lines: Vec<_> = o.stderr.lines().collect();
            let ends: Vec<_> = lines.iter().filter(|l| l.contains(" dash: its job ")).collect();
            assert_eq!(ends.len(), 8, "{gate}: each end");
            let starts = lines.iter().filter(|l| l.contains(": was held for "));
            let starts: Vec<_> = starts.filter(|l| l.contains(", runs on ")).collect();
            let held =
                lines.iter().filter(|l| l.contains("holds a job, no slot is free; ")).count();
            assert_eq!(starts.len(), held, "{gate}");
            assert!(gate == "auto" || held >= 6, "{held} of 8 jobs are held");
            assert!(starts.iter().all(|l| l.contains(" job -b 5 -s 40 -i j")), "{gate}: names");
            for start in starts {
                let pid = start.split(['[', ']']).nth(1).unwrap();
                let is_end = |end: &&&&str| end.contains(&format!("({pid}) has ended"));
                assert_eq!(ends.iter().filter(is_end).count(), 1, "{gate}: {pid}");
            }
        };
        let run = eight().env("JSSHIM_DEBUG", "1").env("JSSHIM_GATE", gate);
        run.pool(Kind::NonBlocking, 2).check(check).once();
    }
}

fn debug_off_says_nothing() {
    for value in ["", "0", "no", "off"] {
        let silent = |o: &Outcome| assert_eq!(o.stderr, "");
        eight().env("JSSHIM_DEBUG", value).pool(Kind::Fifo, 2).check(silent).both();
    }
}

// ---- who is gated, and how -------------------------------------------------------------------

/// With a pool of two, and this in the environment: is the host gated?
fn judged(run: Run, name: &str, value: &str, gated: bool) {
    let run = run.env(name, value).pool(Kind::NonBlocking, 2);
    if gated {
        run.both();
    } else {
        let value = value.to_owned();
        run.slots(8).any_peak().check(move |o| assert!(o.jobs.peak > 2, "{value}")).both();
    }
}

fn skip() {
    for (globs, gated) in [
        ("dash", false),
        ("*", false),
        ("x,da??", false),
        ("x d* y", false),
        ("dash ,x", false),
        ("ash", true),
        ("das", true),
        ("/bin/dash", true),
        (",", true),
        ("DASH", true),
    ] {
        judged(eight(), "JSSHIM_SKIP", globs, gated);
    }
    // What is not gated itself starts programs that are.
    for start in ["exec bash", "bash"] {
        let text = format!("{start} -c '{JOBS}'; exit $?");
        judged(Run::new(&["dash", "-c", &text]).unordered(), "JSSHIM_SKIP", "dash", true);
    }
}

fn only() {
    for (globs, gated) in [("dash", true), ("ninja,d*", true), ("ninja", false), ("*", true)] {
        judged(eight(), "JSSHIM_ONLY", globs, gated);
    }
    let both = eight().env("JSSHIM_ONLY", "d*");
    judged(both, "JSSHIM_SKIP", "dash", false);
}

/// In `parent` mode a single-threaded host waits itself, in `child` mode it never does.
fn gate_modes() {
    for (mode, held) in [("auto", None), ("parent", Some(false)), ("child", Some(true))] {
        for kind in [Kind::Blocking, Kind::NonBlocking, Kind::Fifo] {
            eight().env("JSSHIM_GATE", mode).pool(kind, 2).both();
        }
        if let (Some(held), true) = (held, is_here()) {
            let check = move |o: &Outcome| {
                assert_eq!(o.stderr.contains("holds a job"), held, "a job is held");
            };
            let run = eight().env("JSSHIM_GATE", mode).env("JSSHIM_DEBUG", "1");
            run.pool(Kind::NonBlocking, 2).check(check).once();
        }
    }
}

fn gate_junk() {
    let said = |o: &Outcome| assert!(o.stderr.is_empty() || o.stderr.contains("JSSHIM_GATE"));
    for value in ["junk", "Parent", "1"] {
        let run = eight().env("JSSHIM_GATE", value).pool(Kind::NonBlocking, 2);
        run.warns().check(said).both();
    }
}

// ---- the run-time folder and the helper ------------------------------------------------------

/// Each makes `$JSSHIM_DIR` something that cannot be used.
const FOLDERS: [(&str, &str); 7] = [
    ("of_mode_755", "mkdir -m 755 d"),
    ("that_is_a_link", "mkdir -m 700 real; ln -s real d"),
    ("that_is_a_file", "echo text >d"),
    ("of_somebody_else", "mkdir -m 700 d; chown nobody d"),
    ("without_a_parent", "JSSHIM_DIR=$PWD/no/such/parent"),
    ("with_a_long_name", "JSSHIM_DIR=$PWD/$(printf %0300d 0)"),
    ("on_a_full_disk", "mkdir d; mount -t tmpfs -o mode=700,size=64k none d || exit"),
];

/// A host that finds such a folder.
fn in_folder(make: &str) -> Run {
    let text = format!(
        "ON=$JSSHIM_LIB SHIM=${{ON:+env LD_PRELOAD=$ON}}\n\
         export JSSHIM_DIR=$PWD/d\n{make}\n$SHIM dash -c '{JOBS}'\nstatus=$?\n\
         [ -d d ] && ls -A d/ | grep . && echo left behind\nexit $status"
    );
    // The mount must not outlive the run.
    let within: &[&str] = if make.contains("mount") { &["unshare", "-m"] } else { &[] };
    Run::new(&[within, &["bash", "-c", &text]].concat())
        .preload_inside()
        .unordered()
        .warns()
        .slots(8)
        .any_peak()
        .check(|o| assert_eq!(o.status.code(), Some(5)))
        .check(|o| assert!(o.stderr.is_empty() || o.stderr.contains("run-time directory")))
        .check(|o| assert!(!o.text().contains("left"), "files stay behind"))
}

/// The host runs as without the library; one line says why. The pool is left alone.
fn unsafe_folder(make: &str) {
    // SAFETY: it only tells a number.
    let is_root = unsafe { libc::geteuid() == 0 };
    if !is_root && (make.contains("mount") || make.contains("chown")) {
        eprintln!("settings::folder needs root: {make}");
        return;
    }
    in_folder(make).both();
    in_folder(make).pool(Kind::NonBlocking, 2).slots(8).both();
}

/// Each process tries to make the pool, and only the first one may say that it cannot.
fn jobs_in_an_unsafe_folder() {
    in_folder("mkdir -m 755 d").env("JSSHIM_JOBS", "2").both();
}

/// Nothing can be held then; the host runs, and says it once.
fn helper_missing() {
    let said = |o: &Outcome| assert!(o.stderr.is_empty() || o.stderr.contains("jsshim-helper"));
    for helper in ["/no/such/helper", "/etc/passwd", "/tmp", "relative"] {
        for mode in ["auto", "child"] {
            let run = eight().env("JSSHIM_HELPER", helper).env("JSSHIM_GATE", mode).warns();
            run.pool(Kind::NonBlocking, 2).slots(8).any_peak().check(said).both();
        }
    }
    // The library alone in a folder.
    let text = format!(
        "[ -z $ON ] || {{ cp $ON .; SHIM=\"env LD_PRELOAD=$PWD/libjsshim.so\"; }}\n\
         exec $SHIM dash -c '{JOBS}'"
    );
    let run = script(&text).unordered().pool(Kind::Fifo, 2).slots(8).any_peak();
    run.warns().check(said).both();
}

fn helper_elsewhere() {
    let text = format!(
        "[ -z $ON ] || {{ cp $ON .; cp ${{ON%/*}}/jsshim-helper h; export JSSHIM_HELPER=$PWD/h\n\
         SHIM=\"env LD_PRELOAD=$PWD/libjsshim.so\"; }}\n\
         exec $SHIM dash -c '{JOBS}'"
    );
    for mode in ["auto", "child"] {
        let run = script(&text).env("JSSHIM_GATE", mode).unordered();
        run.pool(Kind::Blocking, 2).both();
    }
}

// ---- dry runs and the load -------------------------------------------------------------------

fn dry_run_in_a_recipe() {
    if !is_here() {
        return;
    }
    let makefile = "all:\n\t+@LD_PRELOAD=$$JSSHIM_LIB sh -c 'touch ran'; ls ran; true\n";
    for make in [on_path("make"), tool("make-4.4.1", "make")] {
        Run::new(&[&make, "-n", "-j2"])
            .file("Makefile", makefile)
            .preload_inside()
            .check(|o| assert!(o.status.success() && !o.text().contains("ran\n")))
            .check(|o| assert_eq!(o.stderr.matches("jsshim: ").count(), 1))
            .check(|o| assert!(o.stderr.contains("dry run")))
            .once();
    }
}

const DRY: &str = "all:\n\t+@echo from the recipe; sh -c 'echo and below'\n";

fn dry_run_of_a_preloaded_make() {
    for make in [on_path("make"), tool("make-4.4.1", "make")] {
        Run::new(&[&make, "-n", "-j2"]).file("Makefile", DRY).both();
    }
}

/// The parent's environment is larger than what one small read shows.
fn dry_run_in_a_large_environment() {
    let run = Run::new(&["make", "-n", "-j2"]).file("Makefile", DRY);
    run.env("A_LARGE_VARIABLE", &"x".repeat(20_000)).both();
}

fn load() -> f32 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap();
    text.split(' ').next().unwrap().parse().unwrap()
}

/// A limit that the load is above: one job at a time, and all of them in the end.
fn load_limit() {
    while load() < 0.1 {
        let until = std::time::Instant::now() + Duration::from_secs(1);
        while std::time::Instant::now() < until {}
    }
    let few = "for i in 1 2 3 4; do $JOB -b 20 -s 40 & done; wait; exit 5";
    let few = || Run::new(&["dash", "-c", few]);
    few().env("JSSHIM_LOAD", "0.01").pool(Kind::NonBlocking, 4).slots(1).both();
    few()
        .env("JSSHIM_LOAD", "0.01")
        .env("JSSHIM_GATE", "child")
        .pool(Kind::Fifo, 4)
        .slots(1)
        .both();
    few().env("JSSHIM_LOAD", "0.01").env("JSSHIM_JOBS", "4").slots(1).both();
    few().env("JSSHIM_LOAD", "1000000").pool(Kind::NonBlocking, 3).both();
    let makefile = "all:\n\t+@LD_PRELOAD=$$JSSHIM_LIB dash -c \
                    'for i in 1 2 3 4; do $$JOB -b 20 -s 40 & done; wait'\n";
    let make = Run::new(&["make", "-j4", "-l0.01"]).file("Makefile", makefile);
    make.preload_inside().make(4).slots(1).both();
}

fn load_limit_junk() {
    let said = |o: &Outcome| assert!(o.stderr.is_empty() || o.stderr.contains("JSSHIM_LOAD"));
    for value in ["junk", "abc", "-1", "-", "x1", "."] {
        let run = eight().env("JSSHIM_LOAD", value).pool(Kind::NonBlocking, 2);
        run.warns().check(said).both();
    }
    eight().env("JSSHIM_LOAD", "1e3").pool(Kind::NonBlocking, 2).both();
}
