//! Jobs that use no processor time and are at work all the same: no other one starts without a slot.

use super::overdrafts;
use crate::harness::pool::Kind;
use crate::harness::programs::{compiled, python};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        sleeping,
        stopped,
        locked,
        fed_from_outside,
        fed_by_a_neighbour,
        polling,
        uninterruptible,
        syncing,
        locked_by_one_that_works,
    ]
}

/// Four jobs that take many times the limit, at most `slots` of them at once. `apart`: they are
/// never at work side by side.
fn stays(apart: bool, run: impl Fn() -> Run) {
    for (kind, slots) in [(Kind::NonBlocking, 1), (Kind::Fifo, 2)] {
        let run = || run().env("JSSHIM_STALL", "0.1").unordered();
        let none = |o: &Outcome| assert_eq!(overdrafts(o), 0, "overdrafts");
        run().env("JSSHIM_DEBUG", "1").pool(kind, slots).check(none).check(within(slots)).once();
    }
    let run = run().env("JSSHIM_STALL", "0.1").unordered().pool(Kind::Blocking, 2);
    if apart { run.any_peak() } else { run.may_idle() }.both();
}

fn within(slots: usize) -> impl Fn(&Outcome) {
    move |o| {
        assert!(o.jobs.peak as usize <= slots, "{} jobs on {slots} slots", o.jobs.peak);
        assert_eq!(o.jobs.started, 4);
        assert!(o.status.success());
    }
}

fn sleeping() {
    let script = "for i in 1 2 3 4; do $JOB -b 1 -s 700 & done; wait";
    stays(false, || Run::new(&["dash", "-c", script]));
}

/// The host continues each of its jobs a while after it has stopped itself.
fn stopped() {
    let program = "
import os, signal, subprocess, threading, time
def one(i):
    p = subprocess.Popen(['sh', '-c', 'kill -STOP $$; exec $JOB -b 1 -s 20'])
    while True:
        with open(f'/proc/{p.pid}/stat') as f:
            if f.read().rsplit(') ')[1][0] == 'T': break
        time.sleep(0.01)
    time.sleep(0.7)
    p.send_signal(signal.SIGCONT)
    print(p.wait(), flush=True)
all = [threading.Thread(target=one, args=(i,)) for i in range(4)]
for t in all: t.start()
for t in all: t.join()
";
    stays(false, || Run::python(program));
}

/// Whoever has the lock sleeps, and the others wait for it.
fn locked() {
    let script = "for i in 1 2 3 4; do flock -o lock sh -c '$JOB -b 1 -s 700; :' & done; wait";
    stays(true, || Run::new(&["dash", "-c", script]));
}

/// The other end of the pipe is not in this tree.
fn fed_from_outside() {
    let script = "
        mkfifo outer; (for i in 1 2 3 4; do sleep 0.7; echo $i; done) 9<>outer >&9 &
        [ $JSSHIM_LIB ] && export LD_PRELOAD=$JSSHIM_LIB
        bash -c 'for i in 1 2 3 4; do
            sh -c \"read -r line <outer && exec $JOB -b 1 -s 20\" & done; wait'; unset LD_PRELOAD; wait";
    stays(true, || Run::new(&["bash", "-c", script]).preload_inside());
}

/// The other end is in this tree, and who has it sleeps.
fn fed_by_a_neighbour() {
    let script = "
        for i in 1 2 3 4; do sleep 0.7; echo $i; done | bash -c 'exec 5<&0; for i in 1 2 3 4; do
            sh -c \"read -r line <&5 && exec $JOB -b 1 -s 20\" & done; wait'";
    stays(true, || Run::new(&["bash", "-c", script]));
}

/// A poll with a time-out on nothing, and a thread that waits for the one in it.
fn polling() {
    let program = "
import select, threading, jobs
t = threading.Thread(target=lambda: select.poll().poll(700))
jobs.sign(True); t.start(); t.join(); jobs.sign(False)
";
    let host = "
import subprocess, sys
all = [subprocess.Popen([sys.executable, 'job.py']) for i in range(4)]
print([p.wait() for p in all])
";
    stays(false, || Run::python(host).file("job.py", program));
}

/// A thread waits as for a disk, another one for a pipe of its child.
fn uninterruptible() {
    let program = compiled("deepsleep");
    let script = format!("for i in 1 2 3 4; do {program} & done; wait");
    stays(false, || Run::new(&["dash", "-c", &script]));
}

/// Each waits for the disk again and again. How long that takes is the machine's matter.
fn syncing() {
    let program = "
import jobs, os, time
jobs.sign(True)
until = time.monotonic() + 0.7
with open(f'file{os.getpid()}', 'wb', buffering=0) as f:
    while time.monotonic() < until:
        f.write(b'x' * 1000000)
        os.fsync(f.fileno())
        f.seek(0)
jobs.sign(False)
";
    let script = format!("for i in 1 2 3 4; do {} job.py & done; wait", python());
    stays(false, || Run::new(&["dash", "-c", &script]).file("job.py", program));
}

/// Whoever has the lock computes, and the others wait for it, in fcntl(2).
fn locked_by_one_that_works() {
    let program = "
import fcntl, jobs, os, time
with open('lock', 'w') as f:
    fcntl.lockf(f, fcntl.LOCK_EX)
    jobs.sign(True)
    until = time.process_time() + 0.3
    while time.process_time() < until: pass
    jobs.sign(False)
";
    let script = format!("for i in 1 2 3 4; do {} job.py & done; wait", python());
    stays(true, || Run::new(&["dash", "-c", &script]).file("job.py", program));
}
