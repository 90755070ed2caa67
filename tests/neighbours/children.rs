//! Programs into which ours is not loaded, or that insist on a library of their own.

use super::{below, ends_with_5};
use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, base, compiled_with, output, script};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        children_of_32_bits,
        static_children,
        static_host,
        setuid_children,
        host_with_address_sanitizer,
        host_with_shared_address_sanitizer,
    ]
}

/// Ours is not loaded into them, and their ld.so has nothing to say of it. They are without libc, as that
/// cannot be linked everywhere.
fn children_of_32_bits() {
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    let folder = base().to_str().expect("UTF-8");
    let build = |name: &str, flags: &[&str]| {
        let program = format!("{folder}/{name}");
        let source = script("arch/small32.S");
        output("cc", &[flags, &["-m32", "-nostdlib", "-o", &program, &source]].concat());
        program
    };
    let fixed = build("small32", &["-static"]);
    let loaded = build("loaded32", &["-pie", "-Wl,--dynamic-linker=/lib/ld-linux.so.2"]);
    let text = format!(
        "export PATH=$PATH:{folder} LD_PRELOAD=$LD_PRELOAD${{LD_PRELOAD:+:}}libc.so.6
         for p in {fixed} {loaded} loaded32; do
             for i in 1 2 3 4; do $p & all=\"$all $!\"; $JOB -b 5 -s 40 & all=\"$all $!\"; done
         done
         for pid in $all; do wait $pid; echo $?; done
         seq 4 | xargs -P4 -I+ sh -c 'loaded32; echo $?'; python3 -c \"$SPAWNS\" {loaded}; {loaded}"
    );
    // By posix_spawn, posix_spawnp, fexecve, and with nothing of ours in the environment.
    let spawns = "
import os, subprocess, sys
path = sys.argv[1]
by = lambda door, name: os.waitpid(door(name, [name], os.environ), 0)[1]
print(by(os.posix_spawn, path), by(os.posix_spawnp, 'loaded32'), subprocess.call([path], env={}))
jobs = [subprocess.Popen(['loaded32']) for _ in range(6)]
print([job.wait() for job in jobs], os.system(path))
if os.fork() == 0:
    os.execve(os.open(path, os.O_RDONLY), [path], os.environ)
print(os.wait()[1])";
    for (kind, gate) in
        [(Kind::Blocking, "auto"), (Kind::NonBlocking, "child"), (Kind::Fifo, "child")]
    {
        let run = Run::new(&["dash", "-c", &text]).env("SPAWNS", spawns);
        ends_with_5(run.env("JSSHIM_GATE", gate).pool(kind, 2)).both();
    }
    if let Some(cli) = artifact("jsshim") {
        for (program, said) in [(&fixed, "statically linked"), (&loaded, "32-bit")] {
            let check = move |o: &Outcome| assert_eq!(o.stderr.matches(said).count(), 1);
            let run = Run::new(&[&*cli, program]).preload_inside().check(check);
            ends_with_5(run).check(|o| assert_eq!(o.stderr.lines().count(), 1)).once();
        }
    }
}

/// Such a job waits for its slot like any other: the helper becomes it.
fn static_children() {
    let job = compiled_with("job", "static-job", &["-static"]);
    let text =
        format!("for i in 1 2 3 4 5 6 7 8; do {job} -b 5 -s 40 -i j$i -k 1 & done; wait; exit 5");
    for gate in ["auto", "child"] {
        let run = Run::new(&["bash", "-c", &text]).env("JSSHIM_GATE", gate).unordered();
        ends_with_5(run.pool(Kind::Fifo, 2)).both();
    }
}

/// What it starts is not gated, and its jobs are not disturbed.
fn static_host() {
    let host = compiled_with("hosts", "static-hosts", &["-static"]);
    for mode in ["reaps-at-the-end", "vforks", "threads", "popen"] {
        ends_with_5(Run::new(&[&*host, mode]).settles(8)).both();
    }
}

/// By nobody, on a pool of two of his own; the library is not loaded into them.
fn setuid_children() {
    let text = "
        install -m 4755 $JOB job; install -m 4755 /usr/bin/id id; chown nobody $JSSHIM_DIR
        export JSSHIM_JOBS=2 OURS
        exec setpriv --reuid=nobody --regid=nogroup --clear-groups \\
            dash -c 'LD_PRELOAD=$OURS exec bash host.sh'";
    let host = "for i in 1 2 3 4 5 6 7 8; do ./job -b 5 -s 40 -x 3 & all=\"$all $!\"; done
        for pid in $all; do wait $pid; echo $?; done
        for i in 1 2 3; do ./id -u & done; wait; exit 5";
    ends_with_5(below(text).file("host.sh", host).slots(2)).both();
}

/// Its run-time library is in the program: a shared one insists on being the first of all.
fn host_with_address_sanitizer() {
    let flags = ["-fsanitize=address", "-static-libasan", "-Wno-clobbered"];
    let host = compiled_with("hosts", "hosts-with-asan", &flags);
    for mode in ["reaps-at-the-end", "vforks", "threads", "handler", "forks-without-exec"] {
        let run = Run::new(&[&host, mode]).pool(Kind::NonBlocking, 2).settles(8);
        ends_with_5(run.env("ASAN_OPTIONS", "detect_leaks=0")).both();
    }
}

/// gcc's default. It insists on being the first of all libraries and says so, or has to be told not to.
fn host_with_shared_address_sanitizer() {
    let flags = ["-fsanitize=address", "-Wno-clobbered"];
    let host = compiled_with("hosts", "hosts-with-shared-asan", &flags);
    let run = |mode: &str| Run::new(&[&*host, mode]).pool(Kind::NonBlocking, 2);
    if artifact("libjsshim.so").is_some() {
        let refused = run("vforks").run(true);
        assert_eq!(refused.status.code(), Some(1), "{}", refused.stderr);
        let clear = "ASan runtime does not come first in initial library list";
        assert!(refused.stderr.contains(clear), "{}", refused.stderr);
    }
    for mode in ["reaps-at-the-end", "vforks", "threads", "forks-without-exec"] {
        let told = run(mode).env("ASAN_OPTIONS", "verify_asan_link_order=0:detect_leaks=0");
        ends_with_5(told.settles(8)).both();
    }
}
