//! A stranger's pipe is never taken for the pool, and our pool is in nobody's way.
//!
//! The wrong assumption was that a number tells a pipe: the first pipe(2) of a program whose descriptors were closed
//! has just the numbers of make's pool, and ours made this worse by giving the whole tree two low ones.

use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, compiled, on_path, python, tool};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    let mut list = crate::tests![
        trees_below_the_launcher,
        trees_below_make,
        a_pipe_in_a_python_between,
        node_below_node,
        a_forkserver_ten_times,
        a_script_that_is_called_make,
        a_compiler_that_knows_the_protocol,
        a_make_with_a_pool_of_its_own,
        a_make_that_has_remade_its_makefile,
        a_make_below_a_make_below_the_pool,
        a_pool_that_is_out_of_reach,
        nobody_sees_our_pool,
        shells_have_their_numbers,
    ];
    for (name, slots, count) in [("two", "2", 500), ("plenty", "64", 300)] {
        let name = format!("strangers::pools::trees_on_our_own_pool_of_{name}");
        list.push(crate::test(&name, move || {
            let slots_wanted = slots.parse().unwrap();
            trees(count, |run| run.env("JSSHIM_JOBS", slots).slots(slots_wanted))
        }));
    }
    for kind in [Kind::Blocking, Kind::NonBlocking, Kind::Fifo] {
        let name = format!("strangers::pools::trees_on_a_pool_{kind:?}").to_lowercase();
        list.push(crate::test(&name, move || trees(300, |run| run.pool(kind, 2))));
    }
    list
}

/// Says what is wrong on standard output, and nothing if all is well.
fn is_silent(outcome: &Outcome) {
    assert_eq!((outcome.text().as_str(), outcome.stderr.as_str()), ("", ""));
    assert!(outcome.status.success());
}

/// Trees of processes that have all kinds of pipes under all kinds of numbers (c/trees.c). Half of them are drawn anew
/// in each run.
fn trees(count: usize, place: impl Fn(Run) -> Run) {
    let (trees, fresh) = (compiled("trees"), std::process::id() as usize * 1000);
    let half = count / 2;
    // How many meet is left to chance.
    for first in [0, fresh] {
        let words = [first, first + half].map(|seed| seed.to_string());
        place(Run::new(&[&trees, &words[0], &words[1]])).any_peak().check(is_silent).both();
    }
}

fn trees_below_the_launcher() {
    trees(300, |run| run.cli(2));
}

/// With and without `+`: the pool is there, or was closed, or MAKEFLAGS says that there is none.
fn trees_below_make() {
    let recipe = "@LD_PRELOAD=$$JSSHIM_LIB $$TREES $$FIRST $$(($$FIRST + 40))";
    for make in [on_path("make"), tool("make-4.4.1", "make")] {
        for (plus, style) in [("+", ""), ("", ""), ("+", "--jobserver-style=pipe")] {
            if style.is_empty() || !make.starts_with("/usr") {
                let words = ["-s", "-j2", style].map(str::to_owned);
                let argv: Vec<_> = std::iter::once(make.clone()).chain(words).collect();
                let argv: Vec<_> = argv.into_iter().filter(|word| !word.is_empty()).collect();
                Run::new(&argv)
                    .file("Makefile", &format!("all:\n\t{plus}{recipe}\n"))
                    .env("TREES", &compiled("trees"))
                    .env("FIRST", &(std::process::id() * 1000).to_string())
                    .preload_inside()
                    .make(2)
                    .may_idle()
                    .check(is_silent)
                    .both();
            }
        }
    }
}

/// Three processes of which the middle one has a pipe where make would have had its pool.
const BETWEEN: &str = r"
import os, subprocess, sys
r, w = os.pipe()
if INHERIT: os.dup2(r, 3), os.dup2(w, 4)
own = bytes(range(97, 117))
os.write(w, own)
status = subprocess.run(['sh', '-c', 'for i in 1 2 3 4 5 6; do $JOB -b 5 -s 40 & done; wait'], close_fds=CLOSE).returncode
os.set_blocking(r, False)
left = os.read(r, 100)
if left != own: print('left in my own pipe:', left)
sys.exit(status)
";

/// `outer` starts `mid` starts the jobs: the pool is our own, or make's.
fn a_pipe_in_a_python_between() {
    for (inherit, close) in [("False", "True"), ("True", "True"), ("True", "False")] {
        let mid = BETWEEN.replace("INHERIT", inherit).replace("CLOSE", close);
        let outer = "import subprocess, sys; sys.exit(subprocess.run([sys.executable, 'mid.py']).returncode)";
        let run = || Run::new(&[&python(), "-c", outer]).file("mid.py", &mid).check(is_silent);
        run().env("JSSHIM_JOBS", "64").slots(64).any_peak().both();
        run().env("JSSHIM_JOBS", "2").slots(2).both();
        run().cli(2).both();
        for kind in [Kind::Blocking, Kind::NonBlocking, Kind::Fifo] {
            run().pool(kind, 2).both();
        }
    }
}

/// As npm, lerna, nx and turbo do. libuv's signals go through a pipe with low numbers, and the jobs send their node
/// some: an event loop that has lost a byte of it stands still.
fn node_below_node() {
    const A: &str = "
const child = require('child_process').spawn(process.execPath, ['b.js'], {stdio: 'inherit'});
child.on('exit', (code, signal) => { console.log('b', code, signal); process.exit(code); });
";
    const B: &str = "
const {spawn} = require('child_process');
let asked = 0, left = 3;
process.on('SIGUSR2', () => { asked += 1; });
const done = (code) => { if (code) process.exitCode = code; if (--left == 0) clearInterval(timer); };
const timer = setInterval(() => {}, 20);
process.env.B = process.pid;
const job = 'kill -USR2 $B; kill -USR2 $B; exec $JOB -b 5 -s 60';
process.env.ONE = job;
const jobs = 'seq 4 | xargs -P4 -I+ sh -c \"$ONE\"';
for (let i = 0; i < 2; i++) spawn('sh', ['-c', jobs], {stdio: 'inherit'}).on('exit', done);
setTimeout(() => spawn('true').on('exit', done), 30);
process.on('exit', () => { if (asked == 0) process.exitCode = 9; });
";
    let node = || Run::new(&[&on_path("node"), "a.js"]).file("a.js", A).file("b.js", B);
    for _ in 0..3 {
        node().cli(2).check(|o| assert!(o.status.success())).both();
    }
    node().env("JSSHIM_JOBS", "64").slots(64).any_peak().both();
}

/// CPython's own tests of what its workers inherit hung on slots that were never scarce.
fn a_forkserver_ten_times() {
    let text =
        "one() { /usr/bin/python3 -m test.test_multiprocessing_main_handling >log$1 2>&1 && \
            tail -n1 log$1 || { echo failed; cat log$1; }; }
        one 1 & one 2; wait";
    let ok = |o: &Outcome| assert_eq!((o.text().as_str(), o.stderr.as_str()), ("OK\nOK\n", ""));
    let run = Run::new(&["sh", "-c", text]).env("JSSHIM_JOBS", "64").slots(64).any_peak();
    let run = run.env("LC_ALL", "C.UTF-8").check(ok);
    for _ in 0..5 {
        run.run(artifact("libjsshim.so").is_some());
    }
}

const EIGHT: &str = "seq 8 | xargs -P8 -I+ $JOB -b 5 -s 60";

/// A recipe without `+` below which something has a pipe under make's numbers, and hands down make's words.
fn below_make(files: &[(&str, &str)], recipe: &str) -> Run {
    let run = Run::new(&["make", "-s", "-j2"]).make(2).preload_inside().check(is_silent);
    let run = run.file("Makefile", &format!("all:\n\t@{recipe}\n")).env("EIGHT", EIGHT);
    files.iter().fold(run, |run, (name, text)| run.file(name, text))
}

/// Neither its name nor that it is nearer makes it the pool's.
fn a_script_that_is_called_make() {
    const MAKE: &str = "
import os, subprocess, sys
r, w = os.pipe()
os.dup2(r, 3), os.dup2(w, 4)
os.write(w, b'abcdef')
status = subprocess.run(['sh', '-c', 'LD_PRELOAD=$JSSHIM_LIB sh -c \"$EIGHT\"']).returncode
os.set_blocking(r, False)
left = os.read(r, 100)
if left != b'abcdef': print('left:', left)
sys.exit(status)
";
    let script = format!("#!{}{MAKE}", python());
    let recipe = "chmod +x bin/make; exec bin/make";
    below_make(&[("bin/make", &script)], recipe).both();
}

/// gcc has the protocol's words in it, and a pipe of its own while it starts anything.
fn a_compiler_that_knows_the_protocol() {
    const AS: &str = "#!/bin/sh\nLD_PRELOAD=$JSSHIM_LIB sh -c \"$EIGHT\"\n";
    let recipe = "chmod +x bin/as; exec gcc -Bbin/ -c -o x.o x.c";
    below_make(&[("bin/as", AS), ("x.c", "int x;\n")], recipe).both();
}

/// What JSSHIM_POOL says comes before what is nearer: the limit is the one that was asked for.
fn a_make_with_a_pool_of_its_own() {
    if artifact("jsshim").is_none() {
        return;
    }
    for plus in ["", "+"] {
        let rules = format!("all:\n\t{plus}@LD_PRELOAD=$$JSSHIM_LIB sh -c \"$$EIGHT\"\n");
        let run = Run::new(&["sh", "-c", "env -u LD_PRELOAD make -s -j4; exit $?"]);
        run.file("Makefile", &rules).env("EIGHT", EIGHT).cli(2).check(is_silent).once_full();
    }
}

/// It exec's itself then, and has been told of its own pool by itself.
fn a_make_that_has_remade_its_makefile() {
    let rules = "include part\npart:\n\t@echo all: done >part\ndone:\n\t@LD_PRELOAD=$$JSSHIM_LIB sh -c \"$$EIGHT\"\n";
    let run = Run::new(&["make", "-s", "-j2", "all"]).make(2).preload_inside();
    run.file("Makefile", rules).env("EIGHT", EIGHT).check(is_silent).both();
}

/// Where the pool that JSSHIM_POOL names cannot be reached, a pipe that has make's numbers is doubted: one slot, and
/// make's warning.
fn a_pool_that_is_out_of_reach() {
    let text = "import os, subprocess, sys
r, w = os.pipe()
os.dup2(r, 3), os.dup2(w, 4)
os.write(w, b'abcdef')
env = dict(os.environ, MAKEFLAGS=' -j7 --jobserver-auth=3,4')
if 'JSSHIM_LIB' in env and env['JSSHIM_LIB']: env['LD_PRELOAD'] = env['JSSHIM_LIB']
env['JSSHIM_POOL'] = WORD
status = subprocess.run(['sh', '-c', os.environ['EIGHT']], env=env, pass_fds=(3, 4)).returncode
os.set_blocking(r, False)
left = os.read(r, 100)
if left != b'abcdef': print('left:', left)
sys.exit(status)";
    for pool in ["f:1:0:/proc/1/fd/3", "1:2:3:/nowhere/pool-7-1", "f:1:0:/proc/999999999/fd/3"] {
        let run = Run::python(&text.replace("WORD", &format!("'{pool}'")));
        let check = |o: &Outcome| assert_eq!(o.text(), "");
        run.env("EIGHT", EIGHT).preload_inside().slots(1).warns().check(check).both();
    }
}

/// Neither as a descriptor nor as a word of make's.
fn nobody_sees_our_pool() {
    let text = "ls -l /proc/self/fd | sed 's,.* \\([0-9]* -> [^0-9]*\\).*,\\1,' | grep -v /proc
        echo ${MAKEFLAGS-none} ${MFLAGS-none}; exec 3<&0; readlink /proc/self/fd/4 || echo closed";
    for shell in ["bash", "dash", "zsh", "mksh"] {
        Run::new(&[shell, "-c", text]).cli(3).any_peak().both();
        Run::new(&[shell, "-c", text]).env("JSSHIM_JOBS", "3").slots(3).any_peak().both();
    }
}

/// What the tests of busybox's ash look for (`redir_leak`, `redir_to_bad_fd3`, and others), in other shells as well.
fn shells_have_their_numbers() {
    let scripts = [
        "echo x >&3; echo $?",
        "{ echo x >&4; } 2>/dev/null; echo $?",
        "exec 3>out; echo x >&3; cat out; exec 3>&-; echo x >&3; echo $?",
        ": 3>out; ls /proc/self/fd | wc -l",
        "while read x; do echo $x >&3; done 3>out <<E\na\nE\ncat out",
        "fds() { ls /proc/self/fd; }; fds; { fds; } 3>&1 4>&1; fds",
    ];
    for shell in [&["bash"][..], &["dash"], &["zsh"], &["mksh"], &["ksh93"], &["busybox", "ash"]] {
        for script in scripts {
            let argv = [shell, &["-c", script]].concat();
            Run::new(&argv).cli(2).any_peak().both();
        }
    }
}

/// A make that is told its own number has a pool of its own, and what is below it keeps to that, too: the one that
/// JSSHIM_POOL names is not put in its place.
fn a_make_below_a_make_below_the_pool() {
    const INNER: &str = "all:\n\t+@$(MAKE) -s -f sub\n";
    let jobs: Vec<_> = (0..8).map(|i| format!("j{i}")).collect();
    let jobs = jobs.join(" ");
    let sub = format!("all: {jobs}\n{jobs}:\n\t@$$JOB -b 5 -s 60\n");
    for (make, slots) in [(on_path("make"), 4), (tool("make-4.4.1", "make"), 4)] {
        for kind in [Kind::NonBlocking, Kind::Fifo] {
            // The tokens keep their values: GNU make gives back what it likes.
            let text = format!("true & true; wait; exec {make} -s -j2 -f inner 2>/dev/null");
            let run = Run::new(&["bash", "-c", &text]).file("inner", INNER).file("sub", &sub);
            let two = |o: &Outcome| assert_eq!(o.jobs.peak, 2);
            run.env("MAKE", &make).pool(kind, slots).any_peak().check(two).both();
        }
    }
}
