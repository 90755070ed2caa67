"""Writes the trace of a build that never was: make_trace.py JOBS [SLOTS] >trace.json

A make runs ninjas, some at the same time; their jobs compile, some need others, and the last one links. It is the
same for the same numbers.
"""

import heapq
import json
import random
import sys

JOBS = int(sys.argv[1])
SLOTS = int(sys.argv[2]) if len(sys.argv) > 2 else 16
POOL = 0x123458
PROGRAMS = [("cc", 0.9, 180_000), ("c++", 3.5, 520_000), ("cc1plus", 2.8, 600_000), ("python3", 0.25, 40_000),
            ("moc", 0.12, 22_000), ("install", 0.004, 2_100), ("sh", 0.03, 3_300), ("protoc", 0.4, 61_000)]
random.seed(JOBS)
BEGIN = 1_000_000_000_000


def line(**event):
    print(json.dumps(event, separators=(",", ":")) + ",")


def micros(nanos):
    return round(nanos / 1000, 3)


class Lanes:
    """The lowest that is free, as the library takes it."""

    def __init__(self):
        self.free, self.high, self.busy = [], 0, []

    def take(self, start, end):
        while self.busy and self.busy[0][0] <= start:
            heapq.heappush(self.free, heapq.heappop(self.busy)[1])
        if not self.free:
            self.high += 1
            heapq.heappush(self.free, self.high)
        lane = heapq.heappop(self.free)
        heapq.heappush(self.busy, (end, lane))
        return lane


print("[")
line(name="process_name", ph="M", pid=POOL, tid=0, args={
    "name": "slots of /run/user/1000/jsshim/pool.4711", "kind": 0, "slots": SLOTS})
line(name="process_labels", ph="M", pid=POOL, tid=0, args={
    "labels": "builder-7.example.org", "host": "builder-7.example.org",
    "command": f"jsshim -j{SLOTS} --trace trace.json -- make -s world", "date": 1_796_042_221, "at": micros(BEGIN)})
for kind, name in ((1, "without a slot: "), (2, "waiting: ")):
    line(name="process_name", ph="M", pid=POOL + kind, tid=0, args={
        "name": name + "/run/user/1000/jsshim/pool.4711", "kind": kind, "slots": SLOTS})

slots, waits, over = Lanes(), Lanes(), Lanes()
events = []
made, pid = 0, 5000


def job_id():
    global made
    made += 1
    return f"{made % 4000 + 1}.{made // 4000}"


def collect(pid, end, memory):
    """The line of a process that has ended."""
    args = {"pid": pid, "memory": int(memory * random.uniform(0.4, 1.3)), "at": micros(end)}
    events.append((end, end, dict(name="memory", ph="M", pid=POOL, tid=0, args=args), None))


def tell(name, cat, kind, start, end, args, lanes=None):
    """One line: the lane is of `lanes`, or that of the event which is given in their place."""
    event = dict(name=name, cat=cat, ph="X", ts=micros(start), dur=micros(end - start), pid=POOL + kind, args=args)
    events.append((start, end, event, lanes))
    return event


def run_job(client, home, inside, own, asked, name, mean, memory, module):
    """A job of a client, on its own slot or on a token; returns its end, and when the own slot is free."""
    global pid
    pid += 1
    args = {"job": job_id(), "pid": pid, "client": client, "waited": 0.0, "in": home}
    run = int(random.lognormvariate(0, 0.7) * mean * 1e9) + 1_000_000
    name = f"{name} {module}/src/{random.choice('abcdefgh')}{random.randint(1, 999)}.o"
    odd = random.random()
    if odd < 0.01:
        why = {"why": "the running jobs wait for others"} if odd < 0.002 else {}
        tell(name, "overdraft" if why else "borrowed", 1, asked, asked + run, {**args, **why}, over)
        collect(pid, asked + run, memory)
        return asked + run, own
    on_own = own <= ends[0]
    start = max(asked, own if on_own else heapq.heappop(ends))
    end = start + run
    collect(pid, end, memory)
    if start > asked:
        args["waited"] = micros(start - asked)
        tell(name, "wait", 2, asked, start, args, waits)
    if on_own:
        tell(name, "implicit", 0, start, end, args, inside)
        return end, end
    heapq.heappush(ends, end)
    tell(name, "token", 0, start, end, args, slots)
    if run > 2e9 and random.random() < 0.05:
        lent = {"job": args["job"], "pid": pid}
        events.append((start, end, dict(name="slot lent", cat="lent", ph="b", id=args["job"], pid=POOL, tid=0, args=lent,
                                        ts=micros(start + run // 3), dur=micros(run // 3)), None))
    return end, own


ends = [BEGIN] * SLOTS  # when each slot is free
now = BEGIN
modules = ["base", "net", "ui", "media", "third_party/zlib", "tools", "core/graphics", "platform"]
while made < JOBS:
    module = random.choice(modules)
    group = min(JOBS - made - 1, random.randint(8, max(9, JOBS // 9)))
    client, pid = pid + 1, pid + 2
    begin = max(now, heapq.heappop(ends))
    args = {"job": job_id(), "pid": client, "client": 4999, "waited": 0.0}
    outer = tell(f"ninja -C {module}", "token", 0, begin, begin, args, slots)
    at, own, finished = begin + 30_000_000, begin, []
    for n in range(group - 1):
        name, mean, memory = random.choices(PROGRAMS, weights=[30, 30, 12, 8, 5, 6, 8, 3])[0]
        # Some need what another has made.
        asked = random.choice(finished) if finished and random.random() < 0.3 else at
        end, own = run_job(client, args["job"], outer, own, asked, name, mean, memory, module)
        finished.append(end)
        at += random.randint(0, 4_000_000)
    last = max(finished, default=at)
    if group > 0:
        last, own = run_job(client, args["job"], outer, max(own, last), last, "ld", 4.0, 1_900_000, module)
    done = last + 20_000_000
    heapq.heappush(ends, done)
    outer["dur"] = micros(done - begin)
    events = [(start, done if event is outer else end, event, lanes) for start, end, event, lanes in events]
    # The next one begins at once, or when this one is done.
    now = done if random.random() < 0.35 else begin + random.randint(0, (done - begin) // 2)

# Lanes are taken in the order of the starts, lines are written in that of the ends.
for start, end, event, lanes in sorted(events, key=lambda e: e[0]):
    if isinstance(lanes, Lanes):
        lane = lanes.take(start, end)
        # There are as many lanes for waits, and one for all others.
        event["tid"] = lane if lane <= 256 else 4095
for _, _, event, lanes in events:
    if isinstance(lanes, dict):
        event["tid"] = lanes["tid"]
for _, _, event, _ in sorted(events, key=lambda e: e[1]):
    line(**event)
print('{"name":"end","ph":"M","pid":0,"tid":0,"args":{}}\n]')
