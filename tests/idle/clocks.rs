//! Drivers of tests that give each child a time: it must not run while a child that has not run yet is held.
//!
//! Ten children, each of which needs half a second of the one slot and may take three: whoever starts all at
//! once sees four of them late. Only with the library: without it ten compute at once.

use super::{alone, is_here};
use crate::harness::pool::Kind;
use crate::harness::programs::python;
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![ctest, meson, python_subprocess, python_asyncio, node, parallel, timeout]
}

fn in_time(run: Run, said: &'static str) {
    let says = move |o: &Outcome| {
        assert_eq!(o.jobs.started, 10, "all have run");
        assert!(o.text().contains(said), "not {said:?}");
        assert!(o.status.success());
    };
    if is_here() {
        run.breaks().check(says).once();
    }
}

fn ctest() {
    let mut tests = String::new();
    for i in 0..10 {
        tests += &format!("add_test(t{i} sh -c [[exec $JOB -b 500]])\n");
        tests += &format!("set_tests_properties(t{i} PROPERTIES TIMEOUT 3)\n");
    }
    let run = alone(&["ctest", "-j10"], Kind::Fifo, 1).file("CTestTestfile.cmake", &tests);
    in_time(run, "100% tests passed, 0 tests failed out of 10");
}

fn meson() {
    let build = "
project('x')
foreach i : range(10)
  test('t@0@'.format(i), find_program('sh'), args: ['-c', 'exec $JOB -b 500'], timeout: 3)
endforeach
";
    let script = "meson setup b >log; exec meson test -C b --num-processes 10 --no-rebuild";
    let run = alone(&["sh", "-c", script], Kind::Fifo, 1).file("meson.build", build);
    in_time(run, "Timeout:           0");
}

fn python_subprocess() {
    let program = "
import os, subprocess
from concurrent.futures import ThreadPoolExecutor
def one(i):
    try: return subprocess.run([os.environ['JOB'], '-b', '500'], timeout=3).returncode
    except subprocess.TimeoutExpired: return 'late'
with ThreadPoolExecutor(10) as pool:
    print([r for r in pool.map(one, range(10)) if r != 0])
";
    in_time(alone(&[&python(), "-c", program], Kind::Fifo, 1), "[]\n");
}

fn python_asyncio() {
    let program = "
import asyncio, os
async def one(i):
    p = await asyncio.create_subprocess_exec(os.environ['JOB'], '-b', '500')
    try: return await asyncio.wait_for(p.wait(), 3)
    except asyncio.TimeoutError: p.kill()
    return 'late', await p.wait()
async def main():
    print([r for r in await asyncio.gather(*(one(i) for i in range(10))) if r != 0])
asyncio.run(main())
";
    in_time(alone(&[&python(), "-c", program], Kind::Fifo, 1), "[]\n");
}

fn node() {
    let program = "
const { execFile } = require('child_process');
let bad = 0, left = 10;
for (let i = 0; i < 10; i++)
    execFile(process.env.JOB, ['-b', '500'], { timeout: 3000 }, error => {
        if (error) bad++;
        if (--left === 0) console.log('late:', bad);
    });
";
    in_time(alone(&["node", "-e", program], Kind::Fifo, 1), "late: 0\n");
}

fn parallel() {
    let script = "seq 10 | parallel -j10 --timeout 3 '$JOB -b 500 -i {} -k 0'; echo late: $?";
    in_time(alone(&["bash", "-c", script], Kind::Fifo, 1), "late: 0\n");
}

/// The clock is part of the job, and runs when that does.
fn timeout() {
    let script = "
        for i in 1 2 3 4 5 6 7 8 9 10; do (timeout 3 $JOB -b 500 || echo late) & done; wait; echo done";
    in_time(alone(&["dash", "-c", script], Kind::Fifo, 1), "done\n");
}
