//! Programs whose jobs wait for one another, or of which much is written by jobs that nobody reads yet, on pools of
//! one slot and of two. The peak is that of jobs which use the processor: each signs the register
//! only while it does.

use super::named;
use crate::drivers;
use crate::harness::pool::Kind;
use crate::harness::programs::python;
use crate::harness::Run;
use crate::Test;

/// Rows of the table of drivers, which runs them on two slots.
const ROWS: &[&str] =
    &["dpkg_deb", "gcc_pipe", "git_fetch", "gnu_parallel", "joblib_loky", "tar_and_gzip", "waf"];

pub fn tests() -> Vec<Test> {
    let alone = |(at, name): (usize, &&'static str)| {
        let (name, kind) = (*name, [Kind::NonBlocking, Kind::Fifo, Kind::Blocking][at % 3]);
        let row = move || drivers::row(name)(kind).env("JSSHIM_STALL", "0.4");
        let run = move || row().pool(kind, 1).unordered().any_peak().both();
        crate::test(&format!("stalls::on_one_slot_{name}"), run)
    };
    let mut list: Vec<_> = ROWS.iter().enumerate().map(alone).collect();
    for (shell, family, client) in [
        ("bash", "unix", "$PYTHON client.py"),
        ("bash", "tcp", "exec $PYTHON client.py"),
        ("dash", "unix", "exec $PYTHON client.py"),
        ("dash", "tcp", "$PYTHON client.py"),
    ] {
        let name = format!("stalls::server_and_client_by_{family}_in_{shell}");
        list.push(crate::test(&name, move || served_in_a_shell(shell, family, client)));
    }
    list.extend(crate::tests![
        xdist_that_collects,
        git_fetch_from_local_repositories,
        bidirectional_coprocess,
    ]);
    list
}

/// On one slot and on two, by pipe and by fifo.
fn finishes(run: impl Fn() -> Run) {
    for (kind, slots) in [(Kind::NonBlocking, 1), (Kind::Fifo, 2)] {
        let run = || run().env("JSSHIM_STALL", "0.4").pool(kind, slots);
        run().any_peak().both();
        named(run());
    }
}

/// No test runs before all six workers have collected theirs, and that is their work here.
fn xdist_that_collects() {
    let text = "
import jobs, pytest
jobs.work(0)
@pytest.mark.parametrize('i', range(12))
def test_one(i):
    pass
";
    let place = crate::harness::programs::tool("python-libs", "joblib").replace("/joblib", "");
    let path = format!("{}:{place}", crate::harness::programs::script("py"));
    let command = [&python(), "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n6", "test_it.py"];
    let run = || {
        let run = Run::new(&command).env("PYTHONPATH", &path).file("test_it.py", text);
        run.ignoring(" passed in ").env("JSSHIM_STALL", "0.4").any_peak()
    };
    run().pool(Kind::NonBlocking, 1).check(|o| assert_eq!(o.jobs.ended, 6)).both();
    named(run().pool(Kind::Fifo, 2));
}

/// `server & client`, where the shell forks the client or becomes it.
fn served_in_a_shell(shell: &str, family: &str, client_is: &str) {
    let server = "
import jobs, socket, sys
s = socket.socket(socket.AF_UNIX if sys.argv[1] == 'unix' else socket.AF_INET)
s.bind('socket' if sys.argv[1] == 'unix' else ('127.0.0.1', 0)); s.listen()
open('name', 'w').write(repr(s.getsockname()))
jobs.work(0)
c = s.accept()[0]
c.sendall(c.recv(9).upper())
";
    let client = "
import jobs, socket, sys
s = socket.socket(socket.AF_UNIX if sys.argv[1] == 'unix' else socket.AF_INET)
s.connect(eval(open('name').read()))
jobs.work(0)
s.sendall(b'abc'); print(s.recv(9).decode())
";
    let start = format!("$PYTHON server.py {family} & while [ ! -s name ]; do sleep 0.01; done");
    let text = format!("{start}; {client_is} {family}");
    finishes(|| {
        let run = Run::new(&[shell, "-c", &text]).env("PYTHON", &python());
        run.file("server.py", server).file("client.py", client)
    });
}

fn git_fetch_from_local_repositories() {
    let script = "
        export GIT_AUTHOR_NAME=x GIT_AUTHOR_EMAIL=x@x GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x@x
        git init -q r1; seq 30000 >r1/data; git -C r1 add .; git -C r1 commit -q -m x
        git init -q all; cd all; top=${PWD%/all}; export top
        for i in 1 2 3 4 5 6; do
            [ $i = 1 ] || cp -r ../r1 ../r$i; git remote add r$i $top/r$i
            git config remote.r$i.uploadpack \"sh $top/up\"
        done
        git fetch -q --multiple -j4 r1 r2 r3 r4 r5 r6; echo $?; exec git branch -r";
    finishes(|| {
        let run = Run::new(&["dash", "-c", script]);
        run.file("up", "$JOB -b 5 -s 30 >&2\nexec git-upload-pack \"$@\"\n")
    });
}

/// The host and each of two others write to one another in turn, more than a pipe holds.
fn bidirectional_coprocess() {
    let program = "
import os, subprocess, sys, threading
job = [sys.executable, '-c', '''
import jobs, sys
jobs.work(0)
text = sys.stdin.buffer.read(200000)
sys.stdout.buffer.write(text + text)
sys.stdout.flush()
sys.stdout.buffer.write(sys.stdin.buffer.read())
''']
all = [subprocess.Popen(job, stdin=-1, stdout=-1) for i in range(3)]
# Each is given what the last but one has written.
for turn in range(2):
    for one in reversed(all):
        feed = threading.Thread(target=lambda: one.stdin.write(b'x' * 200000) and one.stdin.flush())
        feed.start()
        print(len(one.stdout.read(400000 if turn == 0 else 0)), flush=True)
        feed.join()
        if turn: one.stdin.close()
print([(len(one.stdout.read()), one.wait()) for one in all])
";
    finishes(|| Run::new(&[&python(), "host.py"]).file("host.py", program));
}
