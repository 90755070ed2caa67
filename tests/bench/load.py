"""The tables of scripts/bench that need many jobs, clients or builds: load.py TABLE TIMES.

Each compares with the same work without the library, or by another client of the protocol, in the same run.
scripts/bench sets what is needed: BENCH (a folder of our own, in which spawn and crowd lie), LIB, TOOLBOX.
"""

import fcntl
import glob
import os
import shutil
import struct
import statistics
import subprocess
import sys
import tempfile
import termios
import threading
import time

BENCH, LIB, TOOLBOX = (os.environ[name] for name in ("BENCH", "LIB", "TOOLBOX"))
CROWD = f"{BENCH}/crowd"
APT_NINJA = "/usr/bin/ninja"


def tool(prefix, name):
    (folder,) = glob.glob(f"{TOOLBOX}/{prefix}*")
    return f"{folder}/{name}"


class Pool:
    """A fifo pool as make makes one."""

    def __init__(self, slots):
        self.slots, self.path = slots, f"{BENCH}/pool"
        if os.path.exists(self.path):
            os.unlink(self.path)
        os.mkfifo(self.path, 0o600)
        self.fd = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        os.write(self.fd, b"+" * (slots - 1))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        left = b""
        # The guard gives back what the last client did not.
        for _ in range(200):
            try:
                left += os.read(self.fd, 65536)
            except BlockingIOError:
                pass
            if len(left) >= self.slots - 1:
                break
            time.sleep(0.01)
        os.close(self.fd)
        assert len(left) == self.slots - 1, f"{len(left)} tokens of {self.slots - 1} are back"

    def level(self):
        return struct.unpack("i", fcntl.ioctl(self.fd, termios.FIONREAD, bytes(4)))[0]

    def env(self, shim=False, **more):
        env = {k: v for k, v in os.environ.items() if not k.startswith("JSSHIM_")}
        env["MAKEFLAGS"] = f" -j{self.slots} --jobserver-auth=fifo:{self.path}"
        if shim:
            env["LD_PRELOAD"] = LIB
        return env | more


def at(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * part))]


def host(pool, shim, count, width, micros=0, seconds=0, log="-", **more):
    """One crowd host: wall s, own and children's processor time in s, context switches of the children."""
    argv = [CROWD, "host", str(count), str(seconds), str(width), str(micros), log]
    return subprocess.Popen(argv, env=pool.env(shim, **more), stdout=subprocess.PIPE, text=True)


def figures(process):
    out, _ = process.communicate()
    assert process.returncode == 0, process.args
    wall, own, children, switches = map(int, out.split())
    return wall / 1e9, own / 1e6, children / 1e6, switches


def pairs_of(rounds, run):
    """run(False) and run(True), the one and the other first in turn."""
    pairs = []
    for turn in range(rounds):
        results = {}
        for shim in ((False, True), (True, False))[turn % 2]:
            results[shim] = run(shim)
        pairs.append((results[False], results[True]))
    return pairs


def goal(value, most, words):
    print(f"    goal: {words}: {'met' if value <= most else 'MISSED'} ({value:.3g})")


def handover(times):
    """From the write of a token to the first instruction of the job that waited for it."""
    count, folder = 40 * times, f"{BENCH}/handover"
    os.makedirs(folder, exist_ok=True)
    with open(f"{folder}/Makefile", "w") as f:
        f.write(f"all: a b\na:\n\t@exec {CROWD} stay\nb:\n\t@exec {CROWD} now\n")
    with open(f"{folder}/build.ninja", "w") as f:
        f.write(f"rule run\n  command = exec $c\nbuild a: run\n  c = {CROWD} stay\nbuild b: run\n  c = {CROWD} now >&9\n")
    shell = ["/bin/sh", "-c", 'exec 9>&1 >/dev/null; exec "$@"', "sh"]
    rows = {
        "make 4.4.1": ([tool("make-4.4.1", "make"), "-s", "-C", folder], False),
        "a polling client": ([CROWD, "poll", f"{BENCH}/pool"], False),
        "ninja + jsshim": (shell + [APT_NINJA, "-j2", "-C", folder], True),
    }
    seen = {}
    # In turn, a few each, so that all see the same machine.
    for _ in range(4):
        for name, (command, shim) in rows.items():
            with Pool(1) as pool:
                argv = [CROWD, "token", pool.path, str(count // 4), *command]
                env = pool.env(shim, JSSHIM_GATE="child")
                out = subprocess.run(argv, env=env, stdout=subprocess.PIPE, text=True, check=True).stdout
                seen.setdefault(name, []).extend(int(line) / 1000 for line in out.split())
    print(f"handover: from a token's write to its job's first instruction, us; {count} times each")
    for name, values in seen.items():
        print(f"    {name:<20} median {at(values, .5):8.0f}   p99 {at(values, .99):8.0f}")
    ours, make = (at(seen[name], 0.5) for name in ("ninja + jsshim", "make 4.4.1"))
    goal(ours / make, 1.0, "median at most make's own")


def crowd(times):
    """Many held jobs on eight slots: what a token that is passed costs."""
    print("crowd: jobs of 5 ms on 8 slots, held by one host; beyond the same jobs started at once")
    print(f"    {'held':>6} {'switches per token':>20} {'processor us per job':>22}")
    per_token = []
    for width in (10, 100, 1000):
        switches, cpu = [], []
        for _ in range(times):
            count = max(1000, 2 * width)
            with Pool(8) as pool:
                plain = figures(host(pool, False, count, width, 5000))
            with Pool(8) as pool:
                shim = figures(host(pool, True, count, width, 5000, JSSHIM_GATE="child"))
            switches.append((shim[3] - plain[3]) / count)
            cpu.append((sum(shim[1:3]) - sum(plain[1:3])) / count * 1e6)
        per_token.append(statistics.median(switches))
        print(f"    {width:>6} {per_token[-1]:>20.2f} {statistics.median(cpu):>22.0f}")
    goal(max(per_token), 4, "at most 4 context switches per token, however many wait")


def growth(times):
    """One host with more and more jobs, and more and more hosts."""
    counts = (100, 1000, 10000) + ((100000,) if times > 1 else ())
    print("growth: wall time per job, with/without the library, four at a time on a pool of eight; hosts with two each, and a slot for each")
    ratios = []
    for count in counts:
        rounds = max(1, min(20, 2000 // count)) * times

        def one_host(shim):
            with Pool(8) as pool:
                return figures(host(pool, shim, count, 4))[0] / count

        pairs = pairs_of(rounds, one_host)
        plain, ours = (statistics.median(p[i] for p in pairs) for i in (0, 1))
        ratios.append(statistics.median(b / a for a, b in pairs))
        print(f"    {count:>7} jobs in one host    {plain * 1e6:7.0f} us {ours * 1e6:7.0f} us   {ratios[-1]:.3f}")
    goal(max(ratios) / min(ratios), 1.1, "the ratio in one host is flat within 10 %")
    ratios = []
    for clients in (1, 10, 100):
        # Enough that the start of a host is not what is measured.
        each = max(200, 2000 // clients)

        def hosts(shim):
            # A slot for each: what it costs to be held is in the table crowd.
            with Pool(2 * clients + 6) as pool:
                start = time.monotonic()
                all_of_them = [host(pool, shim, each, 2) for _ in range(clients)]
                for one in all_of_them:
                    figures(one)
                return (time.monotonic() - start) / (each * clients)

        pairs = pairs_of(5 * times, hosts)
        plain, ours = (statistics.median(p[i] for p in pairs) for i in (0, 1))
        ratios.append(statistics.median(b / a for a, b in pairs))
        print(f"    {clients:>7} hosts, {each:>4} jobs each  {plain * 1e6:7.0f} us {ours * 1e6:7.0f} us   {ratios[-1]:.3f}")
    # The time itself varies by 15 % without the library.
    goal(max(ratios) / min(ratios), 1.1, "the ratio, however many hosts: flat within 10 %")


def jobs_of(log):
    with open(log) as f:
        return [tuple(map(int, line.split())) for line in f]


def peak_of(jobs):
    running = peak = 0
    for _, step in sorted([(j[2], 1) for j in jobs] + [(j[3], -1) for j in jobs]):
        running += step
        peak = max(peak, running)
    return peak


def slots(times):
    """How much of the time that the slots could be used they are."""
    log, slots_, shares = f"{BENCH}/log", 8, []
    for _ in range(times):
        open(log, "w").close()
        with Pool(slots_) as pool:
            figures(host(pool, True, 200, 24, 200000, log=log))
        jobs = sorted(jobs_of(log), key=lambda j: j[2])
        assert peak_of(jobs) <= slots_, "more jobs than slots"
        # From when all slots are in use to when no job waits any more.
        first, last = jobs[slots_ - 1][2], jobs[-1][2]
        busy = sum(min(j[3], last) - max(j[2], first) for j in jobs if j[3] > first and j[2] < last)
        shares.append(busy / (slots_ * (last - first)))
    print(f"slots: 200 jobs of 200 ms on {slots_} slots, 24 wanted at once: {statistics.median(shares):.4f} of the slots' time is used")
    goal(0.99 / statistics.median(shares), 1.0, "at least 0.99")


def fairness(times):
    """Eight clients that want the same."""
    log, seconds, clients = f"{BENCH}/log", 20 * times, 8
    open(log, "w").close()
    with Pool(5) as pool:
        hosts = [host(pool, True, 0, 4, 20000, seconds=seconds, log=log) for _ in range(clients)]
        for one in hosts:
            figures(one)
    jobs = jobs_of(log)
    counts = [sum(1 for j in jobs if j[0] == h.pid) for h in hosts]
    waits = [(j[2] - j[1]) / 1e6 for j in jobs]
    mean = statistics.mean(counts)
    worst = max(abs(c - mean) for c in counts) / mean
    print(f"fairness: {clients} clients, 4 jobs of 20 ms wanted by each, 4 tokens, {seconds} s: {min(counts)} to {max(counts)} jobs each")
    print(f"    wait for a slot: median {statistics.median(waits):.0f} ms, longest {max(waits):.0f} ms")
    goal(worst, 0.1, "each within 10 % of its share")
    goal(max(waits) / statistics.median(waits), 10, "nobody waits longer than 10 times the median")


def private(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return sum(int(line.split()[1]) for line in f if line.startswith("Private_"))


def memory(_):
    """Private memory of a held job, and what a client has more than without the library."""
    sizes = {}
    for shim in (False, True):
        with Pool(2) as pool:
            process = host(pool, shim, 6, 6, 1500000, JSSHIM_GATE="child")
            time.sleep(1)
            sizes[shim] = private(process.pid)
            if shim:
                helpers = subprocess.run(["pgrep", "-P", str(process.pid), "jsshim-helper"], stdout=subprocess.PIPE, text=True)
                held_kb = max(private(int(pid)) for pid in helpers.stdout.split())
            figures(process)
    client = sizes[True] - sizes[False]
    print(f"memory: private: a held job {held_kb} KB, a client with jobs {client} KB more than without")
    goal(held_kb, 200, "a held job at most 200 KB")
    goal(client, 150, "a client at most 150 KB")


def libuv():
    """A tree with more than 300 edges, made by scripts/bench."""
    return f"{BENCH}/libuv-build"


def build(pool, ninja, jobs, tree, shim):
    """A clean tree, and what starts its build."""
    subprocess.run([APT_NINJA, "-C", tree, "-t", "clean"], stdout=subprocess.DEVNULL, check=True)
    argv = [ninja, "-C", tree] + ([f"-j{jobs}"] if jobs else [])
    return lambda: subprocess.Popen(argv, env=pool.env(shim), stdout=subprocess.DEVNULL)


def wall_of(*starts):
    begin = time.monotonic()
    for process in [start() for start in starts]:
        assert process.wait() == 0, process.args
    return time.monotonic() - begin


def peer(times):
    """The same build in a pool by an old ninja with the library, and by ninja 1.13 itself."""
    aware, pairs = tool("ninja-1.13", "ninja"), 3 * times
    print("peer: libuv below a fifo pool: Debian's ninja -j8 with the library / ninja 1.13's own client, wall")
    for slots_ in (2, 4):

        def wall(shim):
            ninja, jobs = (APT_NINJA, 8) if shim else (aware, 0)
            with Pool(slots_) as pool:
                return wall_of(build(pool, ninja, jobs, libuv(), shim))

        ratios = [ours / plain for plain, ours in pairs_of(pairs, wall)]
        print(f"    {slots_} slots: {statistics.median(ratios):.3f} ({min(ratios):.3f}..{max(ratios):.3f} in {pairs} pairs)")
        goal(statistics.median(ratios), 1.01, "at most 1.00, within noise")


class Watch(threading.Thread):
    """How many of this session's processes can run, and how much memory they do not share, ten times a second."""

    def __init__(self):
        super().__init__(daemon=True)
        self.session, self.running, self.megabytes = os.getsid(0), [], []
        self.ended = threading.Event()

    def run(self):
        page = os.sysconf("SC_PAGESIZE") / 1e6
        while not self.ended.wait(0.1):
            seen = list(filter(None, map(self.look, filter(str.isdigit, os.listdir("/proc")))))
            self.running.append(sum(state == "R" for state, _ in seen))
            self.megabytes.append(sum(pages for _, pages in seen) * page)

    def look(self, pid):
        """State, and resident pages of no file, if it is one of the session's (proc_pid_stat(5))."""
        try:
            with open(f"/proc/{pid}/stat") as f:
                fields = f.read().rpartition(")")[2].split()
            if int(pid) == os.getpid() or int(fields[3]) != self.session:
                return None
            with open(f"/proc/{pid}/statm") as f:
                _, resident, shared, *_ = map(int, f.read().split())
        except (OSError, ValueError):
            return None
        return fields[0], resident - shared

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join()


def share(times):
    """Two builds at once on one pool, one after the other, and both as if alone."""
    trees, jobs = (libuv(), libuv() + "2"), 2 * os.cpu_count()
    ways = {"one pool": (True, True), "one after the other": (False, False), "both with -jN": (True, False)}
    seen = {name: [] for name in ways}
    for _ in range(2 * times):
        for name, (at_once, shim) in ways.items():
            with Pool(jobs) as pool:
                builds = [build(pool, APT_NINJA, jobs, tree, shim) for tree in trees]
                # As make does for a second recipe: each of two at once runs in a slot of its own.
                second = os.read(pool.fd, 1) if at_once else b""
                with Watch() as watch:
                    wall = wall_of(*builds) if at_once else sum(map(wall_of, builds))
                os.write(pool.fd, second)
                seen[name].append((wall, at(watch.running, 0.95), at(watch.megabytes, 0.99)))
    print(f"share: two builds of libuv, each -j{jobs}, a pool of {jobs} slots; medians of {2 * times}")
    print(f"    {'':<20} {'wall, s':>8} {'p95 of what can run':>20} {'p99 of their own MB':>20}")
    figures_ = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in seen.items()}
    for name, (wall, running, megabytes) in figures_.items():
        print(f"    {name:<20} {wall:>8.1f} {running:>20.0f} {megabytes:>20.0f}")
    one, after, both = figures_.values()
    goal(one[0] / min(after[0], both[0]), 1.01, "wall at most both others', within noise")
    # Each of the two ninjas may be at work beside the jobs.
    goal(one[1], jobs + 2, "as many can run as the pool has slots, beside the two ninjas")
    goal(one[2] / after[2], 1.1, "the memory of one build")


# Starts jobs until so many are held, and says at each of these numbers what one of the next hundred starts costs itself:
# the 10th percentile of twenty parts, since the helpers that start beside it share its processors.
HOLDER = """import os, resource, signal, sys, time
argv = ["/bin/sleep", "1000"]
pids = []
def own():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
def start(count):
    before = own()
    pids.extend(os.posix_spawn(argv[0], argv, os.environ) for _ in range(count))
    return own() - before
for held in map(int, sys.argv[1:]):
    start(max(0, held - len(pids)))
    # The helpers of those before have come to their wait.
    time.sleep(1.5)
    print(sorted(start(5) / 5 * 1e6 for _ in range(20))[2], flush=True)
sys.stdin.read()
for pid in pids:
    os.kill(pid, signal.SIGKILL)
for pid in pids:
    os.waitpid(pid, 0)
"""


def ticks_of(pids):
    """Processor time of these processes so far, in s."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def scale(times):
    """One host with thousands of held jobs: what a start costs it, and what it costs that they wait."""
    counts = [0, 100, 1000] + ([10000] if times > 1 else [4000])
    print(f"scale: jobs held by one host on two slots; its own processor time for one more, us; p10, medians of {3 * times}")
    rows, guards, held = [], [], []
    for _ in range(3 * times):
        with Pool(2) as pool:
            runtime = tempfile.mkdtemp()
            env = pool.env(True, JSSHIM_COUNT="processes", JSSHIM_GATE="child", JSSHIM_DIR=runtime)
            argv = [sys.executable, "-c", HOLDER, *map(str, counts)]
            # A pipe as standard input: that of a build in CI.
            process = subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            rows.append([float(process.stdout.readline()) for _ in counts])
            waiting = subprocess.run(["pgrep", "-P", str(process.pid), "jsshim-helper"], stdout=subprocess.PIPE, text=True).stdout.split()
            guard = subprocess.run(["pgrep", "-f", f"^jsshim-helper guard {runtime}/"], stdout=subprocess.PIPE, text=True).stdout.split()
            before = ticks_of(waiting), ticks_of(guard)
            time.sleep(10)
            held.append((ticks_of(waiting) - before[0]) / 10)
            guards.append((ticks_of(guard) - before[1]) / 10)
            process.stdin.close()
            process.wait()
        shutil.rmtree(runtime)
    medians = [statistics.median(column) for column in zip(*rows)]
    for count, micros in zip(counts, medians):
        print(f"    {count:>6} held  {micros:8.0f} us")
    print(f"    nothing moves: all held jobs use {statistics.median(held) * 100:.1f} % of a processor, the guard {statistics.median(guards) * 100:.1f} %")
    goal(max(medians) / medians[0], 1.3, "a start costs the same within 1.3 times")
    goal(statistics.median(held), 0.03, "held jobs at most 3 % of a processor")
    goal(statistics.median(guards), 0.01, "the guard at most 1 %")


def sharing(times):
    """Builds that want more than four tokens and the slot on which each of them runs."""
    narrow = statistics.median(part_of_second(64, 4) for _ in range(3 * times))
    print(f"sharing: 64 and 4 jobs of 20 ms wanted at once, four tokens: the narrow build has {narrow * 100:.0f} % of the jobs; median of {3 * times}")
    goal(abs(narrow - 0.5) / 0.5, 0.15, "each within 15 % of half")
    for share, due in (("3", 2 / 6), ("idle", 5 / 6)):
        part = statistics.median(part_of_second(64, 64, share) for _ in range(3 * times))
        print(f"sharing: 64 and 64 jobs of 20 ms, the first build with JSSHIM_SHARE={share}: the second has {part * 100:.0f} % of the jobs, {due * 100:.0f} % are due")
        goal(abs(part - due) / due, 0.15, "within 15 % of its due")
    told, forced = (statistics.median(share_of_ninja(f) for _ in range(times)) for f in (False, True))
    print(f"sharing: 64 jobs of 200 ms wanted at once beside ninja 1.13, four tokens: ninja has {told * 100:.0f} % of the jobs,")
    print(f"    with JSSHIM_FORCE=ninja {forced * 100:.0f} %; median of {times}")
    goal(abs(forced - 0.5) / 0.5, 0.15, "each within 15 % of half")


def part_of_second(first, second, share="1"):
    """The second build's part of all jobs; how many each wants at once, and the share of the first one."""
    log = f"{BENCH}/log"
    open(log, "w").close()
    with Pool(5) as pool:
        builds = ((first, share), (second, "1"))
        hosts = [host(pool, True, 0, width, 20000, seconds=10, log=log, JSSHIM_SHARE=word) for width, word in builds]
        for one in hosts:
            figures(one)
    jobs = jobs_of(log)
    return sum(1 for j in jobs if j[0] == hosts[1].pid) / len(jobs)


def share_of_ninja(forced):
    log, folder = f"{BENCH}/log", tempfile.mkdtemp()
    open(log, "w").close()
    with open(f"{folder}/build.ninja", "w") as f:
        f.write("rule job\n  command = sleep 0.2 && echo >>done\n")
        f.writelines(f"build out{i}: job\n" for i in range(1000))
    with Pool(5) as pool:
        env = pool.env(True, JSSHIM_COUNT="processes", JSSHIM_FORCE="ninja" if forced else "")
        wide = host(pool, True, 0, 64, 200000, seconds=15, log=log, JSSHIM_COUNT="processes")
        ninja = subprocess.Popen([tool("ninja-1.13", "ninja"), "-C", folder], env=env, stdout=subprocess.DEVNULL)
        figures(wide)
        with open(f"{folder}/done") as f:
            done = len(f.readlines())
        ninja.terminate()
        ninja.wait()
    shutil.rmtree(folder)
    return done / (done + len(jobs_of(log)))


if __name__ == "__main__":
    tables = {f.__name__: f for f in (handover, crowd, growth, slots, fairness, memory, peer, share, scale, sharing)}
    tables[sys.argv[1]](int(sys.argv[2]))
