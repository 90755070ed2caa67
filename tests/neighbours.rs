//! Others who are in the same process: preloaded libraries before and behind ours, a tracer, a debugger, a
//! sanitizer; and children into which ours cannot be loaded.

mod children;
mod preloads;
mod tracers;

use crate::harness::pool::Kind;
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    [preloads::tests(), tracers::tests(), children::tests()].into_iter().flatten().collect()
}

const KINDS: [Kind; 3] = [Kind::Blocking, Kind::NonBlocking, Kind::Fifo];

/// `$OURS` is the library, or nothing in the run without it.
fn below(text: &str) -> Run {
    Run::new(&["bash", "-c", &format!("OURS=$JSSHIM_LIB\n{text}")]).preload_inside().unordered()
}

fn ends_with_5(run: Run) -> Run {
    run.check(|o: &Outcome| assert_eq!(o.status.code(), Some(5)))
}
