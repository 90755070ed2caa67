//! Programs that build or test, and those that run lists of commands.

use super::{recipe, script, Row};
use crate::harness::pool::Kind;
use crate::harness::programs::tool;
use crate::harness::Run;
use crate::Test;

pub const ROWS: &[Row] = &[
    ("ninja_1_10_2", |_| pypi_ninja("1.10.2")),
    ("ninja_1_11_1", |_| pypi_ninja("1.11.1")),
    ("ninja_1_13_0", |_| pypi_ninja("1.13.0")),
    ("gnu_parallel", |_| script("seq 8 | exec parallel --will-cite -j8 sh j {} 100")),
    ("gnu_parallel_linewise", |_| {
        script("exec parallel --will-cite -j8 --line-buffer --tag sh j ::: 1 2 3 4 5 6 7 8")
    }),
    ("moreutils_parallel", |_| {
        script("exec parallel.moreutils -j8 sh j -- 1 2 3 4 5 6 7 8").any_peak()
    }),
    ("cmake_configure", |_| {
        script("cmake -GNinja -S . -B b >log; echo $?; exec cat out")
            .file("CMakeLists.txt", CONFIGURE)
    }),
    ("cmake_build", |_| {
        script("cmake -GNinja -S . -B b >log && cmake --build b -j8 >log; echo $?; exec cat b/o*")
            .file("CMakeLists.txt", BUILD)
    }),
    ("ctest", |_| {
        script("ctest -j8 -Q; echo $?; exec grep -c 'Test [PF]a' Testing/Temporary/LastTest.log")
            .file("CTestTestfile.cmake", CTEST)
    }),
    ("meson_setup", |_| {
        script("exec meson setup b >log").file("meson.build", MESON_SETUP).any_peak()
    }),
    ("meson_compile_and_test", |_| {
        let text = "meson setup b >log && meson compile -C b -j8 >log && cat b/o*
            meson test -C b --num-processes 8 >log; echo $?; exec grep -c '\"OK\"' b/meson-logs/testlog.json";
        script(text).file("meson.build", MESON).may_idle().check(|o| assert_eq!(o.jobs.ended, 16))
    }),
    ("scons", |_| scons("os.environ")),
    ("scons_with_a_scrubbed_environment", |_| {
        scons("{k: v for k, v in os.environ.items() if 'TEST' in k or k in ('JOB', 'PATH')}")
    }),
    ("waf", |_| {
        let waf = tool("waf-2.0.22", "waf");
        let python = crate::harness::programs::python();
        script(&format!(
            "$PYTHON {waf} configure >log && $PYTHON {waf} -j8 >log; echo $?; exec cat build/o*"
        ))
        .env("PYTHON", &python)
        .file("wscript", WAF)
    }),
    ("tup", |_| script("tup init >log && exec tup -j8 >log").file("Tupfile", TUP)),
    ("rpmbuild", |_| {
        script("exec rpmbuild -bb --quiet --define \"_topdir $PWD/r\" --dbpath $PWD/db x.spec >log")
            .file("x.spec", RPM)
    }),
];

pub const BELOW_MAKE: &[Row] = &[
    ("make", |kind| make(kind, "exec $MAKE -s")),
    ("make_told_j8", |kind| make(kind, "exec $MAKE -s -j8 2>/dev/null")),
    ("make_of_makes", |kind| make(kind, "exec $MAKE -s -f Sub")),
    ("cmake_build_with_make", |kind| {
        recipe(kind, "cmake -S . -B b >log && cmake --build b -j8 >log; echo $?; exec cat b/o*")
            .file("CMakeLists.txt", BUILD)
    }),
    ("dpkg_buildpackage", |kind| {
        debian(kind, "dpkg-buildpackage -R\"$MAKE -f debian/rules\" -b -uc -us -d -j8")
    }),
    ("dh", |kind| debian(kind, "DEB_BUILD_OPTIONS=parallel=8 dh build")),
];

pub fn tests() -> Vec<Test> {
    vec![
        crate::test("drivers::bmake_below_make", bmake_below_make),
        crate::test("drivers::bmake_below_jsshim", bmake_below_jsshim),
    ]
}

/// It takes GNU make's flags for its own and dies of them, as ever.
fn bmake_below_make() {
    for kind in [Kind::NonBlocking, Kind::Fifo] {
        let run = script("exec bmake -s -j8").file("Makefile", MAKEFILE).pool(kind, 2).any_peak();
        run.check(|o| assert_eq!(o.status.code(), Some(1))).times(super::REPEATS).both();
    }
}

/// There it is given none.
fn bmake_below_jsshim() {
    let run = script("exec bmake -s -j8").file("Makefile", MAKEFILE).cli(2);
    run.unordered().check(super::eight).times(super::REPEATS).both();
}

/// Told how many, it ignores the pool that it knows.
fn pypi_ninja(version: &str) -> Run {
    let ninja = tool(&format!("ninja-{version}"), "ninja");
    let mut text = "rule job\n  command = sh j $out 100\n".to_owned();
    (1..=8).for_each(|edge| text += &format!("build e{edge}: job\n"));
    Run::new(&[&ninja, "-j8"])
        .file("j", super::JOB)
        .env("NINJA_STATUS", "")
        .file("build.ninja", &text)
}

const MAKEFILE: &str = "
all: 1 2 3 4 5 6 7 8
1 2 3 4 5 6 7 8:
\t@sh j $@ 100
";

fn make(kind: Kind, command: &str) -> Run {
    let sub = "all: a b\na b:\n\t@$(MAKE) -s --no-print-directory\n";
    recipe(kind, command).file("Makefile", MAKEFILE).file("Sub", sub)
}

const CONFIGURE: &str = "
cmake_minimum_required(VERSION 3.20)
project(x NONE)
execute_process(COMMAND sh j 1 0 COMMAND sh j 2 0 COMMAND sh j 3 0 COMMAND sh j 4 0
    COMMAND sh j 5 0 COMMAND sh j 6 0 COMMAND sh j 7 0 COMMAND sh j 8 300 COMMAND cksum
    WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} OUTPUT_VARIABLE out)
file(WRITE out ${out})
";

const BUILD: &str = "
cmake_minimum_required(VERSION 3.20)
project(x NONE)
foreach(i RANGE 1 8)
    add_custom_command(OUTPUT o${i} COMMAND sh ../j ${i} > o${i} VERBATIM)
    list(APPEND all o${i})
endforeach()
add_custom_target(all_jobs ALL DEPENDS ${all})
";

const CTEST: &str = "
foreach(i RANGE 1 8)
    add_test(t${i} sh j ${i} 100)
endforeach()
set_tests_properties(t3 PROPERTIES WILL_FAIL true)
";

const MESON_SETUP: &str = "
project('x')
foreach i : ['1', '2', '3', '4', '5', '6', '7', '8']
  r = run_command('sh', 'j', i, '100', check: true)
  message(r.stdout().split('\\n').length())
endforeach
";

const MESON: &str = "
project('x')
sh = find_program('sh')
job = files('j')
foreach i : ['1', '2', '3', '4', '5', '6', '7', '8']
  custom_target('o' + i, output: 'o' + i, command: [sh, job, i], capture: true,
    build_by_default: true)
  test('t' + i, sh, args: [job, i, '100'])
endforeach
";

fn scons(env: &str) -> Run {
    let text = format!(
        "import os\nenv = Environment(ENV={env})\nfor i in range(8):\n    \
        env.Command('o%d' % i, [], 'sh j %d >$TARGET' % i)\n"
    );
    script("scons -s -j8; echo $?; exec cat o*").file("SConstruct", &text)
}

const WAF: &str = "
def configure(ctx):
    pass
def build(ctx):
    for i in range(8):
        ctx(rule='sh ../j %d 1 0 150 >o%d' % (i, i), target='o%d' % i)
";

const TUP: &str = "
export JOB
export JSSHIM_TEST_JOBS
export JSSHIM_TEST_ID
: |> sh j 1 >%o |> o1
: |> sh j 2 >%o |> o2
: |> sh j 3 >%o |> o3
: |> sh j 4 >%o |> o4
: |> sh j 5 >%o |> o5
: |> sh j 6 >%o |> o6
: |> sh j 7 >%o |> o7
: |> sh j 8 >%o |> o8
";

fn debian(kind: Kind, command: &str) -> Run {
    let start = "cp j Makefile x; chmod +x x/debian/rules; cd x";
    let end = "echo $?; exec grep -c ' 000007 ' log";
    recipe(kind, &format!("{start}; {command} >log 2>&1; {end}"))
        .file("Makefile", MAKEFILE)
        .file("x/debian/rules", "#!/usr/bin/make -f\n%:\n\tdh $@\noverride_dh_auto_test:\n")
        .file("x/debian/compat", "13\n")
        .file("x/debian/control", CONTROL)
        .file("x/debian/changelog", CHANGELOG)
}

const CHANGELOG: &str = "xx (1) unstable; urgency=low

  * x

 -- x <x@x.org>  Thu, 01 Jan 1970 00:00:00 +0000
";

const CONTROL: &str = "Source: xx
Maintainer: x <x@x.org>

Package: xx
Architecture: all
Description: x
";

const RPM: &str = "
Name: x
Version: 1
Release: 1
Summary: x
License: x
%description
%build
for i in 1 2 3 4 5 6 7 8; do sh %{_topdir}/../j $i & done; wait
%files
";
