//! The example of jobserver(7) and the build tool minimake, in C and in Rust: with a pool of their own, below
//! every make and above it, and under the preloaded library.

use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, compiled, on_path, tool};
use crate::harness::{Outcome, Run};
use crate::libjobserver::{build, Link, LINKS};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
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
    ]
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
            let job = format!("{} -b 5 -s 60", compiled("job"));
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
        let job = compiled("job");
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
        let job = format!("{} -b 5 -s 60", compiled("job"));
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
    let program = env!("CARGO_BIN_EXE_minimake");
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
