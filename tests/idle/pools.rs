//! Pools of workers, each with something that waits beside those that compute: workers without work, trackers,
//! clients of a cluster, parents that collect results.

use super::{alone, python_on, side_by_side, Jsshim, Make44, MakePlus};
use crate::harness::pool::Kind;
use crate::harness::programs::{python, script, tool};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    let late = |way: &'static str| {
        crate::test(&format!("idle::pools::a_late_record_{way}"), move || a_late_record(way))
    };
    let mut list: Vec<_> = ["fork", "exec", "below"].map(late).into();
    list.extend(crate::tests![
        cluster,
        resource_tracker,
        multiprocessing_fork,
        multiprocessing_spawn,
        executor_fork,
        executor_forkserver,
        loky,
        xdist,
        ruby_forks,
        perl_forks,
        node_cluster,
        node_workers_without_work,
        waf,
        git_fetch,
        result_pipes,
        result_pipes_of_ruby,
    ]);
    list
}

/// A shell of a program that starts one job at a time starts four clients with `&`; all must have connected
/// before one is given work. As R's makeCluster.
const CLUSTER: &str = "
import os, socket, sys, jobs
if len(sys.argv) > 1:
    with socket.create_connection(('127.0.0.1', int(sys.argv[1]))) as s:
        s.sendall(b'here')
        for _ in range(2):
            s.recv(1)
            jobs.burn(0.1)
            s.sendall(b'done')
    sys.exit()
with socket.socket() as listener:
    listener.bind(('127.0.0.1', 0))
    listener.listen(8)
    port = listener.getsockname()[1]
    os.system(f'for i in 1 2 3 4; do {sys.executable} {sys.argv[0]} {port} & done')
    clients = [listener.accept()[0] for i in range(4)]
print([c.recv(4) for c in clients])
for _ in range(2):
    for c in clients: c.sendall(b'g')
    print([c.recv(4) for c in clients], flush=True)
for c in clients:
    assert c.recv(1) == b''
";

fn cluster() {
    for place in [(Jsshim, 1), (MakePlus, 2), (Make44, 2), (Jsshim, 4)] {
        side_by_side(place, 1, "exec $PYTHON host.py").file("host.py", CLUSTER).both();
    }
}

/// Two workers, and a helper that only waits for the end of all: both workers compute for most of the time.
fn resource_tracker() {
    let program = executor("spawn", 2, 8);
    let both_compute = |o: &Outcome| {
        let share = o.bursts.share_above(1);
        assert!(share > 0.5, "both workers compute for {:.0} % of the time", share * 100.0);
    };
    python_on(&[2, 2], &program, |run| run.check(both_compute));
}

/// A host that is a job, too, and knows that it is, starts four workers; the first of them gets a record only with the
/// second one. By then it is known to be in the job of its host, and so is what it has started itself.
const LATE_RECORD: &str = "
import os, select, subprocess, sys, time, jobs

def pause(seconds):
    select.select([], [], [], seconds)

def work(fd, seconds):
    # On one processor it takes long until they have used some time.
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    pause(0.05)
    select.select([fd], [], [])
    os.read(fd, 1)
    jobs.compute(1, seconds)

def start(way, fd, seconds):
    if way == 'exec':
        args = [sys.executable, 'host.py', 'work', str(fd), str(seconds)]
        return subprocess.Popen(args, pass_fds=[fd]).pid
    pid = os.fork()
    if pid == 0:
        if way == 'below' and (below := os.fork()):
            os.waitpid(below, 0)
        else:
            work(fd, seconds)
        os._exit(0)
    return pid

def serve(way):
    pause(0.1)
    pipes = [os.pipe() for _ in range(4)]
    seconds = (0.3, 0.4, 0.8, 0.3)
    pids = [start(way, pipes[0][0], seconds[0])]
    pause(0.3)
    pids += [start(way, pipes[at][0], seconds[at]) for at in (1, 2, 3)]
    pause(0.7)
    # The first two compute. Then the first worker comes, and another one.
    for at in (1, 2, 0, 3):
        os.write(pipes[at][1], b'x')
        time.sleep(0.15)
    print([os.waitpid(pid, 0)[1] for pid in pids])

if len(sys.argv) > 2:
    work(int(sys.argv[2]), float(sys.argv[3]))
elif len(sys.argv) > 1:
    serve(sys.argv[1])
else:
    sleeps = subprocess.Popen(['sleep', '600'])
    subprocess.call([sys.executable, 'host.py', os.environ['WAY']])
    sleeps.kill()
    sleeps.wait()
";

fn a_late_record(way: &str) {
    python_on(&[2, 2], LATE_RECORD, |run| run.env("WAY", way).exceeding());
}

fn pool(method: &str, workers: usize) -> String {
    format!(
        "
import multiprocessing as mp, jobs
if __name__ == '__main__':
    with mp.get_context('{method}').Pool({workers}) as pool:
        print(pool.map(jobs.compute, range(12), chunksize=1))
        # Most have no work now.
        print(pool.apply(jobs.compute, (5,)))
        pool.close()
        pool.join()
"
    )
}

fn executor(method: &str, workers: usize, tasks: usize) -> String {
    format!(
        "
import multiprocessing as mp, jobs
from concurrent.futures import ProcessPoolExecutor
if __name__ == '__main__':
    with ProcessPoolExecutor({workers}, mp_context=mp.get_context('{method}')) as pool:
        print(list(pool.map(jobs.compute, range({tasks}))))
"
    )
}

fn multiprocessing_fork() {
    python_on(&[1, 2], &pool("fork", 8), Run::exceeding);
}

fn multiprocessing_spawn() {
    python_on(&[1, 2], &pool("spawn", 4), Run::exceeding);
}

fn executor_fork() {
    python_on(&[1, 2, 4], &executor("fork", 8, 16), Run::exceeding);
}

fn executor_forkserver() {
    python_on(&[1, 2], &executor("forkserver", 4, 12), Run::exceeding);
}

fn libraries(run: Run) -> Run {
    let place = tool("python-libs", "joblib").replace("/joblib", "");
    run.env("PYTHONPATH", &format!("{}:{place}", script("py")))
}

fn loky() {
    let program = "
import jobs
from joblib import Parallel, delayed
if __name__ == '__main__':
    print(Parallel(n_jobs=4)(delayed(jobs.compute)(i) for i in range(12)))
";
    python_on(&[1, 2], program, |run| libraries(run).exceeding());
}

fn xdist() {
    let program = "
import jobs, pytest
@pytest.mark.parametrize('i', range(12))
def test_one(i):
    assert jobs.compute(i) == i * i
";
    let python = python();
    let command =
        [python.as_str(), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n4", "test_it.py"];
    for (kind, slots) in [(Kind::Fifo, 1), (Kind::NonBlocking, 2)] {
        let run = alone(&command, kind, slots).file("test_it.py", program);
        // The thread that is woken is not the one that computes then.
        libraries(run).ignoring(" passed in ").exceeding().unlimited().both();
    }
}

/// Eight workers are forked and asked in turn, by a pipe each, as parallel and Puma do.
const RUBY: &str = "
    workers = (1..8).map do |i|
        ask, asked = IO.pipe, IO.pipe
        pid = fork do
            ask[1].close; asked[0].close
            ask[0].each_line { |line| system ENV['JOB'], '-b', line.chomp; asked[1].puts 'done' }
            exit! 0
        end
        ask[0].close; asked[1].close
        [ask[1], asked[0], pid]
    end
    2.times do
        workers.each { |to, _, _| to.puts '80' }
        puts workers.map { |_, from, _| from.gets }.inspect
    end
    workers[7][0].puts '80'; puts workers[7][1].gets
    workers.each { |to, from, _| to.close; from.close }
    workers.each { |_, _, pid| Process.wait pid; puts $?.exitstatus }";

fn ruby_forks() {
    for (kind, slots) in [(Kind::Fifo, 1), (Kind::NonBlocking, 2), (Kind::Fifo, 4)] {
        alone(&["ruby", "-e", RUBY], kind, slots).exceeding().both();
    }
}

/// The same over a pair of sockets.
const PERL: &str = "
    use Socket; use IO::Handle; $| = 1;
    my @all;
    for my $i (1..8) {
        socketpair(my $mine, my $its, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die;
        my $pid = fork;
        if (!$pid) {
            close $mine; close $_->[0] for @all;
            $its->autoflush(1);
            while (<$its>) { chomp; system $ENV{JOB}, '-b', $_; print $its qq(done\\n) }
            exit $i;
        }
        close $its; $mine->autoflush(1); push @all, [$mine, $pid];
    }
    for (1, 2) {
        $_->[0]->print(qq(80\\n)) for @all;
        print scalar readline $_->[0] for @all;
    }
    shutdown($_->[0], 1) for @all;
    for (@all) { waitpid $_->[1], 0; print $? >> 8, qq(\\n) }";

fn perl_forks() {
    for (kind, slots) in [(Kind::Fifo, 1), (Kind::NonBlocking, 2)] {
        alone(&["perl", "-e", PERL], kind, slots).exceeding().both();
    }
}

/// Four workers of node, which answer each when all have asked, and wait between.
const NODE_CLUSTER: &str = "
const cluster = require('cluster'), { execFileSync } = require('child_process');
const http = require('http');
if (cluster.isPrimary) {
    let up = 0, left = 0;
    const ask = done => { left = 8; for (let i = 0; i < 8; i++)
        http.get({ port, agent: false, host: '127.0.0.1' }, r => r.on('data', d => console.log('' + d)).on('end',
            () => --left || done())); };
    let port = 0;
    cluster.on('listening', (worker, address) => {
        port = address.port;
        if (++up == 4) ask(() => setTimeout(() => ask(() => cluster.disconnect()), 200));
    });
    for (let i = 0; i < 4; i++) cluster.fork();
} else {
    http.createServer((q, r) => { execFileSync(process.env.JOB, ['-b', '60']); r.end('done'); })
        .listen(0, '127.0.0.1');
}
";

fn node_cluster() {
    for (kind, slots) in [(Kind::Fifo, 1), (Kind::NonBlocking, 2)] {
        alone(&["node", "host.js"], kind, slots).file("host.js", NODE_CLUSTER).both();
    }
}

/// Four are started, as jest does, and each has its first task when it says that it is there; then one alone has
/// work, and ends all.
const NODE_WORKERS: &str = "
const { fork, execFileSync } = require('child_process');
if (process.send) {
    process.on('message', n => {
        if (n < 0) process.exit(0);
        execFileSync(process.env.JOB, ['-b', '80']);
        process.send(n);
    });
    process.send('up');
} else {
    const all = [...Array(4)].map(() => fork(__filename));
    let up = 0, done = 0, exits = 0;
    for (const w of all) w.on('message', m => {
        if (m === 'up') { if (++up == 4) all.forEach(w => w.send(1)); return; }
        console.log(m);
        if (++done < 4) return;
        if (done < 8) all[3].send(2);
        else all.forEach(w => w.send(-1));
    }).on('exit', code => console.log('exit', code, ++exits));
}
";

fn node_workers_without_work() {
    for (kind, slots) in [(Kind::Fifo, 1), (Kind::NonBlocking, 2)] {
        let run = alone(&["node", "host.js"], kind, slots).file("host.js", NODE_WORKERS);
        run.exceeding().both();
    }
}

/// Its tasks are started by servers of commands, which wait for one another's answers.
fn waf() {
    let script = "
def configure(c): pass
def build(b):
    for i in range(12):
        b(rule='$JOB -b 60', name=f'job{i}', always=True)
";
    let waf = tool("waf-2", "waf");
    let command = format!("{0} {waf} configure -o b >log && {0} {waf} build -j8 >>log", python());
    for (kind, slots) in [(Kind::Fifo, 1), (Kind::NonBlocking, 2)] {
        let run = alone(&["sh", "-c", &command], kind, slots).file("wscript", script);
        run.env("NOCLIMB", "1").exceeding().both();
    }
}

/// Each remote's fetch has a helper on the other side that waits for it.
fn git_fetch() {
    let script = "
        export GIT_AUTHOR_NAME=x GIT_AUTHOR_EMAIL=x@x GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x@x
        git init -q r1; seq 2000 >r1/data; git -C r1 add .; git -C r1 commit -q -m x
        for i in 2 3 4 5 6 7 8; do cp -r r1 r$i; done; git init -q all; cd all
        for i in 1 2 3 4 5 6 7 8; do git remote add r$i ../r$i; done
        git fetch -q --all -j8; echo $?; git branch -r";
    for (kind, slots) in [(Kind::Fifo, 1), (Kind::NonBlocking, 2)] {
        alone(&["sh", "-c", script], kind, slots).both();
    }
}

/// Each of six workers writes its result into a pipe of its own, which its parent reads; those that are forked later
/// have inherited the reading ends. It computes on when it has written: nobody waits for anybody.
const RESULT_PIPES: &str = "
import os, jobs
def worker(i, write):
    jobs.sign(True)
    jobs.burn(0.15 + 0.1 * (i == 0))
    os.write(write, b'result %d' % i)
    jobs.burn(0.15)
    jobs.sign(False)
    os._exit(i)
workers = []
for i in range(6):
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        worker(i, write)
    os.close(write)
    workers.append((read, pid))
for read, pid in workers:
    print(os.read(read, 99), flush=True)
for read, pid in workers:
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
";

fn result_pipes() {
    python_on(&[1, 2, 4], RESULT_PIPES, |run| run.exceeding().strictly());
}

/// The same by IO.popen, which has a pipe in each direction.
fn result_pipes_of_ruby() {
    let program = "
        all = (1..6).map do |i|
            io = IO.popen '-', 'r+'
            if io.nil?
                system ENV['JOB'], '-b', '120'; puts i; $stdout.flush
                system ENV['JOB'], '-b', '120'; exit! i
            end
            io
        end
        all.each { |io| puts io.gets; io.close; puts $?.exitstatus }";
    for (kind, slots) in [(Kind::Fifo, 1), (Kind::NonBlocking, 2)] {
        alone(&["ruby", "-e", program], kind, slots).exceeding().strictly().both();
    }
}
