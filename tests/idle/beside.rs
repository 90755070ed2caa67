//! A shell whose background job sleeps: its commands start on that job's slot, one after the other, and wait for no
//! check of the guard.

use super::{alone, is_here};
use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, compiled, python};
use crate::harness::{Outcome, Run};
use crate::Test;

/// A name, and what starts `$s` in the background.
const SLEEPERS: &[(&str, &str)] = &[
    ("sleep", "sleep infinity & s=$!"),
    ("tail", ": >log; tail -f log >out & s=$!"),
    ("fifo", "mkfifo fifo; cat fifo & s=$!; exec 9>fifo"),
    ("server", "$PYTHON -m http.server -b 127.0.0.1 0 >port 2>&1 & s=$!"),
    ("threads", "$PYTHON threads.py & s=$!; until [ -e ready ]; do sleep 0.01; done"),
    ("subshell", "(trap 'kill $!; exit 3' TERM; sleep infinity & wait) & s=$!"),
];

/// Its threads wait in calls that the library does not see.
const THREADS: &str = "import threading
never = threading.Event()
all = [threading.Thread(target=never.wait) for _ in range(4)]
for one in all: one.start()
open('ready', 'w')
";

/// How many commands there are, and how many of them may have waited: the first ones, and some by chance.
const COMMANDS: usize = 40;
const SOME: u64 = 15;

pub fn tests() -> Vec<Test> {
    let test = |(name, start): &(&str, &'static str)| {
        let start = *start;
        crate::test(&format!("idle::beside::{name}"), move || few_wait(start))
    };
    let mut list: Vec<_> = SLEEPERS.iter().map(test).collect();
    list.extend(crate::tests![a_worker, one_that_wakes_up, one_that_computes]);
    list
}

fn host(start: &str) -> String {
    format!(
        "{start}
        for i in $(seq {COMMANDS}); do $JOB -b 5; done
        kill $s; wait $s 2>/dev/null; echo $?
"
    )
}

/// The jobs that waited for a token, of all that a build had.
fn waits(o: &Outcome) -> u64 {
    let text = o.text();
    let numbers: Vec<u64> = text.split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert_eq!(numbers.len(), 3, "status, jobs, waits");
    assert!(numbers[1] >= COMMANDS as u64, "{text}");
    numbers[2]
}

/// Prints its status, and of the statistics how many jobs there were, and how many of them waited.
const COUNTED: &str = "
    JSSHIM_STATS=$PWD/stats $CLI -j1 -- sh host | tail -n1
    $PYTHON -c 'import json
for line in open(\"stats\"):
    all = json.loads(line)
    print(all[\"jobs\"], sum(n for _, n in all[\"waits\"]))'";

fn few_wait(start: &str) {
    for (kind, slots) in [(Kind::Fifo, 1), (Kind::NonBlocking, 2)] {
        let run = alone(&["sh", "host"], kind, slots).file("host", &host(start));
        run.file("threads.py", THREADS).check(|o| assert!(o.status.success())).both();
    }
    if is_here() {
        let run = Run::new(&["sh", "-c", COUNTED]).file("host", &host(start));
        run.file("threads.py", THREADS)
            .env("CLI", &artifact("jsshim").unwrap_or_default())
            .env("JOB", &compiled("job"))
            .env("PYTHON", &python())
            .preload_inside()
            .slots(1)
            .running()
            .check(|o| assert!(waits(o) <= SOME, "{} of {COMMANDS} waited", waits(o)))
            .once();
    }
}

/// Beside the sleeper a job computes on the other slot all the time.
fn a_worker() {
    let host = format!("sleep infinity & s=$!; $JOB -b 1500 & w=$!{}wait $w", host(""));
    alone(&["bash", "host"], Kind::Fifo, 2).file("host", &host).strictly().both();
}

/// It sleeps, computes for long, and sleeps again. Meanwhile no more commands start than there are slots for.
fn one_that_wakes_up() {
    let sleeper = "import os, select, sys, jobs
for _ in range(3):
    select.select([], [], [], 0.3)
    jobs.burn(0.3)
";
    let host = "
        $PYTHON sleeper.py & s=$!
        for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do $JOB -b 40; done; wait $s; echo $?";
    for (kind, slots) in [(Kind::Fifo, 1), (Kind::Blocking, 1)] {
        let run = alone(&["bash", "host"], kind, slots).file("host", host);
        run.file("sleeper.py", sleeper).exceeding().both();
    }
}

/// The commands of the shell wait until it has ended, as ever.
fn one_that_computes() {
    let host = "$JOB -b 600 & for i in 1 2 3 4 5; do $JOB -b 40; done; wait; exit 5";
    alone(&["dash", "-c", host], Kind::Fifo, 1).exceeding().strictly().both();
}
