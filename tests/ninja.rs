//! A ninja that knows nothing of the pool, or ignores it because it was told `-jN`.

use crate::harness::pool::Kind;
use crate::harness::programs::{on_path, tool};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    let mut list = crate::tests![
        below_make,
        below_make_j1,
        below_make_j3,
        below_make_preloaded_as_well,
        below_a_recipe_without_plus,
        in_two_recipes_at_once,
        below_jsshim_without_make,
        below_the_variable_without_make,
        below_ninja_below_make,
        below_make_44_with_fifo,
        below_make_44_with_pipe,
        with_a_failing_edge,
        aware_of_the_pool_below_make,
        forced_below_make,
        forced_in_a_pool_of_ours,
        forced_tells_its_makes,
        forced_is_another,
    ];
    for kind in [Kind::Blocking, Kind::NonBlocking, Kind::Fifo] {
        for kb in [0, 1, 300] {
            let name = format!("ninja::on_a_{kind:?}_pool_with_{kb}_kb").to_lowercase();
            list.push(crate::test(&name, move || with_output(kind, kb)));
        }
    }
    for version in ["1.10.2", "1.11.1", "1.13.0"] {
        let name = format!("ninja::aware_{version}_told_j8");
        list.push(crate::test(&name, move || told_how_many(version)));
    }
    list
}

/// A build of `edges` jobs whose outputs never come to be, so that each run builds them all.
fn build(edges: usize, command: &str) -> String {
    let mut text = format!("rule job\n  command = {command}\n");
    for edge in 0..edges {
        text += &format!("build out{edge}: job\n  id = e{edge}\n");
    }
    text
}

/// Some work and some waiting, as a compiler has.
const WORK: &str = "$$JOB -b 10 -s 30 -i $id -k 1";

fn below(make: &str, flags: &[&str], makefile: &str, slots: usize) -> Run {
    Run::new(&[&[make], flags].concat())
        .file("Makefile", makefile)
        .file("build.ninja", &build(40, WORK))
        .env("NINJA_STATUS", "")
        .make(slots)
        .unordered()
        .check(complete(40, 8))
}

/// Every line of every edge is there, each edge's lines together and in order.
fn complete(edges: usize, lines: usize) -> impl Fn(&Outcome) {
    move |outcome| {
        let text = outcome.text();
        let mut seen = std::collections::HashMap::new();
        let mut before = None;
        for line in text.lines().filter(|line| line.ends_with("...")) {
            let mut words = line.split(' ');
            let (edge, number) = (words.next().unwrap(), words.next().unwrap());
            let count = seen.entry(edge.to_owned()).or_insert(0);
            assert_eq!(number.parse(), Ok(*count), "the next line of {edge}");
            assert!(*count == 0 || before == Some(edge), "{edge} is torn apart");
            *count += 1;
            before = Some(edge);
        }
        let whole = seen.values().filter(|count| **count == lines).count();
        assert_eq!(whole, if lines == 0 { 0 } else { edges }, "edges with all their output");
    }
}

const PLUS: &str = "all:\n\t+@LD_PRELOAD=$$JSSHIM_LIB ninja -j8\n";

fn below_make() {
    below("make", &["-j2"], PLUS, 2).preload_inside().both();
}

fn below_make_j1() {
    below("make", &["-j1"], PLUS, 1).preload_inside().both();
}

fn below_make_j3() {
    below("make", &["-j3"], PLUS, 3).preload_inside().both();
}

fn below_make_preloaded_as_well() {
    below("make", &["-j2"], "all:\n\t+@ninja -j8\n", 2).both();
}

fn below_a_recipe_without_plus() {
    let makefile = "all:\n\t@LD_PRELOAD=$$JSSHIM_LIB ninja -j8\n";
    below("make", &["-j2"], makefile, 2).preload_inside().both();
}

fn in_two_recipes_at_once() {
    let makefile = ".PHONY: a b\nall: a b\na b:\n\t+@LD_PRELOAD=$$JSSHIM_LIB ninja -C $@ -j8\n";
    let run = |slots| {
        Run::new(&["make", &format!("-j{slots}")])
            .file("Makefile", makefile)
            .file("a/build.ninja", &build(20, "$$JOB -b 10 -s 30"))
            .file("b/build.ninja", &build(20, "$$JOB -b 10 -s 30"))
            .env("NINJA_STATUS", "")
            .make(slots)
            .preload_inside()
            .unordered()
    };
    run(2).both();
    run(3).both();
}

fn alone() -> Run {
    let run = Run::new(&["ninja", "-j8"]).file("build.ninja", &build(40, WORK));
    run.env("NINJA_STATUS", "").unordered().check(complete(40, 8))
}

fn below_jsshim_without_make() {
    alone().cli(3).both();
}

fn below_the_variable_without_make() {
    alone().env("JSSHIM_JOBS", "3").slots(3).both();
}

fn below_ninja_below_make() {
    let mut run = Run::new(&["make", "-j3"])
        .env("NINJA_STATUS", "")
        .file("Makefile", "all:\n\t+@LD_PRELOAD=$$JSSHIM_LIB ninja -j4\n")
        .file("build.ninja", &build(4, "ninja -C $id -j4"));
    for edge in 0..4 {
        let inner = build(8, "$$JOB -b 10 -s 30");
        run = run.file(&format!("e{edge}/build.ninja"), &inner);
    }
    run.make(3).preload_inside().unordered().both();
}

fn below_make_44_with_fifo() {
    below(&tool("make-4.4.1", "make"), &["-j2"], PLUS, 2).preload_inside().both();
}

fn below_make_44_with_pipe() {
    let make = tool("make-4.4.1", "make");
    let pipe = ["-j2", "--jobserver-style=pipe"];
    below(&make, &pipe, PLUS, 2).preload_inside().both();
    let makefile = "all:\n\t@LD_PRELOAD=$$JSSHIM_LIB ninja -j8\n";
    // Here make says on purpose that there is no pool: `--jobserver-auth=-2,-2`.
    let refused = below(&make, &pipe, makefile, 2).preload_inside();
    refused.warns().any_peak().both();
}

fn with_a_failing_edge() {
    let text = build(40, "$$JOB -b 10 -s 30") + "rule fail\n  command = exit 3\nbuild bad: fail\n";
    Run::new(&["ninja", "-j8", "-k0"])
        .file("build.ninja", &text)
        .env("NINJA_STATUS", "")
        .pool(Kind::NonBlocking, 2)
        .unordered()
        .check(|outcome| assert_eq!(outcome.status.code(), Some(1)))
        .both();
}

/// The two hangs of a naive shim: unreaped children, and a full pipe that nobody drains.
fn with_output(kind: Kind, kb: usize) {
    let command = format!("$$JOB -b 5 -s 20 -i $id -k {kb}");
    Run::new(&["ninja", "-j4"])
        .file("build.ninja", &build(16, &command))
        .env("NINJA_STATUS", "")
        .pool(kind, 2)
        .unordered()
        .check(complete(16, kb * 8))
        .both();
}

/// It knows the pool and ignores it when told a number.
fn told_how_many(version: &str) {
    let ninja = tool(&format!("ninja-{version}"), "ninja");
    let makefile = format!("all:\n\t+@LD_PRELOAD=$$JSSHIM_LIB {ninja} -j8\n");
    below("make", &["-j2"], &makefile, 2).preload_inside().both();
}

/// It takes its tokens itself; the library must not take a second one for each job.
fn aware_of_the_pool_below_make() {
    for (version, make) in [
        ("1.10.2", on_path("make")),
        ("1.11.1", on_path("make")),
        ("1.13.0", on_path("make")),
        ("1.10.2", tool("make-4.4.1", "make")),
        ("1.11.1", tool("make-4.4.1", "make")),
        ("1.13.0", tool("make-4.4.1", "make")),
    ] {
        let ninja = tool(&format!("ninja-{version}"), "ninja");
        let makefile = format!("all:\n\t+@LD_PRELOAD=$$JSSHIM_LIB {ninja}\n");
        below(&make, &["-j2"], &makefile, 2)
            .preload_inside()
            .any_peak()
            .ignoring("Jobserver mode")
            .both();
    }
}

fn makes() -> [(String, &'static str); 4] {
    let make = || tool("make-4.4.1", "make");
    let old = || on_path("make");
    [(old(), "1.13.0"), (make(), "1.13.0"), (old(), "1.11.1"), (make(), "1.10.2")]
}

fn says_nothing_of_a_pool(outcome: &Outcome) {
    let said = format!("{}{}", outcome.text(), outcome.stderr);
    assert!(!said.contains("Jobserver"), "{said}");
}

/// With JSSHIM_FORCE it is told of no pool, and gated like one that knows none.
fn forced_below_make() {
    for (make, version) in makes() {
        let ninja = tool(&format!("ninja-{version}"), "ninja");
        let makefile = format!("all:\n\t+@LD_PRELOAD=$$JSSHIM_LIB {ninja}\n");
        let run = below(&make, &["-j2"], &makefile, 2).preload_inside();
        run.env("JSSHIM_FORCE", "cargo,nin*").check(says_nothing_of_a_pool).run(true);
    }
}

fn forced_in_a_pool_of_ours() {
    let ninja = tool("ninja-1.13.0", "ninja");
    let run = Run::new(&[&ninja]).file("build.ninja", &build(40, WORK)).env("NINJA_STATUS", "");
    let run = run.env("JSSHIM_JOBS", "2").env("JSSHIM_FORCE", "ninja").slots(2).unordered();
    run.check(complete(40, 8)).check(says_nothing_of_a_pool).run(true);
}

/// What such a ninja starts is told of the pool as ever: its makes run their jobs on it side by side.
fn forced_tells_its_makes() {
    for (make, version) in makes() {
        let ninja = tool(&format!("ninja-{version}"), "ninja");
        let inner = "all: a b c d\na b c d:\n\t@case '$(MAKEFLAGS)' in *--jobserver-auth=*) $$JOB -b 10 -s 30;; \
            *) exit 1;; esac\n";
        let edges =
            format!("rule sub\n  command = {make} -s -f inner.mk\nbuild x: sub\nbuild y: sub\n");
        let makefile = format!("all:\n\t+@LD_PRELOAD=$$JSSHIM_LIB {ninja}\n");
        let run = Run::new(&[&make, "-j2"]).file("Makefile", &makefile).file("inner.mk", inner);
        let run = run.file("build.ninja", &edges).env("NINJA_STATUS", "").make(2).unordered();
        run.preload_inside().env("JSSHIM_FORCE", "ninja").check(says_nothing_of_a_pool).run(true);
    }
}

/// Other programs are as without the variable.
fn forced_is_another() {
    let ninja = tool("ninja-1.13.0", "ninja");
    let makefile = format!("all:\n\t+@LD_PRELOAD=$$JSSHIM_LIB {ninja}\n");
    let make = tool("make-4.4.1", "make");
    let run = below(&make, &["-j2"], &makefile, 2).preload_inside().any_peak();
    let joins =
        |o: &Outcome| assert!(format!("{}{}", o.text(), o.stderr).contains("Jobserver mode"));
    run.env("JSSHIM_FORCE", "cargo,make").check(joins).run(true);
}
