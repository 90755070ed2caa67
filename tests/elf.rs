//! What the built files ask of a system, and what they show to other libraries.

use std::collections::BTreeSet;
use std::fs;

use crate::harness::programs::{artifact, on_path, output, preload, source};
use crate::Test;

/// Makes a list of the table of which the library makes its hooks.
macro_rules! doors {
    ($($kind:ident [$($name:ident),+] $args:tt -> $ret:ty, $how:tt $body:tt;)*) => {
        /// The doors: kind and name.
        pub const DOORS: &[(&str, &str)] = &[$($((stringify!($kind), stringify!($name))),+),*];
    };
}
include!("../src/shim/doors/table.rs");

pub fn tests() -> Vec<Test> {
    crate::tests![
        needs_libc_only,
        shows_its_hooks_only,
        manual_names_every_door,
        runs_on_an_old_libc,
        asks_for_no_executable_stack,
        helper_is_static_and_small,
        launcher_needs_no_libc,
        layout_names_what_is_there,
        packages_would_need_more,
        loads_with_few_calls,
    ]
}

/// The libraries that a file asks for.
fn needed(file: &str) -> Vec<String> {
    let dynamic = output("readelf", &["-dW", file]);
    let lines = dynamic.lines().filter(|line| line.contains("(NEEDED)"));
    let name = |line: &str| line.split(['[', ']']).nth(1).unwrap_or_default().to_owned();
    lines.map(name).collect()
}

/// The newest version of glibc that a file asks for.
fn newest_glibc(file: &str) -> Option<(u32, u32)> {
    let symbols = output("readelf", &["-W", "--dyn-syms", file]);
    let versions = symbols.split("@GLIBC_").skip(1).map(|rest| {
        let version = rest.split([' ', '\n', ')']).next().unwrap_or_default();
        let mut numbers = version.split('.').map(|n| n.parse::<u32>().unwrap());
        (numbers.next().unwrap(), numbers.next().unwrap_or(0))
    });
    versions.max()
}

fn needs_libc_only() {
    let Some(library) = artifact("libjsshim.so") else {
        return;
    };
    let needed = needed(&library);
    let allowed = ["libc.so.6", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"];
    assert!(needed.iter().all(|name| allowed.contains(&&**name)), "{needed:?}");
    assert!(needed.iter().any(|name| name == "libc.so.6"), "{needed:?}");
}

/// Why the library does without ctor and redhook: with them even two hooks ask for what older systems do not have,
/// and what each exec of a build would load (docs/ARCHITECTURE.md).
fn packages_would_need_more() {
    for name in ["spawnlog", "neighbour"] {
        let library = preload(name);
        let needed = needed(&library);
        assert!(needed.iter().any(|name| name == "libgcc_s.so.1"), "{name}: {needed:?}");
        assert!(newest_glibc(&library) >= Some((2, 34)), "{name}: {:?}", newest_glibc(&library));
    }
}

/// What the loader and the constructor do in each exec of a build, counted in system calls: no more than for
/// libeatmydata, which is in C and has a constructor, and half of what hooks made with ctor and redhook take.
fn loads_with_few_calls() {
    let Some(library) = artifact("libjsshim.so") else {
        return;
    };
    let listed = output("dpkg", &["-L", "libeatmydata1"]);
    let eatmydata = listed.lines().find(|line| line.ends_with("/libeatmydata.so")).unwrap();
    let calls = |library: &str| {
        let preload = format!("LD_PRELOAD={library}");
        let script = "strace -qq -o /dev/stdout -E \"$0\" /bin/true";
        output(&on_path("sh"), &["-c", script, &preload]).lines().count()
    };
    let without = calls("");
    let [ours, others, crates] =
        [&library, eatmydata, &preload("spawnlog")].map(|library| calls(library) - without);
    assert!(ours <= others && 2 * ours <= crates, "{ours}, libeatmydata {others}, {crates}");
}

fn shows_its_hooks_only() {
    let Some(library) = artifact("libjsshim.so") else {
        return;
    };
    let table = output("nm", &["-D", "--defined-only", &library]);
    let name = |line: &str| line.split_whitespace().last().map(str::to_owned);
    let shown: BTreeSet<_> = table.lines().filter_map(name).collect();
    let hooks: BTreeSet<_> = DOORS.iter().map(|(_, name)| (*name).to_owned()).collect();
    let more: Vec<_> = shown.difference(&hooks).collect();
    let less: Vec<_> = hooks.difference(&shown).collect();
    assert!(more.is_empty() && less.is_empty(), "shown besides: {more:?}, missing: {less:?}");
}

fn manual_names_every_door() {
    let page = fs::read_to_string(source().join("../man/libjsshim.7")).unwrap();
    let section = page.split(".SH FUNCTIONS\n").nth(1).expect("a section on functions");
    let section = section.split(".PP\n").next().unwrap_or(section);
    let named: BTreeSet<_> = section.split(".TP\n.B ").skip(1).flat_map(row).collect();
    let doors: BTreeSet<_> = DOORS.iter().copied().collect();
    assert_eq!(named, doors);
}

/// The kind of a row, with each of its functions.
fn row(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut words = text.split_whitespace();
    let kind = words.next().unwrap_or_default();
    words.map(move |name| (kind, name))
}

/// One symbol of a newer version, and programs of an older chroot do not start at all.
fn runs_on_an_old_libc() {
    for library in ["libjsshim.so", "libjobserver.so"] {
        runs_on_glibc_2_17(library);
    }
}

fn runs_on_glibc_2_17(library: &str) {
    let Some(library) = artifact(library) else {
        return;
    };
    if cfg!(target_arch = "x86_64") {
        let newest = newest_glibc(&library);
        assert!(newest <= Some((2, 17)), "{library}: {newest:?}");
    }
}

fn asks_for_no_executable_stack() {
    for name in ["libjsshim.so", "libjobserver.so", "jsshim-helper"] {
        let Some(file) = artifact(name) else { return };
        let headers = output("readelf", &["-lW", &file]);
        let stack = headers.lines().find(|line| line.contains("GNU_STACK"));
        assert!(stack.is_some_and(|line| line.contains(" RW ")), "{name}: {stack:?}");
    }
}

/// It asks for no version of glibc, and so runs where the library does: here in a root directory of its own.
fn launcher_needs_no_libc() {
    let Some(launcher) = artifact("jsshim") else {
        return;
    };
    let headers = output("readelf", &["-ldW", "--dyn-syms", &launcher]);
    assert!(!headers.contains("INTERP") && !headers.contains("(NEEDED)"), "{headers}");
    assert!(!headers.contains("@GLIBC_"), "{headers}");
    let alone = "d=$(mktemp -d); cp $0 $d/jsshim; unshare -r chroot $d /jsshim --version; rm -r $d";
    let version = format!("jsshim {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(output("sh", &["-c", alone, &launcher]), version);
}

fn helper_is_static_and_small() {
    let Some(helper) = artifact("jsshim-helper") else {
        return;
    };
    let headers = output("readelf", &["-lW", &helper]);
    assert!(!headers.contains("INTERP"), "{headers}");
    let size = fs::metadata(&helper).unwrap().len();
    assert!(size < 136 * 1024, "{size} bytes");
}

/// A pattern of the library's layout that matches nothing groups nothing: a module has another name now.
fn layout_names_what_is_there() {
    let Some(library) = artifact("libjsshim.so") else {
        return;
    };
    let symbols = output("nm", &["--defined-only", &library]);
    let layout = fs::read_to_string(source().join("../src/shim/layout.ld")).unwrap();
    let names = layout.split(".text.*").skip(1).filter_map(|s| s.split('*').next());
    let is_name = |name: &&str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let names: Vec<_> = names.filter(is_name).collect();
    assert!(names.len() > 8, "{names:?}");
    let unknown: Vec<_> = names.iter().filter(|name| !symbols.contains(**name)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
