//! The C library: programs of `c/libjobserver`, linked once to the shared and once to the static library,
//! each case in a process of its own, without the preloaded library and with it.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, once, output, source};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    let mut list = crate::tests![
        shows_its_functions_only,
        needs_libc_only,
        header_in_c_and_cpp,
        create_on_a_full_system,
        pending_output_is_written_once,
        many_jobs,
        many_jobs_leak_nothing,
        sixteen_instances_on_a_pool,
        manual_pages_are_clean,
        manual_pages_name_every_function,
    ];
    for program in ["errors", "defects", "hosts", "env"] {
        for link in [Link::Shared, Link::Static] {
            let name = format!("libjobserver::{program}_{link:?}").to_lowercase();
            list.push(crate::test(&name, move || cases(program, link)));
        }
    }
    list
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Link {
    Shared,
    Static,
}

pub const LINKS: [Link; 2] = [Link::Shared, Link::Static];

/// The library's folder in the sources: header, manual pages.
fn home(name: &str) -> String {
    let path = source().join("../src/libjobserver").join(name);
    path.to_str().expect("paths of the tests are UTF-8").to_owned()
}

/// A folder with the library under the names that the linker and the loader look for.
fn lib() -> String {
    once("lib", |dir| {
        fs::create_dir_all(dir).unwrap();
        for name in ["libjobserver.so", "libjobserver.so.0"] {
            symlink(artifact("libjobserver.so").unwrap(), dir.join(name)).unwrap();
        }
    })
}

/// Compiles a C program; `None` where there is no release build.
pub fn build(from: &str, link: Link, compiler: &[&str]) -> Option<String> {
    let archive = artifact("libjobserver.a")?;
    let name = from.rsplit('/').next()?.trim_end_matches(".c");
    let target = format!("{name}-{link:?}-{}", compiler.join(""));
    Some(once(&target, |path| {
        let from = source().join(from);
        let (from, target) = (from.to_str().expect("UTF-8"), path.to_str().expect("UTF-8"));
        let header = format!("-I{}", home(""));
        let (search, rpath) = (format!("-L{}", lib()), format!("-Wl,-rpath,{}", lib()));
        let mut line = compiler.to_vec();
        line.extend(["-O1", "-g", "-Wall", "-Wextra", "-Werror", &header, "-o", target, from]);
        match link {
            Link::Shared => line.extend(["-xnone", &search, "-ljobserver", &rpath]),
            Link::Static => line.extend(["-xnone", &archive]),
        }
        output(line[0], &line[1..]);
    }))
}

const GNU: [&str; 3] = ["cc", "-pthread", "-D_GNU_SOURCE"];

fn program(name: &str, link: Link) -> Option<String> {
    build(&format!("c/libjobserver/{name}.c"), link, &GNU)
}

// ---- cases in C ------------------------------------------------------------------------------

/// Under names of their own, because the kernel or the harness has a part in them.
const APART: [&str; 2] = ["create_on_a_full_system", "pending_output_is_written_once"];

fn cases(name: &str, link: Link) {
    let Some(program) = program(name, link) else { return };
    let list = output(&program, &[]);
    assert!(list.lines().count() > 3, "{list}");
    for case in list.lines().filter(|case| !APART.contains(case)) {
        let told = Some(case.to_owned());
        let check = move |o: &Outcome| assert!(o.status.success(), "{told:?}");
        let run = Run::new(&[&program, case]).check(check).any_peak();
        run.check(|o| assert_eq!((o.text(), &*o.stderr), (String::new(), ""))).both();
    }
}

fn create_on_a_full_system() {
    for link in LINKS {
        let Some(program) = program("errors", link) else { return };
        let full = ["-f", "-o", "trace", "-e", "inject=pipe2:error=ENFILE"];
        let argv = [&["strace"][..], &full, &[&program, "create_on_a_full_system"]].concat();
        Run::new(&argv)
            .any_peak()
            .check(|o| assert!(o.status.success(), "{}", o.stderr))
            .run(false);
    }
}

fn pending_output_is_written_once() {
    for link in LINKS {
        let Some(program) = program("defects", link) else { return };
        let said = "from the job one\nfrom the job two\nfrom the program\n";
        let run = Run::new(&[&program, "pending_output_is_written_once"]).any_peak();
        run.check(move |o| assert_eq!(o.text(), said)).both();
    }
}

// ---- the files -------------------------------------------------------------------------------

/// The functions of the header.
fn functions() -> Vec<String> {
    let header = fs::read_to_string(home("jobserver.h")).unwrap();
    let name = |line: &str| {
        let (name, _) =
            line.strip_prefix("int ").or(line.strip_prefix("void "))?.split_once('(')?;
        Some(name.to_owned())
    };
    let mut names: Vec<_> = header.lines().filter_map(name).collect();
    names.sort_unstable();
    assert_eq!(names.len(), 17);
    names
}

fn shows_its_functions_only() {
    let Some(library) = artifact("libjobserver.so") else { return };
    let table = output("nm", &["-D", "--defined-only", &library]);
    let mut shown: Vec<_> = table.lines().filter_map(|l| l.split_whitespace().last()).collect();
    shown.sort_unstable();
    assert_eq!(shown, functions());
}

fn needs_libc_only() {
    let Some(library) = artifact("libjobserver.so") else { return };
    let dynamic = output("readelf", &["-dW", &library]);
    let needed: Vec<_> = dynamic.lines().filter(|l| l.contains("(NEEDED)")).collect();
    assert!(needed.len() == 1 && needed[0].contains("[libc.so.6]"), "{dynamic}");
    assert!(dynamic.contains("Library soname: [libjobserver.so.0]"), "{dynamic}");
    assert!(dynamic.contains("NODELETE"), "{dynamic}");
    let size = fs::metadata(&library).unwrap().len();
    assert!(size < 128 * 1024, "{size} bytes");
}

fn header_in_c_and_cpp() {
    let dialects: [&[&str]; 5] = [
        &["cc", "-std=c99", "-pedantic"],
        &["cc", "-std=c11", "-pedantic"],
        &["cc", "-std=c17", "-pedantic"],
        &["g++", "-std=c++11", "-pedantic", "-xc++"],
        &["g++", "-std=c++20", "-pedantic", "-xc++"],
    ];
    for compiler in dialects {
        for link in LINKS {
            let Some(program) = build("c/libjobserver/abi.c", link, compiler) else { return };
            Run::new(&[program]).any_peak().check(|o| assert!(o.status.success())).both();
        }
    }
}

// ---- many ------------------------------------------------------------------------------------

fn many_jobs() {
    for link in LINKS {
        let Some(program) = program("soak", link) else { return };
        let run = Run::new(&[&*program, "jobs", "3000"]).any_peak();
        run.check(|o| assert!(o.status.success(), "{}", o.stderr)).once();
    }
}

fn many_jobs_leak_nothing() {
    let Some(program) = program("soak", Link::Shared) else { return };
    // A job inherits all that the program has.
    let kinds = "--show-leak-kinds=definite,indirect,possible";
    let flags = ["-q", "--leak-check=full", kinds, "--error-exitcode=9"];
    let argv = [&["valgrind"][..], &flags, &[&program, "jobs", "100"]].concat();
    let run = Run::new(&argv).any_peak();
    run.check(|o| assert_eq!((o.status.code(), &*o.stderr), (Some(0), ""))).run(false);
}

/// Two programs with eight instances each, for a while.
fn sixteen_instances_on_a_pool() {
    let (Some(a), Some(b)) = (program("soak", Link::Shared), program("soak", Link::Static)) else {
        return;
    };
    for kind in [Kind::Blocking, Kind::NonBlocking, Kind::Fifo] {
        let script = format!("{a} instances 4 & {b} instances 4 || exit; wait $!");
        let run = Run::new(&["bash", "-c", &script]).pool(kind, 6).any_peak();
        let check =
            |o: &Outcome| assert!(o.status.success() && o.stderr.is_empty(), "{}", o.stderr);
        run.check(check).run(false);
    }
}

// ---- the manual ------------------------------------------------------------------------------

fn pages() -> Vec<String> {
    let entries = fs::read_dir(home("man")).unwrap().flatten();
    let mut pages: Vec<_> =
        entries.map(|e| home(&format!("man/{}", e.file_name().display()))).collect();
    pages.sort_unstable();
    pages
}

fn manual_pages_are_clean() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        if let Some(other) = text.strip_prefix(".so man3/") {
            assert!(fs::exists(home(&format!("man/{}", other.trim_end()))).unwrap(), "{page}");
            continue;
        }
        let flags = ["-man", "-t", "-ww", "-b", "-z"];
        let out = Command::new("groff").args(flags).arg(&page).output().unwrap();
        assert!(out.status.success() && out.stderr.is_empty(), "{page}: {out:?}");
        assert!(!text.lines().any(|l| l.ends_with(' ') || l.is_empty()), "{page}: blanks");
    }
}

/// Each function has its page, and each page says what can fail.
fn manual_pages_name_every_function() {
    let text: String = pages().iter().map(|page| fs::read_to_string(page).unwrap()).collect();
    for name in functions() {
        let shown = ["int", "void"].iter().any(|kind| text.contains(&format!("{kind} {name}(")));
        assert!(shown && fs::exists(home(&format!("man/{name}.3"))).unwrap(), "{name}");
    }
    let overview = fs::read_to_string(home("man/jobserver.7")).unwrap();
    let program = fs::read_to_string(source().join("c/libjobserver/example.c")).unwrap();
    let shown = overview.split(".EX\n").last().unwrap().split("\n.EE").next().unwrap();
    let shown =
        shown.replace("\\e", "\\").replace("\\&", "").replace("\\-", "-").replace("\\(aq", "'");
    let code = &program[program.find("#include").unwrap()..];
    assert_eq!(shown.trim(), code.trim(), "the example of jobserver(7) is the one that is tested");
}
