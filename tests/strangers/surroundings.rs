//! Privileges, filters, other C libraries, missing or broken parts of the system.

mod bound;
mod broken;
mod privileges;

use crate::harness::programs::artifact;
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    let kinds = [privileges::tests(), bound::tests(), broken::tests()];
    kinds.into_iter().flatten().collect()
}

fn is_here() -> bool {
    artifact("libjsshim.so").is_some()
}

/// A script; `$SHIM` puts the library before a program in the run with it.
fn script(text: &str) -> Run {
    let head = "ON=$JSSHIM_LIB SHIM=${ON:+env LD_PRELOAD=$ON}\n";
    Run::new(&["bash", "-c", &(head.to_owned() + text)]).preload_inside()
}

/// The library says one line with these words, if anything.
fn says(words: &'static str) -> impl Fn(&Outcome) {
    move |o| assert!(o.stderr.is_empty() || o.stderr.contains(words), "{}", o.stderr)
}

fn needs_root() {
    // SAFETY: it only tells a number.
    assert_eq!(unsafe { libc::geteuid() }, 0, "these tests need root");
}

/// Eight jobs at once, in a shell.
const EIGHT: &str = "for i in 1 2 3 4 5 6 7 8; do $JOB -b 5 -s 40 & done; wait; exit 5";
