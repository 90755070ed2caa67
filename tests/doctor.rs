//! `jsshim doctor`: what it finds, in places where something is wrong, and that it leaves nothing behind.

use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, base, compiled_with, on_path, output, python, tool};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        all_is_fine,
        as_json,
        the_pool_and_the_way_to_it,
        makeflags_as_they_are_understood,
        commands_of_every_kind,
        commands_that_speak_the_protocol,
        a_library_that_does_not_load,
        a_helper_that_does_not_run,
        folders,
        other_preloads,
        variables_that_are_not_understood,
        kernels_that_lack_something,
        programs_under_other_names,
        in_a_container,
        a_user_without_rights,
        a_program_called_doctor,
    ]
}

fn run(text: &str) -> Run {
    Run::new(&["bash", "-c", text])
        .env("CLI", &artifact("jsshim").unwrap_or_default())
        .preload_inside()
        .any_peak()
}

/// Each part must be in one line: the mark, the topic, and words of its text.
fn says(outcome: &Outcome, lines: &[(&str, &str, &str)]) {
    for (mark, topic, words) in lines {
        let is = |l: &&str| l.starts_with(&format!("{mark:<5} {topic} ")) && l.contains(words);
        let text = outcome.text();
        assert!(text.lines().any(|l| is(&l)), "not said: {mark} {topic} {words}\n{text}");
    }
}

fn finds(run: Run, status: i32, lines: &'static [(&'static str, &'static str, &'static str)]) {
    if artifact("jsshim").is_some() {
        let check = move |o: &Outcome| {
            assert_eq!((o.status.code(), o.stderr.as_str()), (Some(status), ""));
            says(o, lines);
        };
        run.check(check).once();
    }
}

fn all_is_fine() {
    finds(
        run("exec $CLI doctor"),
        0,
        &[
            ("ok", "library", "libjsshim.so loads"),
            ("ok", "helper", "jsshim-helper runs"),
            ("ok", "directory", "kB free"),
            ("ok", "MAKEFLAGS", "not set"),
            ("ok", "pool", "none above"),
        ],
    );
    finds(
        run("JSSHIM_JOBS=7 exec $CLI doctor"),
        0,
        &[("ok", "pool", "7 slots is made (JSSHIM_JOBS)")],
    );
    finds(run("JSSHIM_JOBS=x exec $CLI doctor"), 1, &[("WARN", "pool", "JSSHIM_JOBS=x")]);
}

fn as_json() {
    const SHAPE: &str = "
import json, sys
told = json.load(sys.stdin)
assert set(told) == {'version', 'status', 'findings'} and told['status'] == 2, told
assert told['version'] == 1, told
for f in told['findings']:
    assert set(f) == {'level', 'topic', 'text'} and f['text'], f
    assert f['level'] in ('ok', 'note', 'warning', 'failure'), f
worst = [f for f in told['findings'] if f['level'] == 'failure']
assert [f['topic'] for f in worst] == ['command'], worst
";
    let text = "set -o pipefail; $CLI doctor --json no-such-program | $PYTHON -c \"$SHAPE\"";
    finds(run(text).env("SHAPE", SHAPE).env("PYTHON", &python()), 2, &[]);
}

/// By its descriptors, an ancestor's, its fifo, or our own word.
fn the_pool_and_the_way_to_it() {
    let on = |kind| run("exec $CLI doctor").pool(kind, 3);
    const FREE: &str = "2 tokens are free";
    finds(
        on(Kind::NonBlocking),
        0,
        &[("ok", "pool", "by the descriptors 3 and 4"), ("ok", "pool", FREE)],
    );
    finds(on(Kind::Fifo), 0, &[("ok", "pool", "by its fifo"), ("ok", "pool", FREE)]);
    let below = |make: &str, flags: &[&str]| {
        let run = Run::new(&[&[make, "-s", "-j3"], flags].concat())
            .file("Makefile", "all:\n\t@$$CLI doctor\n");
        run.env("CLI", &artifact("jsshim").unwrap_or_default()).preload_inside().make(3).any_peak()
    };
    finds(
        below(&on_path("make"), &[]),
        0,
        &[("ok", "pool", "of the ancestor"), ("ok", "pool", "(make)")],
    );
    let closed = below(&tool("make-4.4.1", "make"), &["--jobserver-style=pipe"]);
    let closed = closed.file("Makefile", "all:\n\t@$$CLI doctor; test $$? = 1\n");
    finds(
        closed,
        0,
        &[
            ("WARN", "pool", "Add '+' to parent make rule"),
            ("ok", "MAKEFLAGS", "not for this recipe"),
        ],
    );
    let own = run("exec $CLI -j3 -- env -u MAKEFLAGS $CLI doctor");
    finds(own, 0, &[("ok", "pool", "by JSSHIM_POOL"), ("ok", "pool", FREE)]);
    finds(run("MAKEFLAGS=-j1 exec $CLI doctor"), 0, &[("ok", "pool", "a pool of one slot")]);
    let dead = "MAKEFLAGS='-j --jobserver-auth=71,72' exec $CLI doctor";
    finds(run(dead), 1, &[("WARN", "pool", "Add '+'")]);
    let wrong = "MAKEFLAGS='-j --jobserver-auth=what' exec $CLI doctor";
    finds(run(wrong), 1, &[("WARN", "pool", "malformed"), ("ok", "MAKEFLAGS", "'what'")]);
}

fn makeflags_as_they_are_understood() {
    let text = "MAKEFLAGS='kd -l2.5 -j4' exec $CLI doctor";
    finds(
        run(text),
        0,
        &[(
            "ok",
            "MAKEFLAGS",
            "d: debug; k: keep going; -j 4; no start above a load of 2.5; names no pool",
        )],
    );
    finds(
        run("MAKEFLAGS=n exec $CLI doctor"),
        1,
        &[("WARN", "MAKEFLAGS", "the command is not run")],
    );
}

fn commands_of_every_kind() {
    let it = |before: &str, command: &str| run(&format!("{before}\nexec $CLI doctor {command}"));
    finds(it("", "dash -c :"), 0, &[("ok", "command", "dynamically linked")]);
    finds(it("", "no-such"), 2, &[("FAIL", "command", "no-such: command not found")]);
    finds(it("echo x >x", "./x"), 2, &[("FAIL", "command", "cannot be run")]);
    const SH: (&str, &str, &str) = ("ok", "command", "/bin/sh is dynamically linked");
    finds(it("echo : >x; chmod +x x", "./x"), 0, &[("note", "command", "has no #!: /bin/sh"), SH]);
    let script = "printf '#!/usr/bin/env -S FOO=1 dash\\n' >x; chmod +x x";
    finds(
        it(script, "./x"),
        0,
        &[("note", "command", "is a script for"), ("ok", "command", "dash is dyn")],
    );
    let fixed = compiled_with("show", "show-static", &["-static"]);
    finds(it("", &fixed), 1, &[("WARN", "command", "is statically linked")]);
    let asan = compiled_with("show", "show-asan", &["-fsanitize=address"]);
    finds(it("", &asan), 1, &[("WARN", "command", "-static-libasan")]);
    finds(it("export ASAN_OPTIONS=verify_asan_link_order=0", &asan), 0, &[]);
    finds(
        it("", &format!("{}/small32", small32())),
        1,
        &[("WARN", "command", "statically linked")],
    );
    finds(it("export JSSHIM_SKIP='da*'", "dash"), 1, &[("WARN", "command", "by JSSHIM_SKIP")]);
    finds(it("export JSSHIM_ONLY=ninja", "dash"), 1, &[("WARN", "command", "by JSSHIM_ONLY")]);
    // SAFETY: it only tells a number.
    assert_eq!(unsafe { libc::geteuid() }, 0, "run by root, to make setuid programs");
    let owned = "cp $(command -v dash) x; chown nobody x; chmod 4755 x";
    finds(it(owned, "./x"), 1, &[("WARN", "command", "is setuid")]);
    let owned = "cp $(command -v dash) x; chgrp nogroup x; chmod 2755 x";
    finds(it(owned, "./x"), 1, &[("WARN", "command", "is setgid")]);
    let go = tool("task-3.54.0", "task");
    finds(it("", &go), 1, &[("WARN", "command", "its jobs do not queue")]);
}

/// A program of the other ABI, in a folder.
fn small32() -> String {
    let dir = base().join("doctor32");
    std::fs::create_dir_all(&dir).unwrap();
    let (dir, from) = (dir.to_str().unwrap(), crate::harness::programs::script("arch/small32.S"));
    output("sh", &["-c", "cc -m32 -nostdlib -static -o $0/small32 $1", dir, &from]);
    dir.to_owned()
}

fn commands_that_speak_the_protocol() {
    let it = |command: &str| run(&format!("exec $CLI doctor {command}"));
    finds(it("make"), 0, &[("ok", "command", "knows make's job server; below 'jsshim -jN --'")]);
    finds(it("make -j8"), 0, &[("note", "command", "is gated")]);
    finds(it("make").pool(Kind::Fifo, 2), 0, &[("ok", "command", "takes its own tokens")]);
    finds(it("make -sj8").pool(Kind::Fifo, 2), 0, &[("note", "command", "is gated")]);
}

fn a_library_that_does_not_load() {
    let text = "cp $CLI ${JSSHIM_LIB%/*}/jsshim-helper .; BREAK; exec ./jsshim doctor dash";
    let broken = |how: &str| run(&text.replace("BREAK", how));
    let nowhere = "export XDG_DATA_HOME=$PWD/jsshim";
    finds(broken(nowhere), 2, &[("FAIL", "library", "cannot unpack the library to")]);
    let how = "echo text >libjsshim.so";
    const LOADER: (&str, &str, &str) = ("FAIL", "library", "does not load: ERROR: ld.so");
    finds(broken(how), 2, &[LOADER, ("FAIL", "command", "its loader does not")]);
    // Which dies of it.
    let how = "head -c 4000 $JSSHIM_LIB >libjsshim.so";
    finds(broken(how), 2, &[("FAIL", "library", "its loader ended with")]);
}

fn a_helper_that_does_not_run() {
    finds(run("JSSHIM_HELPER=/no/such exec $CLI doctor"), 2, &[("FAIL", "helper", "No such file")]);
    finds(
        run("JSSHIM_HELPER=/bin/true exec $CLI doctor"),
        2,
        &[("FAIL", "helper", "is not jsshim-helper")],
    );
}

fn folders() {
    let open = "mkdir -m 755 open; JSSHIM_DIR=$PWD/open exec $CLI doctor";
    finds(run(open), 2, &[("FAIL", "directory", "mode 0700")]);
    let new = "JSSHIM_DIR=$PWD/new $CLI doctor && test ! -e new";
    finds(run(new), 0, &[("ok", "directory", "/new, ")]);
    let small =
        "mkdir -m 700 small; unshare -m sh -c 'mount -t tmpfs -o size=16k,mode=700 none small
        JSSHIM_DIR=$PWD/small exec $CLI doctor'";
    finds(run(small), 2, &[("FAIL", "directory", "a ledger needs")]);
}

fn other_preloads() {
    let text = "LD_PRELOAD=libeatmydata.so:$JSSHIM_LIB exec $CLI doctor";
    finds(
        run(text),
        0,
        &[("note", "LD_PRELOAD", "libeatmydata.so is"), ("ok", "LD_PRELOAD", "libjsshim.so is")],
    );
    let other = "cp ${JSSHIM_LIB%/*}/{libjsshim.so,jsshim-helper} .; LD_PRELOAD=./libjsshim.so exec $CLI doctor";
    finds(run(other), 0, &[("note", "LD_PRELOAD", "not the library of this jsshim")]);
    let check = |o: &Outcome| says(o, &[("WARN", "LD_PRELOAD", "/no/lib.so is not there")]);
    run("LD_PRELOAD=/no/lib.so $CLI doctor 2>/dev/null").check(check).once();
}

fn variables_that_are_not_understood() {
    let text = "JSSHIM_GATE=junk JSSHIM_JOB=4 exec $CLI doctor";
    const GATE: (&str, &str, &str) = ("WARN", "variables", "JSSHIM_GATE is not auto, parent");
    const JOB: (&str, &str, &str) = ("WARN", "variables", "did you mean JSSHIM_JOBS?");
    finds(run(text), 1, &[GATE, JOB]);
}

fn kernels_that_lack_something() {
    let inject = compiled_with("inject", "inject", &["-static"]);
    let run = run("exec $INJECT refuse 38:4.18 $CLI doctor").env("INJECT", &inject);
    const LACKS: &str =
        "it lacks pidfd_open (a parent waits by SIGCHLD, the guard polls), close_range";
    finds(run, 0, &[("note", "kernel", LACKS), ("note", "seccomp", "filtered here")]);
}

fn programs_under_other_names() {
    let text = "mkdir -p bin home/toolchains/some-x/bin; cp $(command -v dash) bin/rustup
        ln bin/rustup bin/cargo; ln -s rustup bin/rustc; ln -s /usr/bin/make home/toolchains/some-x/bin/cargo
        echo 'default_toolchain = \"some\"' >home/settings.toml; export RUSTUP_HOME=$PWD/home PATH=$PWD/bin:$PATH
        exec $CLI doctor ";
    const CARGO: (&str, &str, &str) =
        ("note", "command", "/bin/cargo is rustup under another name, which starts ");
    const SPEAKS: (&str, &str, &str) = ("ok", "command", "it knows make's job server");
    finds(run(&format!("{text}cargo")), 0, &[CARGO, SPEAKS]);
    const RUSTC: (&str, &str, &str) =
        ("note", "command", "/bin/rustc is rustup under another name");
    finds(run(&format!("{text}rustc")), 0, &[RUSTC]);
}

/// A PID namespace, and a filter that lets all through.
fn in_a_container() {
    const SPACE: (&str, &str, &str) = ("note", "namespace", "a PID namespace of its own");
    finds(run("exec unshare -pf --mount-proc $CLI doctor"), 0, &[SPACE]);
    const FILTER: &str = "
import ctypes, os, sys
class Line(ctypes.Structure):
    _fields_ = [('code', ctypes.c_ushort), ('jt', ctypes.c_ubyte), ('jf', ctypes.c_ubyte), ('k', ctypes.c_uint)]
class Program(ctypes.Structure):
    _fields_ = [('len', ctypes.c_ushort), ('lines', ctypes.POINTER(Line))]
libc, line = ctypes.CDLL(None), Line(6, 0, 0, 0x7fff0000)
program = Program(1, ctypes.pointer(line))
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0
os.execvp(sys.argv[1], sys.argv[1:])
";
    const SECCOMP: (&str, &str, &str) = ("note", "seccomp", "system calls are filtered here");
    let text = "exec $PYTHON -c \"$FILTER\" $CLI doctor";
    finds(run(text).env("FILTER", FILTER).env("PYTHON", &python()), 0, &[SECCOMP]);
}

/// Nothing can be seen of root's processes above.
fn a_user_without_rights() {
    let text =
        "exec setpriv --reuid=65534 --regid=65534 --clear-groups env JSSHIM_DIR= $CLI doctor";
    finds(run(text), 0, &[("note", "/proc", "not, from ")]);
}

fn a_program_called_doctor() {
    let text = "printf '#!/bin/sh\\necho ran \"$@\"\\n' >doctor; chmod +x doctor; PATH=$PWD:$PATH
        $CLI -- doctor a; $CLI -j2 doctor b; $CLI doctor ./doctor | grep -c 'is a script'";
    let check = |o: &Outcome| assert_eq!(o.text(), "ran a\nran b\n1\n");
    if artifact("jsshim").is_some() {
        run(text).check(check).once();
    }
}
