//! Daemons that a job leaves behind, as the servers of sccache, ccache, gpg and many others. The make at the
//! top reads its pool to the end before it exits, so whoever keeps it open for writing keeps make waiting:
//! a daemon with the library must not, and its own jobs run after the build as they would alone.

use crate::harness::programs::{compiled, on_path, python, tool};
use crate::harness::{Outcome, Run};
use crate::Test;

/// How, and whether the daemon looks for the pool only when that has gone, and says so.
const WAYS: [(&str, Option<bool>); 6] = [
    ("fork", Some(true)),
    ("exec", Some(true)),
    ("daemon", Some(true)),
    ("spawn", Some(true)),
    ("keeps", Some(false)),
    ("stays", Some(false)),
];

pub fn tests() -> Vec<Test> {
    let test = |(way, late): (&'static str, Option<bool>)| {
        let run = move || make_goes(&format!("$DAEMON {way}"), late);
        crate::test(&format!("daemons::by_{way}"), run)
    };
    let mut list: Vec<_> = WAYS.map(test).into();
    list.extend(crate::tests![of_python, of_a_shell, says_that_the_pool_is_gone, leaves_no_ledger]);
    list
}

/// Below make 4.3, whose pool is a pipe, with its descriptors and without, and below make 4.4, whose pool is a fifo.
fn make_goes(command: &str, late: Option<bool>) {
    let new = tool("make-4.4.1", "make");
    for (make, plus) in [(on_path("make"), ""), (on_path("make"), "+"), (new, "")] {
        let run = below(&make, plus, command);
        let lines = late.map_or(0..=1, |late| usize::from(late)..=usize::from(late));
        run.may_warn(lines).both();
    }
}

fn below(make: &str, plus: &str, command: &str) -> Run {
    let top = format!(
        "all: a b\n\
         a:\n\t{plus}@MAKE_PID=$$PPID; export MAKE_PID; LD_PRELOAD=$$JSSHIM_LIB bash host\n\
         b:\n\t@$$JOB -b 5 -s 20\n"
    );
    Run::new(&[make, "-s", "-j2", "-f", "Top"])
        .file("Top", &top)
        .file("host", &format!("{command}\n:\n"))
        .env("DAEMON", &compiled("daemonize"))
        .env("PYTHON", &python())
        .make(2)
        .any_peak()
        .preload_inside()
        .check(served)
}

fn served(o: &Outcome) {
    assert!(o.status.success());
    assert_eq!(o.text(), "served\n", "by the daemon, when make had ended");
}

/// Forked twice by Python, which starts programs as it did before.
fn of_python() {
    make_goes(
        r#"exec $PYTHON -c '
import os, subprocess, time
def two_jobs():
    all = [subprocess.Popen([os.environ["JOB"], "-b", "2", "-s", "20"]) for i in range(2)]
    assert [p.wait() for p in all] == [0, 0]
two_jobs()
if os.fork() > 0: os._exit(os.wait()[1])
os.setsid()
two_jobs()
if os.fork() > 0: os._exit(0)
os.closerange(3, 1000)
def lives(pid):
    try: return open(f"/proc/{pid}/stat").read().rsplit(")")[1][1] not in "ZX"
    except OSError: return False
while lives(os.environ["MAKE_PID"]): time.sleep(0.01)
two_jobs()
print("served", flush=True)
'"#,
        Some(false),
    );
}

/// In the background of a subshell, as a script would. The pool may have become one for daemons before it looks for it.
fn of_a_shell() {
    make_goes(
        r#"
        lives() { read -r _ _ state _ </proc/$MAKE_PID/stat && [ $state != Z ]; } 2>/dev/null
        serve() {
            exec 3>&- 4>&- 5>&-
            while lives; do sleep 0.01; done
            $JOB & $JOB & wait; echo served
        }
        export -f lives serve
        $JOB & $JOB & wait
        (setsid bash -c serve &)"#,
        None,
    );
}

/// A job in the background that knew the pool, of each of its jobs but one at a time.
fn says_that_the_pool_is_gone() {
    let run = below(&tool("make-4.4.1", "make"), "", "$DAEMON nohup").env("JSSHIM_DEBUG", "1");
    let told = |o: &Outcome| assert!(o.stderr.contains("the pool is gone; overdrafts so far 1;"));
    run.check(told).once();
}

/// A client ends before its job, where there is no guard, since no token was ever needed.
fn leaves_no_ledger() {
    let text = "$JOB & $JOB & wait; (sleep 0.6 &); (sleep 0.3; echo served)";
    for make in [on_path("make"), tool("make-4.4.1", "make")] {
        below(&make, "", text).times(3).both();
    }
}
