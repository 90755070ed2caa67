//! What is shown of a build: statistics, trace, report, status. Each on real nested builds.

mod page;
mod report;
mod stats;
mod status;
mod terminal;

use crate::harness::programs::{artifact, compiled, python};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    let mut list = stats::tests();
    list.extend(report::tests());
    list.extend(page::tests());
    list.extend(status::tests());
    list.extend(terminal::tests());
    list
}

/// A script of bash with `$CLI` for jsshim; in its folder is a build of two ninjas below make, whose jobs
/// are shells with two jobs each: sixteen in all.
fn script(text: &str) -> Run {
    Run::new(&["bash", "-c", text])
        .env("CLI", &artifact("jsshim").unwrap_or_default())
        .env("JOB", &compiled("job"))
        .env("PY", &python())
        .file("M", MAKEFILE)
        .file("b.ninja", NINJA)
        .file("two", "$JOB -s ${NAP:-60} & $JOB -s ${NAP:-60} & wait\n")
        .file("dx/keep", "")
        .file("dy/keep", "")
        .preload_inside()
}

const MAKEFILE: &str =
    "all: x y\n.PHONY: x y\nx y:\n\t+@cd d$@ && $N ninja -f ../b.ninja -j8 >/dev/null\n";
const NINJA: &str = "
rule r
  command = bash ../two && touch $out
build a1.o: r
build a2.o: r
build a3.o: r
build a4.o: r
";
const NESTED_JOBS: u32 = 16;

/// A Python that sleeps in system(3) beside a running job does not wait for it. `THEN` is what it runs.
const OVERDRAWN: &str = "import os, subprocess as s\n\
    p = s.Popen([os.environ['JOB'], '-s', '500'])\n\
    os.system(os.environ.get('THEN', '$JOB -s 50; :'))\n\
    p.wait()";

fn is_here() -> bool {
    artifact("jsshim").is_some()
}

/// The part of standard output behind a line `--- NAME`.
fn part(o: &Outcome, name: &str) -> String {
    let text = o.text();
    let mark = format!("--- {name}\n");
    let (_, rest) = text.split_once(&mark).unwrap_or_else(|| panic!("no part {name}"));
    rest.split("\n--- ").next().unwrap_or(rest).to_owned()
}

/// The blocks of statistics in a text, each as its lines of name and value.
fn blocks(text: &str) -> Vec<Vec<(String, String)>> {
    let mut blocks: Vec<Vec<(String, String)>> = Vec::new();
    for line in text.lines() {
        if line.starts_with("jsshim: statistics at the end of ") {
            blocks.push(Vec::new());
        } else if let (Some(block), Some((name, value))) =
            (blocks.last_mut(), line.trim().split_once("  "))
        {
            block.push((name.to_owned(), value.trim().to_owned()));
        }
    }
    blocks
}

/// A value of a block.
fn value<'a>(block: &'a [(String, String)], name: &str) -> &'a str {
    let found = block.iter().find(|(n, _)| n == name);
    &found.unwrap_or_else(|| panic!("no {name} in {block:?}")).1
}

fn number(block: &[(String, String)], name: &str) -> u32 {
    let text = value(block, name);
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().unwrap_or_else(|e| panic!("{name}: {text}: {e}"))
}
