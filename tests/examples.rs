//! The examples, as they are, on two slots. The compiler is a script that counts itself and becomes the real
//! one. Where a whole distribution would be needed, a few lines do what it does with the environment.

use std::fs;
use std::path::Path;

use crate::harness::programs::{artifact, script, tool};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        every_example_is_run,
        ninja,
        superbuild,
        scons,
        wheels,
        pytest,
        yocto,
        buildroot,
        gentoo,
        ci,
        they_name_the_installed_library,
    ]
}

const NAMES: [&str; 9] =
    ["ninja", "superbuild", "scons", "wheels", "pytest", "yocto", "buildroot", "gentoo", "ci"];

fn every_example_is_run() {
    let entries = fs::read_dir(script("../examples")).unwrap().flatten();
    let folders = entries.filter(|e| e.path().is_dir());
    let index = fs::read_to_string(script("../examples/README.md")).unwrap();
    for folder in folders.map(|e| e.file_name().into_string().unwrap()) {
        assert!(index.contains(&format!("[{folder}]({folder})")), "{folder} is not in the index");
    }
    assert!(NAMES.iter().all(|name| index.contains(&format!("[{name}]({name})"))));
}

const CC: &str = "#!/bin/sh\n$JOB -b 5 -s 50\nexec /usr/bin/cc \"$@\"\n";

/// The launcher; nothing in the run without the library.
const CLI: &str = "#!/bin/sh
case $JSSHIM_LIB in ?*) exec $CLI_FILE \"$@\" ;; esac
while [ \"$1\" != -- ]; do shift; done; shift; exec \"$@\"
";

/// A folder with the files of an example, in which `text` is run with the compiler in front.
fn example(name: &str, text: &str) -> Run {
    // What a tool does not hand on (scons) is in the compiler itself.
    let names = "JOB=$JOB JSSHIM_TEST_ID=$JSSHIM_TEST_ID JSSHIM_TEST_JOBS=$JSSHIM_TEST_JOBS";
    let head =
        "chmod +x bin/* *build* emerge* 2>/dev/null; export PATH=$PWD/bin:$PATH JSSHIM=$JSSHIM_LIB";
    let mut run =
        Run::new(&["bash", "-c", &format!("{head}\nsed -i \"2i export {names}\" bin/cc\n{text}")])
            .file("bin/cc", CC)
            .file("bin/jsshim", CLI)
            .env("CLI_FILE", &artifact("jsshim").unwrap_or_default())
            .env("NINJA_STATUS", "")
            .preload_inside()
            .unordered()
            .slots(2)
            .check(|o| assert!(o.status.success() && o.jobs.started >= 8));
    let top = script(&format!("../examples/{name}"));
    let mut folders = vec![top.clone()];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().flatten().map(|e| e.path()) {
            if path.is_dir() {
                folders.push(path.to_str().unwrap().to_owned());
            } else {
                let below = path.strip_prefix(Path::new(&top)).unwrap();
                run = run.file(below.to_str().unwrap(), &fs::read_to_string(&path).unwrap());
            }
        }
    }
    run
}

/// Eight sources in a folder.
fn sources(run: Run, folder: &str) -> Run {
    let add = |run: Run, i| run.file(&format!("{folder}part{i}.c"), &format!("int f{i};\n"));
    (1..=8).fold(run, add)
}

fn ninja() {
    sources(example("ninja", "make -s -j2; ls *.o | wc -l"), "").make(2).both();
}

fn superbuild() {
    let text = "cmake -S . -B build -DJSSHIM=\"$JSSHIM\" >log || exit
        make -s -C build -j2 >log 2>&1 || { cat log; exit 1; }; ls build/*/*.a";
    sources(example("superbuild", text), "part/").both();
}

fn scons() {
    sources(example("scons", "make -s -j2 >log; ls *.o | wc -l"), "").both();
}

/// Debian's Python, which has what a wheel needs.
fn wheels() {
    let text = "export PYTHON=/usr/bin/python3 CC=cc
        for w in one two; do mkdir $w; cp setup.py part?.c $w; sed -i \"s/parts\\b/parts_$w/\" $w/setup.py; done
        unset PYTHONPATH; make -s -j2 2>log || { cat log; exit 1; }; ls wheels | wc -l";
    sources(example("wheels", text), "").check(|o| assert_eq!(o.text(), "2\n")).both();
}

/// Two workers have the two slots; xdist's own number would be the machine's.
fn pytest() {
    let text =
        "export PYTHONPATH=$LIBS; make -s -j2 >log; s=$?; grep -o '[0-9]* passed' log; exit $s";
    let run = example("pytest", text).env("LIBS", &tool("python-libs-", ""));
    sources(run, "").any_peak().check(|o: &Outcome| assert_eq!(o.text(), "8 passed\n")).both();
}

/// bitbake in a nutshell: tasks side by side, in an environment of the variables that local.conf lets through
/// and exports.
const BITBAKE: &str = r#"#!/usr/bin/env python3
import os, re, subprocess, sys
from concurrent.futures import ThreadPoolExecutor
conf = open("local.conf").read()
value = dict(re.findall(r'^(\w+) = "(.*)"$', conf, re.M))
exported = re.findall(r"^export (\w+)$", conf, re.M)
passed = value["BB_ENV_PASSTHROUGH_ADDITIONS"].split()
keep = ["PATH", "JOB", "JSSHIM_TEST_ID", "JSSHIM_TEST_JOBS", "JSSHIM_DIR"]
env = {n: os.environ[n] for n in keep + [n for n in exported if n in passed] if n in os.environ}
env["PARALLEL_MAKE"] = value["PARALLEL_MAKE"] if "LD_PRELOAD" in env else "-j8"
task = lambda n: subprocess.run(["sh", "-c", f"{n} $PARALLEL_MAKE"], env=env).returncode
with ThreadPoolExecutor(int(value["BB_NUMBER_THREADS"])) as pool:
    sys.exit(max(pool.map(task, ["make -s -C a", "make -s -C b", "ninja --quiet -C c"])))
"#;

const OBJECTS: &str = "all: $(patsubst %.c,%.o,$(wildcard *.c))\n%.o: %.c\n\tcc -c $< -o $@\n";

fn parts(run: Run) -> Run {
    let mut edges = "rule cc\n  command = cc -c $in -o $out\n".to_owned();
    (1..=8).for_each(|i| edges += &format!("build part{i}.o: cc part{i}.c\n"));
    let run = sources(sources(sources(run, "a/"), "b/"), "c/");
    run.file("a/Makefile", OBJECTS).file("b/Makefile", OBJECTS).file("c/build.ninja", &edges)
}

fn yocto() {
    let text = "jsshim -j2 -- ./bitbake.build core-image-minimal; s=$?; ls ?/*.o | wc -l; exit $s";
    parts(example("yocto", text)).file("bitbake.build", BITBAKE).both();
}

/// Buildroot in a nutshell: each package is told -j$(BR2_JLEVEL).
fn buildroot() {
    let packages = "all: a b c\n.PHONY: a b c\na b:\n\t$(MAKE) -s -j$(BR2_JLEVEL) -C $@\n\
        c:\n\tninja --quiet -j$(BR2_JLEVEL) -C $@\n";
    let text = "export SLOTS=2; ./build -s 2>log; s=$?; ls ?/*.o | wc -l; exit $s";
    // Without the library, the numbers are those of a larger machine.
    let text = format!("[ $JSSHIM_LIB ] || sed -i 's/slots=.*/slots=8/' build\n{text}");
    parts(example("buildroot", &text)).file("Makefile", packages).both();
}

/// Portage in a nutshell: phases side by side, by another user, in an environment of their own; its fifo is
/// put into a folder of the test.
fn gentoo() {
    // SAFETY: it only tells a number.
    assert_eq!(unsafe { libc::geteuid() }, 0, "run by root, to become the user of the phases");
    let emerge = "#!/bin/bash
phase() {
    setpriv --reuid=65534 --regid=65534 --clear-groups env -i PATH=\"$PATH\" JOB=$JOB JSSHIM=$JSSHIM \\
        JSSHIM_TEST_ID=$JSSHIM_TEST_ID JSSHIM_TEST_JOBS=$JSSHIM_TEST_JOBS JSSHIM_DIR=$PHASES \\
        bash -c \"EBUILD_PHASE=compile; [ -z \\$JSSHIM ] || . ./bashrc; $1\"
}
phase 'make -s -C a -j8 2>/dev/null' & phase 'make -s -C b' & phase 'ninja --quiet -C c' & wait
";
    let text = "
        sed -i s,/run/emerge-jobs,$PWD/jobs,g bashrc emerge-queued
        [ $JSSHIM_LIB ] || sed -i '/MAKEFLAGS=/d; s/^ *LD_PRELOAD=[^ ]* //' emerge-queued
        export PORTAGE_GRPNAME=nogroup PHASES=$PWD/phases; mkdir -m 700 phases; chown nobody phases
        chmod 777 . a b c; chmod 666 $JSSHIM_TEST_JOBS
        ./emerge-queued 2 ./emerge.build; s=$?; ls ?/*.o | wc -l; test ! -e jobs || exit 1
        until [ ! -e phases ] || [ -z \"$(ls phases)\" ]; do sleep 0.05; done; exit $s";
    parts(example("gentoo", text)).file("emerge.build", emerge).both();
}

fn ci() {
    let text =
        "mv a app; mv c tools; SLOTS=2 ./build -s >log 2>&1; s=$?; ls */*.o | wc -l; exit $s";
    parts(example("ci", text)).both();
}

/// So that they can be copied as they are.
fn they_name_the_installed_library() {
    for name in ["ninja/Makefile", "scons/Makefile", "wheels/Makefile", "pytest/Makefile"] {
        let text = fs::read_to_string(script(&format!("../examples/{name}"))).unwrap();
        assert!(text.contains("JSSHIM ?= /usr/$$LIB/jsshim/libjsshim.so"), "{name}");
    }
}
