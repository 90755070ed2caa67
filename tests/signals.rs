//! Hosts that are busy with signals while they start jobs (c/signals.c), and job control: a host in the
//! style of the manual page jobs(3J) (c/jobs3j.c), and interactive shells on a terminal (py/terminal.py).

use crate::harness::pool::Kind;
use crate::harness::programs::{compiled, compiled_with, python, script};
use crate::harness::Run;
use crate::Test;

pub fn tests() -> Vec<Test> {
    let mut list = crate::tests![
        job_control_as_in_jobs_3j,
        job_control_as_in_jobs_3j_on_a_terminal,
        flags_of_a_handler,
        sigchld_blocked,
        handlers_that_jump_out_of_a_start,
        handlers_that_jump_out_of_system,
        handlers_that_start_jobs,
        handlers_of_sigchld_that_start_jobs,
        handlers_while_the_pool_is_looked_for,
        alarms_without_restart,
    ];
    for shell in SHELLS {
        let name = format!("signals::session_of_{}", shell[0]);
        list.push(crate::test(&name, move || session(shell)));
    }
    list
}

const KINDS: [Kind; 3] = [Kind::Blocking, Kind::NonBlocking, Kind::Fifo];

/// And by what a gate notices there that a job ends.
const POOLS: [(Kind, usize, &str); 4] = [
    (Kind::Blocking, 1, "pidfd"),
    (Kind::NonBlocking, 2, "selfpipe"),
    (Kind::Fifo, 1, "selfpipe"),
    (Kind::Fifo, 2, "pidfd"),
];

fn on_each_pool(run: impl Fn() -> Run) {
    on_pools(&POOLS, run);
}

fn on_two_pools(run: impl Fn() -> Run) {
    let pool = |(kind, slots, _)| ["pidfd", "selfpipe"].map(|means| (kind, slots, means));
    on_pools(&[POOLS[0], POOLS[2]].map(pool).concat(), run);
}

fn on_pools(pools: &[(Kind, usize, &str)], run: impl Fn() -> Run) {
    for &(kind, slots, means) in pools {
        let run = run().env("JSSHIM_WAIT", means).pool(kind, slots);
        run.check(|o| assert_eq!(o.status.code(), Some(5))).both();
    }
}

// ---- job control -------------------------------------------------------------------------------

fn jobs3j() -> String {
    compiled_with("jobs3j", "jobs3j", &["-Wno-deprecated-declarations"])
}

/// With `stays`, a job whose end the host decides on.
fn controlled<S: AsRef<str>>(argv: &[S]) -> Run {
    Run::new(argv).env("STAYS", &compiled("stays")).env("TERM", "dumb")
}

fn job_control_as_in_jobs_3j() {
    on_each_pool(|| controlled(&[jobs3j()]).unordered());
}

fn job_control_as_in_jobs_3j_on_a_terminal() {
    let argv = [python(), script("py/terminal.py"), "-c".into(), jobs3j()];
    on_each_pool(|| controlled(&argv).preload_inside().unordered());
}

const SHELLS: [&[&str]; 5] = [
    &["bash", "--norc", "--noediting"],
    &["zsh", "-f", "+Z", "-i"],
    &["mksh", "-i"],
    &["ksh93", "-i"],
    &["tcsh", "-f"],
];

/// Jobs in the background, stopped, in front and killed; some of them while they wait for their slot.
fn session(shell: &[&str]) {
    let (python, driver) = (python(), script("py/terminal.py"));
    for kind in KINDS {
        let argv = [&[&*python, &driver], shell].concat();
        let run = controlled(&argv).preload_inside().pool(kind, 2);
        run.check(|o| assert_eq!(o.status.code(), Some(7))).both();
    }
}

// ---- handlers ----------------------------------------------------------------------------------

fn host(mode: &[&str]) -> Run {
    let host = compiled_with("signals", "signals", &["-Wno-clobbered"]);
    Run::new(&[&[&*host], mode].concat())
}

fn flags_of_a_handler() {
    on_two_pools(|| host(&["flags"]).any_peak().settles(48));
}

fn sigchld_blocked() {
    for how in ["sigtimedwait", "ppoll", "pselect", "sigsuspend", "epoll"] {
        on_two_pools(|| host(&["blocked", how]).settles(8));
    }
}

/// More of them than the library has places for anything; afterwards nothing is taken or left open. A gate with pidfds
/// has found the end of a job before a handler of SIGCHLD runs.
fn handlers_that_jump_out_of_a_start() {
    for door in ["all", "0", "2", "3"] {
        let run = || host(&["jumps", door]).env("JSSHIM_GATE", "parent").settles(12);
        on_two_pools(run);
    }
    let run = || host(&["child-jumps", "all"]).env("JSSHIM_GATE", "parent").settles(12);
    on_pools(&POOLS[1..3], run);
}

/// The slot of the shell that libc kills then is free.
fn handlers_that_jump_out_of_system() {
    for before in ["0", "4"] {
        on_two_pools(|| host(&["leaves-system", before]).may_overdraw().settles(8));
    }
}

/// By fork, vfork and _Fork (any other number), while the main line is in posix_spawn, fork or vfork.
fn handlers_that_start_jobs() {
    for doors in ["0-2", "2-2", "3-3", "0-9", "2-3"] {
        on_two_pools(|| host(&["handler-starts", doors]).settles(16));
    }
}

/// The same in a handler of SIGCHLD, which no gate may keep from it.
fn handlers_of_sigchld_that_start_jobs() {
    for doors in ["0-2", "3-3", "2-9"] {
        on_two_pools(|| host(&["child-starts", doors]).settles(16));
    }
}

/// The same where it takes long to find the pool: each file that the host opens takes 30 ms, and the first handler runs
/// after 20.
fn handlers_while_the_pool_is_looked_for() {
    const SLOW: &str =
        "strace -o /dev/null -e trace=openat -e inject=openat:delay_enter=30000 -e 'signal=!all'";
    let program = compiled_with("signals", "signals", &["-Wno-clobbered"]);
    for doors in ["0-2", "2-3", "3-9"] {
        let text = format!("exec {SLOW} ${{JSSHIM_LIB:+-E LD_PRELOAD=$JSSHIM_LIB}} {program} handler-starts {doors}");
        on_pools(&POOLS[1..3], || Run::new(&["bash", "-c", &text]).preload_inside().settles(16));
    }
}

fn alarms_without_restart() {
    on_each_pool(|| host(&["alarms"]).settles(8));
}
