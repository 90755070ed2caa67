//! Drivers of tests that give each child a time: it must not run while a child that has not run yet is held.
//!
//! Forty children, each of which needs a tenth of a second of the one slot and may take three: if all clocks ran from
//! the start, ten of them would be late. Only with the library: without it forty compute at once.

use super::{alone, is_here};
use crate::harness::pool::Kind;
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![parallel, timeout]
}

fn in_time(run: Run, said: &'static str) {
    let says = move |o: &Outcome| {
        assert_eq!(o.jobs.started, 40, "all have run");
        assert!(o.text().contains(said), "not {said:?}");
        assert!(o.status.success());
    };
    if is_here() {
        run.breaks().check(says).once();
    }
}

fn parallel() {
    let script = "seq 40 | parallel -j40 --timeout 3 '$JOB -b 100 -i {} -k 0'; echo late: $?";
    in_time(alone(&["bash", "-c", script], Kind::Fifo, 1), "late: 0\n");
}

/// The clock is part of the job, and runs when that does.
fn timeout() {
    let script = "
        for i in $(seq 40); do (timeout 3 $JOB -b 100 || echo late) & done; wait; echo done";
    in_time(alone(&["dash", "-c", script], Kind::Fifo, 1), "done\n");
}
