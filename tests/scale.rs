//! Many jobs: more than a ledger has room for at first, more than it can have, and builds that share a pool.

use crate::harness::pool::Kind;
use crate::harness::programs::compiled;
use crate::harness::Run;
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        five_thousand_jobs_at_once,
        more_jobs_of_one_host_than_there_is_room_for,
        no_room_for_more_records,
        no_room_for_more_records_in_a_shell,
        a_narrow_build_beside_a_wide_one,
        a_reader_that_is_stopped,
        a_reader_that_is_killed,
    ]
}

/// Twenty builds of 258 jobs each: a ledger of 4,095 records let what did not fit run without a slot.
fn five_thousand_jobs_at_once() {
    let each = "seq 258 | xargs -P258 -I{} $$JOB -i {}";
    let all =
        format!("+@LD_PRELOAD=$$JSSHIM_LIB sh -c 'for i in $$(seq 20); do {each} & done; wait'");
    Run::new(&["make", "-j8"])
        .file("Makefile", &format!("all:\n\t{all}\n"))
        .make(8)
        .preload_inside()
        .unordered()
        .once();
}

fn more_jobs_of_one_host_than_there_is_room_for() {
    let job = compiled("job");
    let numbers: String = (0..1500).map(|i| format!("{i}\n")).collect();
    Run::new(&["xargs", "-P0", "-I{}", &job, "-i", "{}"])
        .stdin(&numbers)
        .pool(Kind::Fifo, 4)
        .unordered()
        .both();
}

/// A ledger that cannot grow: its file system is full. The jobs without a record wait for one.
fn in_a_small_folder(host: &str) -> Run {
    let text = format!(
        "ON=$JSSHIM_LIB SHIM=${{ON:+env LD_PRELOAD=$ON}}\nexport JSSHIM_DIR=$PWD/d\n\
         mkdir d; mount -t tmpfs -o mode=700,size=300k none d || exit\n$SHIM {host}"
    );
    Run::new(&["unshare", "-m", "bash", "-c", &text]).preload_inside().pool(Kind::Fifo, 4)
}

fn no_room_for_more_records() {
    in_a_small_folder("sh -c 'seq 1300 | xargs -P1300 -I{} $JOB -i {}'").unordered().both();
}

/// Forked jobs wait without exec: a subshell runs on only when it has a record and a slot.
fn no_room_for_more_records_in_a_shell() {
    let host = "bash -c 'for i in $(seq 1100); do ($JOB -i $i; :) & done; wait'";
    in_a_small_folder(host).unordered().both();
}

/// While both have jobs to run, the narrow one gets its share: of each three jobs that end at least one is its own.
fn a_narrow_build_beside_a_wide_one() {
    let build = |width, count, name| {
        format!("seq {count} | xargs -P{width} -I{{}} sh -c '$$JOB -b 2 -s 40; echo >>{name}'")
    };
    let (wide, narrow) = (build(64, 240, "wide"), build(4, 30, "narrow"));
    let makefile = format!(
        "all: wide narrow\nwide:\n\t+@LD_PRELOAD=$$JSSHIM_LIB; export LD_PRELOAD; {wide}\nnarrow:\n\
         \t+@until [ -s wide ]; do sleep 0.05; done; wc -l <wide >before; \
         LD_PRELOAD=$$JSSHIM_LIB; export LD_PRELOAD; {narrow}; wc -l <wide >after\n.PHONY: all wide narrow\n"
    );
    let count = "b=$(cat before) a=$(cat after); [ -z \"$JSSHIM_LIB\" ] || [ $((a - b)) -le 60 ] || echo $((a - b))";
    Run::new(&["sh", "-c", &format!("make -j4; {count}")])
        .file("Makefile", &makefile)
        .make(4)
        .preload_inside()
        .unordered()
        .both();
}

/// The third job reads the pool when it is stopped or killed; the fourth one takes the token of the second one.
fn reader(signal: &str, ends: &str) -> Run {
    let program = format!(
        "import os, signal, subprocess, time\n\
         job = lambda ms: subprocess.Popen([os.environ['JOB'], '-s', str(ms)])\n\
         jobs = [job(1500), job(800), job(20), job(20), job(20)]\n\
         time.sleep(0.4)\n\
         os.kill(jobs[2].pid, signal.{signal})\n\
         print([jobs[i].wait() for i in (1, 3, 4)], flush=True)\n\
         {ends}\n\
         print([jobs[i].wait() for i in (0, 2)])\n"
    );
    Run::python(&program).pool(Kind::Fifo, 2).may_idle()
}

fn a_reader_that_is_stopped() {
    reader("SIGSTOP", "os.kill(jobs[2].pid, signal.SIGCONT)").check(all_end).once();
}

fn a_reader_that_is_killed() {
    reader("SIGKILL", "pass").breaks().check(all_end).once();
}

fn all_end(outcome: &crate::harness::Outcome) {
    assert!(outcome.text().starts_with("[0, 0, 0]\n"), "{}", outcome.text());
}
