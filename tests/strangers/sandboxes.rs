//! Ways into sandboxes, and what they and packages see of us.
//!
//! Two assumptions were wrong: that what a process execs can load what the process has loaded, and that a process'
//! children are those that it makes itself.

use crate::harness::pool::Kind;
use crate::harness::programs::{compiled, on_path, python, tool};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    let mut list = crate::tests![
        a_root_without_the_library_by_chroot,
        a_root_without_the_library_by_python,
        a_root_without_the_library_by_perl,
        a_root_without_the_library_by_unshare,
        a_root_without_the_library_by_bwrap,
        a_root_without_the_library_by_a_raw_fork,
        an_environment_that_bwrap_clears,
        a_root_with_others_to_preload,
        a_library_that_another_user_cannot_reach,
        a_library_that_is_gone,
        a_package_records_nothing_of_ours,
    ];
    for how in ["plain", "vfork", "lives", "worker", "space"] {
        let name = format!("strangers::sandboxes::siblings_{how}");
        list.push(crate::test(&name, move || siblings(how)));
    }
    list
}

// ---- another root directory -------------------------------------------------------------------

/// What is run in the small system of the toolbox: it execs often, in all ways.
const INSIDE: &str =
    "ls / >/dev/null; for i in 1 2 3; do true; /bin/true & done; wait; make -v | sed -n 1p; \
    sh -c 'sh -c \"exec env true\"'; echo \"[$LD_PRELOAD] end\"";

fn in_root(argv: &[&str]) -> Run {
    let run = Run::new(argv).env("ROOT", tool("root-", "").trim_end_matches('/'));
    run.env("INSIDE", INSIDE).unordered().any_peak().check(ends_well)
}

fn ends_well(o: &Outcome) {
    assert!(o.status.success());
    assert!(o.text().ends_with("[] end\n") && !o.stderr.contains("ld.so"), "{}", o.stderr);
}

/// With the library in the host, and below the launcher, on slots that are scarce and that are not.
fn each_way(argv: &[&str]) {
    in_root(argv).pool(Kind::NonBlocking, 2).any_peak().both();
    in_root(argv).env("JSSHIM_JOBS", "1").slots(1).any_peak().both();
    in_root(argv).cli(8).any_peak().both();
}

fn a_root_without_the_library_by_chroot() {
    each_way(&["chroot", tool("root-", "").trim_end_matches('/'), "/bin/sh", "-c", INSIDE]);
    let twice = "chroot $ROOT /bin/sh -c \"$INSIDE\" & chroot $ROOT /bin/sh -c \"$INSIDE\" & wait";
    each_way(&["bash", "-c", twice]);
}

/// As mock does, in the child of a fork.
fn a_root_without_the_library_by_python() {
    const CHROOTS: &str = "
import os, subprocess, sys
root = os.environ['ROOT']
go = lambda: (os.chroot(root), os.chdir('/'))
run = lambda: subprocess.Popen(['/bin/sh', '-c', os.environ['INSIDE']], preexec_fn=go)
for p in [run() for _ in range(3)]: p.wait()
os.chroot(root), os.chdir('/')
sys.exit(subprocess.run(['/bin/sh', '-c', os.environ['INSIDE']]).returncode)
";
    each_way(&[&python(), "-c", CHROOTS]);
}

/// The host itself goes there, and starts programs afterwards.
fn a_root_without_the_library_by_perl() {
    const CHROOTS: &str = "chroot $ENV{ROOT}; chdir '/'; $| = 1;
        system('/bin/sh', '-c', $ENV{INSIDE}) for 1 .. 2;
        my @all = map { my $p = fork; $p || exec '/bin/sh', '-c', $ENV{INSIDE}; $p } 1 .. 3;
        waitpid $_, 0 for @all; exec '/bin/sh', '-c', $ENV{INSIDE}";
    // One that is to have two jobs at once only now finds no place for the ledger there. Below a pool of which it is told
    // by us that is not said.
    let run = || in_root(&[&on_path("perl"), "-e", CHROOTS]);
    run().pool(Kind::NonBlocking, 2).any_peak().may_warn(1..=1).both();
    run().cli(8).any_peak().both();
}

/// By pivot_root(2), which libc has no function for.
fn a_root_without_the_library_by_unshare() {
    let text = "mount --rbind $ROOT $ROOT && cd $ROOT && pivot_root . mnt && \
        exec chroot . /bin/sh -c \"$INSIDE\"";
    each_way(&["unshare", "-m", "bash", "-c", text]);
}

/// Its child is made by a raw clone(2), which no library sees, and so is the first process of a flatpak module.
fn a_root_without_the_library_by_bwrap() {
    let root = tool("root-", "");
    let root = ["--bind", root.trim_end_matches('/'), "/", "--dev", "/dev", "--proc", "/proc"];
    let text = ["/bin/sh", "-c", INSIDE];
    for how in [
        &["--unshare-user-try"][..],
        &["--unshare-pid"],
        &["--unshare-pid", "--as-pid-1"],
        &["--unshare-all"],
    ] {
        each_way(&[&["bwrap"], how, &root[..], &text].concat());
    }
    // Within one that has it.
    let outer = ["bwrap", "--dev-bind", "/", "/", "--unshare-pid", "--proc", "/proc", "bwrap"];
    each_way(&[&outer[..], &root, &text].concat());
}

/// The same by hand, with pivot_root's plainer sister.
fn a_root_without_the_library_by_a_raw_fork() {
    const CHROOTS: &str = "
import ctypes, os, platform
libc = ctypes.CDLL(None)
fork = {'x86_64': lambda: libc.syscall(57), 'aarch64': lambda: libc.syscall(220, 17, 0, 0, 0, 0)}[platform.machine()]
pids = []
for _ in range(3):
    pid = fork()
    if pid == 0:
        os.chroot(os.environ['ROOT'])
        os.chdir('/')
        os.execv('/bin/sh', ['sh', '-c', os.environ['INSIDE']])
    pids.append(pid)
for pid in pids: os.waitpid(pid, 0)
os.write(1, b'[] end\\n')
";
    each_way(&[&python(), "-c", CHROOTS]);
}

/// What is scrubbed by a child of a raw clone is put back, too.
fn an_environment_that_bwrap_clears() {
    let names = ["PATH", "JOB", "JSSHIM_TEST_JOBS", "JSSHIM_TEST_ID"];
    let set: String = names.map(|name| format!(" --setenv {name} \"${name}\"")).concat();
    let clear = format!("--dev-bind / / --clearenv {set}");
    let jobs = "sh -c 'for i in 1 2 3 4; do $JOB -s 60 & done; wait; exit 5'";
    for how in ["", "--unshare-pid --proc /proc"] {
        let text =
            format!("bwrap {how} {clear} {jobs} & bwrap {how} {clear} {jobs} & wait; wait %1");
        let run = || Run::new(&["bash", "-c", &text]);
        run().pool(Kind::Fifo, 2).both();
        run().cli(3).both();
        run().env("JSSHIM_JOBS", "2").slots(2).both();
    }
    // But not against the user's will.
    let text = format!("bwrap {clear} {jobs}");
    let run = Run::new(&["bash", "-c", &text]).env("JSSHIM_ENV", "respect");
    run.pool(Kind::Fifo, 2).slots(4).any_peak().both();
}

/// Only our word goes.
fn a_root_with_others_to_preload() {
    let text = "cp $(ls /usr/lib/*/libeatmydata.so | head -n 1) $ROOT/tmp/libother.so
        for own in $LD_PRELOAD:/tmp/libother.so /tmp/libother.so:$LD_PRELOAD '/tmp/libother.so '$LD_PRELOAD; do
            LD_PRELOAD=${own#:} chroot $ROOT /bin/sh -c 'ls / >/dev/null; echo \"$LD_PRELOAD\"' 2>&1 | grep -v 'ld.so'
        done | sed 's,[: ]*$,,'; rm $ROOT/tmp/libother.so; echo '[] end'";
    let other = |o: &Outcome| assert_eq!(o.text(), "/tmp/libother.so\n".repeat(3) + "[] end\n");
    in_root(&["bash", "-c", text]).check(other).pool(Kind::Fifo, 2).any_peak().once();
}

/// Its ld.so says that it cannot be opened, as of one that is not there.
fn a_library_that_another_user_cannot_reach() {
    let text = "[ -z \"$JSSHIM_LIB\" ] || { mkdir -m 700 closed
            cp $JSSHIM_LIB ${JSSHIM_LIB%/*}/jsshim-helper closed; export LD_PRELOAD=$PWD/closed/libjsshim.so; }
        exec $PYTHON -c \"import os; os.setgroups([]), os.setgid(65534), os.setuid(65534); \
            os.execvp('sh', ['sh', '-c', os.environ['INSIDE']])\"";
    let run = in_root(&["bash", "-c", text]).env("JSSHIM_JOBS", "2").env("PYTHON", &python());
    run.preload_inside().both();
}

/// Taken away by an installation while a build runs.
fn a_library_that_is_gone() {
    let text =
        "[ -z \"$JSSHIM_LIB\" ] || { mkdir lib; cp $JSSHIM_LIB ${JSSHIM_LIB%/*}/jsshim-helper lib
            export LD_PRELOAD=$PWD/lib/libjsshim.so; }
        exec bash -c 'true & true; wait; rm -rf lib; sh -c \"$INSIDE\"'";
    in_root(&["bash", "-c", text]).env("JSSHIM_JOBS", "2").preload_inside().both();
}

// ---- children that others have made ------------------------------------------------------------

/// Eight of two ran, since the host starts them one after the other, by its count.
fn siblings(how: &'static str) {
    let run = || Run::new(&[&compiled("siblings"), how]);
    run().env("JSSHIM_JOBS", "1").slots(1).both();
    run().cli(3).both();
    for kind in [Kind::Blocking, Kind::Fifo] {
        run().pool(kind, 2).both();
    }
}

// ---- packages -----------------------------------------------------------------------------------

/// Debian's record of a build (`.buildinfo`) names what of the environment may matter: nothing of it is ours.
fn a_package_records_nothing_of_ours() {
    let text = "mkdir -p p-1/debian; cd p-1/debian
        printf 'p (1) unstable; urgency=low\\n\\n  * One.\\n\\n -- N <n@example.org>  Mon, 01 Jan 2024 00:00:00 +0000\\n' >changelog
        printf 'Source: p\\nMaintainer: N <n@example.org>\\nStandards-Version: 4.6.2\\n\\nPackage: p\\nArchitecture: all\\nDescription: one\\n It is.\\n' >control
        mkdir source; echo '3.0 (native)' >source/format
        printf '#!/usr/bin/make -f\\nclean build binary-arch:\\nbinary: binary-indep\\nbinary-indep:\\n\\tmkdir -p debian/p/DEBIAN\\n\\tdpkg-gencontrol -pp -Pdebian/p\\n\\tdpkg-deb -Zgzip --root-owner-group -b debian/p ..\\n' >rules
        chmod +x rules; cd ..
        dpkg-buildpackage -b -uc -us -d >log 2>&1 || { cat log; exit 1; }
        sed '1,/^Environment:/d' ../p_1_*.buildinfo";
    let named = |o: &Outcome| {
        assert!(o.status.success() && o.text().contains("LC_ALL="), "{}", o.text());
    };
    let run = || Run::new(&["bash", "-c", text]).check(named).any_peak();
    run().cli(2).any_peak().both();
    run().env("JSSHIM_JOBS", "2").slots(2).any_peak().both();
}
