//! Others who are in the same process: preloaded libraries before and behind ours, a tracer, a sanitizer;
//! and children into which ours cannot be loaded.

use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, base, compiled_with, output, script};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        fakeroot_before_ours,
        fakeroot_behind_ours,
        fakeroot_below_a_preloaded_shell,
        eatmydata_before_ours,
        eatmydata_behind_ours,
        eatmydata_below_a_preloaded_shell,
        fakeroot_and_eatmydata_and_ours,
        strace_of_a_host,
        strace_of_ninja,
        strace_below_ours,
        children_of_32_bits,
        host_with_address_sanitizer,
    ]
}

const KINDS: [Kind; 3] = [Kind::Blocking, Kind::NonBlocking, Kind::Fifo];

/// `$OURS` is the library, or nothing in the run without it.
fn below(text: &str) -> Run {
    Run::new(&["bash", "-c", &format!("OURS=$JSSHIM_LIB\n{text}")]).preload_inside().unordered()
}

/// Puts `$1` into LD_PRELOAD, before or behind what is there, if it is not empty.
const PUT: &str = "
    before() { [ -z $1 ] || export LD_PRELOAD=$1${LD_PRELOAD:+:$LD_PRELOAD}; }
    behind() { [ -z $1 ] || export LD_PRELOAD=${LD_PRELOAD:+$LD_PRELOAD:}$1; }";

/// What the list of libraries is, as the jobs see it, with ours as `ours`.
fn order(wanted: &'static str) -> impl Fn(&Outcome) {
    move |outcome| {
        let text = outcome.text();
        let lines: Vec<_> = text.lines().filter(|l| l.starts_with("preload ")).collect();
        assert_eq!(lines.len(), 8, "{text}");
        let ours = lines.iter().any(|line| line.contains("ours"));
        let plain = wanted.replace(":ours", "").replace("ours:", "");
        let wanted = if ours { wanted } else { &plain };
        assert!(lines.iter().all(|l| *l == format!("preload {wanted}")), "{lines:?}");
    }
}

/// The line in which jobs differ with and without ours.
const LISTED: &str = "preload ";

/// Eight jobs at once; each tells the libraries before it. `WITH` is one more command of each.
fn jobs(with: &str) -> String {
    "for i in 1 2 3 4 5 6 7 8; do dash -c '
        $JOB -b 5 -s 40 -i $0 -k 1
        echo preload $LD_PRELOAD | sed s,/[^:]*/libjsshim.so,ours,
        WITH' j$i & done; wait; exit 5"
        .replace("WITH", with)
}

fn ends_with_5(run: Run) -> Run {
    run.check(|o| assert_eq!(o.status.code(), Some(5)))
}

// ---- fakeroot ----------------------------------------------------------------------------------

/// By nobody, for whom a file of root's can only be a fake one, on a pool of two of his own.
fn fakeroot(command: &str, wanted: &'static str) {
    // SAFETY: it only tells a number.
    let root = unsafe { libc::geteuid() } == 0;
    assert!(root, "run by root, to become nobody: files of root's are no proof here");
    let text = "
        mkdir -m 777 w; cd w; chown nobody $JSSHIM_DIR; export OURS JSSHIM_JOBS=2
        setpriv --reuid=nobody --regid=nogroup --clear-groups bash ../host.sh
        status=$?
        stat -c 'in truth %U %n' f*; exit $status";
    let run = below(text)
        .file("host.sh", &format!("{PUT}\n{command}"))
        .file("jobs.sh", &jobs("touch f$0; chown 12:34 f$0; stat -c \"faked %u:%g %n\" f$0"))
        .slots(2)
        .ignoring(LISTED)
        .check(order(wanted))
        .check(|o| {
            let text = o.text();
            assert_eq!(text.matches("faked 12:34 ").count(), 8, "{text}");
            assert_eq!(text.matches("in truth nobody ").count(), 8, "{text}");
        });
    ends_with_5(run).both();
}

/// Its script puts its library before what is there.
fn fakeroot_before_ours() {
    fakeroot("behind $OURS; fakeroot bash ../jobs.sh", "libfakeroot-sysv.so:ours");
}

fn fakeroot_behind_ours() {
    fakeroot(
        "fakeroot bash -c \"$(declare -f before)\n before \\$OURS; bash ../jobs.sh\"",
        "ours:libfakeroot-sysv.so",
    );
}

fn fakeroot_below_a_preloaded_shell() {
    fakeroot(
        "before $OURS; bash -c 'fakeroot bash ../jobs.sh; exit $?'",
        "libfakeroot-sysv.so:ours",
    );
}

// ---- eatmydata ---------------------------------------------------------------------------------

/// With it, an fsync of what cannot be synced succeeds.
const EATEN: &str =
    "perl -MIO::Handle -e \"pipe R, W; print W->sync ? q(eaten) : q(not), qq(\\n)\"";

fn eatmydata(command: &str, wanted: &'static str) {
    for kind in KINDS {
        let run = below(&format!("{PUT}\n{command}"))
            .file("jobs.sh", &jobs(EATEN))
            .pool(kind, 2)
            .ignoring(LISTED)
            .check(order(wanted))
            .check(|o| assert_eq!(o.text().matches("eaten\n").count(), 8, "{}", o.text()));
        ends_with_5(run).both();
    }
}

fn eatmydata_before_ours() {
    eatmydata("behind libeatmydata.so; behind $OURS; bash jobs.sh", "libeatmydata.so:ours");
}

fn eatmydata_behind_ours() {
    eatmydata("behind libeatmydata.so; before $OURS; bash jobs.sh", "ours:libeatmydata.so");
}

/// Its script puts its library in order, too.
fn eatmydata_below_a_preloaded_shell() {
    let run = below(&format!("{PUT}\nbefore $OURS; eatmydata bash jobs.sh; exit $?"));
    let run = run.file("jobs.sh", &jobs(EATEN)).pool(Kind::NonBlocking, 2);
    let run = run.ignoring(LISTED);
    ends_with_5(run.check(|o| assert_eq!(o.text().matches("eaten\n").count(), 8))).both();
}

fn fakeroot_and_eatmydata_and_ours() {
    fakeroot(
        "behind $OURS; behind libeatmydata.so; fakeroot bash ../jobs.sh",
        "libfakeroot-sysv.so:ours:libeatmydata.so",
    );
}

// ---- strace ------------------------------------------------------------------------------------

/// The tracer is no part of what is measured, and stops every process at each call and signal.
fn strace_of_a_host() {
    for door in ["reaps-at-the-end", "vforks", "forks-without-exec", "threads"] {
        for kind in KINDS {
            let host = compiled_with("hosts", "hosts", &[]);
            let text =
                format!("exec strace -f -o /dev/null ${{OURS:+-E LD_PRELOAD=$OURS}} {host} {door}");
            let run = below(&text).pool(kind, 2).settles(8);
            ends_with_5(run).both();
        }
    }
}

fn strace_of_ninja() {
    let mut build = "rule job\n  command = $$JOB -b 5 -s 40 -k 1 -i $id\n".to_owned();
    for edge in 0..12 {
        build += &format!("build out{edge}: job\n  id = e{edge}\n");
    }
    below("exec strace -f -o trace ${OURS:+-E LD_PRELOAD=$OURS} ninja -j6")
        .file("build.ninja", &build)
        .env("NINJA_STATUS", "")
        .pool(Kind::NonBlocking, 2)
        .both();
}

/// Here the library is in strace as well, whose child is its first job.
fn strace_below_ours() {
    let text = format!("strace -f -o /dev/null bash -c '{}'; exit $?", JOBS);
    for kind in KINDS {
        ends_with_5(Run::new(&["bash", "-c", &text]).pool(kind, 2).unordered()).both();
    }
}

const JOBS: &str = "for i in 1 2 3 4 5 6; do $JOB -b 5 -s 40 -i j$i -k 1 & done; wait; exit 5";

// ---- others ------------------------------------------------------------------------------------

/// A static program, as a 32-bit libc is not installed everywhere; ours is not loaded into it.
fn children_of_32_bits() {
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    let program = base().join("small32");
    let program = program.to_str().expect("UTF-8");
    let source = script("arch/small32.S");
    output("cc", &["-m32", "-nostdlib", "-static", "-o", program, &source]);
    let text = format!(
        "for i in 1 2 3 4 5 6; do {program} & all=\"$all $!\"; $JOB -b 5 -s 40 & all=\"$all $!\"; done
         for pid in $all; do wait $pid; echo $?; done; {program}"
    );
    for (kind, gate) in
        [(Kind::Blocking, "auto"), (Kind::NonBlocking, "child"), (Kind::Fifo, "child")]
    {
        ends_with_5(Run::new(&["dash", "-c", &text]).env("JSSHIM_GATE", gate).pool(kind, 2)).both();
    }
    if let Some(cli) = artifact("jsshim") {
        let check = |o: &Outcome| assert!(o.stderr.contains("32-bit"));
        ends_with_5(Run::new(&[&cli, program]).preload_inside()).check(check).once();
    }
}

/// Its run-time library is in the program: a shared one insists on being the first of all.
fn host_with_address_sanitizer() {
    let flags = ["-fsanitize=address", "-static-libasan", "-Wno-clobbered"];
    let host = compiled_with("hosts", "hosts-with-asan", &flags);
    for mode in ["reaps-at-the-end", "vforks", "threads", "handler", "forks-without-exec"] {
        let run = Run::new(&[&host, mode]).pool(Kind::NonBlocking, 2).settles(8);
        ends_with_5(run.env("ASAN_OPTIONS", "detect_leaks=0")).both();
    }
}
