//! Eight workers that sleep and are woken at once, on fewer slots: they compute in turn.

use super::{alone, python_on};
use crate::harness::pool::Kind;
use crate::harness::programs::compiled;
use crate::harness::Run;
use crate::Test;

/// In what the workers of c/crowd.c wait. Nobody stands in front of a futex, so that those come back only as debts
/// are paid.
const WAYS: [(&str, bool); 8] = [
    ("read", true),
    ("recv", true),
    ("poll", true),
    ("select", true),
    ("epoll", true),
    ("sem", true),
    ("cond", true),
    ("futex", false),
];

pub fn tests() -> Vec<Test> {
    let way = |(way, hooked): (&'static str, bool)| {
        crate::test(&format!("idle::crowds::woken_by_{way}"), move || woken(way, hooked))
    };
    let mut list: Vec<_> = WAYS.map(way).into();
    list.extend(crate::tests![
        every_function,
        barrier,
        bursts_of_tasks,
        bursts_over_a_condition,
        rings,
        pairs,
    ]);
    list
}

fn woken(way: &str, hooked: bool) {
    for (kind, slots) in [(Kind::Fifo, 1), (Kind::NonBlocking, 2)] {
        let run = alone(&[&compiled("crowd"), way, "8", "2", "80"], kind, slots).exceeding();
        if hooked { run } else { run.unlimited() }.both();
    }
}

/// Each function of the kind `block` returns what it does without the library, whether its caller has to wait for a slot
/// before or not.
fn every_function() {
    for (kind, slots) in [(Kind::Fifo, 1), (Kind::NonBlocking, 2), (Kind::Blocking, 4)] {
        let run = alone(&[&compiled("blocks")], kind, slots).unlimited().unordered();
        run.check(|o| assert_eq!(o.text().lines().count(), 3 * 37, "{}", o.text())).both();
    }
}

/// They compute before it, and all of them after it.
fn barrier() {
    let program = "
import multiprocessing as mp, jobs
def one(i, barrier):
    jobs.sign(True)
    jobs.burn(0.1)
    barrier.wait()
    jobs.burn(0.25)
    jobs.sign(False)
context = mp.get_context('fork')
barrier = context.Barrier(8)
all = [context.Process(target=one, args=(i, barrier)) for i in range(8)]
for p in all: p.start()
for p in all: p.join()
print([p.exitcode for p in all])
";
    python_on(&[1, 2, 4], program, Run::exceeding);
}

/// With pauses in which no worker has anything to do.
fn bursts_of_tasks() {
    let program = "
import multiprocessing as mp, jobs, time
with mp.get_context('fork').Pool(8) as pool:
    for _ in range(3):
        print(pool.map(jobs.compute, range(8), chunksize=1), flush=True)
        time.sleep(0.4)
    pool.close()
    pool.join()
";
    python_on(&[2, 4], program, Run::exceeding);
}

/// The same with the workers' own list of tasks, and a condition that wakes all.
fn bursts_over_a_condition() {
    let program = "
import multiprocessing as mp, jobs, time
context = mp.get_context('fork')
more, taken, rounds = context.Condition(), context.Value('i', 0), context.Value('i', 0)
def worker():
    for round in range(1, 4):
        with more:
            more.wait_for(lambda: rounds.value >= round)
        jobs.compute(round)
        with taken: taken.value += 1
all = [context.Process(target=worker) for i in range(8)]
for p in all: p.start()
for round in range(1, 4):
    with more:
        rounds.value = round
        more.notify_all()
    while taken.value < 8 * round: time.sleep(0.05)
    time.sleep(0.3)
    print(round, taken.value, flush=True)
for p in all: p.join()
print([p.exitcode for p in all])
";
    python_on(&[1, 2], program, Run::exceeding);
}

/// Six jobs that wake each other in turn and compute for a moment only: who is woken need not wait for the guard each
/// time. With a wait for each this would take minutes; all together they compute for seconds.
const RING: &str = "
import multiprocessing as mp, os, select, jobs
way, count, hops = os.environ['WAY'], 6, 60000
pipes = [os.pipe() for i in range(count)]
def one(i):
    jobs.sign(True)
    jobs.burn(0.03)
    source, sink = pipes[i][0], pipes[(i + 1) % count][1]
    if way != 'read':
        look = getattr(select, way)()
        look.register(source, select.POLLIN)
    for turn in range(hops // count):
        if i or turn:
            if way != 'read': look.poll()
            os.read(source, 1)
        os.write(sink, b'.')
    jobs.sign(False)
context = mp.get_context('fork')
all = [context.Process(target=one, args=(i,)) for i in range(count)]
for p in all: p.start()
for p in all: p.join()
print([p.exitcode for p in all])
";

fn rings() {
    for (way, slots) in [("read", 2), ("poll", 1), ("epoll", 4)] {
        python_on(&[slots], RING, |run| run.env("WAY", way).unlimited());
    }
}

/// Six clients, each with a server of its own, which ask and answer each other, and compute at times: whoever has the
/// slot of another one by then, no more compute than there are slots, and all get to their end.
const PAIRS: &str = "
import multiprocessing as mp, os, select, socket, jobs
way, pairs, turns = os.environ['WAY'], 6, 3000
ends = [socket.socketpair() for i in range(pairs)]
def waits(mine):
    if way == 'recv': return lambda: None
    if way == 'select': return lambda: select.select([mine], [], [])
    look = getattr(select, way)()
    look.register(mine, select.POLLIN)
    return look.poll
def one(i, side):
    jobs.sign(True)
    mine = ends[i][side]
    wait = waits(mine)
    for turn in range(turns):
        if side or turn:
            wait()
            mine.recv(1)
        if turn % 600 == 0: jobs.burn(0.03)
        mine.send(b'.')
    jobs.sign(False)
context = mp.get_context('fork')
all = [context.Process(target=one, args=(i, side)) for i in range(pairs) for side in (0, 1)]
for p in all: p.start()
for p in all: p.join()
print([p.exitcode for p in all])
";

fn pairs() {
    for (way, slots) in [("recv", 1), ("poll", 2), ("epoll", 2), ("select", 4)] {
        python_on(&[slots], PAIRS, |run| run.env("WAY", way).exceeding());
    }
}
