//! A system as Alpine's: shells, tools, make and ninja of musl (scripts/setup builds them), among themselves and mixed
//! with those of glibc.

use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, on_path, tool};
use crate::harness::{Outcome, Run};
use crate::Test;

use super::of_musl;

pub fn tests() -> Vec<Test> {
    crate::tests![
        ninja_below_make,
        shells,
        busybox,
        below_jsshim,
        a_root_without_glibc,
        what_would_fail_fails,
        default_of_path,
        static_programs_are_named,
    ]
}

fn musl(name: &str) -> String {
    tool("musl", name)
}

/// Twelve jobs of the rule.
fn build(command: &str) -> String {
    let edges: String = (0..12).map(|n| format!("build out{n}: job\n")).collect();
    format!("rule job\n  command = {command}\n{edges}")
}

const WORK: &str = "-b 5 -s 40";

/// Each make over each ninja, over jobs of each C library.
fn ninja_below_make() {
    let (makes, ninjas) =
        ([on_path("make"), musl("make")], [tool("ninja-1.11.1", "ninja"), musl("ninja")]);
    let glibc = (makes[0].clone(), ninjas[0].clone());
    for (make, ninja) in makes.iter().flat_map(|m| ninjas.iter().map(move |n| (m, n))) {
        if (make, ninja) == (&glibc.0, &glibc.1) {
            continue;
        }
        for job in ["$$JOB", "$$MUSL_JOB"] {
            let recipe = format!(".PHONY: a b\nall: a b\na b:\n\t+@{ninja} -C $@ -j8\n");
            let build = build(&format!("{job} {WORK}"));
            Run::new(&[make, "-j3"])
                .file("Makefile", &recipe)
                .file("a/build.ninja", &build)
                .file("b/build.ninja", &build)
                .env("NINJA_STATUS", "")
                .env("MUSL_JOB", &of_musl("job"))
                .unordered()
                .make(3)
                .both();
        }
    }
}

/// A shell's jobs, of which every other one is a pipeline, and two subshells that exec nothing.
const SHELL: &str = "for i in 1 2 3; do $MUSL_JOB -b 5 -s 40 & $JOB -b 5 -s 40 | cat & done
    ($JOB -s 40; :) & ($MUSL_JOB -s 40; :) & wait; exit 5";

fn in_shell(shell: &[&str]) -> Run {
    let run = Run::new(&[shell, &["-c", SHELL]].concat()).env("MUSL_JOB", &of_musl("job"));
    run.check(|o| assert_eq!(o.status.code(), Some(5)))
}

fn shells() {
    for gate in ["auto", "child"] {
        in_shell(&[&musl("bash")]).env("JSSHIM_GATE", gate).pool(Kind::Fifo, 2).both();
        in_shell(&[&musl("busybox"), "ash"]).env("JSSHIM_GATE", gate).pool(Kind::Fifo, 2).both();
    }
    // The `cat` of a pipeline may have the third slot.
    in_shell(&[&musl("bash")]).env("JSSHIM_JOBS", "3").slots(3).may_idle().both();
}

fn busybox() {
    let numbers: String = (1..13).map(|n| format!("{n}\n")).collect();
    for xargs in [vec![musl("busybox"), "xargs".to_owned()], vec![on_path("xargs")]] {
        let words = ["-P8", "-n1", &of_musl("job"), "-b", "5", "-s", "40", "-i"];
        let argv: Vec<_> = xargs.iter().map(String::as_str).chain(words).collect();
        Run::new(&argv).stdin(&numbers).pool(Kind::NonBlocking, 2).both();
    }
}

fn below_jsshim() {
    in_shell(&[&musl("bash")]).cli(2).both();
    let run = Run::new(&[&musl("ninja"), "-j8"]).env("NINJA_STATUS", "").unordered();
    run.file("build.ninja", &build(&format!("$$JOB {WORK}"))).cli(2).both();
    // make is told of the pool, and hands out its slots itself.
    let makefile = format!("ALL = a b c d e f g h\nall: $(ALL)\n$(ALL):\n\t@$$JOB {WORK}\n");
    let text = "case $JSSHIM_LIB in '') exec $MAKE -s -j8 ;; *) exec $CLI -j3 -- $MAKE -s ;; esac";
    let run = Run::new(&["bash", "-c", text]);
    let run = run.file("Makefile", &makefile).env("MAKE", &musl("make"));
    run.env("CLI", &artifact("jsshim").unwrap_or_default()).preload_inside().slots(3).both();
}

/// Nothing of glibc is there: library, helper and launcher as they are built here.
fn a_root_without_glibc() {
    let text = "
        R=$PWD/root ON=$JSSHIM_LIB
        mkdir -p $R; mount -t tmpfs none $R; mkdir -p $R/lib $R/bin $R/dev $R/proc $R/tmp $R/jsshim
        for d in dev proc tmp; do mount --rbind /$d $R/$d; done
        cp -L /lib/ld-musl-*.so.1 $R/lib; cp $MUSL/busybox $MUSL/bash $MUSL/make $MUSL/ninja $MUSL_JOB $R/bin
        for name in sh env cat; do ln -s busybox $R/bin/$name; done
        [ -z \"$ON\" ] || cp $ON ${ON%/*}/jsshim ${ON%/*}/jsshim-helper $R/jsshim
        export PATH=/bin JOB=/bin/musl-job
        [ -n \"$ON\" ] || export MAKEFLAGS=-j8
        exec /usr/sbin/chroot $R sh -c \"cd $PWD && exec ${ON:+/jsshim/jsshim -j3 --} $HOST\"";
    let here = musl("ninja");
    let folder = here.strip_suffix("/ninja").unwrap();
    let build = build(&format!("$$JOB {WORK}"));
    for host in ["ninja -j8", "make -s", "bash -c '$SHELL_TEXT'"] {
        Run::new(&["unshare", "-m", "bash", "-c", &text.replace("$HOST", host)])
            .env("MUSL", folder)
            .env("MUSL_JOB", &of_musl("job"))
            .env("SHELL_TEXT", "for i in 1 2 3 4 5 6; do $JOB -b 5 -s 40 & done; wait")
            .env("NINJA_STATUS", "")
            .file("build.ninja", &build)
            .file("Makefile", "ALL = a b c d e f g h\nall: $(ALL)\n$(ALL):\n\t@$$JOB -b 5 -s 40\n")
            .preload_inside()
            .unordered()
            .slots(3)
            .both();
    }
}

/// A program of musl where its loader is missing, started by a host of musl as a held job: as without the library.
fn what_would_fail_fails() {
    let text = "cp $MUSL_JOB lost; sed -i 's,/lib/ld-musl,/lib/xx-musl,' lost; printf 'exit 3' >text
        chmod +x text; $JOB -s 200 & for p in ./lost ./none ./text; do $p & wait $!; echo $?; done; wait";
    for shell in [vec![musl("bash")], vec![musl("busybox"), "ash".to_owned()]] {
        let argv = [&shell[..], &["-c".to_owned(), text.to_owned()]].concat();
        let run = Run::new(&argv).env("MUSL_JOB", &of_musl("job")).env("JSSHIM_GATE", "child");
        run.pool(Kind::Fifo, 1).any_peak().both();
    }
}

/// Without PATH, musl looks into /usr/local/bin first, and glibc not at all.
fn default_of_path() {
    let text = "mount -t tmpfs none /usr/local/bin; cp $JOB /usr/local/bin/only-there
        exec env -u PATH $HOST only-there";
    for host in [of_musl("nopath"), crate::harness::programs::compiled("nopath")] {
        let run = Run::new(&["unshare", "-m", "bash", "-c", text]).env("HOST", &host);
        run.pool(Kind::Fifo, 1).env("JSSHIM_GATE", "child").any_peak().unordered().both();
    }
}

/// Of a program without a loader, doctor and the launcher say that nothing can be preloaded.
fn static_programs_are_named() {
    let Some(cli) = artifact("jsshim") else { return };
    let job = crate::harness::programs::compiled_by("musl-gcc", "job", "musl-static", &["-static"]);
    let told = |o: &Outcome| assert!(o.text().contains("is statically linked"), "{}", o.text());
    let run = Run::new(&[&cli, "doctor", &job]).preload_inside().any_peak();
    run.check(told).once();
    let said = |o: &Outcome| assert!(o.stderr.contains("its jobs do not queue"), "{}", o.stderr);
    Run::new(&[&cli, "-j2", "--", &job]).preload_inside().any_peak().warns().check(said).once();
}
