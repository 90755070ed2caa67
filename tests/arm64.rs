//! Programs of arm64 with the library of arm64: tests of other themes, in a small system of that machine (scripts/arm64),
//! each program of it run by qemu's emulator of processes.
//!
//! It is the kernel of this machine that runs, and not all of it is passed on (`clone` without an exit signal, execveat,
//! the memory that a vfork shares; /proc tells of the emulator, not of the program). What looks at that is not in
//! this list, and fails there without the library, too; docs/LIMITS.md says what the library itself does less there.
//! `scripts/test --arm64` runs a longer list.

use std::path::Path;
use std::process::Command;

use crate::harness::programs::{folder, on_path, once, output, script};
use crate::Test;

/// What takes long comes first.
const SHORT: [&str; 6] = [
    "table::every_door_takes_a_slot",
    "xargs::p8_on_a_pool_of_one",
    "ninja::below_make",
    "python::pool_map",
    "hosts::vforks",
    "soak::kill_storm",
];

/// Where `JSSHIM_ARM64` asks for it.
const LONG: [&str; 0] = [];

pub fn tests() -> Vec<Test> {
    let more = if std::env::var_os("JSSHIM_ARM64").is_some() { &LONG[..] } else { &[] };
    let test = |name: &'static str| {
        crate::test(&format!("arm64::{}", name.replace("::", "_")), move || in_the_system(name))
    };
    SHORT.iter().chain(more).map(|name| test(name)).collect()
}

/// Library and helper.
fn build(_: &Path) {
    output(&script("../scripts/arm64"), &["build", "-p", "jsshim", "-p", "jsshim-helper"]);
}

/// A test of another theme, by this same program, which is of this machine.
fn in_the_system(name: &str) {
    once("arm64-built", build);
    let place = folder().join("arm64");
    std::fs::create_dir_all(&place).expect("a folder can be made");
    let this = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(on_path("bash"));
    command.arg(script("../scripts/arm64")).arg("run").arg(this);
    let status = command.args([crate::run::ONE, name]).arg(place).status().expect("bash runs");
    assert!(status.success(), "{name}: {status}");
}
