//! Builds that do not end of their own: a signal to the whole process group, to the host only, to a job
//! that runs or is held, to the guard; a host that dies in its own handler, aborts or crashes; and the
//! kernel when memory runs out. The host ends as it does without the library, and the pool is full again.

use std::fs;

use crate::harness::pool::Kind;
use crate::harness::programs::{compiled, python};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    let mut list = crate::tests![out_of_memory];
    for (n, (action, command)) in ACTIONS.into_iter().enumerate() {
        let kind = [Kind::NonBlocking, Kind::Fifo, Kind::Blocking][n % 3];
        let name = format!("ends::{}", action.replace('-', "_"));
        list.push(crate::test(&name, move || {
            HOSTS.iter().for_each(|host| hit(host, command, kind))
        }));
    }
    for mode in ["abort", "crash", "handler-exits", "handler-kills", "alarm", "stack"] {
        let name = format!("ends::host_by_{}", mode.replace('-', "_"));
        list.push(crate::test(&name, move || own_end(mode)));
    }
    list
}

/// `$host` is the host and its process group; `$new` its newest child, which is held, and `$old` its oldest.
const ACTIONS: [(&str, &str); 18] = [
    ("interrupt-of-the-group", "kill -INT -$host"),
    ("termination-of-the-group", "kill -TERM -$host"),
    ("hangup-of-the-group", "kill -HUP -$host"),
    ("kill-of-the-group", "kill -KILL -$host"),
    ("interrupt-of-the-host", "kill -INT $host"),
    ("termination-of-the-host", "kill -TERM $host"),
    ("hangup-of-the-host", "kill -HUP $host"),
    ("kill-of-the-host", "kill -KILL $host"),
    ("interrupt-of-a-held-job", "kill -INT $new"),
    ("termination-of-a-held-job", "kill -TERM $new"),
    ("kill-of-a-held-job", "kill -KILL $new"),
    ("kill-of-a-running-job", "kill -KILL $old"),
    ("stop-of-the-group", "kill -STOP -$host; sleep 0.2; kill -CONT -$host"),
    ("stop-of-the-host", "kill -STOP $host; sleep 0.2; kill -CONT $host"),
    ("stop-of-a-held-job", "kill -STOP $new; sleep 0.2; kill -CONT $new"),
    ("stop-of-a-running-job", "kill -STOP $old; sleep 0.2; kill -CONT $old"),
    ("signals-to-the-guard", "guard TERM; guard INT; guard HUP; guard STOP; sleep 0.1"),
    ("kill-of-the-guard", "guard KILL; sleep 0.1; guard KILL; kill -TERM $host"),
];

/// Eight jobs at once, each of them a child of the host.
const HOSTS: [&[&str]; 3] = [
    &["ninja", "-k0", "-j8"],
    &["xargs", "-P8", "-n1", "-a", "list", "sh", "job.sh"],
    &["bash", "many.sh"],
];

/// Those that run do so until the action is over.
const JOB: &str = "exec $JOB -b 5 -s 20 -w acted";

/// The host in a process group of its own, and the action as soon as jobs run and, with the library, wait.
/// A moment later the jobs may end: ninja that finds a job's end together with a SIGINT leaves the signal pending,
/// and dies of it where it would have exited with 2 (its `HandlePendingInterruption`).
const SCRIPT: &str = "
exec 2>/dev/null
guard() {
    for pid in $(pgrep -x jsshim-helper); do
        grep -qz '^guard' /proc/$pid/cmdline || continue
        grep -qz \"^JSSHIM_TEST_ID=$JSSHIM_TEST_ID\" /proc/$pid/environ 2>/dev/null && last=$pid
    done
    kill -$1 $last
}
$PYTHON apart.py HOST >out 2>err &
host=$!
until [ \"$(od -An -tu4 -j8 -N4 $JSSHIM_TEST_JOBS)\" -ge 2 ] && [ \"$(pgrep -cP $host)\" -ge 8 ]; do sleep 0.01; done
old=$(pgrep -oP $host) new=$(pgrep -nP $host)
ACTION
sleep 0.2; touch acted
wait $host
echo status $?
grep ^jsshim: err
exit 0
";

/// Without job control, a shell lets its background ignore SIGINT.
const APART: &str = "
import os, signal, sys
os.setpgid(0, 0)
signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
os.environ['LD_PRELOAD'] = os.environ['JSSHIM_LIB']
os.execvp(sys.argv[1], sys.argv[1:])
";

fn hit(host: &[&str], action: &str, kind: Kind) {
    let script = SCRIPT.replace("HOST", &host.join(" ")).replace("ACTION", action);
    let mut edges = "rule job\n  command = exec sh job.sh\n".to_owned();
    (0..8).for_each(|n| edges += &format!("build out{n}: job\n"));
    let run = Run::new(&["bash", "-c", &script])
        .env("PYTHON", &python())
        .env("JSSHIM_GATE", if host[0] == "ninja" { "auto" } else { "child" })
        .file("apart.py", APART)
        .file("job.sh", JOB)
        .file("many.sh", "for i in 1 2 3 4 5 6 7 8; do sh job.sh & done; wait")
        .file("list", "1 2 3 4 5 6 7 8\n")
        .file("build.ninja", &edges)
        .preload_inside()
        .pool(kind, 2);
    let goes_on = action.contains("CONT") || action.contains("guard STOP");
    if goes_on { run.any_peak() } else { run.breaks() }.both();
}

/// c/ends.c, while it waits for a slot in the gate and while its jobs run.
fn own_end(mode: &str) {
    for (gate, kind) in [("parent", Kind::NonBlocking), ("child", Kind::Fifo)] {
        let run = Run::new(&[&compiled("ends"), mode]).env("JSSHIM_GATE", gate);
        run.pool(kind, 2).breaks().both();
    }
}

/// The kernel kills the job that takes more memory than its group may have, and its host goes on.
fn out_of_memory() {
    let Some(group) = Group::new() else {
        println!("left out: no memory cgroup can be made here");
        return;
    };
    let script = "
echo $$ >$GROUP/cgroup.procs
LD_PRELOAD=$JSSHIM_LIB xargs -P8 -n1 -a list sh hungry.sh 2>err
echo status $?; grep ^jsshim: err; exit 0";
    let eats = "case $1 in 3) exec $PYTHON -c 'b = bytearray(400 << 20)' ;; *) exec $JOB -b 5 -s 100 ;; esac";
    let status = |o: &Outcome| assert_eq!(o.text(), "status 125\n");
    Run::new(&["bash", "-c", script])
        .env("GROUP", group.0.to_str().unwrap())
        .env("PYTHON", &python())
        .file("hungry.sh", eats)
        .file("list", "1 2 3 4 5 6 7 8\n")
        .preload_inside()
        .pool(Kind::NonBlocking, 2)
        .breaks()
        .check(status)
        .both();
}

/// A memory cgroup of 128 MiB.
struct Group(std::path::PathBuf);

impl Group {
    fn new() -> Option<Group> {
        let limits = [("memory", "memory.limit_in_bytes"), ("", "memory.max")];
        limits.into_iter().find_map(|(controller, limit)| {
            let top = std::path::Path::new("/sys/fs/cgroup").join(controller);
            let group = Group(top.join(format!("jsshim-test-{}", std::process::id())));
            fs::create_dir(&group.0).ok()?;
            fs::write(group.0.join(limit), "134217728").ok()?;
            Some(group)
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}
