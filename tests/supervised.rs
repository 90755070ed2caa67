//! `jsshim --all`: hosts that the library cannot be loaded into take slots, too.

mod kills;

use crate::go;
use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, compiled_by, compiled_with, once, output, tool};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    let mut tests = crate::tests![
        static_shell,
        static_shell_below_a_pool,
        subshells,
        static_xargs,
        applets,
        static_hosts,
        hosts_of_address_sanitizer,
        ninja_of_musl,
        static_make,
        static_make_of_its_own,
        left_out_by_name,
        jobs_have_names,
        go_builds,
        go_tests,
        go_drains_pipes,
        without_rights,
        few_descriptors,
        progress_above,
        nested,
        what_would_fail_fails,
        a_held_job_is_as_it_was,
        a_tree_below_a_tracer,
        where_there_is_another,
    ];
    tests.extend(kills::tests());
    tests
}

fn ash() -> String {
    tool("busybox-static", "busybox")
}

fn static_job() -> String {
    compiled_with("job", "job-static", &["-static"])
}

/// A text of the static ash in which `$JOB` has ld.so and `$STATIC_JOB` has not.
fn in_ash(text: &str) -> Run {
    let run = Run::new(&[&ash(), "ash", "-c", text]).env("STATIC_JOB", &static_job());
    run.env("BUSYBOX", &ash())
}

const SHELL: &str =
    "for i in 1 2 3 4; do $JOB -b 5 -s 40 & $STATIC_JOB -b 5 -s 40 & done; wait; exit 5";

fn ends_with_5(o: &Outcome) {
    assert_eq!(o.status.code(), Some(5));
}

fn static_shell() {
    for slots in [1, 2, 3] {
        in_ash(SHELL).all(slots).check(ends_with_5).both();
    }
}

/// The launcher joins the pool of the make above.
fn static_shell_below_a_pool() {
    for kind in [Kind::Blocking, Kind::Fifo] {
        let text = format!("exec ${{JSSHIM_LIB:+$CLI --all --}} $BUSYBOX ash -c '{SHELL}'");
        let run = Run::new(&["bash", "-c", &text]).env("STATIC_JOB", &static_job());
        let run = run.env("BUSYBOX", &ash()).env("CLI", &artifact("jsshim").unwrap_or_default());
        run.preload_inside().pool(kind, 3).check(ends_with_5).both();
    }
}

/// A subshell is no job: what it starts is one of the shell.
fn subshells() {
    let text = "for i in 1 2 3 4; do ($JOB -s 30; $STATIC_JOB -s 30) & done; wait; exit 5";
    in_ash(text).all(2).check(ends_with_5).both();
}

fn static_xargs() {
    let numbers: String = (1..13).map(|n| format!("{n}\n")).collect();
    for job in [static_job(), crate::harness::programs::compiled("job")] {
        let words = [&ash(), "xargs", "-P8", "-n1", &job, "-b", "5", "-s", "40", "-i"];
        Run::new(&words).stdin(&numbers).all(2).both();
    }
}

/// Each in its own way: by fork, vfork and posix_spawn, from threads, by popen.
fn hosts(host: &str, modes: &[&str]) {
    for mode in modes {
        let run = Run::new(&[host, mode]).all(2).env("JSSHIM_TEST_GO", "/");
        run.ignoring("low descriptors").check(ends_with_5).both();
    }
}

fn static_hosts() {
    let host = compiled_with("hosts", "hosts-static", &["-static"]);
    hosts(&host, &["reaps-at-the-end", "vforks", "signalfd", "threads", "popen"]);
    let host = compiled_by("musl-gcc", "hosts", "hosts-static-musl", &["-static"]);
    hosts(&host, &["reaps-at-the-end", "vforks", "popen"]);
}

/// Its run-time ends a program that something is preloaded into, unless it is told not to.
fn hosts_of_address_sanitizer() {
    let host = compiled_with("hosts", "hosts-asan", &["-fsanitize=address", "-Wno-clobbered"]);
    hosts(&host, &["reaps-at-the-end", "vforks", "threads"]);
}

fn ninja_of_musl() {
    let edges: String = (0..12).map(|n| format!("build out{n}: job\n")).collect();
    let build = format!("rule job\n  command = $$STATIC_JOB -b 5 -s 40\n{edges}");
    let run = Run::new(&[&tool("musl", "ninja"), "-j8"]).env("STATIC_JOB", &static_job());
    run.file("build.ninja", &build).env("NINJA_STATUS", "").unordered().all(2).both();
}

fn makefile(recipe: &str) -> String {
    format!("ALL = a b c d e f g h\nall: $(ALL)\n$(ALL):\n\t@{recipe}\n")
}

/// It is told of the pool, and takes its tokens itself; so does another one below it.
fn static_make() {
    let make = tool("static-make", "make");
    let run = || Run::new(&[&make, "-s"]).env("STATIC_JOB", &static_job()).any_peak().filling();
    run().file("Makefile", &makefile("$$STATIC_JOB -b 5 -s 40")).all(3).both();
    let top = format!("all: x y\nx y:\n\t+@{make} -s -f Makefile.sub\n");
    let run = run().file("Makefile", &top);
    run.file("Makefile.sub", &makefile("$$STATIC_JOB -b 5 -s 40")).all(3).both();
}

/// With a number of jobs it has a pool of its own, and so has what is below it.
fn static_make_of_its_own() {
    let make = tool("static-make", "make");
    let run = || Run::new(&[&make, "-s", "-j8"]).env("STATIC_JOB", &static_job());
    let forced = "make: warning: -j8 forced in submake";
    let said =
        move |o: &Outcome| assert!(o.stderr.lines().all(|l| l.starts_with(forced)), "{}", o.stderr);
    let exceeds = |run: Run| {
        let peak = run.run(false).jobs.peak;
        assert!(peak > 3, "{peak} jobs at once without the library");
        run.all(3).check(said).once_full();
    };
    exceeds(run().file("Makefile", &makefile("$$STATIC_JOB -b 5 -s 40")));
    let top = format!("all: x y\nx y:\n\t+@{make} -s -f Makefile.sub\n");
    exceeds(
        run().file("Makefile", &top).file("Makefile.sub", &makefile("$$STATIC_JOB -b 5 -s 40")),
    );
}

fn left_out_by_name() {
    let gated = |o: &Outcome| assert!(o.jobs.peak > 2, "{} at once", o.jobs.peak);
    for (name, value) in [("JSSHIM_SKIP", "x,busy*"), ("JSSHIM_ONLY", "make")] {
        in_ash(SHELL).env(name, value).all(2).may_overdraw().check(gated).both();
    }
}

fn jobs_have_names() {
    let text = format!("$CLI --all -j2 --trace t.json -- $BUSYBOX ash -c '{SHELL}'; grep -c '\"job-static\"' t.json");
    let Some(cli) = artifact("jsshim") else { return };
    let run = Run::new(&["bash", "-c", &text]).env("BUSYBOX", &ash()).env("CLI", &cli);
    let named =
        |o: &Outcome| assert!(o.text().trim().parse().is_ok_and(|n: u32| n >= 4), "{}", o.text());
    run.env("STATIC_JOB", &static_job()).preload_inside().any_peak().check(named).once();
}

/// Without `-toolexec`: `go` starts its tools itself, with vfork.
fn go_builds() {
    let text = "
        case $JSSHIM_LIB in '') on= ;; *) on=\"$CLI --all -j2 --\" ;; esac
        $on go build -p 8 -o out .; echo $?; ./out; sha256sum <out
        GOFLAGS='-toolexec=/usr/bin/env -mod=mod' GOCACHE=$PWD/other $on go build -p 8 -o out .; echo $?";
    go::go(text).preload_inside().slots(2).check(go::is_built).both();
}

/// The programs of its tests are jobs as its tools are; they start one each.
fn go_tests() {
    let text = "
        case $JSSHIM_LIB in '') on= ;; *) on=\"$CLI --all -j2 --\" ;; esac
        $on go vet -p 8 ./...; echo $?
        $on go test -p 8 ./p[0-5] >log; echo $?; grep -c ^ok log";
    let mut run = go::go(text).preload_inside().slots(2);
    for n in 0..6 {
        let test = format!(
            "package p{n}\n\nimport (\n\"os\"\n\"os/exec\"\n\"testing\"\n)\n\nfunc TestJob(t *testing.T) {{\n\
             if exec.Command(os.Getenv(\"JOB\"), \"-s\", \"60\").Run() != nil {{ t.Fatal() }}\n}}\n"
        );
        run = run.file(&format!("p{n}/job_test.go"), &test);
    }
    run.check(|o| assert_eq!(o.text(), "0\n0\n6\n", "{}", o.stderr)).both();
}

/// Its collector stops the threads, one of which would be in vfork; and its children have more to say than a pipe takes.
fn go_drains_pipes() {
    let program = once("godrains", |path| {
        let from = crate::harness::programs::script("go/drains.go");
        output(
            "env",
            &[
                "GOCACHE=/tmp/jsshim-go-cache",
                "GO111MODULE=off",
                "HOME=/tmp",
                "go",
                "build",
                "-o",
                path.to_str().unwrap(),
                &from,
            ],
        );
    });
    Run::new(&[&program])
        .any_peak()
        .all(2)
        .may_idle()
        .times(5)
        .check(|o| assert_eq!(o.text(), "ok\n"))
        .both();
}

/// busybox starts its own programs as /proc/self/exe.
fn applets() {
    let text = "for i in 1 2 3 4 5 6; do busybox sh -c '$STATIC_JOB -s 40' & done; wait; exit 5";
    in_ash(text).all(2).check(ends_with_5).both();
}

/// The tree renounces new privileges.
fn without_rights() {
    let text = format!("chmod 777 .; exec setpriv --reuid=65534 --regid=65534 --clear-groups ${{JSSHIM_LIB:+$CLI --all -j2 --}} $BUSYBOX ash -c '{SHELL}'");
    let run = Run::new(&[
        "bash",
        "-c",
        &format!("chown -R 65534 $JSSHIM_DIR; chmod 666 $JSSHIM_TEST_JOBS; {text}"),
    ]);
    let run = run.env("STATIC_JOB", &static_job()).env("BUSYBOX", &ash());
    run.env("CLI", &artifact("jsshim").unwrap_or_default())
        .preload_inside()
        .slots(2)
        .check(ends_with_5)
        .both();
}

/// Those of the supervisor are fewer than there are held jobs.
fn few_descriptors() {
    let text = "ulimit -n 40; exec ${JSSHIM_LIB:+$CLI --all -j2 --} $BUSYBOX ash -c '$SHELL_TEXT'";
    let shell = "for i in $(seq 60); do $STATIC_JOB -s 10 & done; wait; exit 5";
    let run = Run::new(&["bash", "-c", &text.replace("$SHELL_TEXT", shell)]).env("BUSYBOX", &ash());
    let run = run.env("STATIC_JOB", &static_job());
    let run = run.env("CLI", &artifact("jsshim").unwrap_or_default());
    run.preload_inside().slots(2).check(ends_with_5).both();
}

/// The launcher that stays above is outside of the tree.
fn progress_above() {
    let text =
        "exec ${JSSHIM_LIB:+$CLI --all -j2 --progress --} $BUSYBOX ash -c '$SHELL_TEXT' 2>log";
    let run = Run::new(&["bash", "-c", &text.replace("$SHELL_TEXT", SHELL)]).env("BUSYBOX", &ash());
    let run = run.env("STATIC_JOB", &static_job());
    let run = run.env("CLI", &artifact("jsshim").unwrap_or_default());
    run.preload_inside().slots(2).check(ends_with_5).both();
}

/// There is one supervisor for a tree.
fn nested() {
    let text = "${JSSHIM_LIB:+$CLI --all --} $BUSYBOX ash -c '$JOB -s 40 & $STATIC_JOB -s 40 & wait' & $JOB -s 40 & wait; exit 5";
    let run = in_ash(text).env("CLI", &artifact("jsshim").unwrap_or_default());
    run.all(1).check(ends_with_5).may_idle().both();
}

/// As without: what cannot be run, also while there is no slot.
fn what_would_fail_fails() {
    let text = "printf 'exit 3' >text; chmod +x text; printf '#!/nonexistent\n' >lost; chmod +x lost; mkdir dir
        $STATIC_JOB -s 300 & for p in ./none ./text ./lost ./dir /etc/passwd none; do $p & wait $!; echo $?; done; wait";
    in_ash(text).all(1).any_peak().both();
}

/// Descriptors, directory and arguments of a job that was held.
fn a_held_job_is_as_it_was() {
    let text = "exec 7<text; cd dir; $JOB -s 100 & $STATIC_JOB -s 100 & $BUSYBOX ls /proc/self/fd
        wait; $JOB -s 100 & $BUSYBOX ls; $BUSYBOX printf '%s.' a 'b c' ''; $BUSYBOX env | $BUSYBOX grep ^MINE; wait";
    let run = in_ash(text).env("MINE", "x y").file("text", "").file("dir/x", "");
    run.all(1).any_peak().both();
}

/// A process that is traced already cannot be held: it runs.
fn a_tree_below_a_tracer() {
    let text = "exec ${JSSHIM_LIB:+$CLI --all -j2 --} strace -f -qq -o /dev/null -e trace=none $BUSYBOX ash -c '$SHELL_TEXT'";
    let run = Run::new(&["bash", "-c", &text.replace("$SHELL_TEXT", SHELL)]).env("BUSYBOX", &ash());
    let run =
        run.env("STATIC_JOB", &static_job()).env("CLI", &artifact("jsshim").unwrap_or_default());
    run.preload_inside().any_peak().check(ends_with_5).both();
}

/// One filter that asks is all that a process may have. It is said once, and the command runs.
fn where_there_is_another() {
    let text = "exec $INJECT log count ${JSSHIM_LIB:+$CLI --all -j2 --} $BUSYBOX ash -c '$STATIC_JOB; exit 5'";
    let run =
        Run::new(&["bash", "-c", text]).env("BUSYBOX", &ash()).env("STATIC_JOB", &static_job());
    let run = run.env("CLI", &artifact("jsshim").unwrap_or_default());
    let run = run.env("INJECT", &crate::harness::programs::compiled("inject"));
    run.preload_inside().any_peak().warns().check(ends_with_5).both();
}
