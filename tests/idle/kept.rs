//! Where nobody idles, not one job computes above the slots: compilers that wait for their own parts, hosts that
//! pause between two starts, jobs that sleep for a moment.

use super::{alone, is_here, side_by_side, Jsshim, MakePlus};
use crate::harness::pool::Kind;
use crate::harness::programs::{compiled, on_path, python};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        ninja_and_gcc,
        ninja_and_gcc_with_pipes,
        make_of_its_own_number,
        xargs,
        host_that_pauses,
        host_that_is_stopped,
        jobs_that_pause,
        jobs_that_wait_for_their_own,
        pipelines,
        debts_are_paid_first,
        debts_of_those_below_are_paid,
        jobs_of_those_who_were_killed_go_on,
        nothing_is_looked_at_where_nothing_is_held,
    ]
}

/// Something that takes gcc a tenth of a second.
fn source() -> String {
    let function = |n| {
        format!(
            "int f{n}(int *a, int n) {{ int s = {n}; for (int i = 0; i < n; i++) \
             {{ if (a[i] % {n}) s += a[i] * f{n}(a, i); else s ^= a[n - i] / {n}; }} return s; }}\n"
        )
    };
    (1..20).map(function).collect()
}

const RULES: &str = "rule cc\n  command = $$COUNTED gcc $$FLAGS -O2 -c $in -o $out\n";

fn compiles(run: Run, flags: &str) {
    let run = run.file("source.c", &source()).env("COUNTED", &compiled("counted"));
    run.env("FLAGS", flags).exceeding().strictly().filling().both();
}

fn ninja(pools: &[(Kind, usize)], flags: &str) {
    let mut build = RULES.to_owned();
    (0..12).for_each(|i| build += &format!("build o{i}: cc source.c\n"));
    for &(kind, slots) in pools {
        let run = alone(&[&on_path("ninja"), "--quiet", "-j8"], kind, slots);
        compiles(run.file("build.ninja", &build), flags);
    }
}

fn ninja_and_gcc() {
    ninja(&[(Kind::Fifo, 1), (Kind::Blocking, 4)], "");
}

fn ninja_and_gcc_with_pipes() {
    ninja(&[(Kind::NonBlocking, 2)], "-pipe");
}

/// A make that would not obey is gated.
fn make_of_its_own_number() {
    let names: String = (0..12).map(|i| format!(" o{i}")).collect();
    let makefile =
        format!("all:{names}\n{names}:\n\t@$$COUNTED gcc $$FLAGS -O2 -c source.c -o $@\n");
    let text = "MAKEFLAGS= make -s -j8 -f rules; echo $?";
    for (top, slots) in [(Jsshim, 1), (MakePlus, 2)] {
        compiles(side_by_side((top, slots), 1, text).file("rules", &makefile), "");
    }
}

/// No slot is idle while there is work, either.
fn xargs() {
    let argv = ["xargs", "-P8", "-I+", &compiled("job"), "-b", "100"];
    for (kind, slots) in [(Kind::Fifo, 1), (Kind::NonBlocking, 2), (Kind::Blocking, 4)] {
        let run = alone(&argv, kind, slots).stdin(&"x\n".repeat(16));
        run.exceeding().strictly().filling().both();
    }
}

const PAUSES: &str = "
import os, subprocess, time
all = []
for i in range(8):
    all.append(subprocess.Popen([os.environ['JOB'], '-b', '400']))
    pause()
print([p.wait() for p in all])
";

/// It sleeps while jobs that it will need are not started yet, and others compute.
fn host_that_pauses() {
    let program = PAUSES.replace("pause()", "time.sleep(0.15)");
    for (kind, slots) in [(Kind::Fifo, 1), (Kind::NonBlocking, 2), (Kind::Blocking, 4)] {
        let run = alone(&[&python(), "host.py"], kind, slots).file("host.py", &program);
        run.exceeding().strictly().both();
    }
}

/// As by Ctrl-Z, or a debugger: who continues it is outside of the tree.
fn host_that_is_stopped() {
    let program = PAUSES.replace("pause()", "os.kill(os.getpid(), 19)");
    let script = "
        ${JSSHIM_LIB:+env LD_PRELOAD=$JSSHIM_LIB} $PYTHON host.py & h=$!
        while kill -0 $h 2>/dev/null; do sleep 0.15; kill -CONT $h 2>/dev/null; done
        wait $h; echo $?";
    for (kind, slots) in [(Kind::Fifo, 1), (Kind::NonBlocking, 2)] {
        let run = alone(&["bash", "-c", script], kind, slots).file("host.py", &program);
        run.preload_inside().exceeding().strictly().both();
    }
}

/// For less than it takes to be idle.
fn jobs_that_pause() {
    let job = "for i in 1 2 3 4 5; do $JOB -b 40; sleep 0.03; done";
    let script = format!("for i in 1 2 3 4 5 6 7 8; do sh -c '{job}' & done; wait; exit 5");
    for (kind, slots) in [(Kind::Fifo, 1), (Kind::NonBlocking, 2)] {
        alone(&["dash", "-c", &script], kind, slots).exceeding().strictly().both();
    }
}

/// A shell, a timeout and a script of python stand between the slot and what computes.
fn jobs_that_wait_for_their_own() {
    let program = "import os, subprocess; subprocess.run([os.environ['JOB'], '-b', '300'])";
    let job = "timeout 60 sh -c \"$PYTHON job.py; $JOB -b 100; :\"";
    let script = format!("for i in 1 2 3 4 5 6; do {job} & done; wait; exit 5");
    for (kind, slots) in [(Kind::Fifo, 1), (Kind::NonBlocking, 2)] {
        let run = alone(&["dash", "-c", &script], kind, slots).file("job.py", program);
        run.exceeding().strictly().both();
    }
}

/// Each is one job, of which one part waits for another.
fn pipelines() {
    let script = "
        job() { ($JOB -b 200 -lk 1; sleep 0.02; $JOB -b 100 -lk 1) | cat | (cat; $JOB -b 100) | cksum; }
        for i in 1 2 3 4 5; do job & done; wait; exit 5";
    for (kind, slots) in [(Kind::Fifo, 1), (Kind::NonBlocking, 2)] {
        alone(&["bash", "-c", script], kind, slots).unordered().both();
    }
}

/// One sleeps and then computes for long; until then a short one may run in its place, and after that none but it.
fn debts_are_paid_first() {
    let script = "
        (sleep 0.4; exec $JOB -b 1200) &
        for i in 1 2 3 4 5 6 7 8 9 10; do $JOB -b 150 & done; wait; exit 5";
    let paid = |o: &Outcome| {
        let share = o.bursts.share_above(1);
        assert!(share < 0.25, "two compute for {:.0} % of the time", share * 100.0);
        assert!(o.bursts.peak() <= 2, "{} at once", o.bursts.peak());
        assert_eq!(o.status.code(), Some(5));
    };
    if is_here() {
        alone(&["dash", "-c", script], Kind::Fifo, 1).unlimited().check(paid).once();
    }
}

/// Three jobs have borrowed from three that sleep, and only wait for their children, which sleep, too. When the lenders
/// have ended, the slots are there for the children.
fn debts_of_those_below_are_paid() {
    let program = "import select, jobs
for _ in range(2):
    select.select([], [], [], 1.5)
    jobs.burn(0.4)
";
    let script = "
        for i in 1 2 3; do $JOB -s 1000 & done
        for i in 1 2 3; do (sleep 0.1; $PYTHON nested.py; :) & done; wait; exit 5";
    let paid = |o: &Outcome| {
        let share = o.bursts.share_above(1);
        assert!(share > 0.5, "more than one computes for {:.0} % of the time", share * 100.0);
        assert_eq!(o.status.code(), Some(5));
    };
    for (kind, shell) in [(Kind::Fifo, "dash"), (Kind::NonBlocking, "bash")] {
        let run = alone(&[shell, "-c", script], kind, 3).file("nested.py", program);
        run.check(paid).once();
    }
}

/// Two shells are killed, each of which was a job and had one. What is left of them sleeps, and wakes up at that moment,
/// while others have all slots: when those have ended, no job is left that has one.
fn jobs_of_those_who_were_killed_go_on() {
    let middle = "$JOB -b 10 & $PYTHON nested.py <&$1 & wait";
    let nested = "import select, jobs
select.select([0], [], [])
jobs.burn(0.1)
";
    let host = "import os, time
from subprocess import Popen
near, far = os.pipe()
go, start = os.pipe()
middles = [Popen(['sh', 'middle.sh', str(go)], pass_fds=[far, go]) for _ in range(2)]
time.sleep(0.3)
others = [Popen([os.environ['JOB'], '-b', '700']) for _ in range(2)]
os.close(far)
time.sleep(0.8)
for middle in middles: middle.kill()
os.write(start, b'go')
print([p.wait() for p in middles + others])
print(os.read(near, 1))
";
    for kind in [Kind::Fifo, Kind::NonBlocking, Kind::Blocking] {
        let run = alone(&[&python(), "host.py"], kind, 2).file("host.py", host);
        let run = run.file("middle.sh", middle).file("nested.py", nested);
        run.unlimited().times(2).both();
    }
}

/// The guard reads what processes do only while a job is held; when they were born, once each.
fn nothing_is_looked_at_where_nothing_is_held() {
    let script = "
        strace -f -qq -o trace -e trace=%file ${JSSHIM_LIB:+-E LD_PRELOAD=$JSSHIM_LIB} \
            dash -c 'for i in 1 2 3; do $JOB -b 300 & done; sleep 0.5; wait'
        grep -cE '/proc/[0-9]+/.*(schedstat|syscall|wchan)' trace";
    let run = alone(&["bash", "-c", script], Kind::Fifo, 5).preload_inside();
    run.check(|o| assert_eq!(o.text(), "0\n")).both();
}
