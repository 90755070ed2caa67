//! Daemons that outlive the build which has started them (c/daemonize.c shows those that a build starts and forgets).
//!
//! The wrong assumption was that whoever has a pool is part of the build that it was made for. A daemon of gradle kept
//! the `-j1` of its first build for ever; below make, whose pool goes with it, its jobs were not held at all.

use jsshim_engine::pool::cpus;

use crate::harness::programs::{artifact, python, script, tool};
use crate::harness::{Outcome, Run};
use crate::Test;

/// How the first build is started, on how many slots, and which daemons it leaves behind (py/daemon.py). From a /proc of
/// its own one cannot reach the pipe of a make, and one that keeps the pipe keeps make waiting, also without the library.
const BUILDS: [(&str, &str, usize, &[&str]); 5] = [
    ("launcher", "$CLI -j1 -- $ASK build $COUNT", 1, &["fork", "keeps", "threads", "space"]),
    ("large_launcher", "$CLI -j$MORE -- $ASK build $COUNT", usize::MAX, &["fork", "space"]),
    (
        "library",
        "JSSHIM_JOBS=1 LD_PRELOAD=$JSSHIM_LIB $ASK build $COUNT",
        1,
        &["exec", "shell", "late", "late_exec"],
    ),
    ("pipe", "make -s -j2", 2, &["fork", "exec", "threads", "child", "shell", "late"]),
    ("fifo", "$MAKE -s -j2", 2, &["fork", "keeps", "threads", "child", "shell", "space"]),
];

pub fn tests() -> Vec<Test> {
    let mut list = crate::tests![no_daemon_but_in_the_background, jobs_that_are_held_at_the_end];
    for (build, text, slots, hows) in BUILDS {
        for how in hows {
            let name = format!("strangers::daemons::{how}_below_{build}");
            list.push(crate::test(&name, move || outlives(how, text, slots)));
        }
    }
    list
}

/// As many as the machine can run at once.
fn machine() -> usize {
    cpus::default_slots() as usize
}

fn scene(how: &str, text: &str) -> Run {
    let more = machine() + 3;
    let ask = format!("{} {} {how}", python(), script("py/daemon.py"));
    Run::new(&["sh", "-c", text])
        .file("Makefile", "all:\n\t+@LD_PRELOAD=$$JSSHIM_LIB $$ASK build $$COUNT\n")
        .env("ASK", &ask)
        .env("CLI", &artifact("jsshim").unwrap_or_default())
        .env("MAKE", &tool("make-4.4.1", "make"))
        .env("PATH", &std::env::var("PATH").unwrap_or_default())
        .env("MORE", &more.to_string())
        // The first one does not even look for the pool.
        .env("COUNT", &if how.starts_with("late") { 1 } else { more + 2 }.to_string())
        .env("MANY", &(more + 2).to_string())
        .preload_inside()
        .any_peak()
}

/// What runs at once, as daemon.py prints it after this word.
fn peaks(o: &Outcome, word: &str) -> Vec<usize> {
    let text = o.text();
    let of = |line: &str| line.strip_prefix(word)?.trim().parse().ok();
    text.lines().filter_map(of).collect()
}

/// A build, and then its daemon is asked until so many run at once: it takes a while until it is known that make has
/// gone.
fn later(build: &str, pause: &str, all: usize) -> String {
    format!(
        "{build} && n=0 && until sleep {pause}; line=$($ASK later $MANY); echo \"$line\"
        [ \"$line\" = 'later {all}' ] || [ $((n += 1)) = 20 ]; do :; done && $ASK stop 0"
    )
}

/// As many as the machine can run; until then no more than that, or than the build had.
fn comes_to(all: usize, most: usize) -> impl Fn(&Outcome) {
    move |o| {
        assert!(o.status.success());
        let later = peaks(o, "later");
        assert!(later.iter().all(|peak| *peak <= most), "{}", o.text());
        assert_eq!(later.last(), Some(&all), "as many as the machine can run");
    }
}

fn outlives(how: &'static str, build: &str, slots: usize) {
    // In a namespace of its own it is only known after a second in which nobody asks.
    let pause = if how == "space" { "2" } else { "0.2" };
    // A child that sleeps has a slot, too.
    let all = if how == "child" { machine().max(2) - 1 } else { machine() };
    let judge = move |o: &Outcome| {
        assert!(peaks(o, "build").iter().all(|peak| *peak <= slots), "{}", o.text());
        comes_to(all, all.max(slots))(o);
    };
    scene(how, &later(build, pause, all)).check(judge).once();
}

/// Of the build's session: it keeps the limit of the build.
fn no_daemon_but_in_the_background() {
    for build in ["$CLI -j1 -- $ASK build 5", "JSSHIM_JOBS=1 LD_PRELOAD=$JSSHIM_LIB $ASK build 5"] {
        let text = format!("{build} && sleep 0.4 && $ASK later $MANY && $ASK stop 0");
        let judge = |o: &Outcome| {
            assert_eq!((o.text().as_str(), o.status.success()), ("build 1\nlater 1\n", true))
        };
        scene("background", &text).check(judge).once();
    }
}

/// The one who asks leaves at once, and the build ends with that. They go on, all of them, on the slots of the build
/// and then on more; below make without a slot, as make has it.
fn jobs_that_are_held_at_the_end() {
    let ended = "until [ $(od -An -tu4 -j12 -N4 $JSSHIM_TEST_JOBS) -ge 7 ]; do sleep 0.02; done";
    for build in ["$CLI -j1 -- $ASK leave 7", "JSSHIM_JOBS=1 LD_PRELOAD=$JSSHIM_LIB $ASK leave 7"] {
        let within = |o: &Outcome| assert!(o.jobs.peak as usize <= machine(), "{}", o.text());
        let text = later(&format!("{build} && {ended}"), "0.2", machine());
        scene("fork", &text).check(within).check(comes_to(machine(), machine())).once();
    }
    for make in ["make", "$MAKE"] {
        let build = format!("sed -i 's/build .*/leave 7/' Makefile && {make} -s -j2 && {ended}");
        scene("fork", &later(&build, "0.2", machine()))
            .check(comes_to(machine(), machine()))
            .once();
    }
}
