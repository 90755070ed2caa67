//! Python's pools and subprocesses: forked workers that never exec, and hosts that drain late.

use crate::harness::pool::Kind;
use crate::harness::Run;
use crate::Test;

pub fn tests() -> Vec<Test> {
    let mut list = crate::tests![
        pool_map,
        pool_that_is_terminated,
        pool_of_one_task_per_child,
        pool_below_make,
        process_pool_executor,
        bare_forks,
        spawned_pool,
        asyncio_subprocesses,
        threads_with_subprocesses,
        os_system_in_forks,
    ];
    for pipe in [false, true] {
        for close_fds in [false, true] {
            let name = format!("python::popen_pipe_{pipe}_close_fds_{close_fds}");
            list.push(crate::test(&name, move || popen(pipe, close_fds)));
        }
    }
    list
}

fn on_each_pool(slots: usize, program: &str) {
    for kind in [Kind::Blocking, Kind::NonBlocking, Kind::Fifo] {
        Run::python(program).pool(kind, slots).both();
    }
}

fn pool_map() {
    on_each_pool(
        2,
        "
import multiprocessing as mp, jobs
with mp.get_context('fork').Pool(8) as pool:
    print(pool.map(jobs.work, range(40), chunksize=1))
    pool.close()
    pool.join()
",
    );
}

fn pool_that_is_terminated() {
    on_each_pool(
        3,
        "
import multiprocessing as mp, jobs
with mp.get_context('fork').Pool(8) as pool:
    print(list(pool.imap(jobs.work, range(40))))
",
    );
}

fn pool_of_one_task_per_child() {
    on_each_pool(
        3,
        "
import multiprocessing as mp, jobs
with mp.get_context('fork').Pool(6, maxtasksperchild=1) as pool:
    total = sum(pool.imap_unordered(jobs.work, range(18)))
    pool.close()
    pool.join()
# No worker is forked any more, which would inherit what is not written yet, or a lock of the output.
print(total)
",
    );
}

fn pool_below_make() {
    let makefile = "all:\n\t+@LD_PRELOAD=$$JSSHIM_LIB $$PYTHON pool.py\n";
    let program = "
import multiprocessing as mp, jobs
with mp.get_context('fork').Pool(8) as pool:
    print(pool.map(jobs.work, range(40), chunksize=1))
";
    Run::new(&["make", "-j2"])
        .file("Makefile", makefile)
        .file("pool.py", program)
        .env("PYTHON", &crate::harness::programs::python())
        .make(2)
        .preload_inside()
        .both();
}

fn process_pool_executor() {
    on_each_pool(
        2,
        "
import multiprocessing as mp, jobs
from concurrent.futures import ProcessPoolExecutor
with ProcessPoolExecutor(8, mp_context=mp.get_context('fork')) as pool:
    print(list(pool.map(jobs.work, range(40))))
",
    );
}

fn bare_forks() {
    on_each_pool(
        3,
        "
import os, jobs
pids = []
for i in range(12):
    pid = os.fork()
    if pid == 0:
        jobs.work(i)
        os._exit(i)
    pids.append(pid)
for pid in pids:
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
",
    );
}

/// The workers are programs of their own, beside a resource tracker that takes a slot.
fn spawned_pool() {
    let program = "
import multiprocessing as mp, jobs
if __name__ == '__main__':
    with mp.get_context('spawn').Pool(4) as pool:
        print(pool.map(jobs.work, range(40), chunksize=1))
        pool.close()
        pool.join()
";
    Run::new(&[&crate::harness::programs::python(), "pool.py"])
        .file("pool.py", program)
        .pool(Kind::NonBlocking, 2)
        .any_peak()
        .both();
}

fn asyncio_subprocesses() {
    on_each_pool(
        3,
        "
import asyncio, os
async def one(i):
    job = await asyncio.create_subprocess_exec(
        os.environ['JOB'], '-b', '5', '-s', '30', '-i', f'a{i}', '-k', '100', '-x', str(i),
        stdout=asyncio.subprocess.PIPE)
    out, _ = await job.communicate()
    return len(out), job.returncode
async def main():
    print(await asyncio.gather(*(one(i) for i in range(12))))
asyncio.run(main())
",
    );
}

fn threads_with_subprocesses() {
    on_each_pool(
        3,
        "
import os, subprocess
from concurrent.futures import ThreadPoolExecutor
def one(i):
    job = [os.environ['JOB'], '-b', '5', '-s', '30', '-i', f't{i}', '-k', '100']
    return len(subprocess.run(job, stdout=subprocess.PIPE).stdout)
with ThreadPoolExecutor(8) as pool:
    print(list(pool.map(one, range(24))))
",
    );
}

fn os_system_in_forks() {
    on_each_pool(
        2,
        "
import os
pids = []
for i in range(8):
    pid = os.fork()
    if pid == 0:
        os._exit(os.system('$JOB -b 5 -s 30; exit %d' % i) >> 8)
    pids.append(pid)
for pid in pids:
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
",
    );
}

/// Twenty at once; each prints more than a pipe holds, and they are read one after the other.
fn popen(pipe: bool, close_fds: bool) {
    let options = match pipe {
        true => "stdout=subprocess.PIPE",
        false => "stdout=subprocess.DEVNULL",
    };
    let close = if close_fds { "True" } else { "False" };
    let program = format!(
        "
import os, subprocess
job = [os.environ['JOB'], '-b', '5', '-s', '30', '-k', '100']
hosts = [subprocess.Popen(job + ['-x', str(i), '-i', f'p{{i}}'], {options}, close_fds={close})
         for i in range(20)]
for host in hosts:
    out, _ = host.communicate()
    print(len(out or b''), host.returncode)
"
    );
    on_each_pool(2, &program);
}
