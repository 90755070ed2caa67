//! Builds below one make that get unequal shares of its slots (`JSSHIM_SHARE`).

use crate::harness::pool::Kind;
use crate::harness::programs::{compiled, tool};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        three_times_as_many,
        a_share_in_forks_that_wait,
        the_background_gets_what_is_left,
        the_background_leaves_tokens_to_a_make,
        the_background_has_all_where_nobody_else_is,
        every_start_in_the_background,
        forks_in_the_background,
        ninja_in_the_background,
        killed_readers_of_a_large_share,
    ]
}

/// Two recipes that begin together. Each line of `log` is a job that has ended; the last line but for those of jobs that
/// ran then is the one with which the first build ended.
fn beside(slots: usize, first: &str, second: &str) -> Run {
    let makefile = format!(
        "all: first second\nfirst:\n\t+@{first}; wc -l <log.second >then\nsecond:\n\
         \t+@until [ -s log.first ]; do sleep 0.02; done; {second}\n.PHONY: all first second\n"
    );
    let show = "[ -z \"$JSSHIM_LIB\" ] || echo second: $(cat then)";
    Run::new(&["sh", "-c", &format!(": >log.second; make -j{slots} && {show}")])
        .file("Makefile", &makefile)
        .make(slots)
        .preload_inside()
        .unordered()
}

/// `xargs` with jobs of 150 ms, each of which notes its end.
fn build(share: &str, width: usize, count: usize, log: &str) -> String {
    format!(
        "seq {count} | JSSHIM_SHARE={share} LD_PRELOAD=$$JSSHIM_LIB xargs -P{width} -I{{}} \
         sh -c '$$JOB -b 2 -s 150; echo >>log.{log}'"
    )
}

/// The number of the second build's jobs that had ended when the first build did.
fn second(outcome: &Outcome) -> usize {
    let text = outcome.text();
    let line = text.lines().find_map(|line| line.strip_prefix("second: "));
    line.and_then(|count| count.trim().parse().ok()).expect("a count")
}

/// Plays it with the library only: without it nothing is shared.
fn demand(run: Run, most: usize, least: usize) {
    let count = second(&run.run(true));
    assert!(
        (least..=most).contains(&count),
        "{count} jobs of the second build, not {least} to {most}"
    );
}

/// Each of the two has the slot of its recipe; of the other four one has three. So it has four of six.
fn three_times_as_many() {
    let (first, second) = (build("3", 16, 80, "first"), build("1", 16, 80, "second"));
    demand(beside(6, &first, &second), 60, 20);
}

fn a_share_in_forks_that_wait() {
    let shell = |share, count, log| {
        format!(
            "JSSHIM_SHARE={share} LD_PRELOAD=$$JSSHIM_LIB bash -c 'for i in $$(seq {count}); do \
             ($$JOB -b 2 -s 150; echo >>log.{log}) & done; wait'"
        )
    };
    demand(beside(6, &shell("3", 80, "first"), &shell("1", 80, "second")), 60, 20);
}

/// It has the slot of its recipe, and no token: one of four slots.
fn the_background_gets_what_is_left() {
    let (first, second) = (build("1", 8, 60, "first"), build("idle", 8, 60, "second"));
    demand(beside(4, &first, &second), 36, 8);
}

/// make reads the pool itself. It has two of three slots.
fn the_background_leaves_tokens_to_a_make() {
    for make in [tool("make-4.4.1", "make"), "make".to_owned()] {
        let jobs: Vec<_> = (0..50).map(|n| format!("j{n}")).collect();
        let jobs = jobs.join(" ");
        let inner = format!(
            "all: {jobs}\n{jobs}:\n\t@$$JOB -b 2 -s 150; echo >>log.first\n.PHONY: all {jobs}\n"
        );
        let run = beside(3, &format!("{make} -s -f inner.mk"), &build("idle", 8, 60, "second"));
        demand(run.file("inner.mk", &inner), 36, 8);
    }
}

fn the_background_has_all_where_nobody_else_is() {
    let job = compiled("job");
    let numbers: String = (0..60).map(|i| format!("{i}\n")).collect();
    for kind in [Kind::Blocking, Kind::NonBlocking, Kind::Fifo] {
        let run = Run::new(&["xargs", "-P8", "-I{}", &job, "-s", "10", "-i", "{}"]);
        run.stdin(&numbers).unordered().pool(kind, 4).env("JSSHIM_SHARE", "idle").both();
    }
}

/// Its parent does not wait at the gate.
fn every_start_in_the_background() {
    for gate in ["auto", "parent", "child"] {
        let program = "import os, subprocess\n\
             jobs = [subprocess.Popen([os.environ['JOB'], '-s', '40']) for _ in range(24)]\n\
             print([j.wait() for j in jobs])\n";
        let run = Run::python(program).pool(Kind::Fifo, 3);
        run.env("JSSHIM_SHARE", "idle").env("JSSHIM_GATE", gate).both();
    }
}

fn forks_in_the_background() {
    let host = "for i in $(seq 24); do ($JOB -s 30; :) & done; wait";
    Run::new(&["bash", "-c", host]).pool(Kind::Fifo, 3).env("JSSHIM_SHARE", "idle").both();
}

fn ninja_in_the_background() {
    let edges: String = (0..40).map(|n| format!("build o{n}: job\n")).collect();
    let edges = format!("rule job\n  command = $$JOB -b 2 -s 150; echo >>log.second\n{edges}");
    let ninja = "JSSHIM_SHARE=idle LD_PRELOAD=$$JSSHIM_LIB NINJA_STATUS= ninja -j8 --quiet";
    let run = beside(4, &build("1", 8, 60, "first"), ninja).file("build.ninja", &edges);
    demand(run, 36, 8);
}

/// Three jobs read the pool; those that are killed there leave their turns to others.
fn killed_readers_of_a_large_share() {
    let program = "import os, signal, subprocess, time\n\
         job = lambda ms: subprocess.Popen([os.environ['JOB'], '-s', str(ms)])\n\
         jobs = [job(1500), job(800)] + [job(20) for _ in range(9)]\n\
         time.sleep(0.4)\n\
         for j in jobs[2:5]: os.kill(j.pid, signal.SIGKILL)\n\
         print([j.wait() for j in jobs[5:]], flush=True)\n\
         print([j.wait() for j in jobs[:5]])\n";
    let run = Run::python(program).pool(Kind::Fifo, 2).breaks().env("JSSHIM_SHARE", "3");
    run.check(|o| assert!(o.text().starts_with("[0, 0, 0, 0, 0, 0]\n"), "{}", o.text())).once();
}
