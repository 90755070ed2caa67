//! Every exec and spawn door, with targets that cannot be started and some that can (c/doors.c): the
//! caller sees the same errno and the same status whether there is a slot for its child or not.

use std::thread;

use crate::harness::pool::Kind;
use crate::harness::programs::{compiled, compiled_with};
use crate::harness::Run;
use crate::Test;

const TARGETS: [&str; 16] = [
    "enoent",
    "eacces",
    "enoexec",
    "empty",
    "e2big",
    "nearly-too-big",
    "directory",
    "script-without-interpreter",
    "interpreter-is-a-folder",
    "elf-without-loader",
    "enotdir",
    "eloop",
    "enametoolong",
    "later-in-path",
    "program",
    "script",
];

pub fn tests() -> Vec<Test> {
    crate::tests![
        with_a_full_pool,
        with_an_empty_pool,
        with_an_empty_pool_and_held_children,
        with_an_empty_pool_for_longer_than_the_gate_waits,
    ]
}

/// Mostly waiting, so all targets at once.
fn each(targets: &[&'static str], run: impl Fn(&str) -> Run + Send + Sync) {
    thread::scope(|scope| {
        let start = |target: &&'static str| {
            let (target, run) = (*target, &run);
            let work = move || run(target).check(|o| assert!(o.status.success())).both();
            let named = thread::Builder::new().name(target.to_owned());
            named.spawn_scoped(scope, work).unwrap()
        };
        let threads: Vec<_> = targets.iter().map(start).collect();
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}

/// `occupy`: how long another child holds the host's own slot in each row, in milliseconds.
fn through(target: &str, occupy: &str, slots: usize) -> Run {
    let no_loader = ["-Wl,--dynamic-linker=/nonexistent/loader"];
    Run::new(&[&compiled("doors"), target, occupy])
        .env("DOOR_SHOW", &compiled("show"))
        .env("DOOR_NO_LOADER", &compiled_with("show", "no-loader", &no_loader))
        .pool(Kind::NonBlocking, slots)
        .any_peak()
}

fn with_a_full_pool() {
    each(&TARGETS, |target| through(target, "0", 4));
}

fn with_an_empty_pool() {
    each(&TARGETS, |target| through(target, "100", 1));
}

fn with_an_empty_pool_and_held_children() {
    each(&TARGETS, |target| through(target, "100", 1).env("JSSHIM_GATE", "child"));
}

fn with_an_empty_pool_for_longer_than_the_gate_waits() {
    each(&["enoent", "e2big", "program", "enoexec"], |target| {
        through(target, "1500", 1).arg("execve")
    });
    each(&["enoent", "script", "later-in-path"], |target| through(target, "1500", 1).arg("execvp"));
}
