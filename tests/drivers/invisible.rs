//! Programs that the library cannot see: static ones, and those of Go, which make their system calls
//! themselves. As jobs they wait like others; what they start does not, and `jsshim` says so.

use super::{shell, Row, REPEATS};
use crate::harness::programs::{artifact, tool};
use crate::harness::Run;
use crate::Test;

pub const ROWS: &[Row] = &[
    ("busybox_static", |_| eight("$BUSYBOX sh j $i")),
    ("go_task", |_| eight("$TASK -s $i").may_idle()),
    ("go_gosu", |_| eight("gosu root sh j $i")),
    ("go_direnv", |_| eight("direnv exec . sh j $i 2>/dev/null")),
];

/// A command, what `jsshim` says of it, and whether its own jobs queue all the same: those of a
/// program that becomes another one.
const NAMED: &[(&str, &str, bool)] = &[
    ("$BUSYBOX ash eight", "busybox is statically linked", false),
    ("$TASK -s -p 1 2 3 4 5 6 7 8", "task is statically linked", false),
    ("gosu root bash eight", "gosu is statically linked", true),
    // It is loaded by ld.so, and yet the library sees nothing.
    ("direnv export bash >log", "direnv is a Go program", false),
];

pub fn tests() -> Vec<Test> {
    let test = |row: &'static (&str, &str, bool)| {
        let name = row.1.split(' ').next().unwrap_or_default();
        crate::test(&format!("drivers::{name}_is_named"), move || is_named(row))
    };
    NAMED.iter().map(test).collect()
}

fn eight(command: &str) -> Run {
    with_tools(&format!("for i in 1 2 3 4 5 6 7 8; do ({command}; exit $i) & done; wait; exit 5"))
}

fn is_named((command, said, queues): &'static (&str, &str, bool)) {
    let run = with_tools(&format!("export ENVRC=yes; exec ${{JSSHIM_LIB:+$CLI -j2 --}} {command}"))
        .env("CLI", &artifact("jsshim").unwrap_or_default())
        .preload_inside()
        .unordered()
        .warns()
        .check(super::eight)
        .check(move |o| {
            // How many lines the library says is compared with the other run.
            let silent = !o.stderr.contains("jsshim:");
            assert!(silent || o.stderr.contains(said), "not said: {said}");
        })
        .times(REPEATS);
    if *queues {
        run.slots(2).both()
    } else {
        run.both()
    }
}

fn with_tools(text: &str) -> Run {
    let mut tasks = "version: '3'\ntasks:\n".to_owned();
    (1..=8).for_each(|i| tasks += &format!("  {i}:\n    cmd: sh j {i}\n"));
    shell("bash", &format!("export HOME=$PWD; direnv allow; {text}"))
        .env("DIRENV_LOG_FORMAT", "")
        .env("BUSYBOX", &tool("busybox-static", "busybox"))
        .env("TASK", &tool("task-3.54.0", "task"))
        .file("Taskfile.yml", &tasks)
        .file("eight", "for i in 1 2 3 4 5 6 7 8; do sh j $i & done; wait; exit 5\n")
        .file(".envrc", "[ ! \"$ENVRC\" ] || for i in 1 2 3 4 5 6 7 8; do sh j $i 0 & done; wait\n")
}
