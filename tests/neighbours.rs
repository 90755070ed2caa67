//! Others who are in the same process: preloaded libraries before and behind ours (known ones, and Rust's of
//! tests/preloads), a tracer, a debugger, a sanitizer; and children into which ours cannot be loaded.

mod children;
mod injected;
mod others;
mod preloads;
mod spies;
mod tracers;

use crate::harness::pool::Kind;
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    let parts = [
        preloads::tests(),
        others::tests(),
        spies::tests(),
        injected::tests(),
        tracers::tests(),
        children::tests(),
    ];
    parts.into_iter().flatten().collect()
}

const KINDS: [Kind; 3] = [Kind::Blocking, Kind::NonBlocking, Kind::Fifo];

/// `$OURS` is the library, or nothing in the run without it.
fn below(text: &str) -> Run {
    Run::new(&["bash", "-c", &format!("OURS=$JSSHIM_LIB\n{text}")]).preload_inside().unordered()
}

/// Puts `$1` into LD_PRELOAD, before or behind what is there, if it is not empty.
const PUT: &str = "
    before() { [ -z $1 ] || export LD_PRELOAD=$1${LD_PRELOAD:+:$LD_PRELOAD}; }
    behind() { [ -z $1 ] || export LD_PRELOAD=${LD_PRELOAD:+$LD_PRELOAD:}$1; }";

fn ends_with_5(run: Run) -> Run {
    run.check(|o: &Outcome| assert_eq!(o.status.code(), Some(5)))
}
