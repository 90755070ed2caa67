//! Shell scripts with `&` and `wait`, and pipelines.

use crate::harness::pool::Kind;
use crate::harness::Run;
use crate::Test;

const SHELLS: [&str; 2] = ["bash", "dash"];

pub fn tests() -> Vec<Test> {
    let mut list = vec![];
    for shell in SHELLS {
        let mut add = |what: &str, script: &'static str, slots: usize| {
            let name = format!("shells::{shell}_{what}");
            let kinds = [Kind::Blocking, Kind::NonBlocking, Kind::Fifo];
            let run =
                move || kinds.into_iter().for_each(|kind| in_shell(shell, script, kind, slots));
            list.push(crate::test(&name, run));
        };
        add("background", BACKGROUND, 3);
        add("background_on_a_pool_of_one", BACKGROUND, 1);
        add("subshells", SUBSHELLS, 2);
        add("functions_without_exec", FUNCTIONS, 2);
        add("statuses", STATUSES, 2);
        add("substitutions", SUBSTITUTIONS, 2);
        add("pipelines", PIPELINES, 2);
        add("pipelines_of_functions", PIPELINES_OF_FUNCTIONS, 2);
        add("early_end_of_a_pipe", EARLY_END, 2);
        add("killed_jobs", KILLED, 2);
    }
    list.extend(crate::tests![bash_wait_n, one_pipeline_on_one_slot]);
    list
}

fn in_shell(shell: &str, script: &str, kind: Kind, slots: usize) {
    Run::new(&[shell, "-c", script]).pool(kind, slots).unordered().both();
}

const BACKGROUND: &str = "
    for i in 1 2 3 4 5 6 7 8 9 10 11 12; do $JOB -b 10 -s 30 -i j$i -k 1 & done
    wait; echo done; exit 5";

const SUBSHELLS: &str = "
    for i in 1 2 3 4 5 6; do (echo in $i; $JOB -b 10 -s 30; $JOB -s 10; exit $i) & done
    wait; exit 6";

/// Each subshell runs on without an exec, and starts a program in its middle.
const FUNCTIONS: &str = "
    part() { n=0; while [ $n -lt 200 ]; do n=$((n + 1)); done; $JOB -b 10 -s 30 -i $1; echo $1 $n; }
    for i in 1 2 3 4 5 6; do part p$i & done
    wait";

const STATUSES: &str = "
    all=
    for i in 11 12 13 14 15 16; do $JOB -s 40 -x $i & all=\"$all $!\"; done
    for pid in $all; do wait $pid; echo $?; done
    /nonexistent/program & wait $!; echo $?
    exit 9";

const SUBSTITUTIONS: &str = "
    for i in 1 2 3 4 5 6; do (x=$($JOB -s 50 -i s$i -k 100); echo $i ${#x}) & done
    wait";

/// Pipelines of megabytes, on fewer slots than there are shells. A pipeline is one job.
const PIPELINES: &str = "
    for i in 1 2 3 4 5; do ($JOB -i p$i -k 4000 -s 60 | cat | wc -c) & done
    wait; echo done";

const PIPELINES_OF_FUNCTIONS: &str = "
    pass() { while read -r line; do echo \"$line\"; done; }
    for i in 1 2 3 4 5; do ($JOB -i p$i -k 150 -s 60 | pass | cksum) & done
    wait; echo done";

/// The reader goes while the writer still writes; SIGPIPE ends it. The job itself is no writer
/// of the pipe, so that it always signs off.
const EARLY_END: &str = "
    for i in 1 2 3 4 5 6; do ($JOB -s 50; yes $i | head -n 1000 | cksum) & done
    wait";

/// The jobs end by themselves; their brothers, which do not count, by a signal.
const KILLED: &str = "
    for i in 1 2 3 4 5 6; do (sleep 100 & kill $!; wait $! 2>/dev/null; echo $?; $JOB -s 50) & done
    wait";

/// How many rounds `wait -n` makes is not counted: on a busy machine bash itself loses some.
fn bash_wait_n() {
    let script = "
        for i in 1 2 3 4 5 6; do $JOB -s $((i * 20)) & done
        while wait -n; do :; done
        coproc { cat; }; echo through >&${COPROC[1]}; read -r line <&${COPROC[0]}; echo $line
        eval \"exec ${COPROC[1]}>&-\"; wait
        cmp <($JOB -k 200 -i x) <($JOB -k 200 -i x) && echo same";
    Run::new(&["bash", "-c", script]).pool(Kind::NonBlocking, 3).both();
}

/// Every member waits for another one: with one slot only the rule for pipelines lets it end.
fn one_pipeline_on_one_slot() {
    for shell in SHELLS {
        let script = "$JOB -k 4000 -i p | cat | cat | cat | cksum";
        Run::new(&[shell, "-c", script]).pool(Kind::Blocking, 1).any_peak().both();
    }
}
