//! Programs of another C library, musl: as hosts and as jobs, by themselves and in one tree with those of glibc.

mod userland;

use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, compiled_by};
use crate::harness::{Outcome, Run};
use crate::table::{compare_in_all_slots, every_door_takes_a_slot_in};
use crate::Test;

/// What a host does with SIGCHLD matters to the library, not to the C library: some of the conditions are enough.
const CONDITIONS: [&str; 8] = [
    "default",
    "ignored",
    "no-child-wait",
    "interrupting",
    "signalfd",
    "siginfo",
    "onstack",
    "reaping",
];

pub fn tests() -> Vec<Test> {
    let table = |condition: &'static str| {
        let name = format!("musl::table_{}", condition.replace('-', "_"));
        crate::test(&name, move || compare_in_all_slots("musl-gcc", condition))
    };
    let mut tests: Vec<_> = CONDITIONS.into_iter().map(table).collect();
    tests.extend(crate::tests![
        every_door_takes_a_slot,
        programs_of_musl,
        commands_of_closed_streams,
        starts_in_constructors,
        many_execs_of_musl,
        doors_of_musl,
        doctor_knows_musl,
    ]);
    tests.extend(userland::tests());
    tests
}

fn every_door_takes_a_slot() {
    every_door_takes_a_slot_in("musl-gcc");
}

fn of_musl(name: &str) -> String {
    compiled_by("musl-gcc", name, &format!("musl-{name}"), &[])
}

/// Hosts and jobs of musl: as many at once as there are slots.
fn programs_of_musl() {
    for mode in [
        "reaps-at-the-end",
        "forks-without-exec",
        "vforks",
        "never-reaps",
        "signalfd",
        "threads",
        "popen",
    ] {
        for kind in [Kind::Blocking, Kind::Fifo] {
            let run = Run::new(&[&of_musl("hosts"), mode]).env("JOB", &of_musl("job"));
            let run = run.pool(kind, 3).settles(8);
            run.check(|o| assert_eq!(o.status.code(), Some(5))).both();
        }
        let run = Run::new(&[&of_musl("hosts"), mode]).env("JSSHIM_JOBS", "2").slots(2);
        if mode != "never-reaps" {
            let run = run.env("JSSHIM_TEST_GO", "/").ignoring("low descriptors");
            run.check(|o| assert_eq!(o.status.code(), Some(5))).both();
        }
    }
}

/// What is still running keeps its slot.
fn commands_of_closed_streams() {
    for gate in ["auto", "child"] {
        let run = Run::new(&[&of_musl("fclose")]).env("JSSHIM_GATE", gate).pool(Kind::Fifo, 2);
        run.check(|o| assert_eq!(o.status.code(), Some(5))).both();
    }
}

/// Constructors of the program's own libraries, and of those that are preloaded before ours.
fn starts_in_constructors() {
    let flags = ["-shared", "-fPIC", "-DLIBRARY"];
    let library = compiled_by("musl-gcc", "early", "libearly-musl.so", &flags);
    let host = compiled_by("musl-gcc", "early", "musl-early", &[&library]);
    let run = || Run::new(&[&host]).check(|o| assert_eq!(o.status.code(), Some(5)));
    run().pool(Kind::Fifo, 2).both();
    run().env("JSSHIM_JOBS", "3").slots(3).both();
    let text = "LD_PRELOAD=$EARLY${JSSHIM_LIB:+:$JSSHIM_LIB} exec $HOST";
    let run = || Run::new(&["bash", "-c", text]).env("EARLY", &library).preload_inside();
    let job = of_musl("job");
    run().env("HOST", &job).env("JOB", &job).pool(Kind::Fifo, 2).both();
}

fn many_execs_of_musl() {
    let job = of_musl("job");
    let text = "for i in {1..130}; do for j in 1 2 3 4; do $MUSL -s 1 & done; wait; done; exit 5";
    let run = || Run::new(&["bash", "-c", text]).env("MUSL", &job);
    run().pool(Kind::Fifo, 2).both();
    run().env("JSSHIM_JOBS", "3").slots(3).both();
    // By make, which would say so of each that crashes.
    let makefile = "ALL = a b c d e f g h\nall: $(ALL)\n$(ALL):\n\t@$$MUSL -b 5 -s 40\n";
    let run = Run::new(&["make", "-s", "-j8"]).file("Makefile", makefile).env("MUSL", &job);
    run.make(8).any_peak().both();
}

/// Each kind of door, beside the others.
fn doors_of_musl() {
    let bounds = of_musl("starts");
    for gate in ["auto", "parent", "child"] {
        let run = Run::new(&[&bounds]).env("JSSHIM_GATE", gate);
        run.check(|o| assert_eq!(o.status.code(), Some(5)))
            .pool(Kind::Fifo, 2)
            .may_overdraw()
            .both();
    }
}

fn doctor_knows_musl() {
    if let Some(cli) = artifact("jsshim") {
        let run = Run::new(&[&cli, "doctor", &of_musl("job")]).preload_inside().any_peak();
        let told = |o: &Outcome| assert!(o.text().contains("is of musl"), "{}", o.text());
        run.check(|o| assert_eq!(o.status.code(), Some(0))).check(told).once();
    }
}
