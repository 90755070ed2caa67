//! Programs of arm64 with the library of arm64: tests of other themes, in a small system of that machine (scripts/arm64),
//! each program of it run by qemu's emulator of processes. `scripts/test --arm64` runs a longer list.
//!
//! It is this machine's kernel that runs, and qemu 7.2 hands down only a part of it. No test here looks at what is left
//! out, which is missing without the library, too:
//! - a vfork is a fork; a clone without an exit signal, or that shares descriptors, is refused, and so is execveat: the
//!   guard has no double, and its host gets one SIGCHLD more when it starts;
//! - a signal that is ignored is not ignored any more after a second exec, as that of a held job is;
//! - /proc tells of the emulator: of its threads, so that no host waits in a gate, and of its calls, so that no job is
//!   seen to sleep.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::programs::{artifact, folder, on_path, once, output, script};
use crate::Test;

/// What takes long comes first.
const SHORT: [&str; 5] = [
    "table::every_door_takes_a_slot",
    "xargs::p8_on_a_pool_of_one",
    "ninja::below_make",
    "python::pool_map",
    "hosts::vforks",
];

/// Where `JSSHIM_TEST_ARM64` asks for them. In the storm a ledger may stay behind, as no guard has a double.
const LONG: [&str; 36] = [
    "soak::kill_storm",
    "hosts::reaps_at_the_end",
    "hosts::forks_without_exec",
    "hosts::never_reaps",
    "hosts::never_drains",
    "hosts::tight_loop",
    "hosts::ignores_sigchld",
    "hosts::no_child_wait",
    "hosts::handler",
    "hosts::restarting_handler",
    "hosts::threads",
    "ninja::below_make_j1",
    "ninja::below_make_j3",
    "ninja::below_make_preloaded_as_well",
    "ninja::in_two_recipes_at_once",
    "python::pool_that_is_terminated",
    "python::pool_of_one_task_per_child",
    "python::pool_below_make",
    "python::process_pool_executor",
    "python::bare_forks",
    "python::spawned_pool",
    "python::asyncio_subprocesses",
    "python::threads_with_subprocesses",
    "python::os_system_in_forks",
    "xargs::p8",
    "xargs::p8_below_make",
    "xargs::exit_status_of_a_failed_item",
    "shells::bash_background",
    "shells::bash_subshells",
    "shells::bash_functions_without_exec",
    "shells::dash_background",
    "shells::dash_subshells",
    "shells::dash_statuses",
    "launcher::version_says_jsshim",
    "cli::slots_by_variable",
    "ninja::below_jsshim_without_make",
];

fn is_long() -> bool {
    std::env::var_os("JSSHIM_TEST_ARM64").is_some()
}

pub fn tests() -> Vec<Test> {
    let test = |name: &'static str| {
        crate::test(&format!("arm64::{}", name.replace("::", "_")), move || in_the_system(name))
    };
    let more = if is_long() { &LONG[..] } else { &[] };
    let mut list: Vec<_> = SHORT.iter().chain(more).map(|name| test(name)).collect();
    list.extend(crate::tests![asks_for_as_little]);
    list
}

/// Library and helper, and in the longer list the launcher, which takes minutes.
fn build(_: &Path) {
    let packages = ["build", "-p", "jsshim", "-p", "jsshim-helper", "-p", "jsshim-cli"];
    output(&script("../scripts/arm64"), &packages[..if is_long() { 7 } else { 5 }]);
}

fn built() -> PathBuf {
    once("arm64-built", build);
    script("../target/arm64/aarch64-unknown-linux-gnu/release").into()
}

/// A test of another theme, by this same program, which is of this machine.
fn in_the_system(name: &str) {
    built();
    let place = folder().join("arm64");
    std::fs::create_dir_all(&place).expect("a folder can be made");
    let this = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(on_path("bash"));
    command.arg(script("../scripts/arm64")).arg("run").arg(this);
    let status = command.args([crate::run::ONE, name]).arg(place).status().expect("bash runs");
    assert!(status.success(), "{name}: {status}");
}

/// The compiler's own functions for atomic steps would ask the C library for the kind of processor: then the helper
/// would be linked to it, and the library have two more constructors.
fn asks_for_as_little() {
    let Some(library) = artifact("libjsshim.so") else { return };
    let (ours, here) = (built().join("libjsshim.so"), built().join("jsshim-helper"));
    let asked = |file: &str| -> BTreeSet<String> {
        let table = output("nm", &["-D", "--undefined-only", file]);
        table
            .lines()
            .filter_map(|line| Some(line.split(['U', '@']).nth(1)?.trim().into()))
            .collect()
    };
    let (ours, native) = (asked(ours.to_str().expect("UTF-8")), asked(&library));
    // GNU ld names these twice.
    let is_known = |name: &&String| ["__environ", "__progname"].contains(&name.as_str());
    let more: Vec<_> = ours.difference(&native).filter(|name| !is_known(name)).collect();
    assert!(ours.contains("environ") && more.is_empty(), "{more:?}");
    let headers = output("readelf", &["-ldW", here.to_str().expect("UTF-8")]);
    assert!(headers.contains("EXEC") && !headers.contains("INTERP"), "{headers}");
    assert!(!headers.contains("(NEEDED)"), "{headers}");
}
