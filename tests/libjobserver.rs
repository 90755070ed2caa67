//! The C library: programs of `c/libjobserver`, linked once to the shared and once to the static library,
//! each case in a process of its own, without the preloaded library and with it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, base, on_path, output, source, tool};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    let mut list = crate::tests![
        shows_its_functions_only,
        needs_libc_only,
        header_in_c_and_cpp,
        create_on_a_full_system,
        pending_output_is_written_once,
        example_without_a_pool,
        example_below_make,
        example_below_a_recipe_without_plus,
        example_that_needs_a_pool,
        example_is_charged_once,
        example_below_jsshim,
        pool_of_another_user,
        make_below_the_example,
        make_below_the_example_below_make,
        minimake_below_make,
        minimake_with_a_pool_of_its_own,
        minimake_in_rust,
        minimake_stops_at_an_error,
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
enum Link {
    Shared,
    Static,
}

const LINKS: [Link; 2] = [Link::Shared, Link::Static];

/// The library's folder in the sources: header, manual pages.
fn home(name: &str) -> String {
    let path = source().join("../src/libjobserver").join(name);
    path.to_str().expect("paths of the tests are UTF-8").to_owned()
}

/// A folder with the library under the names that the linker and the loader look for.
fn lib() -> &'static str {
    static LIB: OnceLock<String> = OnceLock::new();
    LIB.get_or_init(|| {
        let dir = base().join("lib");
        fs::create_dir_all(&dir).unwrap();
        for name in ["libjobserver.so", "libjobserver.so.0"] {
            symlink(artifact("libjobserver.so").unwrap(), dir.join(name)).unwrap();
        }
        dir.to_str().unwrap().to_owned()
    })
}

/// Compiles a C program; `None` where there is no release build.
fn build(from: &str, link: Link, compiler: &[&str]) -> Option<String> {
    let archive = artifact("libjobserver.a")?;
    let name = from.rsplit('/').next()?.trim_end_matches(".c");
    static DONE: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let target = base().join(format!("{name}-{link:?}-{}", compiler.join("")));
    let target = target.to_str()?.to_owned();
    let mut done = DONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if !done.insert(target.clone()) {
        return Some(target);
    }
    let from = source().join(from);
    let header = format!("-I{}", home(""));
    let (search, rpath) = (format!("-L{}", lib()), format!("-Wl,-rpath,{}", lib()));
    let mut line = compiler.to_vec();
    line.extend(["-O1", "-g", "-Wall", "-Wextra", "-Werror", &header, "-o", &target]);
    line.push(from.to_str()?);
    match link {
        Link::Shared => line.extend(["-xnone", &search, "-ljobserver", &rpath]),
        Link::Static => line.extend(["-xnone", &archive]),
    }
    output(line[0], &line[1..]);
    Some(target)
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

// ---- the manual's example --------------------------------------------------------------------

/// With `cc -Wall -Wextra` and nothing else, as the manual says.
fn example(link: Link) -> Option<String> {
    build("c/libjobserver/example.c", link, &["cc"])
}

const THREE: [&str; 3] = ["/usr/bin/date --iso-8601", "/usr/bin/hostname -i", "/usr/bin/whoami"];

fn well(run: Run, said: &'static str) -> Run {
    run.check(move |o| {
        assert!(o.status.success(), "{}", o.stderr);
        assert!(o.stderr.contains(said), "{}", o.stderr);
        assert_eq!(o.stderr.matches("collected with status: 0.").count(), 3, "{}", o.stderr);
        assert_eq!(o.text().lines().count(), 3);
    })
}

fn example_without_a_pool() {
    for link in LINKS {
        let Some(program) = example(link) else { return };
        let run = Run::new(&[&[&*program, "2"], &THREE[..]].concat()).unordered().any_peak();
        well(run, "no jobserver found.\nCreating jobserver ... done.").both();
    }
}

/// A recipe with the example in it.
fn below(make: &str, flags: &[&str], plus: &str, line: &str) -> Run {
    let top = format!("all:\n\t{plus}@$(SHIM) {line}\n");
    Run::new(&[&[make, "-j3"], flags].concat())
        .file("Makefile", &top)
        .env("SHIM", "LD_PRELOAD=$$JSSHIM_LIB")
        .preload_inside()
        .unordered()
}

fn makes() -> [(String, &'static [&'static str]); 3] {
    let new = tool("make-4.4.1", "make");
    [(on_path("make"), &[]), (new.clone(), &[]), (new, &["--jobserver-style=pipe"])]
}

fn example_below_make() {
    for link in LINKS {
        let Some(program) = example(link) else { return };
        for (make, flags) in makes() {
            let line = format!("{program} ! '{}' '{}' '{}'", THREE[0], THREE[1], THREE[2]);
            well(below(&make, flags, "+", &line).make(3).any_peak(), "done.").both();
            // All slots of make are used, and no more.
            let jobs = "'$(JOB) -b 5 -s 60' ".repeat(9);
            let run = below(&make, flags, "+", &format!("{program} ! {jobs}")).make(3);
            run.check(|o| assert!(o.status.success() && o.jobs.started == 9)).once_full();
        }
    }
}

fn example_below_a_recipe_without_plus() {
    for link in LINKS {
        let Some(program) = example(link) else { return };
        for first in ["!", "2"] {
            let run = below(&on_path("make"), &[], "", &format!("{program} {first} /bin/true"));
            let said = |o: &Outcome| {
                assert_eq!(o.status.code(), Some(2));
                let words = "no jobserver found";
                assert!(o.stderr.contains(words), "{}", o.stderr);
                assert!(o.stderr.contains("recursive make invocation without '+'"), "{}", o.stderr);
            };
            run.make(3).any_peak().check(said).both();
        }
    }
}

fn example_that_needs_a_pool() {
    for link in LINKS {
        let Some(program) = example(link) else { return };
        let said = "Connecting to jobserver ... no jobserver found and '!' was specified.\n";
        Run::new(&[&*program, "!", "/bin/true"])
            .any_peak()
            .check(move |o| assert_eq!((o.status.code(), &*o.stderr), (Some(1), said)))
            .both();
    }
}

/// The jobs of the library have their slots from the library; the preloaded one stands aside, although in the
/// program itself there is no word of the protocol.
fn example_is_charged_once() {
    for link in LINKS {
        let Some(program) = example(link) else { return };
        for kind in [Kind::Blocking, Kind::NonBlocking, Kind::Fifo] {
            let job = format!("{} -b 5 -s 60", crate::harness::programs::compiled("job"));
            let argv = [&[&*program, "!"][..], &[&*job; 9]].concat();
            let run = || Run::new(&argv).pool(kind, 3).check(|o| assert_eq!(o.jobs.started, 9));
            run().any_peak().both();
            run().once_full();
        }
    }
}

fn example_below_jsshim() {
    for link in LINKS {
        let Some(program) = example(link) else { return };
        let argv = [&[&*program, "!"][..], &["$JOB -b 5 -s 60"; 9]].concat();
        let job = crate::harness::programs::compiled("job");
        let argv: Vec<_> = argv.iter().map(|word| word.replace("$JOB", &job)).collect();
        let check =
            |o: &Outcome| assert!(o.status.success() && o.jobs.started == 9, "{}", o.stderr);
        Run::new(&argv).cli(3).check(check).once_full();
    }
}

/// The pipe of a make that runs as somebody else cannot be opened again: tokens are taken as they can be.
fn pool_of_another_user() {
    // SAFETY: it only tells a number.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("libjobserver::pool_of_another_user needs root");
        return;
    }
    for link in LINKS {
        let Some(program) = example(link) else { return };
        let job = format!("{} -b 5 -s 60", crate::harness::programs::compiled("job"));
        let argv = [&[&*program, "!"][..], &[&*job; 9]].concat();
        for kind in [Kind::Blocking, Kind::NonBlocking] {
            let run = Run::new(&argv).pool(kind, 3).by_nobody();
            run.check(|o| assert_eq!((o.status.code(), o.jobs.started), (Some(0), 9))).once_full();
        }
    }
}

const EIGHT: &str = "N = a b c d e f g h\nall: $(N)\n$(N):\n\t@$$JOB -b 5 -s 60\n";

/// Two makes, each of which has eight jobs.
fn two_makes(make: &str) -> [String; 2] {
    let command = format!("{make} -s -f below.mk");
    [command.clone(), command]
}

fn all_on_three(run: impl Fn() -> Run) {
    let run = || {
        run().file("below.mk", EIGHT).slots(3).check(|o| {
            assert!(o.status.success() && !o.stderr.contains("warning"), "{}", o.stderr);
            assert_eq!(o.jobs.started, 16);
        })
    };
    run().any_peak().both();
    run().once_full();
}

/// Makes in jobs join the pool that the library has made.
fn make_below_the_example() {
    let Some(program) = example(Link::Shared) else { return };
    for (make, _) in makes() {
        all_on_three(|| {
            Run::new(&[vec![program.clone(), "2".to_owned()], two_makes(&make).into()].concat())
        });
    }
}

/// And that of the make above.
fn make_below_the_example_below_make() {
    let Some(program) = example(Link::Static) else { return };
    for (make, flags) in makes() {
        let line = format!("{program} ! '{}'", two_makes(&make).join("' '"));
        all_on_three(|| below(&make, flags, "+", &line).make(3));
    }
}

// ---- minimake --------------------------------------------------------------------------------

fn minimake(link: Link) -> Option<String> {
    build("../examples/minimake.c", link, &["cc", "-D_GNU_SOURCE"])
}

/// Nine jobs, one more behind them, and one that nothing is needed for.
fn rules() -> String {
    let mut text = String::from("last: a1 a2 a3 a4 a5 a6 a7 a8 a9\n\techo last\n");
    for i in 1..=9 {
        text += &format!("a{i}: first\n\t$JOB -b 5 -s 50\n");
    }
    text + "first:\n\techo first\n"
}

fn in_order(run: Run) -> Run {
    run.file("rules", &rules()).check(|o| {
        assert!(o.status.success(), "{}", o.stderr);
        assert_eq!((o.text(), o.jobs.started), ("first\nlast\n".to_owned(), 9));
    })
}

fn minimake_below_make() {
    for link in LINKS {
        let Some(program) = minimake(link) else { return };
        for (make, flags) in makes() {
            let run = || in_order(below(&make, flags, "+", &format!("{program} rules"))).make(3);
            run().once_full();
            run().any_peak().both();
        }
    }
    let Some(program) = minimake(Link::Shared) else { return };
    let run = below(&on_path("make"), &["-n"], "+", &format!("{program} rules"));
    let silent = |o: &Outcome| assert!(o.status.success() && o.jobs.started == 0, "{}", o.stderr);
    run.file("rules", &rules()).make(3).any_peak().check(silent).run(false);
}

/// Like `make -jN` below a make, it takes no notice of the pool above; there the preloaded library gates it.
fn minimake_with_a_pool_of_its_own() {
    for link in LINKS {
        let Some(program) = minimake(link) else { return };
        in_order(Run::new(&[&*program, "-j4", "rules"]).slots(4).any_peak()).both();
        let run = || in_order(Run::new(&[&*program, "-j8", "rules"]));
        run().pool(Kind::NonBlocking, 2).both();
        run().pool(Kind::Fifo, 3).both();
    }
}

fn minimake_in_rust() {
    let Some(_) = artifact("libjobserver.so") else { return };
    let program = base().join("minimake-rs");
    let program = program.to_str().unwrap();
    let root = source().join("..");
    let mut cargo = Command::new(std::env::var("CARGO").unwrap_or("cargo".into()));
    cargo.current_dir(&root).args(["build", "-q", "--release", "-p", "jsshim-tests"]);
    let out = cargo.args(["--example", "minimake"]).output().unwrap();
    assert!(out.status.success(), "{out:?}");
    fs::copy(root.join("target/release/examples/minimake"), program).unwrap();
    for (make, flags) in makes() {
        let run = || in_order(below(&make, flags, "+", &format!("{program} rules"))).make(3);
        run().once_full();
        run().any_peak().both();
    }
    in_order(Run::new(&[program, "-j4", "rules"]).slots(4).any_peak()).both();
}

fn minimake_stops_at_an_error() {
    let text = "a:\n\tfalse\nb: a\n\techo b\nc:\n\techo c\n";
    let Some(program) = minimake(Link::Shared) else { return };
    let run = Run::new(&[&*program, "-j1", "rules"]).file("rules", text).any_peak();
    let want = (Some(1), "minimake: a failed (status 256)\n", String::new());
    run.check(move |o| assert_eq!((o.status.code(), &*o.stderr, o.text()), want)).both();
    // With -k of a make above, what does not need it is made.
    let line = format!("{program} rules");
    let run = below(&on_path("make"), &["-k"], "+", &line).file("rules", text).make(3);
    run.any_peak().check(|o| assert_eq!(o.text(), "c\n")).both();
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
