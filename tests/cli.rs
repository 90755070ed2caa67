//! `jsshim`: what it says and how it ends, the library it finds, and the pool that it joins or makes.

use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, compiled, compiled_with, on_path, python, tool};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        wrong_usage,
        command_not_found,
        command_not_executable,
        static_command,
        setuid_command,
        library_missing,
        helper_missing,
        installed_elsewhere,
        preload_is_kept,
        preload_is_not_doubled,
        dry_run,
        dry_run_below_make,
        statuses_pass_through,
        name_and_arguments_pass_through,
        input_passes_through,
        pool_is_there_while_it_runs,
        one_guard_and_one_ledger,
        slots_by_variable,
        a_pool_that_is_gone,
        an_unsafe_folder,
        joins_the_pool_of_make,
        says_that_its_number_is_not_used,
        one_job_below_make_without_j,
        make_43_at_the_top,
        make_44_at_the_top,
        jobs_below_a_closing_python,
        ninja_below_ninja,
        many_slots,
    ]
}

/// A script of bash in which `$CLI` is jsshim and `$SHIM` the words that start a program by it, or
/// nothing in the run without the library.
fn script(text: &str, words: &str) -> Run {
    let head = "SHIM=${JSSHIM_LIB:+$CLI WORDS}\n".replace("WORDS", words);
    Run::new(&["bash", "-c", &(head + text)])
        .env("CLI", &artifact("jsshim").unwrap_or_default())
        .env("SHOW", &compiled("show"))
        .preload_inside()
}

fn is_here() -> bool {
    artifact("jsshim").is_some()
}

fn is_root() -> bool {
    // SAFETY: it only tells a number.
    unsafe { libc::geteuid() == 0 }
}

/// The script ends with this status, prints nothing, and says one line with all of these parts.
fn refuses(text: &str, status: i32, parts: &'static [&'static str]) {
    let check = move |o: &Outcome| {
        assert_eq!(o.status.code(), Some(status));
        assert_eq!(o.text(), "");
        assert!(parts.iter().all(|part| o.stderr.contains(part)), "not said: {parts:?}");
        let own = o.stderr.lines().filter(|l| l.starts_with("jsshim:")).count();
        assert!(own == 1 || status == 2 && own == 0, "{own} lines");
    };
    if is_here() {
        script(text, "").check(check).once();
    }
}

fn wrong_usage() {
    refuses("exec $CLI -j0 -- echo ran", 2, &["'0'", "--jobs"]);
    refuses("exec $CLI -jx -- echo ran", 2, &["'x'", "--jobs"]);
    refuses("exec $CLI -j 70000 -- echo ran", 2, &["70000", "65536"]);
    refuses("exec $CLI -j -1 -- echo ran", 2, &["-1"]);
    refuses("exec $CLI --nonsense echo ran", 2, &["--nonsense"]);
    refuses("exec $CLI -j2", 2, &["CMD"]);
    refuses("exec $CLI", 2, &["CMD"]);
    refuses("JSSHIM_JOBS=many exec $CLI echo ran", 2, &["JSSHIM_JOBS=many"]);
    refuses("JSSHIM_JOBS=0 exec $CLI echo ran", 2, &["JSSHIM_JOBS=0"]);
}

fn command_not_found() {
    refuses("exec $CLI -j2 -- no-such-command x", 127, &["no-such-command", "not found"]);
    refuses("exec $CLI no-such-command", 127, &["no-such-command", "not found"]);
    refuses("exec $CLI ./no/such/path", 127, &["./no/such/path", "not found"]);
    refuses("exec $CLI ''", 127, &["not found"]);
}

fn command_not_executable() {
    refuses("echo text >text; exec $CLI ./text", 126, &["./text", "cannot be run"]);
    refuses("mkdir folder; exec $CLI -j2 -- ./folder", 126, &["./folder", "cannot be run"]);
    refuses("echo text >text; PATH=$PWD:$PATH; exec $CLI text", 126, &["text", "cannot be run"]);
    let interpreter = "printf '#!/no/such/shell\\n' >x; chmod +x x; exec $CLI ./x";
    refuses(interpreter, 126, &["./x", "cannot be run"]);
}

/// It runs, with its own status, and one line says why it is not gated.
fn runs_and_says(run: Run, what: &'static str) {
    run.check(|o| assert_eq!(o.status.code(), Some(7)))
        .check(move |o| assert!(o.stderr.is_empty() || o.stderr.contains(what), "not {what}"))
        .warns()
        .both();
}

fn static_command() {
    let show = compiled_with("show", "show-static", &["-static"]);
    runs_and_says(script(&format!("$SHIM {show} a b"), "-j2 --"), "statically linked");
    runs_and_says(script(&format!("$SHIM {show}"), ""), "statically linked");
}

fn setuid_command() {
    if !is_root() {
        eprintln!("cli::setuid_command needs root");
        return;
    }
    let copy = "cp $SHOW s; chown nobody s; chmod 4755 s; $SHIM ./s a";
    runs_and_says(script(copy, "-j2 --"), "setuid");
    let copy = "cp $SHOW s; chgrp nogroup s; chmod 2755 s; $SHIM ./s a";
    runs_and_says(script(copy, "-j2 --"), "setgid");
    // Our own, so that nothing changes: no reason to say something.
    let copy = "cp $SHOW s; chmod 4755 s; $SHIM ./s a";
    script(copy, "-j2 --").both();
}

fn library_missing() {
    let alone = "cp $CLI .; touch file; XDG_DATA_HOME=$PWD/file exec ./jsshim echo ran";
    refuses(
        alone,
        2,
        &["jsshim: cannot unpack the library to ", "/file/jsshim/", "Not a directory"],
    );
}

fn helper_missing() {
    let copy = "cp $CLI $JSSHIM_LIB .; exec ./jsshim -j2 -- echo ran";
    refuses(copy, 2, &["jsshim: ", "jsshim-helper", "missing"]);
}

const JOBS: &str = "for i in 1 2 3 4 5 6 7 8; do $JOB -b 5 -s 40 -i j$i -k 1 & done; wait; exit 5";

/// A script whose last command is eight jobs at once under jsshim.
fn eight_jobs(before: &str, words: &str) -> Run {
    let text = format!("{before}\nexec $SHIM bash -c '{JOBS}'");
    script(&text, words).unordered().check(|o| assert_eq!(o.status.code(), Some(5)))
}

/// As `make install` lays it out.
fn installed_elsewhere() {
    let copy = "
        mkdir -p usr/bin usr/lib/jsshim
        if [ $JSSHIM_LIB ]; then
            cp $CLI usr/bin; cp ${JSSHIM_LIB%/*}/{libjsshim.so,jsshim-helper} usr/lib/jsshim
            SHIM='usr/bin/jsshim -j3 --'
        fi";
    eight_jobs(copy, "").slots(3).both();
}

/// The value of LD_PRELOAD that a command sees, on standard output.
fn preload(before: &'static str, wanted: impl Fn(&str) -> String + 'static) {
    let Some(library) = artifact("libjsshim.so") else { return };
    let text = format!("{before} $SHIM sh -c 'echo \"$LD_PRELOAD\"'");
    let check = move |o: &Outcome| assert_eq!(o.text().trim_end(), wanted(&library));
    script(&text, "-j2 --").check(check).once();
}

const OTHER: &str = "libeatmydata.so";

fn preload_is_kept() {
    preload("", str::to_owned);
    preload("LD_PRELOAD=libeatmydata.so", |ours| format!("{OTHER}:{ours}"));
    preload("LD_PRELOAD='libeatmydata.so libeatmydata.so'", |ours| {
        format!("{OTHER} {OTHER}:{ours}")
    });
}

fn preload_is_not_doubled() {
    preload("$SHIM", str::to_owned);
    preload("LD_PRELOAD=libeatmydata.so $SHIM $CLI", |ours| format!("{OTHER}:{ours}"));
    preload("LD_PRELOAD=$JSSHIM_LIB:libeatmydata.so", |ours| format!("{ours}:{OTHER}"));
    preload("LD_PRELOAD=\"libeatmydata.so $JSSHIM_LIB\"", |ours| format!("{OTHER} {ours}"));
}

fn dry_run() {
    refuses("MAKEFLAGS=n exec $CLI echo ran", 0, &["jsshim: ", "dry run", "echo"]);
    refuses("MAKEFLAGS='kn -j4' exec $CLI -j2 -- echo ran", 0, &["jsshim: ", "dry run"]);
    // Names that have an n in them are no dry run.
    script(
        "MAKEFLAGS='-- n=n' $SHIM echo ran; MAKEFLAGS='--no-print-directory' $SHIM echo ran",
        "",
    )
    .both();
}

fn dry_run_below_make() {
    if !is_here() {
        return;
    }
    for make in [on_path("make"), tool("make-4.4.1", "make")] {
        Run::new(&[&make, "-n", "-j2"])
            .env("CLI", &artifact("jsshim").unwrap_or_default())
            .file("Makefile", "all:\n\t+@$(CLI) touch ran; test ! -e ran && echo not run\n")
            .preload_inside()
            .check(|o| assert!(o.text().contains("not run\n") && o.status.success()))
            .check(|o| assert_eq!(o.stderr.lines().count(), 1))
            .once();
    }
}

fn statuses_pass_through() {
    for what in ["exit 0", "exit 1", "exit 126", "exit 255", "kill -TERM $$", "kill -KILL $$"] {
        Run::new(&["dash", "-c", what]).cli(2).any_peak().both();
    }
    Run::new(&["dash", "-c", "ulimit -c 0; kill -SEGV $$"]).cli(2).any_peak().both();
}

fn name_and_arguments_pass_through() {
    script("ln -s $SHOW renamed; PATH=$PWD:$PATH; $SHIM renamed -j9 -- '' 'x y'", "-j2 --").both();
    script("ln -s $SHOW renamed; $SHIM ./renamed -x --version", "").both();
    script("DOOR_MARK=kept $SHIM $SHOW -- --", "-j2 --").both();
}

fn input_passes_through() {
    let text = "line\n".repeat(10_000);
    Run::new(&["cksum"]).stdin(&text).cli(2).any_peak().both();
    Run::new(&["xargs", "-P8", "-n1", "sh", "-c", "$JOB -s 40; echo $0"])
        .stdin("1 2 3 4 5 6 7 8 9 10 11 12")
        .unordered()
        .cli(3)
        .both();
}

/// That nothing is left afterwards, the oracle sees to.
fn pool_is_there_while_it_runs() {
    let text = "exec $SHIM bash -c 'ls $JSSHIM_DIR | sed s/.*pool.*/pool/\\;s/.*ledger/ledger/'";
    if is_here() {
        let check = |o: &Outcome| {
            let mut lines: Vec<_> = o.stdout.split(|b| *b == b'\n').collect();
            lines.sort_unstable();
            assert_eq!(lines, [b"".as_slice(), b"ledger", b"pool"]);
        };
        script(text, "-j2 --").check(check).once();
    }
}

/// Whoever joins, by the descriptors or by the private variable, joins the same ledger.
fn one_guard_and_one_ledger() {
    if !is_here() {
        return;
    }
    script("exec $SHIM bash inner.sh", "-j2 --")
        .env("PYTHON", &python())
        .file("closing.py", CLOSING)
        .file("inner.sh", GUARDS)
        .check(|o| assert_eq!(o.text(), "same ledger\n2\n", "a guard and its double"))
        .once();
}

/// The two processes of a guard have the ledger's name for an argument.
const GUARDS: &str = r#"
ls -i $JSSHIM_DIR | grep ledger >before
for i in 1 2 3 4; do $JOB -s 50 & done; wait
$PYTHON closing.py bash -c '$JOB -s 50 & $JOB -s 50 & wait'
for i in 1 2 3 4; do $JOB -s 50 & done; wait
sleep 0.3
ls -i $JSSHIM_DIR | grep ledger | cmp before - && echo same ledger
cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n' | grep -c "^$JSSHIM_DIR/.*ledger"
"#;

fn slots_by_variable() {
    eight_jobs("export JSSHIM_JOBS=3", "").slots(3).both();
    eight_jobs("export JSSHIM_JOBS=5", "-j2 --").slots(2).both();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    if cpus < 8 {
        eight_jobs("", "").slots(cpus).both();
        eight_jobs("export JSSHIM_JOBS=", "").slots(cpus).both();
    }
}

fn a_pool_that_is_gone() {
    eight_jobs("export JSSHIM_POOL=1b:1:2:/no/such/pool", "-j3 --").slots(3).both();
    eight_jobs("export JSSHIM_POOL=junk", "-j3 --").slots(3).both();
}

fn an_unsafe_folder() {
    let folder = "mkdir -m 755 open; JSSHIM_DIR=$PWD/open exec $CLI echo ran";
    refuses(folder, 2, &["jsshim: ", "run-time directory"]);
}

/// Makefile with a recipe for each of `parts`, all run at once.
fn makefile(parts: usize, recipe: &str) -> String {
    let targets: String = (1..=parts).map(|n| format!(" t{n}")).collect();
    format!(".PHONY:{targets}\nall:{targets}\n{targets}:\n\t{recipe}\n").replacen("\n ", "\n", 1)
}

fn below(make: &str, slots: usize, recipe: &str) -> Run {
    Run::new(&[make, &format!("-j{slots}")])
        .file("Makefile", &makefile(2, recipe))
        .env("CLI", &artifact("jsshim").unwrap_or_default())
        .env("JOBS", &JOBS.replace("exit 5", "exit 0"))
        .preload_inside()
        .unordered()
        .make(slots)
}

fn joins_the_pool_of_make() {
    for make in [on_path("make"), tool("make-4.4.1", "make")] {
        for plus in ["+", ""] {
            let recipe = format!("{plus}@$${{JSSHIM_LIB:+$$CLI --}} bash -c \"$$JOBS\"");
            below(&make, 3, &recipe).both();
        }
    }
}

fn says_that_its_number_is_not_used() {
    let run = Run::new(&["dash", "-c", JOBS]).pool(Kind::NonBlocking, 2);
    let run = run.unordered().warns().check(|o| assert_eq!(o.status.code(), Some(5)));
    let run = run.check(|o| assert!(o.stderr.is_empty() || o.stderr.contains("-j 7 is not used")));
    run.cli(7).slots(2).both();
}

/// `make` and `make -j1` hand down no pool.
fn one_job_below_make_without_j() {
    let make = on_path("make");
    let recipe = "+@$${JSSHIM_LIB:+$$CLI --} bash -c \"$$JOBS\"";
    below(&make, 1, recipe).both();
}

/// The make without the library gets the `-j` that jsshim stands for.
fn make_at_the_top(make: &str) {
    let quiet = |o: &Outcome| assert_eq!(o.stderr, "", "no warning");
    let top = |flags: &str| {
        format!("MAKE={make}; [ $JSSHIM_LIB ] || J=-j8; exec $SHIM $MAKE $J {flags} -f M")
    };
    let plain = || script(&top(""), "-j3 --").slots(3).unordered().check(quiet);
    plain().file("M", &makefile(8, "@$$JOB -b 10 -s 60 -i $@ -k 1")).both();
    plain().file("M", &makefile(8, "@$$JOB -b 5 -s 40; $$JOB -s 20; echo $@")).both();
    let recipe = "@for i in 1 2 3; do $$JOB -b 5 -s 40 & done; wait";
    plain().file("M", &makefile(3, recipe)).both();
    let sub = "@$(MAKE) -f S --no-print-directory";
    plain().file("M", &makefile(3, sub)).file("S", &makefile(4, "@$$JOB -b 5 -s 40")).both();
    let failing = script(&top("-k 2>/dev/null"), "-j3 --").slots(3).unordered();
    failing.file("M", &makefile(8, "@$$JOB -s 60; test $@ != t4")).both();
}

fn make_43_at_the_top() {
    make_at_the_top(&on_path("make"));
}

fn make_44_at_the_top() {
    make_at_the_top(&tool("make-4.4.1", "make"));
}

/// It closes the descriptors of the pool, which make knows by their numbers only.
const CLOSING: &str = "
import subprocess, sys
sys.exit(subprocess.run(sys.argv[1:], close_fds=True).returncode)
";

fn jobs_below_a_closing_python() {
    let text = format!("exec $SHIM {} closing.py bash -c '{JOBS}'", python());
    let run = script(&text, "-j3 --").file("closing.py", CLOSING);
    run.check(|o| assert_eq!(o.status.code(), Some(5))).slots(3).unordered().both();
}

fn edges(count: usize, command: &str) -> String {
    let mut text = format!("rule job\n  command = {command}\n");
    for edge in 0..count {
        text += &format!("build out{edge}: job\n  id = e{edge}\n");
    }
    text
}

fn ninja_below_ninja() {
    let mut run = script("exec $SHIM ninja -j4", "-j3 --")
        .env("NINJA_STATUS", "")
        .file("build.ninja", &edges(3, "sh -c 'ninja -C $id -j4; exit $$?'"));
    for edge in 0..3 {
        run = run.file(&format!("e{edge}/build.ninja"), &edges(8, "$$JOB -b 5 -s 40"));
    }
    run.slots(3).unordered().both();
}

/// As many as a pipe holds; the host makes no use of most.
fn many_slots() {
    eight_jobs("", "-j65536 --").slots(8).any_peak().both();
}
