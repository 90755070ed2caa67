//! The program that runs is the one that was asked for.

use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, compiled, on_path, output, tool};
use crate::harness::Run;
use crate::Test;

/// Lengths of a folder's path: of conda's padded prefixes, of Yocto's and spack's build directories, near PATH_MAX.
const LENGTHS: [usize; 7] = [230, 249, 255, 260, 300, 1000, 4000];

pub fn tests() -> Vec<Test> {
    let mut list = crate::tests![
        a_first_line_of_any_length,
        an_entry_that_is_too_long_for_the_kernel,
        an_empty_entry_and_a_dot,
        this_program_again,
        by_descriptor,
        held_jobs_have_their_own_descriptors_only,
        children_that_share_descriptors,
        a_deep_run_time_directory,
        files_of_ours_that_lie_deep,
        a_deep_program_is_left_out_by_name,
        a_long_makeflags_is_translated,
    ];
    for len in LENGTHS {
        let mut add = |name: &str, run: fn(usize)| {
            list.push(crate::test(&format!("strangers::programs::{name}_{len}"), move || run(len)));
        };
        add("a_deep_entry_of_path", a_deep_entry_of_path);
        add("a_deep_program", a_deep_program);
        add("a_deep_library", a_deep_library);
        add("a_deep_fifo_of_make", a_deep_fifo_of_make);
    }
    for how in ["chdir", "fchdir", "open", "none", "fork", "vfork"] {
        let name = format!("strangers::programs::elsewhere_{how}");
        list.push(crate::test(&name, move || elsewhere(how)));
    }
    for door in ["posix_spawn", "posix_spawnp", "vfork", "fork"] {
        for kind in ["binary", "script", "text"] {
            let name = format!("strangers::programs::gone_{door}_{kind}");
            // posix_spawn runs no texts.
            if kind != "text" || door.ends_with("fork") {
                list.push(crate::test(&name, move || gone(door, kind)));
            }
        }
    }
    list.push(crate::test("strangers::programs::gone_python", gone_in_python));
    list
}

/// `deep BASE LENGTH`: makes a folder whose path has so many bytes. SHIM starts a program with the library, OURS is
/// its place.
const HEAD: &str = r#"
set -u
deep() {
    D=$1
    while [ ${#D} -lt $2 ]; do
        k=$(($2 - ${#D} - 1))
        [ $k -le 201 ] || k=150
        D=$D/$(printf "%${k}s" | tr ' ' d)
    done
    mkdir -p "$D"
    [ ${#D} = $2 ] || echo "a path of ${#D} bytes"
}
OURS=$JSSHIM_LIB SHIM=
[ -z "$OURS" ] || SHIM="env LD_PRELOAD=$OURS"
"#;

/// In whose jobs are held at once where no slot is free: the host does not wait for one.
fn held(run: Run) -> Run {
    run.env("JSSHIM_GATE", "child")
}

pub fn bash(text: &str) -> Run {
    Run::new(&["bash", "-c", &format!("{HEAD}{text}")]).preload_inside().unordered()
}

// ---- long paths ----------------------------------------------------------------------------------

/// Of two programs of one name, the first one runs, whoever looks along PATH.
fn a_deep_entry_of_path(len: usize) {
    let hosts = [
        "seq 6 | $SHIM xargs -P6 -n1 tool",
        "$SHIM $ELSEWHERE none . tool 6",
        "$SHIM bash -c 'for i in 1 2 3 4 5 6; do tool & done; wait'",
        "$SHIM python3 -c 'import subprocess as s; l = [s.Popen([\"tool\"]) for _ in range(6)]; print([p.wait() for p in l])'",
    ];
    for host in hosts {
        bash(&format!(
            "deep $PWD {len}; mkdir usual\n\
             printf '#!/bin/sh\\n$JOB -s 100; echo RIGHT\\n' >$D/tool\n\
             printf '#!/bin/sh\\n$JOB -s 100; echo WRONG\\n' >usual/tool\n\
             chmod +x $D/tool usual/tool; PATH=$D:$PWD/usual:$PATH; ELSEWHERE={}\n{host}",
            compiled("elsewhere"),
        ))
        .env("JSSHIM_GATE", "child")
        .pool(Kind::Fifo, 2)
        .check(|o| assert!(!o.text().contains("WRONG"), "{}", o.text()))
        .both();
    }
}

/// A program that is named by its path is held like any other, be it started by xargs, ninja or make.
fn a_deep_program(len: usize) {
    let ninja = tool("ninja-1.11.1", "ninja");
    let start = format!(
        "deep $PWD {len}; cp $JOB $D/cc\n\
         printf '#!/bin/sh\\n$JOB -s 100 -k 1 -i $1\\n' >$D/script; chmod +x $D/script\n"
    );
    let both = |command: &str| {
        bash(&format!("{start}{command}")).pool(Kind::NonBlocking, 2).both();
    };
    both("seq 6 | $SHIM xargs -P6 -I{} $D/cc -s 100 -k 1 -i {}");
    both("seq 6 | $SHIM xargs -P6 -n1 $D/script");
    both(&format!(
        "{{ echo \"rule cc\"; echo \"  command = $D/cc -s 100 -k 1 -i \\$out && touch \\$out\"\n\
         for i in 1 2 3 4 5 6; do echo \"build o$i: cc\"; done; }} >build.ninja\n\
         $SHIM {ninja} -j6 | grep -v '^.[0-9]'"
    ));
    both(
        "printf 'all: 1 2 3 4 5 6\\n%%:\\n\\t@%s/cc -s 100 -k 1 -i $@\\n' $D >Makefile\n\
         $SHIM make -j6 1 2 3 4 5 6",
    );
}

/// The helper lies next to the library, however deep. Its path is put back where an environment is scrubbed.
fn a_deep_library(len: usize) {
    let place = format!(
        "deep $PWD {len}; [ -z \"$SHIM\" ] || {{\n\
         cp $OURS ${{OURS%/*}}/jsshim-helper $D; SHIM=\"env LD_PRELOAD=$D/libjsshim.so\"; }}\n"
    );
    for command in [
        "seq 6 | $SHIM xargs -P6 -I{} $JOB -s 100 -k 1 -i {}",
        "$SHIM sh -c \"env -i JSSHIM_TEST_JOBS=$JSSHIM_TEST_JOBS JSSHIM_TEST_ID=$JSSHIM_TEST_ID \
         sh -c 'seq 6 | xargs -P6 -I{} $JOB -s 100 -k 1 -i {}'; exit 3\"",
        "$SHIM python3 -c 'import os, threading as t; l = [t.Thread(target=os.system, \
         args=(\"$JOB -s 100 -k 1 -i %d\" % i,)) for i in range(6)]; [x.start() for x in l]; [x.join() for x in l]'",
    ] {
        bash(&format!("{place}{command}")).pool(Kind::Fifo, 2).both();
    }
}

/// make's pool is a fifo in TMPDIR.
fn a_deep_fifo_of_make(len: usize) {
    let make = tool("make-4.4.1", "make");
    let makefile = "all:\n\t@seq 6 | LD_PRELOAD=$$JSSHIM_LIB xargs -P6 -I{} $$JOB -s 100 -k 1 -i {}\n\
                    \t@LD_PRELOAD=$$JSSHIM_LIB env -i LD_LIBRARY_PATH= JOB=$$JOB JSSHIM_TEST_JOBS=$$JSSHIM_TEST_JOBS \
                    JSSHIM_TEST_ID=$$JSSHIM_TEST_ID $(MAKE) below\n\
                    below:\n\t@seq 6 | xargs -P6 -I{} $$JOB -s 100 -k 1 -i b{}\n";
    // In the place of `GMfifo` and a number.
    bash(&format!(
        "deep $TMPDIR {}; TMPDIR=$D exec {make} -j2 --no-print-directory --jobserver-style=fifo",
        len - 20
    ))
    .file("Makefile", makefile)
    .make(2)
    .ignoring("make[1]")
    .both();
}

/// `#!` lines that the kernel takes, cuts off, or refuses, so that the shell runs the text; conda's prefixes reach that.
fn a_first_line_of_any_length() {
    for len in [120, 200, 250, 252, 253, 254, 255, 256, 300] {
        for host in [
            "seq 6 | $SHIM xargs -P6 -n1 $PWD/tool",
            "$SHIM $ELSEWHERE fork . $PWD/tool 6",
            "$SHIM $ELSEWHERE none . $PWD/tool 6 2>&1",
            "$SHIM bash -c 'for i in 1 2 3 4 5 6; do ./tool & done; wait' 2>&1",
        ] {
            bash(&format!(
                "deep $PWD {}; ln -s /bin/bash $D/i; ELSEWHERE={}\n\
                 printf '#!%s/i\\n$JOB -s 60; echo ${{BASH_VERSION+bash}}\\n' $D >tool; chmod +x tool\n{host}",
                len - 2,
                compiled("elsewhere"),
            ))
            .env("JSSHIM_GATE", "child").pool(Kind::Fifo, 2)
            .may_overdraw()
            .both();
        }
    }
}

/// The kernel says ENAMETOOLONG; glibc stops there, or goes on with the working directory where an entry is too long
/// for it. Whatever it does, it does with the library.
fn an_entry_that_is_too_long_for_the_kernel() {
    for len in [4085, 4090, 4091, 4095, 4096, 4097, 5000, 9000] {
        for host in ["$SHIM $ELSEWHERE fork . tool 5", "$SHIM $ELSEWHERE none . tool 5"] {
            bash(&format!(
                "ELSEWHERE={}; mkdir usual; long=$(printf '%{len}s' | tr ' ' /)\n\
                 for d in usual .; do printf '#!/bin/sh\\n$JOB -s 60; echo %s\\n' $d >$d/tool; chmod +x $d/tool; done\n\
                 PATH=$long:$PWD/usual:$PATH; {host} 2>&1",
                compiled("elsewhere"),
            ))
            .env("JSSHIM_GATE", "child").pool(Kind::Fifo, 2)
            .may_overdraw()
            .both();
        }
    }
}

// ---- the search --------------------------------------------------------------------------------

/// Programs of one name in the host's directory, the one that its children go to, and along PATH.
const PLACES: &str = "
mkdir -p here/bin here/only there/bin there/other usual denied folder/tool
for p in here here/bin here/only there there/bin there/other usual denied; do
    printf '#!/bin/sh\\n$JOB -s 60; echo %s\\n' $p >$p/tool; chmod +x $p/tool
done
chmod -x denied/tool; cd here; T=$OLDPWD
";

fn elsewhere(how: &'static str) {
    // What file actions do only libc knows; a child that moves itself is asked when it is there.
    let may_move = matches!(how, "chdir" | "fchdir" | "open");
    for (path, name) in [
        ("bin:$T/usual", "tool"),
        ("only:$T/usual", "tool"),
        ("other:$T/usual", "tool"),
        ("only:other", "tool"),
        (".:$T/usual", "tool"),
        (":$T/usual", "tool"),
        ("$T/usual:bin", "tool"),
        ("$T/denied:$T/folder:bin", "tool"),
        ("$T/denied:bin/none", "tool"),
        ("$T/denied:$T/usual", "tool"),
        ("../there/bin:$T/usual", "tool"),
        ("none:", "tool"),
        ("$T/usual", "bin/tool"),
        ("$T/usual", "./tool"),
        ("$T/usual", "../usual/tool"),
        ("$T/usual", "none"),
        ("$T/usual:/proc/self/cwd/bin", "none"),
        ("/proc/self/cwd/bin:$T/usual", "tool"),
        ("/proc/self/cwd/other:$T/usual", "tool"),
    ] {
        let text = format!(
            "{PLACES}SHIM=${{OURS:+LD_PRELOAD=$OURS}}\nexec env $SHIM PATH={path}:/usr/bin:/bin {} {how} ../there {name} 5",
            compiled("elsewhere")
        );
        let run = held(bash(&text)).pool(Kind::Fifo, 2);
        // What cannot be foretold is not held. An absolute entry that comes first can be.
        let told = path.starts_with("$T/usual:") || !may_move && !path.contains("/proc");
        if told && !name.contains("none") && !path.contains("none") {
            run.both();
        } else {
            run.may_overdraw().both();
        }
    }
}

fn an_empty_entry_and_a_dot() {
    for path in [":/usr/bin:/bin", ".:/usr/bin:/bin", "/usr/bin:/bin:", "/none::/usr/bin:/bin", ""]
    {
        bash(&format!(
            "{PLACES}XARGS=$(command -v xargs); SHIM=${{OURS:+LD_PRELOAD=$OURS}}; E=$(command -v env)\n\
             seq 6 | $E $SHIM PATH={path} $XARGS -P6 -n1 tool"
        ))
        .env("JSSHIM_GATE", "child").pool(Kind::Blocking, 2)
        .both();
    }
}

// ---- programs that are gone ------------------------------------------------------------------------

fn gone(door: &'static str, kind: &'static str) {
    for how in ["delete", "replace", "rename"] {
        held(Run::new(&[&compiled("gone"), door, how, kind, "6"]))
            .pool(Kind::Fifo, 2)
            .unordered()
            .check(|o| assert!(!o.text().contains("WRONG"), "{}", o.text()))
            .both();
    }
}

/// Popen returns when its child has exec'ed. A symbolic link that is switched over is another program.
const GONE: &str = "
import os, shutil, subprocess, sys
from concurrent.futures import ThreadPoolExecutor

def make(i):
    d = os.getcwd() + '/d%d' % i
    os.mkdir(d)
    prog = d + '/prog'
    if sys.argv[1] == 'link':
        shutil.copy(os.environ['JOB'], d + '/first')
        os.symlink('first', prog)
    else:
        shutil.copy(os.environ['JOB'], prog)

def one(i):
    d = os.getcwd() + '/d%d' % i
    prog = d + '/prog'
    p = subprocess.Popen([prog, '-s', '200', '-k', '1', '-i', str(i)], close_fds=sys.argv[2] == 'fork')
    if sys.argv[1] == 'link':
        os.symlink('/bin/false', d + '/second')
        os.rename(d + '/second', prog)
    elif sys.argv[1] == 'cwd':
        os.rename(d, d + '-moved')
    else:
        shutil.rmtree(d)
    return p

# Not while a child of another thread may have one of them open.
for i in range(12):
    make(i)
print([p.wait() for p in [one(i) for i in range(6)]])
with ThreadPoolExecutor(4) as pool:
    print(list(pool.map(lambda i: one(i).wait(), range(6, 12))))
";

fn gone_in_python() {
    for what in ["delete", "link", "cwd"] {
        for how in ["fork", "spawn"] {
            let run = held(Run::python(GONE)).arg(what).arg(how).pool(Kind::NonBlocking, 2);
            run.unordered().both();
        }
    }
}

/// A program that starts itself again, and was deleted before, as an installer does.
fn this_program_again() {
    for deleted in ["", "rm job;"] {
        bash(&format!(
            "cp $JOB job; exec 9<job; {deleted} for i in 1 2 3 4 5; do SELF=$i; done\n\
             cp {} again; $SHIM ./again {}",
            compiled("again"),
            if deleted.is_empty() { "keep" } else { "delete" }
        ))
        .env("JSSHIM_GATE", "child")
        .pool(Kind::Fifo, 2)
        .may_overdraw()
        .both();
    }
}

/// fexecve and execveat of a program that lies deep.
fn by_descriptor() {
    let text = format!("deep $PWD 700; cp $JOB $D/job; $SHIM {} descriptor $D", compiled("again"));
    held(bash(&text)).pool(Kind::Fifo, 2).both();
}

/// The helper has the program open, and perhaps more; the job has none of it.
fn held_jobs_have_their_own_descriptors_only() {
    let list = "'$JOB -s 60; ls -l /proc/self/fd | sed \"s/.* //; s/pipe:.*/pipe/; s/.*\\///\" | sort -u | xargs'";
    for host in [
        "seq 6 | $SHIM xargs -P6 -I{} sh -c \"$L\"",
        "$SHIM bash -c 'for i in 1 2 3 4 5 6; do sh -c \"$L\" & done; wait'",
        "$SHIM python3 -c 'import os, subprocess as s; l = [s.Popen(os.environ[\"L\"], shell=True, close_fds=i > 2) \
         for i in range(6)]; [p.wait() for p in l]'",
    ] {
        held(bash(&format!("export L={list}\n{host}"))).pool(Kind::Fifo, 2).both();
    }
}

/// clone(2) with CLONE_FILES: nothing of ours stays open in the host.
fn children_that_share_descriptors() {
    let run = held(Run::new(&[&compiled("again"), "share", "."])).pool(Kind::Fifo, 2);
    run.may_overdraw().both();
}

// ---- the library's own files -----------------------------------------------------------------------

/// One that does not fit into the ledger is not used, and that is said.
fn a_deep_run_time_directory() {
    for len in [199, 200, 201, 300, 4000] {
        bash(&format!(
            "deep $PWD {len}; chmod 700 $D; export JSSHIM_DIR=$D\n\
             seq 6 | $SHIM xargs -P6 -I{{}} $JOB -s 100 -k 1 -i {{}}; s=$?\n\
             for i in {{1..60}}; do [ -n \"$(ls $D)\" ] || break; sleep 0.05; done; ls $D; exit $s"
        ))
        .pool(Kind::Fifo, 2)
        .may_warn(if len > 200 { 1..=1 } else { 0..=0 })
        .check(move |o| {
            assert_eq!(
                o.stderr.contains("JSSHIM_DIR is no absolute path of at most 200 bytes"),
                len > 200 && !o.stderr.is_empty()
            );
        })
        .both();
    }
}

/// The helper and the statistics may lie anywhere; the name of a trace has a bound, and that is said.
fn files_of_ours_that_lie_deep() {
    if artifact("libjsshim.so").is_none() {
        return;
    }
    for (len, trace) in [(300, false), (4000, false), (300, true)] {
        let what =
            if trace { "export JSSHIM_TRACE=$D/trace" } else { "export JSSHIM_STATS=$D/stats" };
        let run = bash(&format!(
            "deep $PWD {len}; cp ${{OURS%/*}}/jsshim-helper $D/helper; export JSSHIM_HELPER=$D/helper\n{what}\n\
             seq 6 | $SHIM xargs -P6 -I{{}} $JOB -s 100; cat $D/stats 2>/dev/null; ls $D $PWD"
        ))
        .pool(Kind::Fifo, 2)
        .may_warn(if trace { 1..=1 } else { 0..=0 });
        let outcome = run.run(true);
        let text = outcome.text();
        assert_eq!(text.contains("\"jobs\":6,"), !trace, "{text}");
        assert_eq!(
            outcome.stderr.contains("JSSHIM_TRACE is too long"),
            trace,
            "{}",
            outcome.stderr
        );
        assert!(outcome.jobs.peak == 2 && outcome.jobs.ended == 6, "{:?}", outcome.jobs);
    }
}

fn a_deep_program_is_left_out_by_name() {
    bash(
        "deep $PWD 700; cp $(command -v xargs) $D/xargs; export JSSHIM_SKIP=xargs\n\
          seq 6 | $SHIM $D/xargs -P6 -I{} $JOB -s 300",
    )
    .pool(Kind::Fifo, 2)
    .may_overdraw()
    .check(|o| assert!(o.jobs.peak > 2, "{:?}", o.jobs))
    .both();
}

/// cargo, and make before 4.4, must be told of a fifo in other words; a MAKEFLAGS of any length is rewritten. Without
/// the library they die of it.
fn a_long_makeflags_is_translated() {
    let (new, old) = (tool("make-4.4.1", "make"), on_path("make"));
    let version = output(&old, &["--version"]);
    assert!(version.contains("GNU Make 4.3"), "{version}");
    for len in [100, 5000, 50_000] {
        bash(&format!(
            "deep $TMPDIR 300; TMPDIR=$D exec {new} -j2 --jobserver-style=fifo A=$(printf '%{len}s' | tr ' ' a)"
        ))
        .file("Makefile", &format!("all:\n\t+@LD_PRELOAD=$$JSSHIM_LIB {old} -f Old 1 2 3 4 5 6\n"))
        .file("Old", "%:\n\t@$$JOB -s 100 -i $@\n")
        .make(2)
        .once_full();
    }
}
