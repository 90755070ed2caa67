//! Another C library.

use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, compiled_by};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![programs_of_musl, many_execs_of_musl, doors_of_musl, doctor_knows_musl,]
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

fn many_execs_of_musl() {
    let job = of_musl("job");
    let text = "for i in {1..50}; do for j in 1 2 3 4; do $MUSL -s 1 & done; wait; done; exit 5";
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
