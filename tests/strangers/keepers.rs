//! The guard of a sandbox is below a keeper of one of its clients. Whatever becomes of guard, keeper and client, and in
//! whatever order, somebody is left who gives back what the jobs have that outlive them.
//!
//! The scripts are the first processes of PID namespaces, with a guard below a keeper therefore. strace makes a moment
//! last in which something has to happen.

use super::guards::{says, script, POOL};
use crate::harness::pool::Kind;
use crate::harness::Run;
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        a_host_that_ends_before_its_guard_is_there,
        a_keeper_whose_turn_comes_as_its_host_ends,
        a_keeper_whose_host_is_killed_as_its_turn_comes,
        both_processes_of_the_guard_of_a_host_that_has_ended_are_killed,
        a_guard_is_followed_by_one_on_the_pool_of_another_user,
        a_keeper_lets_go_of_the_pool_of_another_user_with_its_host,
    ]
}

/// A host that leaves two jobs in the background, once a file is there.
const LEAVES: &str =
    "$JOB -b 5 -w jobs & $JOB -b 5 -w jobs & until [ -e $1 ]; do read -t 0.02 </dev/zero; done";

fn leaves(text: &str) -> Run {
    script(text, true).file("leaves.sh", LEAVES).any_peak()
}

/// Its keeper has not come to starting it. What each process calls first is late, one call of a kind or the other.
fn a_host_that_ends_before_its_guard_is_there() {
    let calls = "rt_sigprocmask,fcntl,prctl,clone,vfork,close_range,wait4,setsid,munmap,madvise";
    for call in calls.split(',').chain(["rt_sigprocmask,clone,wait4"]) {
        for when in [1, 2] {
            let strace = format!(
                "strace -f -o trace -e trace={call} -e inject={call}:delay_enter=300000:when={when}"
            );
            let text = format!(
                "touch now; {strace} env LD_PRELOAD=$JSSHIM_LIB bash leaves.sh now & started 2; sleep 0.5
                touch jobs; ended 2; full 2; wait"
            );
            leaves(&text).pool(Kind::NonBlocking, 3).check(says("2\n")).once();
        }
    }
}

/// Two hosts, of which the guard is below the first one's keeper, and `$keeper` of the second waits for its turn; it
/// notices half a second later that it has come.
const TWO: &str = "SHIM bash leaves.sh one & first=$!; started 2; sleep 0.1
    SHIM bash leaves.sh two & second=$!; started 4; sleep 0.1
    keeper=$(pgrep -P $second -x jsshim-keeper)
    strace -p $keeper -o trace -e trace=fcntl -e inject=fcntl:delay_exit=500000 & sleep 0.3
    touch one; sleep 0.1";

fn a_keeper_whose_turn_comes_as_its_host_ends() {
    let text = format!("{TWO}; touch two; wait $first $second; touch jobs; ended 4; full 3");
    leaves(&text).pool(Kind::Fifo, 4).slots(5).check(says("3\n")).once();
}

fn a_keeper_whose_host_is_killed_as_its_turn_comes() {
    let text = format!("{TWO}; kill -KILL $second; wait $first; touch jobs; ended 4; full 3");
    leaves(&text).pool(Kind::Fifo, 4).slots(5).check(says("3\n")).once();
}

fn both_processes_of_the_guard_of_a_host_that_has_ended_are_killed() {
    let text = "touch now; SHIM bash leaves.sh now; started 2; sleep 0.2; pool
        kill -KILL $(pgrep -x jsshim-helper); sleep 0.2; touch jobs; ended 2; full 2";
    leaves(text).pool(Kind::NonBlocking, 3).check(says("1\n2\n")).once();
}

/// In a sandbox, on a pool that cannot be opened by its path: the only way to it is the descriptor that make has handed
/// down. The files are in a folder that the user can write to.
fn by_another_user(text: &str) -> Run {
    let text = format!(
        "{POOL} host=$PWD/leaves.sh; cd $JSSHIM_DIR; export LD_PRELOAD=
        {}; rm one two jobs; empty",
        text.replace("SHIM ", "LD_PRELOAD=$JSSHIM_LIB ")
    );
    let argv = ["unshare", "-U", "-r", "-p", "-f", "--mount-proc", "bash", "-c", &text];
    let run = Run::new(&argv).file("leaves.sh", LEAVES).by_nobody().preload_inside();
    run.pool(Kind::NonBlocking, 4).slots(5).any_peak()
}

fn a_guard_is_followed_by_one_on_the_pool_of_another_user() {
    for victim in ["", "kill -KILL $(pgrep -x jsshim-helper); sleep 0.2;"] {
        let text = format!(
            "SHIM bash $host one & first=$!; started 2; sleep 0.1
            SHIM bash $host two & second=$!; started 4; sleep 0.1; pool
            touch one; wait $first; {victim} touch jobs; ended 4; touch two; wait; full 3"
        );
        by_another_user(&text).check(says("1\n3\n")).once();
    }
}

/// A make waits for the last who can write to its pool: that must not be a keeper.
fn a_keeper_lets_go_of_the_pool_of_another_user_with_its_host() {
    let text = "pipes() { ls -l /proc/$1/fd | grep -c pipe:; }
        SHIM bash $host one & first=$!; started 2; sleep 0.1
        SHIM bash -c '. $0 two; exec 4>&-; until [ -e three ]; do read -t 0.02 </dev/zero; done' $host & second=$!
        started 4; sleep 0.1; keeper=$(pgrep -P $second -x jsshim-keeper); pipes $keeper
        touch two; for i in $(seq 200); do [ $(pipes $keeper) = 0 ] && break; sleep 0.02; done; pipes $keeper
        touch jobs; ended 4; touch one three; wait; full 3; rm three";
    by_another_user(text).check(says("1\n0\n3\n")).once();
}
