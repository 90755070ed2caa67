//! Drivers of tests that give each child a time: it must not run while a child that has not run yet is held, and who is
//! late must be ended.
//!
//! Forty children, each of which needs a tenth of a second of the one slot and may take three: if all clocks ran from
//! the start, ten of them would be late. Only with the library: without it forty compute at once.

use std::time::Duration;

use super::{alone, is_here};
use crate::harness::pool::Kind;
use crate::harness::programs::python;
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        parallel,
        timeout,
        python_threads,
        late_in_ctest,
        late_in_parallel,
        late_in_asyncio,
        late_in_node,
        late_in_a_shell,
    ]
}

fn in_time(run: Run, jobs: u32, said: &'static str) {
    let says = move |o: &Outcome| {
        assert_eq!(o.jobs.started, jobs, "all have run");
        assert!(o.text().contains(said), "not {said:?}");
        assert!(o.status.success());
    };
    if is_here() {
        run.breaks().check(says).once();
    }
}

fn parallel() {
    let script = "seq 40 | parallel -j40 --timeout 3 '$JOB -b 100 -i {} -k 0'; echo late: $?";
    in_time(alone(&["bash", "-c", script], Kind::Fifo, 1), 40, "late: 0\n");
}

/// The clock is part of the job, and runs when that does.
fn timeout() {
    let script = "
        for i in $(seq 40); do (timeout 3 $JOB -b 100 || echo late) & done; wait; echo done";
    in_time(alone(&["dash", "-c", script], Kind::Fifo, 1), 40, "done\n");
}

/// A thread for each child, which is still in Popen while the child is held. Eight that need half a second each.
fn python_threads() {
    let program = "
import os, subprocess
from concurrent.futures import ThreadPoolExecutor
def one(i):
    kept = subprocess.PIPE if i % 2 else None
    try: return subprocess.run([os.environ['JOB'], '-b', '500'], timeout=3, stdout=kept).returncode
    except subprocess.TimeoutExpired: return 'late'
with ThreadPoolExecutor(8) as pool:
    print([r for r in pool.map(one, range(8)) if r != 0])
";
    in_time(alone(&[&python(), "-c", program], Kind::Fifo, 1), 8, "[]\n");
}

/// Two children that compute for ever, or until their driver, which is a job itself, wakes up and ends them: it must not
/// wait until their slot is free.
fn late(command: &str, file: (&str, &str)) {
    let script = format!("{command} 2>&1; :");
    let run = alone(&["sh", "-c", &script], Kind::Fifo, 1).file(file.0, file.1);
    run.breaks().patience(Duration::from_secs(60)).both();
}

const ENDLESS: &str = "$JOB -b 600000";

fn late_in_ctest() {
    let mut tests = String::new();
    for i in 0..2 {
        tests += &format!("add_test(t{i} sh -c [[exec {ENDLESS}]])\n");
        tests += &format!("set_tests_properties(t{i} PROPERTIES TIMEOUT 1)\n");
    }
    late("ctest -j2 2>&1 | grep passed,", ("CTestTestfile.cmake", &tests));
}

fn late_in_parallel() {
    late("seq 2 | parallel -j2 --timeout 1 '$JOB -b 600000 -i' | sort; echo $?", ("none", ""));
}

fn late_in_asyncio() {
    let program = "
import asyncio, os
async def one(i):
    p = await asyncio.create_subprocess_exec(os.environ['JOB'], '-b', '600000')
    try: await asyncio.wait_for(p.wait(), 1)
    except asyncio.TimeoutError: p.kill()
    return await p.wait()
async def main():
    print(await asyncio.gather(*(one(i) for i in range(2))))
asyncio.run(main())
";
    late("$PYTHON host.py", ("host.py", program));
}

fn late_in_node() {
    let program = "
const { execFile } = require('child_process');
for (let i = 0; i < 2; i++)
    execFile(process.env.JOB, ['-b', '600000'], { timeout: 1000 }, e => console.log(e.killed, e.signal));
";
    late("node host.js", ("host.js", program));
}

/// The watcher has hardly computed, and has no jobs.
fn late_in_a_shell() {
    let script = "sh -c 'sleep 1; until kill -9 $(cat pid); do sleep 0.1; done 2>/dev/null' &
        (exec sh -c 'echo $$ >pid; exec $JOB -b 600000') & wait $!; echo $?; wait";
    late(script, ("none", ""));
}
