//! JSSHIM_COUNT: what the slots bound.

use super::{alone, is_here};
use crate::harness::pool::Kind;
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        sleepers_lend,
        running_is_the_default,
        processes_count_sleepers,
        processes_and_a_barrier,
        junk,
    ]
}

/// Four jobs that go on when all are there.
const MEETING: &str = "
    for i in 1 2 3 4; do
        sh -c \"$JOB -b 40; : >there$i; for k in 1 2 3 4; do
            until [ -e there\\$k ]; do sleep 0.05; done; done; $JOB -b 100; echo $i\" &
    done; wait";

fn meeting(kind: Kind, slots: usize) -> Run {
    alone(&["dash", "-c", MEETING], kind, slots).unordered()
}

fn sleepers_lend() {
    meeting(Kind::Fifo, 1).both();
    meeting(Kind::NonBlocking, 2).both();
}

fn running_is_the_default() {
    meeting(Kind::Fifo, 2).env("JSSHIM_COUNT", "running").both();
}

fn sleepers(script: &str) -> Run {
    Run::new(&["dash", "-c", script]).env("JSSHIM_COUNT", "processes")
}

/// Who sleeps has its slot until its end.
fn processes_count_sleepers() {
    let script = "for i in 1 2 3 4 5; do $JOB -b 5 -s 700 & done; wait";
    sleepers(script).pool(Kind::NonBlocking, 1).both();
    sleepers(script).pool(Kind::Fifo, 2).both();
}

/// Those that wait for one that is held are helped by the rule for stalls alone.
fn processes_and_a_barrier() {
    let program = "
import multiprocessing as mp, jobs
def one(i, barrier):
    jobs.work(i)
    barrier.wait()
context = mp.get_context('fork')
barrier = context.Barrier(5)
all = [context.Process(target=one, args=(i, barrier)) for i in range(5)]
for p in all: p.start()
for p in all: p.join()
print([p.exitcode for p in all])
";
    let run = || Run::python(program).env("JSSHIM_COUNT", "processes");
    run().pool(Kind::NonBlocking, 1).any_peak().both();
    let told = |o: &Outcome| {
        assert_eq!(o.stderr.lines().filter(|l| l.contains(crate::stalls::LINE)).count(), 3);
    };
    if is_here() {
        run().env("JSSHIM_DEBUG", "1").pool(Kind::Fifo, 2).any_peak().check(told).once();
    }
}

/// It is told once, and the jobs run as if nothing were set.
fn junk() {
    for value in ["x", "0", "Processes", "running,processes", "process"] {
        let script = "for i in 1 2 3 4; do $JOB -b 60 -k 1 -i job$i & done; wait; exit 5";
        let run = || alone(&["dash", "-c", script], Kind::Fifo, 2).env("JSSHIM_COUNT", value);
        let run = || run().unordered().exceeding().strictly();
        run().warns().both();
        let said = |o: &Outcome| {
            let lines: Vec<_> = o.stderr.lines().filter(|l| l.contains("JSSHIM_COUNT")).collect();
            let [line] = &lines[..] else { panic!("{} lines", lines.len()) };
            assert!(line.contains("running") && line.contains("processes"), "{line}");
        };
        if is_here() {
            run().check(said).once();
        }
    }
}
