//! The guard: what it gives back and when, that it comes back itself, and that nothing of it stays.
//!
//! In each scene the pool is full at the end and no process or file is left, as in every run; here it is
//! the guard alone that can see to that.

use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, on_path, python, tool};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        orphans_keep_their_slots,
        orphans_cost_no_processor_time,
        a_byte_whose_reader_is_killed,
        make_counts_what_orphans_hold,
        make_does_not_wait_for_what_is_left_in_the_background,
        make_does_not_wait_for_a_host_that_is_left_in_the_background,
        make_does_not_wait_for_a_host_that_was_found_by_one_that_has_ended,
        make_waits_for_the_double_of_a_guard_that_was_killed,
        make_waits_for_a_guard_whose_double_is_killed_with_its_group,
        make_waits_for_a_guard_that_is_slow,
        make_waits_for_a_guard_that_has_yet_to_start,
        make_waits_for_a_guard_that_was_about_to_end,
        make_is_killed_with_jobs_held,
        a_client_leaves_when_the_guard_has_been_killed,
        a_client_leaves_while_the_guard_comes_back,
        a_client_leaves_where_there_is_no_guard,
        a_later_start_gives_back,
        a_later_start_by_another_way_gives_back,
        a_later_start_removes_what_is_stale,
        a_ledger_that_was_half_made,
        a_host_with_few_descriptors_is_killed,
        a_starter_of_the_guard_is_killed,
    ]
}

/// For the scripts: tokens, and waiting.
pub const POOL: &str = include_str!("sh/pool.sh");

/// And the processes of this run's guards.
const TOOLS: &str = r#"
exec 2>/dev/null
guards() {
    for pid in $(pgrep -x jsshim-helper); do
        grep -qz '^guard' /proc/$pid/cmdline || continue
        grep -qz "^JSSHIM_TEST_ID=$JSSHIM_TEST_ID" /proc/$pid/environ && echo $pid
    done
}
# The one that works, and its parent.
pair() {
    for pid in $(guards); do
        read -r _ _ _ parent _ </proc/$pid/stat
        case " $(echo $(guards)) " in *" $parent "*) guard=$pid double=$parent;; esac
    done
}
# Neither may run between the two signals. With the end of its double a guard that is stopped goes on (setpgid(2)).
stop_both() { pair; kill -STOP $guard $double; }
kill_both() { stop_both; kill -KILL $guard $double; }
export LD_PRELOAD=
"#;

const SHIM: &str = "LD_PRELOAD=$JSSHIM_LIB ";

fn script(text: &str) -> Run {
    let text = format!("{POOL}{TOOLS}{}", text.replace("SHIM ", SHIM));
    let run = Run::new(&["bash", "-c", &text]).env("PYTHON", &python());
    run.file("three.sh", THREE).preload_inside()
}

fn says(text: &'static str) -> impl Fn(&Outcome) {
    move |o| assert_eq!(o.text(), text)
}

/// A host with three jobs.
const THREE: &str = "for i in 1 2 3; do $JOB -b 5 -s ${1:-700} & done; wait; wait";

fn orphans_keep_their_slots() {
    let text = "SHIM bash stay.sh & started 3; kill -KILL $!; sleep 0.3
        echo $(pool); touch go; ended 3; back 2";
    let stay = THREE.replace("-s ${1:-700}", "-w go");
    for kind in [Kind::NonBlocking, Kind::Blocking, Kind::Fifo] {
        let run = script(text).file("stay.sh", &stay).pool(kind, 3);
        run.check(says("0\n2\n")).once();
    }
}

/// A guard that is told again and again of the same end would take all there is: a hundred ticks a second.
fn orphans_cost_no_processor_time() {
    let text = "SHIM bash three.sh 1500 & started 3; kill -KILL $!; ended 3
        used() { for pid in $(guards); do cut -d' ' -f14,15 /proc/$pid/stat; done | tr ' ' +; }
        SHIM bash three.sh 1500 & started 6; kill -KILL $!; sleep 1.2
        [ $(($(used | paste -sd+) )) -lt 30 ] && echo little; ended 6";
    script(text).pool(Kind::NonBlocking, 3).check(says("little\n")).once();
}

/// The read is done and its caller does not run yet: strace keeps it there. Nobody else is on the pool.
fn a_byte_whose_reader_is_killed() {
    let text = "fifo=${MAKEFLAGS#*fifo:}
        strace -qq -o log -P $fifo -e trace=read -e inject=read:delay_exit=20000000 \
            -E LD_PRELOAD=$JSSHIM_LIB bash three.sh &
        until [ $(pool) = 1 ]; do sleep 0.02; done
        kill -KILL $(pgrep -P $!) $!; back 2";
    script(text).pool(Kind::Fifo, 3).any_peak().check(says("2\n")).once();
}

fn below_make(make: &str, recipe: &str) -> Run {
    let run = Run::new(&[make, "-j3"]).file("Makefile", &format!("all:\n\t{recipe}\n"));
    // A process that sleeps would be held.
    let dies = "read -t 0.3 </dev/zero; kill -KILL $$";
    let three = THREE.replace("wait; wait", dies);
    let six = three.replace("1 2 3;", "1 2 3 4 5 6;");
    run.file("three.sh", &three).file("six.sh", &six).preload_inside()
}

/// A server in the background whose workers stay: it has the library, and is alive.
fn make_does_not_wait_for_a_host_that_is_left_in_the_background() {
    for make in [on_path("make"), tool("make-4.4.1", "make")] {
        let text = format!(
            "MAKEFLAGS= {make} -j3 2>err; echo status $?; grep INTERNAL err; touch go; ended 3"
        );
        let stay = THREE.replace("-s ${1:-700}", "-w go");
        let started =
            "until [ $$(od -An -tu4 -j8 -N4 $$JSSHIM_TEST_JOBS) -ge 3 ]; do sleep 0.05; done";
        let recipe = format!("@LD_PRELOAD=$$JSSHIM_LIB bash stay.sh >log & {started}");
        let run = script(&text).file("Makefile", &format!("all:\n\t{recipe}\n"));
        run.file("stay.sh", &stay).check(says("status 0\n")).any_peak().both();
    }
}

/// Python has closed what it inherited, for its child, which found the pool through it.
fn make_does_not_wait_for_a_host_that_was_found_by_one_that_has_ended() {
    let text = format!(
        "MAKEFLAGS= {} -j3 2>err; echo status $?; grep INTERNAL err; touch go; ended 5",
        on_path("make")
    );
    // It has had jobs, has none for a while, and more of them then.
    let host = "for i in 1 2; do $JOB -b 5 & done; wait; touch idle
        until [ -e more ]; do sleep 0.05; done; for i in 1 2 3; do $JOB -b 5 -w go & done; wait";
    let start = "import os, subprocess, time
subprocess.Popen(['bash', 'host.sh'], stdout=open('log', 'w'), env=dict(os.environ, LD_PRELOAD=os.environ['JSSHIM_LIB']))
while not os.path.exists('idle'): time.sleep(0.05)";
    for more in ["touch more", "sleep 0.2"] {
        let recipe = format!("all:\n\t+@$$PYTHON start.py && {more}\n");
        let run = script(&text.replace("touch go", "touch more go")).file("Makefile", &recipe);
        let run = run.file("host.sh", host).file("start.py", start);
        run.check(says("status 0\n")).any_peak().both();
    }
}

/// A make whose recipe leaves a host with three jobs that stay; `between` happens while they are there.
fn counting_make(make: &str, host: &str, between: &str) -> Run {
    let text = format!(
        "MAKEFLAGS= {make} -j3 2>err & make=$!
        {between}
        touch end; sleep 0.5; kill -CONT $(guards) && :; wait $make; echo status $?
        grep INTERNAL err; touch go; ended 3"
    );
    let recipe =
        "@LD_PRELOAD=$$JSSHIM_LIB bash host.sh >log & until [ -e end ]; do sleep 0.02; done";
    let run = script(&text).file("Makefile", &format!("all:\n\t{recipe}\n")).file("host.sh", host);
    run.check(says("status 0\n")).any_peak()
}

const STAY: &str = "for i in 1 2 3; do $JOB -b 5 -w go & done; wait";

/// The double goes on, but not at once; what the guard had open, it has.
fn make_waits_for_the_double_of_a_guard_that_was_killed() {
    let between = "started 3; sleep 0.2; pair; kill -STOP $double; kill -KILL $guard";
    for make in [on_path("make"), tool("make-4.4.1", "make")] {
        counting_make(&make, STAY, between).breaks().once();
    }
}

/// Kills a guard. The child that its double then makes does not run before the whole group of the double has been
/// killed.
const BORN: &str = "
import ctypes, os, signal, sys, time
double, guard = map(int, sys.argv[1:])
ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long] * 2 + [ctypes.c_void_p] * 2
CONT, DETACH, EVENT_MESSAGE, SEIZE, TRACE_FORK = 7, 17, 0x4201, 0x4206, 2
assert ptrace(SEIZE, double, 0, TRACE_FORK) == 0, ctypes.get_errno()
os.kill(guard, signal.SIGKILL)
status = 0
while status >> 16 != 1:
    _, status = os.waitpid(double, 0x40000000)
    if status >> 16 != 1:
        ptrace(CONT, double, 0, os.WSTOPSIG(status) if status >> 16 == 0 else 0)
child = ctypes.c_ulong()
assert ptrace(EVENT_MESSAGE, double, 0, ctypes.addressof(child)) == 0
os.waitpid(child.value, 0x40000000)
ptrace(CONT, double, 0, 0)
while open(f'/proc/{double}/stat').read().rsplit(')', 1)[1].split()[0] != 'S':
    time.sleep(0.01)
os.killpg(double, signal.SIGKILL)
ptrace(DETACH, child.value, 0, 0)
";

/// The child that is to be the next guard is in no group with the double, not even before it runs.
fn make_waits_for_a_guard_whose_double_is_killed_with_its_group() {
    let between = "started 3; sleep 0.2; pair; $PYTHON born.py $double $guard || exit";
    let run = counting_make(&on_path("make"), STAY, between).file("born.py", BORN);
    run.breaks().once();
}

/// It has not seen yet that a client which had nothing to do takes tokens.
fn make_waits_for_a_guard_that_is_slow() {
    let host =
        format!("$JOB -b 5 & $JOB -b 5 & wait; until [ -e more ]; do sleep 0.02; done; {STAY}");
    let between = "ended 2; sleep 0.3; stop_both; touch more; started 5";
    for make in [on_path("make"), tool("make-4.4.1", "make")] {
        counting_make(&make, &host, between).once();
    }
}

fn make_waits_for_a_guard_that_has_yet_to_start() {
    let Some(helper) = artifact("jsshim-helper") else { return };
    // The helper does not run at once after its exec.
    let host = format!(
        "exec env -u LD_PRELOAD strace -f -qq -o trace -P {helper} -e inject=execve:delay_exit=400000 \\
         -E LD_PRELOAD=$JSSHIM_LIB bash stay.sh"
    );
    for make in [on_path("make"), tool("make-4.4.1", "make")] {
        let run = counting_make(&make, &host, "started 3").file("stay.sh", STAY);
        run.once();
    }
}

/// It has seen the last client go, and waits for the lock of the ledgers while another one comes in.
fn make_waits_for_a_guard_that_was_about_to_end() {
    let host = format!(
        "bash one.sh; until [ -e more ]; do read -t 0.02 </dev/zero; done; exec bash -c '{STAY}'"
    );
    let between = "started 2; flock $JSSHIM_DIR sleep 0.8 & touch one; ended 2; sleep 0.1
        touch more; started 5";
    let run = counting_make(&on_path("make"), &host, between);
    run.file("one.sh", &STAY.replace("1 2 3", "1 2").replace("-w go", "-w one")).once();
}

/// An orphan that is the last to have the pool open ends before its token can be given back.
fn make_counts_what_orphans_hold() {
    for make in [on_path("make"), tool("make-4.4.1", "make")] {
        for plus in ["+", ""] {
            let recipe = format!("{plus}@LD_PRELOAD=$$JSSHIM_LIB bash three.sh");
            below_make(&make, &recipe).make(3).any_peak().both();
            // Some that are held must not take what make counts.
            let recipe = format!("{plus}@LD_PRELOAD=$$JSSHIM_LIB bash six.sh");
            below_make(&make, &recipe).make(3).may_overdraw().both();
        }
    }
}

fn make_does_not_wait_for_what_is_left_in_the_background() {
    for make in [on_path("make"), tool("make-4.4.1", "make")] {
        let text = format!(
            "MAKEFLAGS= {make} -j3 2>err; echo status $?; grep INTERNAL err; pgrep -g 0 -c job; ended 3"
        );
        let recipe = "@LD_PRELOAD=$$JSSHIM_LIB bash -c 'for i in 1 2 3; do $$JOB -s 3000 >log & done; sleep 0.3'";
        let run = script(&text).file("Makefile", &format!("all:\n\t{recipe}\n"));
        run.check(says("status 0\n3\n")).any_peak().both();
    }
}

/// Held jobs are there, too: three slots, six jobs.
fn make_is_killed_with_jobs_held() {
    for make in [on_path("make"), tool("make-4.4.1", "make")] {
        let text = format!("TMPDIR=. {make} -j3 & started 3; kill -KILL $!; ended 6; echo all");
        let recipe = "+@LD_PRELOAD=$$JSSHIM_LIB bash six.sh";
        let run = script(&text).file("Makefile", &format!("all:\n\t{recipe}\n"));
        let six = THREE.replace("1 2 3;", "1 2 3 4 5 6;");
        run.file("six.sh", &six).check(says("all\n")).any_peak().once();
    }
}

/// Reaps orphans at once, as not every container's first process does.
const INIT: &str = "import ctypes, os, sys
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
first = os.fork()
if first == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
ended = 0
while ended != first:
    ended, status = os.wait()
sys.exit(os.waitstatus_to_exitcode(status))
";

/// Its further jobs are held at once: a host with threads waits for no slot.
const KEEPS: &str = "import os, subprocess, threading, time
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
start = lambda *wait: subprocess.Popen([os.environ['JOB'], '-b', '5', *wait])
first, second = start('-w', 'all'), start('-w', 'token')
while not os.path.exists('third'): time.sleep(0.01)
more = [start(), start()]
for job in second, first, *more: job.wait()
";

/// A host that has the token, and one that ends while a job of it is held and another runs; at the time there is
/// no guard, by `away`. The record of the held one must not be used again while it waits: a token would come to
/// the wrong job, and be lost.
fn leaves_behind_a_held_job(away: &str) -> Run {
    let leaves = "$JOB -b 5 -w first & $JOB -b 5 -w all & wait -n; $JOB -b 5 -w all &
        until [ -e leave ]; do read -t 0.02 </dev/zero; done; : >left";
    let text = format!(
        "held() {{ until [ $(pgrep -fc \"helper hold.*$JSSHIM_DIR\") = $1 ]; do sleep 0.01; done; }}
        SHIM $PYTHON keeps.py & started 2; SHIM bash leaves.sh & started 3; held 1
        touch first; started 4; held 1
        {away}
        touch leave; until [ -e left ]; do sleep 0.01; done; sleep 0.1; touch third; held 3
        touch token; sleep 0.5; touch all; ended 7; wait; back 1"
    );
    let run = script("exec $PYTHON init.py bash all.sh").file("init.py", INIT);
    let run = run
        .file("all.sh", &format!("{POOL}{TOOLS}{}", text.replace("SHIM ", SHIM)))
        .file("keeps.py", KEEPS)
        .file("leaves.sh", leaves);
    run.any_peak().check(says("1\n"))
}

fn a_client_leaves_when_the_guard_has_been_killed() {
    for kind in [Kind::NonBlocking, Kind::Blocking, Kind::Fifo] {
        leaves_behind_a_held_job("kill_both").pool(kind, 2).once();
    }
}

/// strace keeps the double on its way.
fn a_client_leaves_while_the_guard_comes_back() {
    let away =
        "pair; strace -qq -o log -p $double -e trace=clone -e inject=clone:delay_enter=4000000 &
        until grep -q 'TracerPid:.[1-9]' /proc/$double/status; do sleep 0.01; done
        kill -KILL $guard; until [ $(guards) = $double ]; do sleep 0.01; done";
    leaves_behind_a_held_job(away).pool(Kind::Fifo, 2).once();
}

/// Without the helper only a forked child is held, and it starts when its parent has left it. The first children
/// show that they do not exec.
fn a_client_leaves_where_there_is_no_guard() {
    let host = "import os, sys, time
def child(run):
    if os.fork() == 0:
        run()
        os._exit(0)
def stay(name):
    open(name, 'w')
    while not os.path.exists('go'): time.sleep(0.02)
for _ in range(3):
    child(lambda: None)
    os.wait()
for name in ('1', '2', '3', '4'):
    child(lambda: stay('ran-' + name))
time.sleep(0.3)
print(*sorted(name for name in os.listdir() if name.startswith('ran-')))
";
    let text = "SHIM JSSHIM_HELPER=/nonexistent $PYTHON host.py 2>err; for n in 3 4; do
            until [ -e ran-$n ]; do sleep 0.02; done
        done; echo all; touch go; back 1 >said; wc -l <err; cat said";
    for kind in [Kind::NonBlocking, Kind::Blocking, Kind::Fifo] {
        let run = script(text).file("host.py", host).pool(kind, 2);
        run.check(says("ran-1 ran-2\nall\n1\n1\n")).once();
    }
}

/// Guard, double and client are killed at once: nobody is left who knows of the tokens.
fn a_later_start_gives_back() {
    let text = "SHIM bash three.sh 30000 & started 3
        kill_both; kill -KILL $! $(pgrep -P $!); sleep 0.3; echo $(pool)
        SHIM bash -c 'sleep 0.2 & sleep 0.2 & wait'; back 2";
    for kind in [Kind::NonBlocking, Kind::Fifo] {
        let run = script(text).pool(kind, 3).breaks();
        run.check(says("0\n2\n")).once();
    }
}

/// So is the process by which the pool was found; the pool itself is somebody else's, farther up.
fn a_later_start_by_another_way_gives_back() {
    let text = "exec 103<&3 104>&4 3<&- 4>&-
        (exec 3<&103 4>&104; $BASH -c 'SHIM bash three.sh 30000 & wait; :') & started 3
        client=$(pgrep -P $!); kill_both; kill -KILL $! $client $(pgrep -P $client); sleep 0.3
        exec 3<&103 4>&104; echo $(pool)
        LATER SHIM bash -c 'sleep 0.2 & sleep 0.2 & wait'; back 3";
    // On this pool, and on another one.
    for (later, kind) in [("", Kind::NonBlocking), ("MAKEFLAGS= JSSHIM_JOBS=2", Kind::Blocking)] {
        let run = script(&text.replace("LATER", later)).pool(kind, 4).breaks();
        run.check(says("1\n3\n")).once();
    }
}

/// The same with a pool of our own, of which no later program could know.
fn a_later_start_removes_what_is_stale() {
    let Some(cli) = artifact("jsshim") else { return };
    let text = format!(
        "{cli} -j3 -- bash three.sh 30000 & started 3
        kill_both; kill -KILL $! $(pgrep -P $!); sleep 0.1; ls $JSSHIM_DIR | wc -l
        JSSHIM_JOBS=2 SHIM bash -c 'sleep 0.2 & sleep 0.2 & wait'"
    );
    script(&text).breaks().check(says("2\n")).once();
}

/// What somebody has left who was killed while it made a ledger or a pool; and what is no such thing.
fn a_ledger_that_was_half_made() {
    let text = "sh -c 'exit 0' & wait; gone=$!
        touch $JSSHIM_DIR/1-2.ledger.$gone $JSSHIM_DIR/1-2.ledger.$$ $JSSHIM_DIR/notes
        mkfifo $JSSHIM_DIR/pool-$gone-1 $JSSHIM_DIR/pool-$$-1
        SHIM bash three.sh 300; ls $JSSHIM_DIR | grep -v ledger$ | sed s/$$/me/
        rm $JSSHIM_DIR/*.$$ $JSSHIM_DIR/pool-$$-1 $JSSHIM_DIR/notes";
    let left = "1-2.ledger.me\nnotes\npool-me-1\n";
    script(text).pool(Kind::NonBlocking, 3).check(says(left)).once();
}

/// The guard has as few, and ends all the same.
fn a_host_with_few_descriptors_is_killed() {
    for most in [6, 7, 8, 10] {
        let dies = THREE.replace("wait; wait", "kill -KILL $$");
        let text = format!(
            "(ulimit -n {most}; SHIM JSSHIM_JOBS=2 exec bash -c '{dies}') & wait $!; echo $?
            ended 3; for i in $(seq 30); do [ \"$(guards)\" ] && sleep 0.1; done; echo $(guards)"
        );
        script(&text).breaks().check(says("137\n\n")).once();
    }
}

/// Kills the child of a host that starts the guard, which has been made and does not run yet; tells how that one goes
/// on, for which the host does not.
const ALONE: &str = "
import ctypes, os, signal, sys, time
ptrace = ctypes.CDLL(None, use_errno=True).ptrace
ptrace.argtypes = [ctypes.c_long] * 2 + [ctypes.c_void_p] * 2
TRACEME, CONT, DETACH, SETOPTIONS, EVENT_MESSAGE = 0, 7, 17, 0x4200, 0x4201
FORK, VFORK, CLONE, EXEC = 1, 2, 3, 4
host = os.fork()
if host == 0:
    ptrace(TRACEME, 0, 0, 0)
    os.kill(os.getpid(), signal.SIGSTOP)
    os.environ['LD_PRELOAD'] = os.environ['JSSHIM_LIB']
    os.execvp(sys.argv[1], sys.argv[1:])
os.waitpid(host, 0)
assert ptrace(SETOPTIONS, host, 0, 1 << FORK | 1 << VFORK | 1 << CLONE | 1 << EXEC) == 0
ptrace(CONT, host, 0, 0)
known, early, middle, second = {host}, set(), 0, 0
while True:
    pid, status = os.waitpid(-1, 0x40000000)
    if not os.WIFSTOPPED(status):
        if pid == host:
            break
        continue
    event, stop = status >> 16, os.WSTOPSIG(status)
    if pid not in known:
        early.add(pid)
    elif pid == second:
        print('the guard starts' if event == EXEC else signal.Signals(stop).name, flush=True)
        ptrace(DETACH, pid, 0, 0 if event else stop)
    elif event in (FORK, VFORK, CLONE):
        message = ctypes.c_ulong()
        ptrace(EVENT_MESSAGE, pid, 0, ctypes.addressof(message))
        child = message.value
        if child not in early:
            os.waitpid(child, 0x40000000)
        if event == VFORK and pid == host and not middle:
            middle = child
            known.add(middle)
            ptrace(CONT, middle, 0, 0)
        elif event != VFORK or pid == host:
            ptrace(DETACH, child, 0, 0)
        else:
            second = child
            known.add(second)
            os.kill(middle, signal.SIGKILL)
            os.waitpid(middle, 0x40000000)
            time.sleep(0.3)
            ptrace(CONT, second, 0, 0)
            continue
        ptrace(CONT, pid, 0, 0)
    else:
        ptrace(CONT, pid, 0, 0 if event else stop)
print(os.waitstatus_to_exitcode(status))
";

/// What lies below the frame of its start is soon overwritten.
const DEEP: &str = "
import os, sys
def deep(n):
    return n and max([n], key=lambda m: deep(m - 1))
jobs = []
for _ in range(3):
    jobs.append(os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:] + ['-b', '5', '-s', '300']))
    deep(100)
sys.exit(any(os.waitpid(job, 0)[1] for job in jobs))
";

fn a_starter_of_the_guard_is_killed() {
    let run = script("$PYTHON alone.py $PYTHON deep.py $JOB").file("alone.py", ALONE);
    let run = run.file("deep.py", DEEP);
    run.pool(Kind::Fifo, 3).check(says("the guard starts\n0\n")).once();
}
