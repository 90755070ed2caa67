//! Deadlocks among the jobs themselves: all that run wait for one that is held. After JSSHIM_STALL
//! seconds a held one starts without a slot, and says so under JSSHIM_DEBUG. What only looks like that,
//! jobs that sleep or wait for the world, is left alone.

mod busy;
mod list;
mod reasons;

use crate::harness::pool::Kind;
use crate::harness::programs::python;
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    let mut list = crate::tests![
        barrier,
        barrier_by_default,
        never,
        junk,
        local_socket,
        tcp,
        coproc,
        process_substitution,
        mutual_pipes,
        shared_memory,
        fifos_that_open_one_another,
        hidden_processes,
        archives_in_shells,
        captured_output,
    ];
    list.extend(busy::tests());
    list.extend(list::tests());
    list.extend(reasons::tests());
    list
}

/// What the library says of a start without a slot.
pub const LINE: &str = "the running jobs wait for others; overdrafts so far ";
/// And of each, for whatever reason.
const SO_FAR: &str = "; overdrafts so far ";

fn overdrafts(outcome: &Outcome) -> usize {
    outcome.stderr.lines().filter(|line| line.contains(LINE)).count()
}

/// Ends as without the library, and starts at most `most` jobs without a slot, each of them named.
fn breaks(most: usize, run: impl Fn() -> Run) {
    let run = || run().env("JSSHIM_STALL", "0.4");
    run().pool(Kind::NonBlocking, 1).any_peak().both();
    run().pool(Kind::Fifo, 2).any_peak().both();
    for (kind, slots) in [(Kind::Fifo, 1), (Kind::Blocking, 2)] {
        let count = move |o: &Outcome| {
            let count = overdrafts(o);
            assert!((1..=most).contains(&count), "{count} overdrafts on {slots} slots");
            let all = o.stderr.matches(SO_FAR).count();
            assert!(o.stderr.contains(&format!("{SO_FAR}{all};")), "{all} are named, not counted");
            assert!(o.status.success());
        };
        named(run().pool(kind, slots).check(count));
    }
}

/// Under JSSHIM_DEBUG each start without a slot is named and counted. Those that use the processor stay
/// within the slots.
fn named(run: Run) {
    let slots = run.slots;
    let told = move |o: &Outcome| {
        let counts = o.stderr.split(SO_FAR).skip(1).map(|text| text.split(';').next().unwrap());
        let mut counts: Vec<usize> = counts.map(|count| count.parse().unwrap()).collect();
        counts.sort_unstable();
        // Two that start at the same time may both tell the number after both, and some hosts throw away
        // what a job says.
        assert!(counts.iter().zip(1..).all(|(count, least)| *count >= least), "{counts:?}");
        assert!(slots.is_none_or(|slots| o.jobs.peak as usize <= slots), "{:?}", o.jobs);
    };
    run.env("JSSHIM_DEBUG", "1").check(told).once();
}

fn file(text: &str) -> Run {
    Run::new(&[&python(), "host.py"]).file("host.py", text)
}

/// Every worker is needed before one can go on. They use the processor on this side of the barrier
/// only, where those that run have slots.
const BARRIER: &str = "
import multiprocessing as mp, jobs
def start(b):
    global barrier
    barrier = b
def work(i):
    jobs.work(i)
    barrier.wait()
    return i
context = mp.get_context('fork')
with context.Pool(5, start, (context.Barrier(5),)) as pool:
    print(pool.map(work, range(5), chunksize=1))
    pool.close()
    pool.join()
";

fn barrier() {
    breaks(4, || Run::python(BARRIER));
}

/// With nothing set it takes a second.
fn barrier_by_default() {
    Run::python(BARRIER).pool(Kind::NonBlocking, 2).any_peak().both();
}

/// Where it is off, the host has to end its wait.
fn never() {
    let program = BARRIER.replace("Barrier(5)", "Barrier(5, timeout=3)");
    let program = program.replace("print(", "try: print(").replace(
        "    pool.close()\n    pool.join()",
        "    except Exception as e: print(type(e).__name__)\n    pool.terminate()",
    );
    let broken = |o: &Outcome| assert_eq!(o.text().trim(), "BrokenBarrierError");
    for (value, ends) in [("off", true), ("0.3", false)] {
        let run = Run::python(&program).env("JSSHIM_STALL", value).env("JSSHIM_DEBUG", "1");
        let run = run.pool(Kind::Fifo, 2).any_peak().slots(5);
        let run = run.check(move |o| assert_eq!(overdrafts(o) == 0, ends));
        if ends { run.check(broken) } else { run }.once();
    }
}

fn junk() {
    for value in ["x", "0", "-1", "1s"] {
        let says = |o: &Outcome| assert!(o.stderr.contains("JSSHIM_STALL is neither"));
        let script = "for i in 1 2 3 4; do $JOB -b 5 -s 40 & done; wait";
        let run = Run::new(&["dash", "-c", script]).env("JSSHIM_STALL", value);
        run.pool(Kind::NonBlocking, 2).check(says).once();
    }
}

/// A server that is a job like its four clients, and answers when it knows all of them.
fn served(family: &str, address: &str) -> String {
    format!(
        "
import os, socket, subprocess, sys
address = {address}
server = '''
import jobs, socket, sys
s = socket.socket(socket.{family}); s.bind(eval(sys.argv[1])); s.listen(8)
print(repr(s.getsockname()), flush=True)
jobs.work(0)
for c in [s.accept()[0] for i in range(4)]:
    c.sendall(c.recv(9).upper()); c.close()
'''
client = '''
import jobs, socket, sys
s = socket.socket(socket.{family}); s.connect(eval(sys.argv[1]))
jobs.work(0)
s.sendall(b\"abc\"); print(s.recv(9).decode(), flush=True)
'''
start = lambda text, to, **more: subprocess.Popen([sys.executable, '-c', text, to], **more)
server = start(server, repr(address), stdout=subprocess.PIPE)
to = server.stdout.readline().decode()
for one in [start(client, to) for i in range(4)]: one.wait()
print(server.wait())
"
    )
}

fn local_socket() {
    breaks(4, || file(&served("AF_UNIX", "'socket'")));
}

fn tcp() {
    breaks(4, || file(&served("AF_INET", "('127.0.0.1', 0)")));
}

/// The shell waits for a job that is held, and a coprocess waits for the shell.
fn coproc() {
    let script = "
        coproc { while read -r line; do echo \"got $line\"; done; }
        coproc2() { exec 7> >(while read -r line; do echo \"$line too\"; done); }; coproc2
        $JOB -b 5 -s 20 -i first -k 1 & wait $!
        echo word >&${COPROC[1]}; read -r line <&${COPROC[0]}; echo \"$line\"
        echo word >&7; exec 7>&-; eval \"exec ${COPROC[1]}>&-\"; wait";
    breaks(4, || Run::new(&["bash", "-c", script]).unordered());
}

fn process_substitution() {
    let script = "
        cmp <($JOB -b 5 -lk 300 -i x) <($JOB -b 5 -lk 300 -i x) && echo same
        paste <($JOB -lk 100 -i a) <($JOB -lk 100 -i b) <($JOB -lk 100 -i c) | cksum";
    breaks(6, || Run::new(&["bash", "-c", script]));
}

/// A ring: each waits for the one that is started next.
fn mutual_pipes() {
    let program = "
import os, subprocess, sys
job = '''
import jobs, os, sys
jobs.work(0)
r, w, first = map(int, sys.argv[1:])
if first: os.write(w, b\"a\")
word = os.read(r, 9)
if not first: os.write(w, word + b\"b\")
print(first, word, flush=True)
'''
pipes = [os.pipe() for i in range(4)]
for fd in sum(pipes, ()): os.set_inheritable(fd, True)
ring = [subprocess.Popen([sys.executable, '-c', job, str(pipes[i][0]), str(pipes[i - 1][1]),
                          str(int(i == 0))], close_fds=False) for i in range(4)]
for fd in sum(pipes, ()): os.close(fd)
print([one.wait() for one in ring])
";
    breaks(3, || file(program).unordered());
}

/// Each waits at a semaphore for the one that is started as the next but one.
fn shared_memory() {
    let program = "
import multiprocessing as mp, jobs
context = mp.get_context('fork')
turns = [context.Semaphore(0) for i in range(4)]
def one(i):
    jobs.work(i)
    turns[i - 2].release()
    turns[i].acquire()
all = [context.Process(target=one, args=(i,)) for i in range(4)]
for p in all: p.start()
for p in all: p.join()
print([p.exitcode for p in all])
";
    breaks(3, || file(program));
}

/// Who opens a fifo sleeps until another opens its other end; nobody can see who that will be.
fn fifos_that_open_one_another() {
    let script = "
        mkfifo one; cat one & sh -c 'echo word >one' & wait; echo done";
    let run = || Run::new(&["bash", "-c", script]).env("JSSHIM_STALL", "0.2").unordered();
    run().pool(Kind::NonBlocking, 1).any_peak().both();
    let named = |o: &Outcome| assert_eq!(overdrafts(o), 1);
    run().env("JSSHIM_DEBUG", "1").pool(Kind::Fifo, 1).any_peak().check(named).once();
}

/// Of processes that cannot be looked at only the processor time is known.
fn hidden_processes() {
    let program = BARRIER.replace(
        "    barrier = b\n",
        "    barrier = b\n    import ctypes; ctypes.CDLL(None).prctl(4, 0)\n",
    );
    let run = || Run::python(&program).env("JSSHIM_STALL", "0.1").by_nobody();
    run().pool(Kind::NonBlocking, 2).any_peak().both();
}

fn archives_in_shells() {
    let script = "
        mkdir d; $JOB -k 3000 -i file >d/file
        for i in 1 2 3 4 5 6 7 8; do
            ($JOB -b 5; tar -cf - d | gzip -1 | gzip -d | tar -tf - | cksum) &
        done; wait; echo done";
    for (kind, slots) in [(Kind::NonBlocking, 1), (Kind::Fifo, 2)] {
        Run::new(&["bash", "-c", script]).pool(kind, slots).any_peak().unordered().both();
    }
}

/// Six children, each of which prints a megabyte that node reads.
fn captured_output() {
    let program = "
const { execFile } = require('child_process');
for (let i = 0; i < 6; i++)
    execFile(process.env.JOB, ['-b', '5', '-k', '1000'], { maxBuffer: 1e8 },
        (error, out) => console.log(error, out.length));
";
    for (kind, slots) in [(Kind::NonBlocking, 1), (Kind::Fifo, 2)] {
        let run = Run::new(&["node", "host.js"]).file("host.js", program);
        run.pool(kind, slots).any_peak().unordered().both();
    }
}
