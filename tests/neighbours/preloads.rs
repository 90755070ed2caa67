//! Preloaded libraries that do something else, before and behind ours.

use super::{below, ends_with_5, KINDS, PUT};
use crate::harness::pool::Kind;
use crate::harness::programs::compiled_with;
use crate::harness::Outcome;
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
        pseudo_before_ours,
        pseudo_behind_ours,
        faketime_before_ours,
        faketime_behind_ours,
        faketime_and_eatmydata_and_ours,
        sandbox_before_ours,
        sandbox_behind_ours,
    ]
}

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

// ---- pseudo ------------------------------------------------------------------------------------

/// As fakeroot, with a server that outlives its clients until it is told to go.
fn pseudo(inner: &str, wanted: &'static str) {
    let text = format!(
        "mkdir state; export PSEUDO_PREFIX=/usr PSEUDO_LOCALSTATEDIR=$PWD/state OURS
        pseudo bash -c '{inner}'
        status=$?; pseudo -S; stat -c 'in truth %u:%g %n' f*; exit $status"
    );
    for kind in KINDS {
        let run = below(&text)
            .file("jobs.sh", &jobs("touch f$0; chown 12:34 f$0; stat -c \"faked %u:%g %n\" f$0"))
            .file("put.sh", PUT)
            .pool(kind, 2)
            .ignoring(LISTED)
            .check(order(wanted))
            .check(|o| {
                let text = o.text();
                assert_eq!(text.matches("faked 12:34 ").count(), 8, "{text}");
                assert_eq!(text.matches("in truth 12:34 ").count(), 0, "{text}");
            });
        ends_with_5(run).both();
    }
}

fn pseudo_before_ours() {
    pseudo(". ./put.sh; behind $OURS; bash jobs.sh", "libpseudo.so:ours");
}

fn pseudo_behind_ours() {
    pseudo(". ./put.sh; before $OURS; bash jobs.sh", "ours:libpseudo.so");
}

// ---- faketime ----------------------------------------------------------------------------------

/// It stands before what tells the time and what waits for a time, in which the library must not believe.
fn faketime(inner: &str, wanted: &'static str) {
    let text = format!("export OURS; exec faketime '2001-02-03 04:05:06' bash -c '{inner}'");
    for kind in KINDS {
        let run = below(&text)
            .file("jobs.sh", &jobs("date +\"year %Y\""))
            .file("put.sh", PUT)
            .pool(kind, 2)
            .ignoring(LISTED)
            .check(order(wanted))
            .check(|o| assert_eq!(o.text().matches("year 2001").count(), 8, "{}", o.text()));
        ends_with_5(run).both();
    }
}

fn faketime_before_ours() {
    faketime(". ./put.sh; behind $OURS; bash jobs.sh", "/usr/$LIB/faketime/libfaketime.so.1:ours");
}

fn faketime_behind_ours() {
    faketime(". ./put.sh; before $OURS; bash jobs.sh", "ours:/usr/$LIB/faketime/libfaketime.so.1");
}

fn faketime_and_eatmydata_and_ours() {
    faketime(
        ". ./put.sh; behind $OURS; behind libeatmydata.so; bash jobs.sh",
        "/usr/$LIB/faketime/libfaketime.so.1:ours:libeatmydata.so",
    );
}

// ---- a sandbox ---------------------------------------------------------------------------------

/// It wraps what we wrap (c/sandbox.c): the environment of each child and the programs it refuses must be the
/// same, and the shell's starts and ends must come by as many as without ours.
fn sandbox(place: &str, refused: &str) {
    let library = compiled_with("sandbox", "sandbox.so", &["-shared", "-fPIC"]);
    let text = format!(
        "{PUT}\nbehind {library}; {place} $OURS
        cp /bin/true forbidden; BOX_TELLS=1 bash jobs.sh; exit $?"
    );
    let script = jobs("echo boxed $BOXED").replace("wait; exit 5", refused);
    for kind in KINDS {
        let run = below(&text)
            .file("jobs.sh", &format!("unset BOX_TELLS\n{script}; wait; exit 5"))
            .env("JSSHIM_GATE", "child")
            .pool(kind, 2)
            .ignoring(LISTED)
            .check(|o| {
                let text = o.text();
                assert_eq!(text.matches("boxed 1\n").count(), 8, "{text}");
                assert!(text.contains("refused 126\n"), "{text}");
                assert!(text.contains("boxed: 9 starts, 9 ends\n"), "{text}");
            });
        ends_with_5(run).both();
    }
}

/// Its refusal holds for a job that waits for its slot, too.
fn sandbox_before_ours() {
    sandbox("behind", "./forbidden & wait $!; echo refused $?");
}

/// A job that waits is exec'ed by the helper, which loads no library: it comes after the others here.
fn sandbox_behind_ours() {
    sandbox("before", "wait; ./forbidden; echo refused $?");
}
