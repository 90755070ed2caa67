//! Hosts that become another program (exec) while their jobs run. The jobs keep their slots, and what comes
//! next is one more job beside them: it waits for a slot of its own, which is its implicit one then.

use crate::harness::pool::Kind;
use crate::harness::programs::{compiled, compiled_with, on_path, python, tool};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    let shells = ["bash", "dash", "zsh", "mksh", "ksh93"];
    let mut list: Vec<_> = shells.map(|name| in_shell("becomes_a_job", name, JOBS)).into();
    list.extend(shells.map(|name| in_shell("becomes_a_job_in_a_subshell", name, SUBSHELL)));
    list.extend(shells.map(|name| in_shell("goes_on_where_nothing_runs", name, ENDED)));
    list.extend(crate::tests![
        python_becomes_itself,
        by_every_door,
        again_and_again,
        becomes_ninja,
        becomes_make,
        becomes_xargs,
        becomes_a_static_program,
        loses_the_library,
        does_not_become,
        server_of_its_own_parent,
        logger_of_its_own_parent,
        without_a_helper,
    ]);
    list
}

/// Four jobs, the last of which is the shell itself.
const JOBS: &str = "for i in 1 2 3; do $JOB -b 5 -s 60 -i $i -k 1 & done; exec $REAPER";
const SUBSHELL: &str = "for i in 1 2 3; do ($JOB -b 5 -s 60 & exec $REAPER) & done; wait";
/// What has ended takes no slot, reaped or not.
const ENDED: &str = "
    for i in 1 2 3 4; do $JOB -b 5 -s 30 & done; wait; $JOB & $JOB & sleep 0.5
    exec sh -c 'for i in 1 2 3 4; do $JOB -b 5 -s 30 & done; wait'";

fn in_shell(what: &str, name: &'static str, script: &'static str) -> Test {
    let run = move || {
        let run = || Run::new(&[name, "-c", script]).unordered().feeds_a_pipe();
        within(|| run().env("REAPER", &compiled("reaper")));
    };
    crate::test(&format!("away::{what}_{name}"), run)
}

/// On pools of one to three slots, of every kind.
fn within(run: impl Fn() -> Run) {
    for (kind, slots) in [(Kind::NonBlocking, 1), (Kind::Fifo, 2), (Kind::Blocking, 3)] {
        run().pool(kind, slots).may_idle().both();
    }
}

/// It reaps the children that it has from before.
fn python_becomes_itself() {
    let program = "
import os, subprocess, sys
job = [os.environ['JOB'], '-b', '5', '-s', '99', '-x', '3']
before = sys.argv[1:]
more = [str(subprocess.Popen(job).pid) for i in range(2)]
if len(before) < 4:
    os.execv(sys.executable, [sys.executable, *sys.argv, *more])
print([os.waitpid(int(pid), 0)[1] for pid in before + more])
";
    for (kind, slots) in [(Kind::NonBlocking, 1), (Kind::Fifo, 2), (Kind::Blocking, 3)] {
        let run = Run::new(&[&python(), "host.py"]).file("host.py", program);
        run.pool(kind, slots).any_peak().both();
    }
}

/// Each door of exec, of a process with four jobs, of which it reaps those that ran before.
fn by_every_door() {
    for door in
        ["execve", "execv", "execvp", "execvpe", "execl", "execlp", "execle", "fexecve", "execveat"]
    {
        let run = Run::new(&[&compiled("away"), door]).pool(Kind::Fifo, 2).settles(5);
        run.check(|o| assert_eq!(o.status.code(), Some(5))).both();
    }
}

/// Twenty programs one after the other, each with one more job.
fn again_and_again() {
    let program = "[ $1 = 20 ] && exit; $JOB -b 2 -s 20 & exec dash again $(($1 + 1))";
    within(|| Run::new(&["dash", "again", "0"]).file("again", program));
}

const RULES: &str = "
rule job
  command = $$JOB -b 5 -s 50
build a: job
build b: job
build c: job
build d: job
";

/// The other one knows the pool, by its fifo, where it is not told a number.
fn becomes_ninja() {
    let script = "$JOB -b 5 -s 150 & $JOB -b 5 -s 150 & exec $NINJA $FLAGS";
    let run = |ninja: &str, flags: &str| {
        let run = Run::new(&["bash", "-c", script]).env("NINJA", ninja).env("FLAGS", flags);
        run.env("NINJA_STATUS", "").file("build.ninja", RULES).unordered()
    };
    within(|| run(&on_path("ninja"), "-j4"));
    for slots in [1, 2, 3] {
        for flags in ["--quiet", "--quiet -j4"] {
            let run = run(&tool("ninja-1.13.0", "ninja"), flags).pool(Kind::Fifo, slots);
            run.any_peak().both();
        }
    }
}

/// A make, whose first job is on a slot that it has without asking.
fn becomes_make() {
    let script = "$JOB -b 5 -s 150 & $JOB -b 5 -s 150 & exec $MAKE -s -f Sub";
    for (make, kind) in makes() {
        for slots in [1, 2, 3] {
            let run = Run::new(&[&make, "-s", &format!("-j{slots}"), "-f", "Top"]);
            let run = run.env("JOBS", script).preload_inside().make(slots).any_peak();
            let top = "all:\n\t+@LD_PRELOAD=$$JSSHIM_LIB bash -c \"$$JOBS\"\n";
            let sub = "all: a b c d\na b c d:\n\t@$$JOB -b 5 -s 50\n";
            let run = run.file("Top", top).file("Sub", sub).env("MAKE", &make);
            let run = run.check(move |o| assert_eq!(o.jobs.started, 6, "{kind:?}"));
            // With -j1 there is no pool to be told of.
            if slots > 1 { run } else { run.slots(usize::MAX) }.both();
        }
    }
}

/// With a pipe, and with a fifo.
fn makes() -> [(String, Kind); 2] {
    [(on_path("make"), Kind::NonBlocking), (tool("make-4.4.1", "make"), Kind::Fifo)]
}

fn becomes_xargs() {
    let script =
        "$JOB -b 5 -s 150 & $JOB -b 5 -s 150 & seq 4 >n; exec xargs -a n -P0 -n1 $JOB -b 5 -i";
    within(|| Run::new(&["bash", "-c", script]));
}

/// One that cannot be seen reaps them all.
fn becomes_a_static_program() {
    let reaper = compiled_with("reaper", "reaper-static", &["-static"]);
    let script = "for i in 1 2 3 4; do $JOB -b 5 -s 50 & done; exec $REAPER";
    within(|| Run::new(&["bash", "-c", script]).feeds_a_pipe().env("REAPER", &reaper));
}

/// The held ones start all the same.
fn loses_the_library() {
    let script = "for i in 1 2 3 4; do $JOB -b 5 -s 50 & done; exec env -u LD_PRELOAD $REAPER";
    within(|| {
        let run = Run::new(&["bash", "-c", script]).feeds_a_pipe();
        run.env("REAPER", &compiled("reaper"))
    });
}

/// An exec that fails leaves all as it was.
fn does_not_become() {
    let program = "
import os, subprocess
job = [os.environ['JOB'], '-b', '5', '-s', '60']
before = [subprocess.Popen(job) for i in range(2)]
open('text', 'w').write('text'); os.chmod('text', 0o755)
for path, args in ('/nothing', []), ('/', []), ('text', []), ('/bin/true', ['x' * 3000000]):
    try: os.execv(path, [path, *args])
    except OSError as e: print(e.errno)
after = [subprocess.Popen(job) for i in range(2)]
print([p.wait() for p in before + after])
";
    within(|| Run::python(program));
}

/// It ends when its parent does, and looks now and then whether that is so (ssh-agent, gpg-agent): it seems to be
/// at work, and the parent waits for its slot.
fn server_of_its_own_parent() {
    let script = "
        $PYTHON -c 'import os, time
while os.getppid() == int(os.environ[\"HOST\"]): time.sleep(0.05)' &
        exec sh -c '$JOB & $JOB & wait'";
    let script = format!("export HOST=$$; {script}");
    let run = || {
        let run = Run::new(&["bash", "-c", &script]).env("PYTHON", &python());
        run.env("JSSHIM_STALL", "0.1").any_peak()
    };
    run().pool(Kind::NonBlocking, 1).both();
    let named = |o: &Outcome| assert_eq!(o.stderr.matches(super::stalls::LINE).count(), 1);
    run().pool(Kind::Fifo, 1).env("JSSHIM_DEBUG", "1").check(named).once();
}

/// The output of all that follows goes through a job (`exec > >(tee log)`).
fn logger_of_its_own_parent() {
    let script =
        "exec > >(tee log); exec bash -c 'for i in 1 2 3; do $JOB -b 5 -k 1 -i $i & done; wait'";
    let run = || Run::new(&["bash", "-c", script]).unordered().env("JSSHIM_STALL", "0.2");
    for (kind, slots) in [(Kind::NonBlocking, 1), (Kind::Fifo, 2)] {
        run().pool(kind, slots).any_peak().both();
    }
}

/// Nobody can be held, and nobody looks after the slots but the host: it does not take one that it could not
/// give back.
fn without_a_helper() {
    let program = "
import os, subprocess, sys
job = [os.environ['JOB'], '-b', '5', '-s', '300', '-x', '3']
before = sys.argv[1:]
more = [str(subprocess.Popen(job).pid) for i in range(3)]
if not before:
    os.execv(sys.executable, [sys.executable, *sys.argv, *more])
print([os.waitpid(int(pid), 0)[1] for pid in before + more])
";
    for kind in [Kind::NonBlocking, Kind::Fifo] {
        let run = Run::new(&[&python(), "host.py"]).file("host.py", program);
        let run = run.env("JSSHIM_HELPER", "/nothing").env("JSSHIM_GATE", "child");
        run.pool(kind, 2).may_overdraw().once();
    }
}
