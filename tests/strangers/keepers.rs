//! The guard of a sandbox is below a keeper of one of its clients. Whatever becomes of guard, keeper and client, and in
//! whatever order, somebody is left who gives back what the jobs have that outlive them.
//!
//! The scripts are the first processes of PID namespaces, with a guard below a keeper therefore. strace makes a moment
//! last in which something has to happen.

use super::guards::{says, script};
use crate::harness::pool::Kind;
use crate::harness::Run;
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        a_host_that_ends_before_its_guard_is_there,
        a_keeper_whose_turn_comes_as_its_host_ends,
        a_keeper_whose_host_is_killed_as_its_turn_comes,
        both_processes_of_the_guard_of_a_host_that_has_ended_are_killed,
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
