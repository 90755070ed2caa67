//! A slot is for a job that computes: one that sleeps lends its own, and takes one again when it wakes. The
//! situations are those of other people's builds, with nothing set. None hangs, each ends as without the
//! library, and the slots bound the jobs that compute, by the log of their bursts.

mod beside;
mod clocks;
mod crowds;
mod daemons;
mod kept;
mod pools;
mod recipes;
mod words;

use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, compiled, on_path, python, tool};
use crate::harness::Run;
use crate::Test;

pub fn tests() -> Vec<Test> {
    let mut list = recipes::tests();
    list.extend(beside::tests());
    list.extend(pools::tests());
    list.extend(daemons::tests());
    list.extend(crowds::tests());
    list.extend(kept::tests());
    list.extend(words::tests());
    list.extend(clocks::tests());
    list
}

/// Who has the pool.
#[derive(Clone, Copy, PartialEq)]
enum Top {
    /// A make 4.3 with the library, whose recipes have no `+`.
    Make,
    /// A make 4.3, and the library in its recipes with `+`.
    MakePlus,
    /// A make 4.4 with the library, whose recipes have no `+`.
    Make44,
    /// `jsshim -jN`.
    Jsshim,
}

use Top::{Jsshim, Make, Make44, MakePlus};

/// Who has the pool, and its slots.
type Place = (Top, usize);

/// Where a situation is tried. A make of one slot has no pool.
const PLACES: [Place; 4] = [(Jsshim, 1), (Make, 2), (MakePlus, 2), (Make44, 4)];

/// The script runs `hosts` times side by side, each time with its number as `$1`: as that many recipes of a make
/// with so many slots, or in the background of a shell.
fn side_by_side((top, slots): Place, hosts: usize, script: &str) -> Run {
    let numbers: Vec<_> = (1..=hosts).map(|n| n.to_string()).collect();
    let numbers = numbers.join(" ");
    let jobs = format!("-j{slots}");
    let plus = if top == MakePlus { "+@LD_PRELOAD=$$JSSHIM_LIB" } else { "@" };
    let makefile = format!("all: {numbers}\n{numbers}:\n\t{plus} sh host $@\n");
    let each = format!("for i in {numbers}; do sh host $i & done; wait");
    let run = match top {
        Jsshim => Run::new(&["sh", "-c", &each]).cli(slots),
        Make => Run::new(&[&on_path("make"), "-s", &jobs]).slots(slots),
        MakePlus => Run::new(&[&on_path("make"), "-s", &jobs]).slots(slots).preload_inside(),
        Make44 => Run::new(&[&tool("make-4.4.1", "make"), "-s", &jobs]).slots(slots),
    };
    run.file("Makefile", &makefile)
        .file("host", script)
        .env("PYTHON", &python())
        .env("SEMAPHORE", &compiled("semaphore"))
        .running()
        .unordered()
}

/// One host, alone in the pool.
fn alone(argv: &[&str], kind: Kind, slots: usize) -> Run {
    Run::new(argv).env("PYTHON", &python()).pool(kind, slots).running()
}

/// Is there a library? Some of these show nothing without it.
fn is_here() -> bool {
    artifact("libjsshim.so").is_some()
}

/// A Python program as the only host, on pools of each kind with these slots.
fn python_on(slots: &[usize], program: &str, more: impl Fn(Run) -> Run) {
    let kinds = [Kind::Fifo, Kind::NonBlocking, Kind::Blocking];
    for (slots, kind) in slots.iter().zip(kinds) {
        let run = alone(&[&python(), "host.py"], kind, *slots).file("host.py", program);
        more(run).both();
    }
}
