//! One pool and tools that speak of it in different words: each joins, whatever stands between it and
//! the make that owns the pool.

use crate::harness::programs::{artifact, on_path, python, tool};
use crate::harness::Run;
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        ninja_below_a_pipe,
        ninja_below_a_recipe_without_plus,
        ninja_below_a_closing_python,
        make_below_a_closing_python,
        make_below_a_recipe_without_plus,
        make_43_below_a_fifo,
        make_43_below_our_own_pool,
        cargo_below_our_own_pool,
        cargo_below_a_fifo,
        cargo_below_a_closing_python,
        bmake_below_our_own_pool,
        make_told_otherwise,
        make_that_was_told_nothing,
    ]
}

/// Closes the descriptors of the pool, as Python does by default.
const CLOSING: &str = "
import subprocess, sys
sys.exit(subprocess.run(sys.argv[1:], close_fds=True).returncode)
";

const JOB: &str = "$$JOB -b 5 -s 40";

/// Eight jobs for a make below.
fn makefile(line: &str) -> String {
    let names: Vec<_> = (0..8).map(|i| format!("j{i}")).collect();
    let names = names.join(" ");
    format!("all: {names}\n{names}:\n\t{line}\n")
}

fn build() -> String {
    let mut text = format!("rule job\n  command = {JOB}\n");
    for edge in 0..12 {
        text += &format!("build out{edge}: job\n");
    }
    text
}

/// A make with two slots whose one recipe runs `command` under the library. Without it, the tool below
/// does not always find the pool, so that only the run with it is shown.
fn below(make: &str, flags: &[&str], plus: &str, command: &str) -> Run {
    let top = format!("all:\n\t{plus}@LD_PRELOAD=$$JSSHIM_LIB {command}\n");
    Run::new(&[&[make, "-f", "top.mk", "-j2"], flags].concat())
        .file("top.mk", &top)
        .file("closing.py", CLOSING)
        .file("Makefile", &makefile(&format!("@{JOB}")))
        .file("build.ninja", &build())
        .env("NINJA_STATUS", "")
        .make(2)
        .preload_inside()
}

/// Both slots were used and no more: the tool joined the pool, or is gated by it.
fn on_two(run: Run, jobs: u32) {
    run.check(move |o| {
        assert!(o.status.success());
        assert_eq!(o.jobs.started, jobs);
    })
    .once_full();
}

/// And nobody complained.
fn joins(run: Run, jobs: u32) {
    on_two(run.check(|o| assert_eq!(o.stderr, "")), jobs);
}

fn ninja() -> String {
    tool("ninja-1.13.0", "ninja")
}

fn ninja_below_a_pipe() {
    let run = below(&on_path("make"), &[], "+", &format!("{} --quiet", ninja()));
    // It says on standard error what it thinks of pipes.
    on_two(run, 12);
}

fn ninja_below_a_recipe_without_plus() {
    joins(below(&on_path("make"), &[], "", &format!("{} --quiet", ninja())), 12);
}

fn ninja_below_a_closing_python() {
    for make in [on_path("make"), tool("make-4.4.1", "make")] {
        let command = format!("{} closing.py {} --quiet", python(), ninja());
        joins(below(&make, &[], "+", &command), 12);
    }
}

fn make_below_a_closing_python() {
    for make in [on_path("make"), tool("make-4.4.1", "make")] {
        let command = format!("{} closing.py {make} -s", python());
        joins(below(&on_path("make"), &[], "+", &command), 8);
        let style = ["--jobserver-style=pipe"];
        joins(below(&tool("make-4.4.1", "make"), &style, "+", &command), 8);
    }
}

fn make_below_a_recipe_without_plus() {
    for make in [on_path("make"), tool("make-4.4.1", "make")] {
        joins(below(&on_path("make"), &[], "", &format!("{make} -s")), 8);
    }
}

fn make_43_below_a_fifo() {
    let old = on_path("make");
    joins(below(&tool("make-4.4.1", "make"), &[], "+", &format!("{old} -s")), 8);
    let command = format!("{} closing.py {old} -s", python());
    joins(below(&tool("make-4.4.1", "make"), &[], "+", &command), 8);
}

/// Started by jsshim, whose pool is a fifo.
fn own(argv: &[&str]) -> Run {
    Run::new(argv)
        .cli(2)
        .file("Makefile", &makefile(&format!("@{JOB}")))
        .file("closing.py", CLOSING)
}

fn make_43_below_our_own_pool() {
    joins(own(&["sh", "-c", "make -s; :"]), 8);
    joins(own(&[&python(), "closing.py", "make", "-s"]), 8);
}

/// A crate in eight parts; a wrapper around rustc counts.
fn with_crates(mut run: Run) -> Run {
    let names: Vec<_> = (0..8).map(|i| format!("\"p{i}\"")).collect();
    let workspace = format!("[workspace]\nresolver = \"2\"\nmembers = [{}]\n", names.join(", "));
    run = run.file("crates/Cargo.toml", &workspace);
    for i in 0..8 {
        let package =
            format!("[package]\nname = \"p{i}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n");
        run = run
            .file(&format!("crates/p{i}/Cargo.toml"), &package)
            .file(&format!("crates/p{i}/src/lib.rs"), "pub fn one() -> u32 { 1 }\n");
    }
    run.file("wrap", "case \" $* \" in *\" --crate-name p\"*) $JOB -s 60;; esac\nexec \"$@\"\n")
        .file("build", CARGO)
        .env("RUSTUP_HOME", &home("RUSTUP_HOME", ".rustup"))
        .env("CARGO_HOME", &home("CARGO_HOME", ".cargo"))
}

/// Where rustup keeps its things, in spite of the HOME of a test.
fn home(variable: &str, default: &str) -> String {
    let own = std::env::var(variable);
    own.unwrap_or_else(|_| format!("{}/{default}", std::env::var("HOME").unwrap_or_default()))
}

const CARGO: &str = "
chmod +x wrap
sed -i '1i #!/bin/sh' wrap
RUSTC_WRAPPER=$PWD/wrap exec cargo build -q --offline --manifest-path crates/Cargo.toml
";

fn cargo_below_our_own_pool() {
    let run = with_crates(own(&["sh", "build"]));
    joins(run, 8);
}

fn cargo_below_a_fifo() {
    joins(with_crates(below(&tool("make-4.4.1", "make"), &[], "+", "sh build")), 8);
}

fn cargo_below_a_closing_python() {
    let command = format!("{} closing.py sh build", python());
    joins(with_crates(below(&on_path("make"), &[], "+", &command)), 8);
}

/// It dies of a MAKEFLAGS in make's words: it must not see one of ours.
fn bmake_below_our_own_pool() {
    let rules = "all:\n\t@echo $${MAKEFLAGS:-none}\n";
    for argv in [&["bmake", "-f", "rules"][..], &["sh", "-c", "bmake -f rules; exit $?"]] {
        let run = Run::new(argv).cli(2).file("rules", rules);
        run.check(|o| assert!(o.status.success())).any_peak().both();
    }
    joins(own(&["bmake", "-j8"]), 8);
}

/// A make below that is given a number of its own takes no notice of the pool: its jobs are gated.
fn make_told_otherwise() {
    for make in [on_path("make"), tool("make-4.4.1", "make")] {
        let run = below(&on_path("make"), &[], "+", &format!("{make} -s -j8"));
        // It warns that its number is forced.
        on_two(run, 8);
        // What runs below it is told of make's own pool, and is gated by the outer one all the same.
        let run = below(&on_path("make"), &[], "+", &format!("{make} -s -j8 -f deep.mk"));
        let deep = makefile(&format!("@seq 3 | xargs -P3 -I+ {JOB}"));
        on_two(run.file("deep.mk", &deep), 24);
    }
}

/// A make whose environment names no pool, or whose MAKEFLAGS was lost, makes one of its own: what it
/// starts is gated by the pool that the library knows.
fn make_that_was_told_nothing() {
    let command = "env -u MAKEFLAGS make -s -j8";
    joins(below(&on_path("make"), &[], "+", command), 8);
    if artifact("jsshim").is_some() {
        let words = "exec ${JSSHIM_LIB:+$CLI -j2 --} sh -c 'env -u MAKEFLAGS make -s -j8; :'";
        let run = Run::new(&["sh", "-c", words])
            .env("CLI", &artifact("jsshim").unwrap_or_default())
            .file("Makefile", &makefile(&format!("@{JOB}")))
            .preload_inside()
            .slots(2);
        joins(run, 8);
    }
}
