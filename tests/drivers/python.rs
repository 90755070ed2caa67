//! Python's pools whose workers are programs of their own, beside helpers that idle.

use super::Row;
use crate::harness::programs::{python, tool};
use crate::harness::Run;

pub const ROWS: &[Row] = &[
    ("multiprocessing_spawn", |_| file(&pool("spawn", "Pool"))),
    ("multiprocessing_forkserver", |_| file(&pool("forkserver", "Pool"))),
    ("multiprocessing_manager", |_| file(MANAGER)),
    ("process_pool_executor_spawn", |_| file(&executor("spawn"))),
    ("process_pool_executor_forkserver", |_| file(&executor("forkserver"))),
    ("joblib_loky", |_| joblib("loky")),
    ("joblib_multiprocessing", |_| joblib("multiprocessing")),
    // It waits until all of its workers are there, and the tests run in the workers.
    ("pytest_xdist", |_| xdist(XDIST).may_overdraw()),
    ("pytest_xdist_with_subprocesses", |_| xdist(XDIST_JOBS).may_overdraw()),
    ("python_result_pipes", |_| file(RESULT_PIPES)),
    ("python_os_system", |_| file(SYSTEM)),
    ("python_thread_pool", |_| file(THREADS)),
];

fn file(text: &str) -> Run {
    Run::new(&[&python(), "host.py"]).file("host.py", text).file("j", super::JOB).any_peak()
}

fn pool(method: &str, class: &str) -> String {
    format!(
        "
import multiprocessing as mp, jobs
if __name__ == '__main__':
    with mp.get_context('{method}').{class}(4) as pool:
        print(pool.map(jobs.work, range(12), chunksize=1))
        pool.close()
        pool.join()
"
    )
}

fn executor(method: &str) -> String {
    format!(
        "
import multiprocessing as mp, jobs
from concurrent.futures import ProcessPoolExecutor
if __name__ == '__main__':
    with ProcessPoolExecutor(4, mp_context=mp.get_context('{method}')) as pool:
        print(list(pool.map(jobs.work, range(12))))
"
    )
}

/// A pipe for each worker, as R's mclapply and Ruby's parallel have: a younger one has inherited those of its elders. They
/// go on when they have written to it.
const RESULT_PIPES: &str = "
import os, time, jobs
def burn(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until: pass
all = []
for i in range(8):
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(r)
        jobs.sign(True)
        burn(0.1 if i == 0 else 0.03)
        os.write(w, b'result')
        burn(0.06)
        jobs.sign(False)
        os._exit(i)
    os.close(w)
    all.append((r, pid))
for r, pid in all: print(os.read(r, 9), os.waitpid(pid, 0)[1] >> 8)
";

/// The manager serves from a process of its own that idles.
const MANAGER: &str = "
import multiprocessing as mp, jobs
def one(results, i):
    results[i] = jobs.work(i)
if __name__ == '__main__':
    with mp.get_context('fork').Manager() as manager:
        results = manager.dict()
        all = [mp.get_context('fork').Process(target=one, args=(results, i)) for i in range(8)]
        for p in all: p.start()
        for p in all: p.join()
        print(sorted(results.items()))
";

fn libraries(run: Run) -> Run {
    let place = tool("python-libs", "joblib").replace("/joblib", "");
    let path = format!("{}:{place}", crate::harness::programs::script("py"));
    run.env("PYTHONPATH", &path)
}

fn joblib(backend: &str) -> Run {
    let text = format!(
        "
import jobs
from joblib import Parallel, delayed
if __name__ == '__main__':
    print(Parallel(n_jobs=4, backend='{backend}')(delayed(jobs.work)(i) for i in range(12)))
"
    );
    libraries(file(&text))
}

fn xdist(text: &str) -> Run {
    let command = [&python(), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n4", "test_it.py"];
    libraries(Run::new(&command)).file("test_it.py", text).ignoring(" passed in ").any_peak()
}

const XDIST: &str = "
import jobs, pytest
@pytest.mark.parametrize('i', range(12))
def test_one(i):
    assert jobs.work(i) == i * i
";

const XDIST_JOBS: &str = "
import os, subprocess, pytest
@pytest.mark.parametrize('i', range(12))
def test_one(i):
    subprocess.run([os.environ['JOB'], '-s', '30'], check=True)
";

const SYSTEM: &str = "
import os
for i in range(8):
    print(os.waitstatus_to_exitcode(os.system(f'sh j {i} 1 {i}')), flush=True)
";

const THREADS: &str = "
import os
from multiprocessing.pool import ThreadPool
def one(i):
    return os.waitstatus_to_exitcode(os.system(f'sh j {i} 0 {i}'))
with ThreadPool(4) as pool:
    print(pool.map(one, range(12)))
";
