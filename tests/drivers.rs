//! Every program that is known to start jobs side by side, with eight jobs on a pool of two, by
//! pipe and by fifo, three times each. What has a module of its own (ninja, xargs, bash and dash,
//! Python's forks) has here only what is missing there. Not to be had from a registry: samurai, icecc
//! with its scheduler.

mod build;
mod compilers;
mod invisible;
mod languages;
mod python;
mod shells;
mod system;

use crate::harness::pool::Kind;
use crate::harness::programs::{on_path, tool};
use crate::harness::{Outcome, Run};
use crate::Test;

/// A program's name, and how it runs at least eight jobs on a pool of this kind.
type Row = (&'static str, fn(Kind) -> Run);

const REPEATS: usize = 3;

fn rows() -> impl Iterator<Item = &'static Row> {
    let tables = [
        build::ROWS,
        compilers::ROWS,
        invisible::ROWS,
        languages::ROWS,
        python::ROWS,
        shells::ROWS,
        system::ROWS,
    ];
    tables.into_iter().flatten()
}

/// The row of this name.
pub fn row(name: &str) -> fn(Kind) -> Run {
    rows().find(|row| row.0 == name).unwrap_or_else(|| panic!("no row {name}")).1
}

pub fn tests() -> Vec<Test> {
    let mut list: Vec<_> = rows().enumerate().map(test).collect();
    let tables = [build::BELOW_MAKE, compilers::BELOW_MAKE, shells::BELOW_MAKE, system::BELOW_MAKE];
    list.extend(tables.into_iter().flatten().map(|row| below_make(*row)));
    list.extend(build::tests());
    list.extend(invisible::tests());
    list
}

/// On a fifo, and on the pipe of make 4.3 or of older makes, in turn.
fn test((index, (name, row)): (usize, &'static Row)) -> Test {
    let pipe = if index.is_multiple_of(2) { Kind::NonBlocking } else { Kind::Blocking };
    crate::test(&format!("drivers::{name}"), move || {
        for kind in [pipe, Kind::Fifo] {
            row(kind).pool(kind, 2).unordered().check(eight).times(REPEATS).both();
        }
    })
}

/// For what is a make itself or starts one: below a real make, as that gives back other bytes than
/// it took.
fn below_make((name, row): Row) -> Test {
    crate::test(&format!("drivers::{name}_below_make"), move || {
        for kind in [Kind::NonBlocking, Kind::Fifo] {
            row(kind).slots(2).unordered().any_peak().check(eight).times(REPEATS).both();
        }
    })
}

fn eight(outcome: &Outcome) {
    assert!(outcome.jobs.started >= 8, "few jobs");
    // What fails in the same way without the library would show nothing.
    let is_known =
        |line: &str| ["jsshim:", "make", "gmake"].iter().any(|who| line.starts_with(who));
    assert!(outcome.stderr.lines().all(is_known), "an error of the program itself");
}

/// The script in a recipe of make 4.3, whose pool is a pipe, or of make 4.4, whose pool is a fifo.
fn recipe(kind: Kind, text: &str) -> Run {
    let make = if kind == Kind::Fifo { tool("make-4.4.1", "make") } else { on_path("make") };
    Run::new(&[&make, "-s", "-j2", "-f", "Top"])
        .file("Top", "all:\n\t+@LD_PRELOAD=$$JSSHIM_LIB sh host\n")
        .file("host", text)
        .file("j", JOB)
        .env("MAKE", &make)
        .preload_inside()
}

/// One job: `sh j NAME [KILOBYTES [STATUS [MILLISECONDS]]]`.
const JOB: &str = "exec $JOB -b 5 -s ${4:-50} -i $1 -k ${2:-1} -x ${3:-0}\n";

/// A script that prepares what is needed and becomes the program.
fn script(text: &str) -> Run {
    shell("dash", text)
}

fn shell(name: &str, text: &str) -> Run {
    Run::new(&[name, "-c", text]).file("j", JOB)
}
