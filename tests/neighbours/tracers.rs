//! Hosts that are traced, debugged or run by an interpreter of machine code.

use super::{below, ends_with_5, KINDS};
use crate::harness::pool::Kind;
use crate::harness::programs::compiled_with;
use crate::harness::Run;
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        strace_of_a_host,
        strace_of_ninja,
        strace_below_ours,
        gdb_with_a_breakpoint,
        valgrind_of_a_host,
        valgrind_of_a_host_and_its_jobs,
    ]
}

// ---- strace ------------------------------------------------------------------------------------

/// The tracer is no part of what is measured, and stops every process at each call and signal.
fn strace_of_a_host() {
    for door in ["reaps-at-the-end", "vforks", "forks-without-exec", "threads"] {
        for kind in KINDS {
            let host = compiled_with("hosts", "hosts", &[]);
            let text =
                format!("exec strace -f -o /dev/null ${{OURS:+-E LD_PRELOAD=$OURS}} {host} {door}");
            let run = below(&text).pool(kind, 2).settles(8);
            ends_with_5(run).both();
        }
    }
}

fn strace_of_ninja() {
    let mut build = "rule job\n  command = $$JOB -b 5 -s 40 -k 1 -i $id\n".to_owned();
    for edge in 0..12 {
        build += &format!("build out{edge}: job\n  id = e{edge}\n");
    }
    below("exec strace -f -o trace ${OURS:+-E LD_PRELOAD=$OURS} ninja -j6")
        .file("build.ninja", &build)
        .env("NINJA_STATUS", "")
        .pool(Kind::NonBlocking, 2)
        .both();
}

/// Here the library is in strace as well, whose child is its first job.
fn strace_below_ours() {
    let text = format!("strace -f -o /dev/null bash -c '{}'; exit $?", JOBS);
    for kind in KINDS {
        ends_with_5(Run::new(&["bash", "-c", &text]).pool(kind, 2).unordered()).both();
    }
}

const JOBS: &str = "for i in 1 2 3 4 5 6; do $JOB -b 5 -s 40 -i j$i -k 1 & done; wait; exit 5";

// ---- gdb ---------------------------------------------------------------------------------------

/// It runs the host to a breakpoint and then to its end, and lets go of the children.
fn gdb_with_a_breakpoint() {
    let host = compiled_with("hosts", "hosts", &[]);
    for (mode, place) in [
        ("reaps-at-the-end", "report"),
        ("vforks", "report"),
        ("forks-without-exec", "report"),
        ("threads", "report"),
        ("handler", "on_child"),
        ("popen", "with_popen"),
    ] {
        let text = format!(
            "gdb -nx -batch ${{OURS:+-ex \"set environment LD_PRELOAD $OURS\"}} -ex 'break {place}' \
                -ex 'run {mode} >out' -ex delete -ex continue {host} >log 2>&1
            cat out; grep -q 'Breakpoint 1, .*{place}' log && echo stopped; grep -o 'exited with code .*' log"
        );
        let run = below(&text).pool(Kind::NonBlocking, 2).settles(8);
        run.check(|o| {
            let text = o.text();
            assert!(text.contains("stopped\n"), "{text}");
            assert!(text.contains("exited with code 05]\n"), "{text}");
        })
        .both();
    }
}

// ---- valgrind ----------------------------------------------------------------------------------

/// Errors are told by the exit status; its own remarks on pidfd_open(2), which older ones do not know, go to a file.
fn valgrind(options: &str, modes: &[&str]) {
    let host = compiled_with("hosts", "hosts", &[]);
    for mode in modes {
        let text = format!(
            "[ -z \"$OURS\" ] || export LD_PRELOAD=$OURS
            exec valgrind -q --log-file=log.%p --error-exitcode=9 {options} {host} {mode}"
        );
        let run = below(&text).pool(Kind::NonBlocking, 2).settles(8).any_peak();
        ends_with_5(run).both();
    }
}

/// It runs the library's instructions one by one as well, and has nothing to say about what they touch.
fn valgrind_of_a_host() {
    valgrind("", &["reaps-at-the-end", "vforks", "threads", "popen"]);
}

/// As its manual says, what is of no interest is left out: this valgrind does not know all system calls.
fn valgrind_of_a_host_and_its_jobs() {
    valgrind(
        "--tool=none --trace-children=yes --trace-children-skip='*/jsshim-helper'",
        &["reaps-at-the-end", "vforks"],
    );
}
