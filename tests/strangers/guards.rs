//! The guard is nobody's child, and ends when there is nothing left to look after.
//!
//! Where a process collects all its children, whether it is a subreaper or the first of a PID namespace, preloaded or
//! above what is preloaded, it comes to its end as without the library, meets its own children only, and keeps no
//! zombie of ours.

use crate::harness::pool::Kind;
use crate::harness::programs::{compiled, on_path, python};
use crate::harness::{Outcome, Run};
use crate::Test;

/// How it waits: the words of c/collects.c.
const WAYS: [&str; 6] = ["wait", "waitid", "wall", "wallid", "nohang", "never"];

/// Processes that collect whatever comes, as people write them: who starts four jobs, and meets only those.
const COLLECTORS: &[(&str, &str)] = &[
    ("perl", "perl -e 'for (1..4) { fork or exec $ENV{JOB}, \"-s\", 60 * $_; } 1 while ($p = wait()) != -1 && ++$n; print \"$n\\n\"'"),
    ("python_pops", "$PYTHON pops.py"),
    ("bash_wait_n", "bash -c 'for ms in 400 250 100 300; do (exec $JOB -s $ms) & done; while wait -n; do echo one; done; echo $?'"),
    ("bash_wait", "bash -c 'for i in 4 3 2 1; do $JOB -s 60 & done; wait; echo $?'"),
];

const POPS: &str = "import os, subprocess
job = os.environ['JOB']
ps = {p.pid: (n, p) for n, p in ((n, subprocess.Popen([job, '-s', str(60 * n)])) for n in range(1, 5))}
while ps:
    pid, status = os.wait()
    n, p = ps.pop(pid)
    p.returncode = status
    print(status)
try:
    print(os.wait())
except ChildProcessError:
    print('no more')
";

/// As portage's pid-ns-init: it starts the command, forwards its status, and collects all there is before.
const PID_NS_INIT: &str = "import os, sys
main = os.fork()
if main == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
status = None
while True:
    try:
        pid, s = os.wait()
    except ChildProcessError:
        break
    if pid == main:
        status = s
    else:
        print('a stranger', pid, s)
sys.exit(os.waitstatus_to_exitcode(status))
";

const NAMESPACE: [&str; 4] = ["unshare", "-p", "-f", "--mount-proc"];

pub fn tests() -> Vec<Test> {
    let mut list = crate::tests![
        initial_processes,
        a_sandbox_that_waits_for_all,
        a_chain_of_hosts_in_a_namespace,
        a_host_below_a_collector_is_killed,
        a_stopped_guard_below_a_collector,
        a_guard_that_is_killed_below_a_collector,
        a_collector_that_lives_on_keeps_no_zombies,
        a_killed_guard_that_nobody_reaps,
        an_old_child_is_no_stranger,
        little_stack,
        another_users_host_is_killed,
        another_users_host_is_killed_after_a_time_without_tokens,
        a_ledger_that_is_removed,
        the_folder_goes_at_the_end,
        the_folder_is_replaced,
    ];
    for how in WAYS {
        let name = |what: &str| format!("strangers::guards::{what}_by_{how}");
        list.push(crate::test(&name("a_subreaper"), move || subreaper(how)));
        list.push(crate::test(&name("process_1"), move || process_1(how)));
        list.push(crate::test(&name("above_hosts"), move || above_hosts(how)));
    }
    for (name, text) in COLLECTORS {
        list.push(crate::test(&format!("strangers::guards::{name}"), move || collector(text)));
    }
    list
}

fn in_namespace(text: &str) -> Run {
    let mut argv = NAMESPACE.to_vec();
    argv.extend(["bash", "-c", text]);
    Run::new(&argv)
}

/// A shell with three jobs, whose status is its argument.
const HOST: &str = "for n in 1 2 3; do $JOB -s $((40 + 30 * $1)) & done; wait; exit $1";

fn subreaper(how: &'static str) {
    let argv = [&compiled("collects"), "-s", "-k", how, "4", "sh", "host.sh", "{}"];
    let run = || Run::new(&argv).file("host.sh", HOST);
    run().pool(Kind::NonBlocking, 3).both();
    run().pool(Kind::Fifo, 3).both();
    run().env("JSSHIM_JOBS", "3").slots(3).both();
    run().cli(3).both();
}

/// The host itself is the first process of the namespace.
fn process_1(how: &'static str) {
    let collects = compiled("collects");
    // unshare itself is in another namespace.
    let run = |pool: &str| {
        let collect = format!("{collects} -k {how} 4 sh host.sh {{}}");
        in_namespace(&format!("{pool} LD_PRELOAD=$JSSHIM_LIB exec {collect}"))
            .file("host.sh", HOST)
            .preload_inside()
    };
    run("").pool(Kind::Fifo, 3).both();
    run("JSSHIM_JOBS=3").slots(3).both();
}

/// It is not preloaded, but those are that it starts: on one pool, and each on one of its own.
fn above_hosts(how: &'static str) {
    let mut argv = NAMESPACE.to_vec();
    let collects = compiled("collects");
    argv.extend([&collects, "-k", how, "4", "sh", "outer.sh", "{}"]);
    let run = |outer: &str| {
        Run::new(&argv).file("host.sh", HOST).file("outer.sh", outer).preload_inside()
    };
    let preloaded = "LD_PRELOAD=$JSSHIM_LIB exec sh host.sh $1";
    // Each host has an implicit slot of its own.
    run(preloaded).pool(Kind::Fifo, 3).any_peak().may_overdraw().times(3).both();
    run(&format!("JSSHIM_JOBS=2 {preloaded}")).any_peak().may_overdraw().times(3).both();
    let launched = "[ -n \"$JSSHIM_LIB\" ] || exec sh host.sh $1\nexec ${JSSHIM_LIB%/*}/jsshim -j2 -- sh host.sh $1";
    run(launched).any_peak().may_overdraw().times(3).both();
}

fn collector(text: &'static str) {
    let text = format!("exec {text}");
    // A subreaper; and the first process of a namespace, preloaded or not.
    let reaper = "import ctypes, os, sys; ctypes.CDLL(None).prctl(36, 1); os.execvp(sys.argv[1], sys.argv[1:])";
    let subreaper = [&python(), "-c", reaper, "bash", "-c", &text];
    // bash's `wait -n` passes over what has ended before it: no start may keep bash waiting.
    let run =
        |run: Run| run.file("pops.py", POPS).env("PYTHON", &python()).env("JSSHIM_GATE", "child");
    run(Run::new(&subreaper)).pool(Kind::Fifo, 2).both();
    run(Run::new(&subreaper)).cli(2).both();
    let inside =
        |pool: &str| in_namespace(&format!("export {pool} LD_PRELOAD=$JSSHIM_LIB; {text}"));
    run(inside("").preload_inside()).pool(Kind::Fifo, 2).both();
    run(inside("JSSHIM_JOBS=2").preload_inside()).slots(2).both();
}

/// tini and dumb-init, as the first process and as a subreaper, preloaded and not.
fn initial_processes() {
    let host = "for i in 1 2 3 4; do $JOB -s 80 & done; wait; exit 7";
    for init in [vec![on_path("tini"), "-s".into(), "--".into()], vec![on_path("dumb-init")]] {
        let argv = |before: &[&str], preload: &str| {
            let mut argv: Vec<String> = before.iter().map(|s| (*s).to_owned()).collect();
            argv.extend(init.clone());
            argv.extend(["bash".into(), "-c".into(), format!("{preload} sh host.sh")]);
            argv
        };
        for before in [&[][..], &NAMESPACE[..]] {
            let run = Run::new(&argv(before, "exec")).file("host.sh", host);
            run.pool(Kind::Fifo, 2).both();
            let run = Run::new(&argv(before, "LD_PRELOAD=$JSSHIM_LIB exec"));
            run.file("host.sh", host).preload_inside().pool(Kind::Fifo, 2).both();
            let run = Run::new(&argv(before, "exec")).file("host.sh", host);
            run.cli(2).both();
        }
    }
}

/// As Gentoo's pid-sandbox, around a make with a recipe that is preloaded.
fn a_sandbox_that_waits_for_all() {
    let make = "all:\n\t+@LD_PRELOAD=$$JSSHIM_LIB xargs -P5 -I{} sh -c '$$JOB -s 60' <list\n";
    let mut argv: Vec<String> = NAMESPACE.iter().map(|s| (*s).to_owned()).collect();
    argv.extend([python(), "init.py".into(), on_path("make"), "-j2".into()]);
    let run = Run::new(&argv).file("init.py", PID_NS_INIT).file("Makefile", make);
    let list = (0..8).map(|n| format!("{n}\n")).collect::<String>();
    let run = run.file("list", &list).preload_inside().make(2);
    run.check(|o: &Outcome| assert!(!o.text().contains("stranger"), "{}", o.text())).both();
}

/// Hosts that end in the order in which they started, each while the next one runs: the guard goes from one to the
/// next.
fn a_chain_of_hosts_in_a_namespace() {
    let outer = "sleep 0.$((2 * $1)); LD_PRELOAD=$JSSHIM_LIB exec sh host.sh 2";
    let host = HOST.replace("-s $((40 + 30 * $1))", "-s 250");
    for how in ["wait", "never"] {
        let mut argv = NAMESPACE.to_vec();
        let collects = compiled("collects");
        argv.extend([&collects, "-k", how, "4", "sh", "outer.sh", "{}"]);
        let run = Run::new(&argv).file("host.sh", &host).file("outer.sh", outer).preload_inside();
        run.pool(Kind::Fifo, 4).may_overdraw().both();
    }
}

/// How many tokens lie in the fifo that MAKEFLAGS names, and waiting for that.
pub const POOL: &str = r#"
exec 2>/dev/null
pool() { perl -e '$ENV{MAKEFLAGS} =~ /fifo:(\S+)/ ? open F, "+<", $1 : open F, "<&=3"; $n = pack "i", 0;
ioctl F, 0x541b, $n; print unpack("i", $n), "\n"'; }
full() { for i in $(seq 1000); do [ $(pool) = $1 ] && break; sleep 0.02; done; pool; }
started() { until [ "$(od -An -tu4 -j8 -N4 $JSSHIM_TEST_JOBS)" -ge $1 ]; do sleep 0.01; done; }
ended() { until [ "$(od -An -tu4 -j12 -N4 $JSSHIM_TEST_JOBS)" -ge $1 ]; do sleep 0.01; done; }
empty() { for i in $(seq 1000); do [ -z "$(ls $JSSHIM_DIR)" ] && break; sleep 0.02; done; }
helpers() { pgrep -x 'jsshim-(helper|keeper)'; }
"#;

pub fn script(text: &str, namespace: bool) -> Run {
    // With process 1 of a namespace the guard would be killed before it has cleaned up.
    let text = format!("{POOL}{}; empty", text.replace("SHIM ", "LD_PRELOAD=$JSSHIM_LIB "));
    let run = if namespace { in_namespace(&text) } else { Run::new(&["bash", "-c", &text]) };
    run.preload_inside()
}

pub fn says(text: &'static str) -> impl Fn(&Outcome) {
    move |o| assert_eq!(o.text(), text)
}

const THREE: &str = "for i in 1 2 3; do $JOB -b 5 -s 700 & done; wait; wait";

/// The tokens of its jobs come back, whether the guard is below it or below another host.
fn a_host_below_a_collector_is_killed() {
    let kill = "kill -KILL $(pgrep -P $host) $host";
    let alone =
        format!("SHIM bash three.sh & host=$!; started 3; sleep 0.1; {kill}; full 3; wait; full 3");
    let run = script(&alone, true).file("three.sh", THREE);
    run.pool(Kind::Fifo, 4).breaks().check(says("3\n3\n")).once();
    for (first, second) in [("three.sh", "two.sh"), ("two.sh", "three.sh")] {
        let text = format!(
            "SHIM bash {first} & SHIM bash {second} & host=$!; started 5; sleep 0.1; pool; {kill}
            full $([ {second} = two.sh ] && echo 2 || echo 3); touch go; wait; full 4"
        );
        let (three, two) = (
            THREE.replace("-s 700", "-w go"),
            THREE.replace("1 2 3", "1 2").replace("-s 700", "-w go"),
        );
        let want = if second == "two.sh" { "1\n2\n4\n" } else { "1\n3\n4\n" };
        let run = script(&text, true).file("three.sh", &three).file("two.sh", &two);
        run.pool(Kind::Fifo, 5).breaks().check(says(want)).once();
    }
}

/// A guard that does not answer keeps nobody: the host ends, and the guard later.
fn a_stopped_guard_below_a_collector() {
    let text = "SHIM bash three.sh & host=$!; started 3; sleep 0.1; kill -STOP $(helpers); wait $host; echo $?
        kill -CONT $(helpers); full 3";
    let run = script(text, true).file("three.sh", THREE).pool(Kind::Fifo, 4);
    run.any_peak().check(says("0\n3\n")).once();
}

/// Each of its processes, one at a time and all at once.
fn a_guard_that_is_killed_below_a_collector() {
    for victims in
        ["$(helpers | head -1)", "$(helpers | tail -1)", "$(pgrep -x jsshim-keeper)", "$(helpers)"]
    {
        let text = format!(
            "SHIM bash four.sh & host=$!; started 3; sleep 0.1; kill -KILL {victims}; sleep 0.2; touch more; started 4
            sleep 0.2; kill -KILL $(pgrep -P $host -x job) $host; full 4"
        );
        let four = "$JOB -w x & $JOB -w x & $JOB -w x & until [ -e more ]; do read -t 0.02 </dev/zero; done
            $JOB -w x & wait";
        let run = script(&text, true).file("four.sh", four).pool(Kind::Fifo, 5);
        run.breaks().check(says("4\n")).once();
    }
}

/// Build after build below one that reaps nobody but its own, as a CI agent that is the first process of a container.
fn a_collector_that_lives_on_keeps_no_zombies() {
    let agent = "import os, subprocess, sys
for i in range(6):
    subprocess.run(['sh', 'host.sh', '0'], env=dict(os.environ, LD_PRELOAD=os.environ['JSSHIM_LIB']))
stat = lambda pid: open(f'/proc/{pid}/stat').read()
pids = [pid for pid in os.listdir('/proc') if pid.isdigit() and int(pid) != os.getpid()]
print([stat(pid) for pid in pids])
";
    let mut argv: Vec<String> = NAMESPACE.iter().map(|s| (*s).to_owned()).collect();
    argv.extend([python(), "agent.py".into()]);
    let run = || {
        let run = Run::new(&argv).file("host.sh", HOST).file("agent.py", agent);
        run.preload_inside().check(says("[]\n"))
    };
    run().pool(Kind::Fifo, 2).both();
    run().env("JSSHIM_JOBS", "2").slots(2).both();
}

/// The first process of many containers waits for nobody but its own child: a killed guard keeps its pid. Its clients
/// know that it has ended, and clean up themselves.
fn a_killed_guard_that_nobody_reaps() {
    let first =
        "import subprocess, sys; sys.exit(subprocess.run(['bash', '-c', sys.argv[1]]).returncode)";
    for (pool, host) in [
        ("", "$JOB -w go & $JOB -w go & wait; wait"),
        ("", "$JOB -w go & $JOB -w go & wait; wait; $JOB -s 1 & $JOB -s 1 & wait"),
        ("JSSHIM_JOBS=3", "$JOB -w go & $JOB -w go & wait; wait"),
    ] {
        let text = format!(
            "{POOL}
            alive() {{ for pid in $(helpers); do grep -q '^State:.Z' /proc/$pid/status || echo $pid; done; }}
            {pool} LD_PRELOAD=$JSSHIM_LIB bash host.sh & started 2; until [ \"$(alive)\" ]; do sleep 0.02; done; sleep 0.1
            while [ \"$(alive)\" ]; do kill -KILL $(alive); sleep 0.02; done
            touch go; wait; empty; ls $JSSHIM_DIR"
        );
        let mut argv: Vec<String> = NAMESPACE.iter().map(|s| (*s).to_owned()).collect();
        argv.extend([python(), "-c".into(), first.into(), text]);
        let run = Run::new(&argv).file("host.sh", host).preload_inside();
        run.pool(Kind::Fifo, 3).any_peak().check(says("")).once();
    }
}

/// An orphan of a job is a stranger without the library, too, and comes all the same.
fn an_old_child_is_no_stranger() {
    let argv = [&compiled("collects"), "-s", "-k", "wait", "2", "sh", "leaves.sh"];
    let run = Run::new(&argv).file("leaves.sh", "for i in 1 2 3; do $JOB -s 200 & done");
    let told = |o: &Outcome| assert!(o.text().contains("6 strangers"), "{}", o.text());
    run.pool(Kind::Fifo, 2).any_peak().ignoring("stranger").check(told).may_warn(0..=0).once();
}

/// The guard has the limits of its host. What it needs of the stack is little.
fn little_stack() {
    for kib in [64, 128, 256] {
        let text = format!(
            "(ulimit -s {kib}; SHIM exec bash three.sh) & started 3; kill -KILL $!; sleep 0.3; pool
            touch go; ended 3; full 3"
        );
        let stay = THREE.replace("-s 700", "-w go");
        for namespace in [false, true] {
            let run = script(&text, namespace).file("three.sh", &stay).pool(Kind::Fifo, 4);
            run.any_peak().check(says("1\n3\n")).once();
        }
    }
}

/// Its guard cannot open the pool, and gives back by what it has been handed.
fn another_users_host_is_killed() {
    for kind in [Kind::NonBlocking, Kind::Blocking] {
        let text = "SHIM bash three.sh & host=$!; started 3; sleep 0.2
            kill -KILL $(pgrep -P $host) $host; full 3";
        let run = script(text, false).file("three.sh", THREE).by_nobody();
        run.pool(kind, 4).breaks().check(says("3\n")).once();
        // Only the host is; its jobs end later.
        let text = "SHIM bash three.sh & host=$!; started 3; kill -KILL $host; ended 3; full 3";
        let run = script(text, false).file("three.sh", THREE).by_nobody();
        run.pool(kind, 4).any_peak().check(says("3\n")).once();
    }
}

/// Its guard must not take it for the end of make that the pool was empty for long: others had all the tokens.
fn another_users_host_is_killed_after_a_time_without_tokens() {
    let host = "for i in 1 2 3; do $JOB -s 50 & done; wait
        until [ -e more ]; do read -t 0.02 </dev/zero; done
        for i in 1 2 3; do $JOB -b 5 -s 30000 & done; wait";
    let text = "host=$PWD/host.sh; cd $JSSHIM_DIR
        SHIM bash $host & host=$!; ended 3; sleep 0.2
        perl -e 'open F, \"<&=3\"; sysread F, $b, 9; print $b' >all; pool; sleep 2; cat all >&4; pool
        touch more; started 6; sleep 0.2; pool; kill -KILL $(pgrep -P $host) $host; full 3; rm all more";
    for kind in [Kind::NonBlocking, Kind::Blocking] {
        let run = script(text, false).file("host.sh", host).by_nobody();
        run.pool(kind, 4).breaks().check(says("0\n3\n1\n3\n")).once();
    }
}

/// By one who cleans up /dev/shm. The jobs that run keep what they have, new hosts make another ledger.
fn a_ledger_that_is_removed() {
    for namespace in [false, true] {
        let text = "SHIM bash first.sh & first=$!; started 2; sleep 0.1; rm -rf $JSSHIM_DIR/*
            SHIM bash second.sh & second=$!; started 4; sleep 0.2; pool
            kill -KILL $(pgrep -P $first) $first; full 2
            touch go; wait $second; full 3";
        let host = "$JOB -b 5 -w go & $JOB -b 5 -w go & wait; wait";
        let run = script(text, namespace).file("first.sh", host).file("second.sh", host);
        run.pool(Kind::Fifo, 4).breaks().check(says("1\n2\n3\n")).once();
    }
}

/// Within the last moments of a build; nobody stays. Again and again, since it is about moments.
fn the_folder_goes_at_the_end() {
    let text = "for i in 0 1 2 3 4 5 6 7 8 9; do
            mkdir -m 700 dir$i; JSSHIM_DIR=$PWD/dir$i SHIM bash -c '$JOB -s 30 & $JOB -s 30 & wait'
            sleep 0.0$i; rm -rf dir$i
        done; full 3";
    script(text, false).pool(Kind::Fifo, 4).any_peak().check(says("3\n")).once();
    script(text, true).pool(Kind::Fifo, 4).any_peak().check(says("3\n")).once();
}

/// Moved away, or another one is put in its place, or nobody may enter it any more, while a host runs.
fn the_folder_is_replaced() {
    for how in [
        "mv dir away",
        "mv dir away; mkdir -m 700 dir",
        "mv dir away; mkdir -m 700 dir; cp -p away/* dir",
        "rm -rf dir; : >dir",
    ] {
        let text = format!(
            "mkdir -m 700 dir; export JSSHIM_DIR=$PWD/dir; SHIM bash three.sh & started 3; {how}; wait; full 3"
        );
        let run = script(&text, false).file("three.sh", THREE).pool(Kind::Fifo, 4);
        run.any_peak().check(says("3\n")).once();
    }
}
