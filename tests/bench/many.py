"""The table "many" of scripts/bench: many.py TABLE TIMES."""

import os
import signal
import subprocess
import sys
import time

from load import BENCH, CROWD, Pool, goal, jobs_of, peak_of


def many(times):
    """20,000 jobs at once, of one host and of 500: how many run, and what is back when all were killed."""
    jobs = [CROWD, "host", "20000", "0", "20000"], ["xargs", "-P500", "-I{}", CROWD, "host", "40", "0", "40"]
    for argv, slots_, words in zip(jobs, (512, 256), ("one host", "500 hosts of 40")):
        print(f"many: 20,000 jobs of 100 ms of {words}, all wanted at once, on {slots_} slots")
        for _ in range(times):
            log = f"{BENCH}/log"
            open(log, "w").close()
            with Pool(slots_) as pool:
                many_of(pool, [*argv, "100000", log]).wait()
            peak = peak_of(jobs_of(log))
            assert len(jobs_of(log)) == 20000
            print(f"    {peak} run at most")
            goal(peak / slots_, 1.0, "no more than the slots")
            with Pool(slots_) as pool:
                back = until_back(pool, many_of(pool, [*argv, "1000000000", "-"]))
            print(f"    after kill -9 of all, with their jobs as many as the slots: the tokens are back after {back:.2f} s")
            goal(back, 1.0, "within a second")


def many_of(pool, argv):
    env = pool.env(True, JSSHIM_COUNT="processes", JSSHIM_GATE="child")
    process = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True)
    # xargs starts a host for each line.
    process.stdin.writelines(f"{i}\n" for i in range(500))
    process.stdin.close()
    return process


def until_back(pool, process):
    """Kills the session when all its processes are there. How long after the last one the pool is full."""
    seen = 0
    while (now := processes_of(process.pid)) > seen or pool.level() > 0:
        seen = now
        time.sleep(5)
    while processes_of(process.pid) > 0:
        os.killpg(process.pid, signal.SIGKILL)
        process.poll()
        time.sleep(0.01)
    gone = time.monotonic()
    while pool.level() < pool.slots - 1 and time.monotonic() < gone + 30:
        time.sleep(0.01)
    return time.monotonic() - gone


def processes_of(session):
    """How many live."""
    out = subprocess.run(["ps", "-s", str(session), "-o", "stat="], stdout=subprocess.PIPE, text=True).stdout
    return sum(1 for line in out.splitlines() if not line.startswith("Z"))


if __name__ == "__main__":
    many(int(sys.argv[2]))
