//! Hosts with many threads in the hooks at once, some of which are cancelled there or end the program, and
//! hosts with little stack (c/threads.c, c/stack.c).

use crate::harness::pool::Kind;
use crate::harness::programs::compiled_with;
use crate::harness::Run;
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        a_crowd_through_all_doors,
        threads_that_reap_one_anothers_jobs,
        threads_with_the_smallest_stacks,
        forks_while_others_are_in_the_hooks,
        cancelled_in_a_wait,
        cancelled_in_a_wait_beside_jobs,
        a_start_is_no_cancellation_point,
        the_end_of_all_threads,
        starts_take_little_stack,
        handlers_on_a_small_stack,
    ]
}

fn host(mode: &[&str]) -> Run {
    let host = compiled_with("threads", "threads", &["-Wno-clobbered"]);
    Run::new(&[&[&*host], mode].concat())
}

const POOLS: [(Kind, usize); 3] = [(Kind::Blocking, 1), (Kind::NonBlocking, 2), (Kind::Fifo, 3)];

fn on_each_pool(jobs: u32, run: impl Fn() -> Run) {
    POOLS.into_iter().for_each(|pool| on_pool(pool, jobs, run()));
}

fn on_pool((kind, slots): (Kind, usize), jobs: u32, run: Run) {
    let run = run.pool(kind, slots).settles(jobs);
    run.check(|o| assert_eq!(o.status.code(), Some(5))).both();
}

fn a_crowd_through_all_doors() {
    on_each_pool(48, || host(&["crowd"]));
}

fn threads_that_reap_one_anothers_jobs() {
    on_each_pool(48, || host(&["thieves"]));
}

fn threads_with_the_smallest_stacks() {
    on_each_pool(12, || host(&["small-stacks"]));
}

fn forks_while_others_are_in_the_hooks() {
    on_each_pool(72, || host(&["forks"]));
}

const WAITS: [&str; 5] = ["waitpid", "wait", "wait3", "wait4", "waitid"];

/// What the cancelled thread waited for is the host's first child, so that no ledger knows of it yet.
fn cancelled_in_a_wait() {
    for (way, pool) in WAITS.into_iter().zip(POOLS.into_iter().cycle()) {
        on_pool(pool, 12, host(&["cancelled-first", way]));
    }
    on_each_pool(12, || host(&["cancelled-first", "system"]));
    on_each_pool(13, || host(&["cancelled-first", "pclose"]));
}

fn cancelled_in_a_wait_beside_jobs() {
    let ways = WAITS.into_iter().chain(["system"]);
    for (way, pool) in ways.zip(POOLS.into_iter().cycle()) {
        on_pool(pool, 12, host(&["cancelled-beside", way]));
    }
}

/// Even where it waits for a slot, in a host with threads.
fn a_start_is_no_cancellation_point() {
    for gate in ["auto", "parent", "child"] {
        let run = host(&["cancelled-starts"]).env("JSSHIM_GATE", gate);
        on_pool((Kind::NonBlocking, 1), 8, run);
    }
}

/// Its jobs live on and end, held ones too, and all tokens come back.
fn the_end_of_all_threads() {
    for way in ["exit", "_exit", "quick_exit", "return"] {
        for (kind, slots) in POOLS {
            let run = host(&["ends", way]).pool(kind, slots);
            run.check(|o| assert_eq!(o.status.code(), Some(5))).both();
        }
    }
}

// ---- little stack ------------------------------------------------------------------------------

/// What the hooks may add to what the door itself takes, in bytes: with no other job, and with others.
const ALONE: usize = 1024;
const BESIDE: usize = 4096;

/// On the caller's stack, be it that of a handler or the smallest of a thread.
fn starts_take_little_stack() {
    let program = compiled_with("stack", "stack", &["-Wl,-z,now"]);
    let run = |state: &[&str]| Run::new(&[&[&*program], state].concat());
    let mut above = Vec::new();
    let mut compare = |run: Run, most: usize| {
        let (plain, shimmed) = (depths(&run, false), depths(&run, true));
        let deep = |((start, plain), (_, with)): &((String, usize), (String, usize))| {
            (*with > plain + most).then(|| format!("{start}: {plain} {with}"))
        };
        above.extend(plain.into_iter().zip(shimmed).filter_map(|both| deep(&both)));
    };
    for door in ["posix_spawn", "fork", "popen"] {
        compare(run(&["first", door]).pool(Kind::Fifo, 4), ALONE);
        // Where there is no pool, it is made.
        compare(run(&["first", door]), BESIDE);
        for kind in [Kind::NonBlocking, Kind::Fifo] {
            compare(run(&["joins", door]).pool(kind, 4), BESIDE);
        }
    }
    compare(run(&["alone"]).pool(Kind::Fifo, 4), ALONE);
    for (slots, gate, means) in
        [(4, "auto", ""), (1, "parent", "pidfd"), (1, "parent", "selfpipe"), (1, "child", "")]
    {
        let run = run(&["beside"]).pool(Kind::Fifo, slots);
        compare(run.env("JSSHIM_GATE", gate).env("JSSHIM_WAIT", means), BESIDE);
    }
    assert!(above.is_empty(), "bytes without and with the library:\n{}", above.join("\n"));
}

/// Each start, and what it took.
fn depths(run: &Run, shimmed: bool) -> Vec<(String, usize)> {
    let text = run.run(shimmed).text();
    let lines = text.lines().map(|line| line.rsplit_once(' ').expect("a number"));
    lines.map(|(start, number)| (start.to_owned(), number.parse().expect("a number"))).collect()
}

fn handlers_on_a_small_stack() {
    let program = compiled_with("stack", "stack", &["-Wl,-z,now"]);
    for (kind, slots) in POOLS {
        for means in ["pidfd", "selfpipe"] {
            let run = Run::new(&[&*program, "small"]).env("JSSHIM_WAIT", means);
            run.pool(kind, slots).check(|o| assert_eq!(o.status.code(), Some(5))).both();
        }
    }
}
