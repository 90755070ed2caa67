//! `go`, a program that nothing can be preloaded into: its tools take slots by `-toolexec` in GOFLAGS.

use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, compiled};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        builds_on_a_pool,
        builds_on_one_slot,
        below_make,
        below_jsshim,
        vets_and_tests,
        a_cache_of_both,
        flags_of_the_user,
        killed_go,
        killed_tool,
        doctor_knows_go,
    ]
}

/// Before the host's own words: wrappers that sign the register in place of the tools, in a mount namespace; and one
/// path for all runs, which comes into what is built.
const SCENE: &str = r#"
    mount --bind $PWD /mnt; cd /mnt
    export HOME=$PWD GOCACHE=$PWD/cache GOPROXY=off GOTOOLCHAIN=local GOFLAGS=${FLAGS--mod=mod} REAL_TOOLS=$PWD/real
    tools=$(env -u LD_PRELOAD go env GOTOOLDIR); mkdir real; mount --bind $tools real
    for tool in compile link asm vet; do mount --bind $GOTOOL $tools/$tool; done
    "#;

/// A module of twelve packages that need the standard library alone.
pub fn go(text: &str) -> Run {
    let mut run = Run::new(&["unshare", "-m", "bash", "-c", &format!("{SCENE}{text}")]);
    let (mut imports, mut sum) = (String::new(), String::new());
    for n in 0..12 {
        imports += &format!("import \"example/p{n}\"\n");
        sum += &format!("n += p{n}.F(n)\n");
        let source = format!("package p{n}\n\nfunc F(n int) int {{ return n + {n} }}\n");
        let test = format!(
            "package p{n}\n\nimport \"testing\"\n\nfunc TestF(t *testing.T) {{ if F(1) != {} {{ t.Fatal() }} }}\n",
            n + 1
        );
        run = run.file(&format!("p{n}/a.go"), &source).file(&format!("p{n}/a_test.go"), &test);
    }
    run.file("go.mod", "module example\n\ngo 1.16\n")
        .file(
            "main.go",
            &format!("package main\n\n{imports}\nfunc main() {{\nn := 0\n{sum}println(n)\n}}\n"),
        )
        .env("GOTOOL", &compiled("gotool"))
        .env("CLI", &artifact("jsshim").unwrap_or_default())
}

const BUILD: &str = "go build -p 8 -o out .; echo $?; ./out; sha256sum <out";

pub fn is_built(outcome: &Outcome) {
    let text = outcome.text();
    assert!(text.starts_with("0\n") && outcome.stderr.contains("4083\n"), "{text}");
}

fn builds_on_a_pool() {
    for kind in [Kind::Blocking, Kind::Fifo] {
        go(BUILD).pool(kind, 2).check(is_built).both();
    }
    go(BUILD).env("JSSHIM_JOBS", "3").slots(3).check(is_built).both();
}

/// That slot is `go`'s own, which it lets its tools have.
fn builds_on_one_slot() {
    go(BUILD).pool(Kind::Fifo, 1).check(is_built).both();
}

/// Two at once, in recipes of a make that has the pool.
fn below_make() {
    let makefile =
        "all: a b\na b:\n\t@GOCACHE=$$PWD/cache-$@ go build -p 8 -ldflags=-X=main.s=$@ -o $@ .\n";
    let run = go("LD_PRELOAD=$JSSHIM_LIB exec make -s -j3").file("Makefile", makefile);
    run.preload_inside().make(3).both();
}

/// The launcher makes the pool, and tells `go` itself.
fn below_jsshim() {
    let text =
        "case $JSSHIM_LIB in '') on= ;; *) on=\"$CLI -j2 --\" ;; esac; $on go build -p 8 -o out .
        echo $?; ./out; sha256sum <out";
    go(text).preload_inside().slots(2).check(is_built).both();
    let text = text.replace("$on go build", "$on sh -c '\"$@\"; exit $?' sh go build");
    go(&text).preload_inside().slots(2).check(is_built).both();
}

fn vets_and_tests() {
    go("go vet -p 8 ./...; echo $?").pool(Kind::Fifo, 2).both();
    let text = "go test -p 8 ./p[0-3] >log; echo $?; grep -c ^ok log; go run . 2>&1";
    let ends = |o: &Outcome| assert_eq!(o.text(), "0\n4\n4083\n", "{}", o.stderr);
    go(text).pool(Kind::Fifo, 2).check(ends).both();
}

/// What one run has built, the other finds in the cache.
fn a_cache_of_both() {
    let again = "go build -x -o again . 2>&1 | grep -c /compile";
    let text = format!("go build -o out .; cmp out again; env -u LD_PRELOAD -u GOFLAGS {again}");
    go(&text.replace("cmp out again; ", ""))
        .pool(Kind::Fifo, 2)
        .any_peak()
        .check(none_is_built)
        .both();
    let text = format!("env -u LD_PRELOAD go build -o out .; {again}");
    go(&text).pool(Kind::Fifo, 2).any_peak().check(none_is_built).both();
}

fn none_is_built(outcome: &Outcome) {
    assert_eq!(outcome.text(), "0\n", "{}", outcome.stderr);
}

/// Where they cannot be changed safely they are not, and `go env` shows the user's own.
fn flags_of_the_user() {
    let unchanged = |text: &str| go(text).pool(Kind::Fifo, 2).any_peak().both();
    unchanged("go env GOFLAGS; go build -o out . && ./out");
    // The log of a program of the user's own.
    let own = "printf '#!/bin/sh\\necho ${1##*/} >>log\\nexec \"$@\"' >own; chmod +x own; export GOFLAGS=-toolexec=$PWD/own
        go build -o out . && ./out; sort -u log";
    unchanged(own);
    unchanged("unset GOFLAGS; go env -w GOFLAGS=-tags=own; go list -f '{{context.BuildTags}}' .");
    // GOFLAGS as a tool sees them.
    let shown = "printf '#!/bin/sh\\necho $GOFLAGS >>flags\\nexec \"$@\"' >own; chmod +x own
        go build -toolexec=$PWD/own -o out . && sort -u flags";
    go(shown).env("JSSHIM_ENV", "respect").pool(Kind::Fifo, 2).any_peak().both();
    if artifact("libjsshim.so").is_some() {
        let added = |o: &Outcome| assert_eq!(o.text(), "-mod=mod -toolexec=/usr/bin/env\n");
        go(shown).pool(Kind::Fifo, 2).any_peak().check(added).once();
    }
}

/// Kills with SIGKILL, while a tool runs.
fn killing(what: &str) -> Run {
    // Until it was there in time.
    let text = "{ status=0; while [ $status = 0 ]; do rm -rf cache; go build -p 8 -o out . & go=$!
        until tool=$(pgrep -P $go -f 'compile -o') || ! kill -0 $go; do sleep 0.01; done
        tool=${tool%%[!0-9]*}; kill -9 WHAT; wait $go; status=$?; done; } 2>/dev/null; echo $status";
    go(&text.replace("WHAT", what)).pool(Kind::Fifo, 2).breaks()
}

/// Its tools end by themselves; one that waits for its slot gets it.
fn killed_go() {
    killing("$go").check(|o| assert_eq!(o.text(), "137\n")).both();
}

fn killed_tool() {
    killing("$tool").check(|o| assert_ne!(o.text(), "0\n")).both();
}

fn doctor_knows_go() {
    let Some(cli) = artifact("jsshim") else { return };
    let told = |o: &Outcome| assert!(o.text().contains("its tools queue"), "{}", o.text());
    Run::new(&[&cli, "doctor", "go", "build"]).preload_inside().any_peak().check(told).once();
}
