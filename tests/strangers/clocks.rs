//! Processes of other time namespaces: their boot clock is hours away from that of their guard (`unshare --time`, a
//! container that was restored by CRIU).
//!
//! The wrong assumption was that all processes of a machine read the same boot clock, and the same start times in /proc.

use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, python};
use crate::harness::Run;
use crate::Test;

use super::guards::{says, POOL};

pub fn tests() -> Vec<Test> {
    crate::tests![
        a_guard_in_another_time_namespace,
        a_guard_of_another_time_namespace,
        jobs_that_wait_for_one_another,
        a_sandbox_with_a_clock_of_its_own_is_killed,
        a_trace_of_two_clocks,
        status_of_another_clock,
    ]
}

/// Ahead of the machine's clock, and behind it. CRIU's offsets are no whole seconds; unshare(1) knows only those.
const OFFSETS: [&str; 2] = ["100000", "-60"];

fn script(text: &str, offset: &str) -> Run {
    let text = text.replace("SHIM ", "LD_PRELOAD=$JSSHIM_LIB ");
    let away = format!("unshare -T --boottime {offset} --monotonic {offset} -f ");
    let text = text.replace("AWAY ", &away);
    let guards = "guards() { for pid in $(helpers); do
            grep -qz \"^JSSHIM_TEST_ID=$JSSHIM_TEST_ID\" /proc/$pid/environ && echo $pid
        done; }";
    Run::new(&["bash", "-c", &format!("{POOL}{guards}\n{text}")])
        .env("PYTHON", &python())
        .file("stay.sh", "for i in 1 2 3; do $JOB -b 5 -w $1 & done; wait; wait")
        .preload_inside()
}

/// It finds jobs that an earlier guard has looked at: they live, and keep what they have.
fn a_guard_in_another_time_namespace() {
    let text = "SHIM bash stay.sh one & first=$!; started 3; sleep 0.3; kill -KILL $(guards)
        AWAY env LD_PRELOAD=$JSSHIM_LIB bash stay.sh two & second=$!; started 6; sleep 1; pool
        touch two; wait $second; full 2; touch one; wait; full 4";
    for offset in OFFSETS {
        let run = script(text, offset).pool(Kind::Fifo, 5).any_peak().may_overdraw();
        run.check(says("0\n2\n4\n")).once();
    }
}

/// The same the other way round.
fn a_guard_of_another_time_namespace() {
    let text = "AWAY env LD_PRELOAD=$JSSHIM_LIB bash stay.sh one & first=$!; started 3; sleep 0.3
        kill -KILL $(guards); SHIM bash stay.sh two & second=$!; started 6; sleep 1; pool
        touch two; wait $second; full 2; touch one; wait; full 4";
    for offset in OFFSETS {
        let run = script(text, offset).pool(Kind::NonBlocking, 5).any_peak().may_overdraw();
        run.check(says("0\n2\n4\n")).once();
    }
}

/// Who has waited for long is told by the guard's clock. Without it the second one never started.
fn jobs_that_wait_for_one_another() {
    let host = "mkfifo a b
        sh -c 'read x <a; echo >b; $JOB -s 20' & sh -c 'echo >a; read x <b; $JOB -s 20' & $JOB -s 20 & wait";
    let text = "SHIM bash -c 'true & true & wait; AWAY bash host.sh; :'";
    for offset in OFFSETS {
        let run = script(text, offset).file("host.sh", host).env("JSSHIM_GATE", "child");
        let run = run.env("JSSHIM_STALL", "0.2").pool(Kind::Fifo, 1);
        run.may_overdraw().patience(std::time::Duration::from_secs(60)).both();
    }
}

/// A PID namespace as well, as a container's.
fn a_sandbox_with_a_clock_of_its_own_is_killed() {
    let text = "SHIM bash stay.sh go & started 3
        AWAY -p --mount-proc env LD_PRELOAD=$JSSHIM_LIB bash stay.sh go & box=$!; started 6
        until init=$(pgrep -P $box); do sleep 0.01; done; kill -KILL $init; wait $box; full 2; touch go; wait; full 4";
    for offset in OFFSETS {
        let run = script(text, offset).pool(Kind::Fifo, 5);
        run.breaks().check(says("2\n4\n")).once();
    }
}

/// One line of time.
fn a_trace_of_two_clocks() {
    if artifact("libjsshim.so").is_none() {
        return;
    }
    let text = "export JSSHIM_TRACE=$PWD/trace; SHIM bash -c 'for i in 1 2 3; do $JOB -s 40 & done; wait
            AWAY bash -c \"for i in 1 2 3; do \\$JOB -s 40 & done; wait\"; for i in 1 2 3; do $JOB -s 40 & done; wait'
        empty; $PYTHON -c \"import json
times = [e['ts'] / 1e6 for e in json.load(open('trace')) if e.get('ph') == 'X']
print(len(times) >= 9, max(times) - min(times) < 50)\"";
    for offset in OFFSETS {
        let run = script(text, offset).pool(Kind::Fifo, 2).any_peak();
        run.check(says("True True\n")).once();
    }
}

/// Seen from outside, and from within.
fn status_of_another_clock() {
    let Some(cli) = artifact("jsshim") else { return };
    let text = "SHIM bash stay.sh go & started 3; AWAY env LD_PRELOAD=$JSSHIM_LIB bash stay.sh go & started 6
        for place in env 'AWAY env'; do $place $CLI status --json | $PYTHON -c \"import json, sys
jobs = [job for pool in json.load(sys.stdin)['pools'] for job in pool['jobs']]
print(len(jobs), all(0 <= job['state_seconds'] < 50 for job in jobs), all(job['name'].startswith('job') for job in jobs))\"
        done; touch go; wait";
    for offset in OFFSETS {
        let run = script(text, offset).env("CLI", &cli).pool(Kind::Fifo, 5);
        run.any_peak().may_overdraw().check(says("6 True True\n6 True True\n")).once();
    }
}
