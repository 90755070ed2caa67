//! What the built files ask of a system, and what they show to other libraries.

use std::collections::BTreeSet;
use std::fs;

use crate::harness::programs::{artifact, output, source};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        needs_libc_only,
        shows_its_hooks_only,
        runs_on_an_old_libc,
        asks_for_no_executable_stack,
        helper_is_static_and_small,
    ]
}

fn needs_libc_only() {
    let Some(library) = artifact("libjsshim.so") else {
        return;
    };
    let dynamic = output("readelf", &["-dW", &library]);
    let needed = dynamic.lines().filter(|line| line.contains("(NEEDED)"));
    for line in needed {
        let allowed = ["[libc.so.6]", "[ld-linux-x86-64.so.2]", "[ld-linux-aarch64.so.1]"];
        assert!(allowed.iter().any(|name| line.contains(name)), "{line}");
    }
    assert!(dynamic.contains("[libc.so.6]"), "{dynamic}");
}

fn shows_its_hooks_only() {
    let Some(library) = artifact("libjsshim.so") else {
        return;
    };
    let table = output("nm", &["-D", "--defined-only", &library]);
    let name = |line: &str| line.split_whitespace().last().map(str::to_owned);
    let shown: BTreeSet<_> = table.lines().filter_map(name).collect();
    let list = fs::read_to_string(source().join("../src/shim/hooks.txt")).unwrap();
    let lines = list.lines().map(str::trim);
    let hooks = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let hooks: BTreeSet<_> = hooks.map(str::to_owned).collect();
    let more: Vec<_> = shown.difference(&hooks).collect();
    let less: Vec<_> = hooks.difference(&shown).collect();
    assert!(more.is_empty() && less.is_empty(), "shown besides: {more:?}, missing: {less:?}");
}

/// One symbol of a newer version, and programs of an older chroot do not start at all.
fn runs_on_an_old_libc() {
    let Some(library) = artifact("libjsshim.so") else {
        return;
    };
    let symbols = output("readelf", &["-W", "--dyn-syms", &library]);
    let versions = symbols.split("@GLIBC_").skip(1).map(|rest| {
        let version = rest.split([' ', '\n', ')']).next().unwrap_or_default();
        let mut numbers = version.split('.').map(|n| n.parse::<u32>().unwrap());
        (numbers.next().unwrap(), numbers.next().unwrap_or(0))
    });
    if cfg!(target_arch = "x86_64") {
        assert!(versions.max() <= Some((2, 17)), "{symbols}");
    }
}

fn asks_for_no_executable_stack() {
    for name in ["libjsshim.so", "jsshim-helper"] {
        let Some(file) = artifact(name) else { return };
        let headers = output("readelf", &["-lW", &file]);
        let stack = headers.lines().find(|line| line.contains("GNU_STACK"));
        assert!(stack.is_some_and(|line| line.contains(" RW ")), "{name}: {stack:?}");
    }
}

fn helper_is_static_and_small() {
    let Some(helper) = artifact("jsshim-helper") else {
        return;
    };
    let headers = output("readelf", &["-lW", &helper]);
    assert!(!headers.contains("INTERP"), "{headers}");
    let size = fs::metadata(&helper).unwrap().len();
    assert!(size < 64 * 1024, "{size} bytes");
}
