//! Every reason for which a job starts without a slot is told under JSSHIM_DEBUG, and each start counted.

use super::{named, SO_FAR};
use crate::harness::pool::Kind;
use crate::harness::programs::compiled;
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![reads_from_a_sibling, cannot_be_held, left_its_wait]
}

/// One start without a slot, for this reason.
fn one(reason: &'static str) -> impl Fn(&Outcome) {
    move |o| {
        assert!(o.stderr.contains(&format!("{reason}{SO_FAR}1;")), "not told: {reason}");
        assert_eq!(o.stderr.matches(SO_FAR).count(), 1);
        assert!(o.status.success());
    }
}

fn on_one(run: impl Fn() -> Run) {
    for kind in [Kind::NonBlocking, Kind::Fifo] {
        named(run().pool(kind, 1));
    }
}

/// A pipeline.
fn reads_from_a_sibling() {
    let script = "$JOB -b 5 -k 300 | { cksum; :; }";
    on_one(|| {
        let run = Run::new(&["bash", "-c", script]);
        run.check(one("reads what a running job writes"))
    });
}

/// A system(3) beside a job.
fn cannot_be_held() {
    let program = "
import os, subprocess
p = subprocess.Popen(['sleep', '0.5'])
assert os.system('$JOB -b 5') == 0
p.wait()
";
    on_one(|| Run::python(program).feeds_a_pipe().check(one("it cannot be held")));
}

/// A handler of the host jumps out of a fork in which it waits.
fn left_its_wait() {
    on_one(|| {
        let run = Run::new(&[&compiled("leaves")]).may_overdraw();
        run.check(one("a signal handler left its wait"))
    });
}
