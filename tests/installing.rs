//! scripts/install: what it builds, where it puts things, what it says; and the C library as it is found from there.

use crate::harness::programs::{artifact, script};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        what_is_stale_is_built,
        without_cargo_only_what_is_fresh,
        its_words,
        modes_and_files,
        by_pkg_config_and_cmake,
        what_the_loader_does_not_know,
        from_the_folder_of_the_build,
        the_launcher_alone,
    ]
}

/// In a folder with a copy of the tree, of which `target/release` has copies of what is built.
fn run(text: &str) -> Run {
    let copy = "
        mkdir tree; cd tree
        for part in Cargo.toml Cargo.lock README.md CHANGELOG.md LICENSE LICENSE-MIT LICENSE-APACHE scripts src man docs examples; do
            cp -r $ROOT/$part .
        done
        mkdir -p target/release; cp $BUILT/{libjsshim.so,jsshim-helper,jsshim,libjobserver.so,libjobserver.a} target/release/
        cd ..
        # A cargo that says what is asked of it.
        mkdir bin; printf '#!/bin/sh\\necho \"cargo $*\"; pwd\\n%s' \"${CARGO_DOES:-}\" >bin/cargo; chmod +x bin/cargo
        export PATH=$PWD/bin:$PATH P=$PWD/opt I=$PWD/tree/scripts/install HOME=$PWD/home
        without() { ! \"$@\" || { echo \"should fail: $*\"; exit 1; }; }\n";
    from_the_build(&format!("{copy}{text}"))
}

/// A script that knows the tree by `$ROOT`, and the folder of the release build by `$BUILT`.
pub fn from_the_build(text: &str) -> Run {
    let built = artifact("jsshim").unwrap_or_default();
    Run::new(&["bash", "-euo", "pipefail", "-c", text])
        .env("ROOT", &script(".."))
        .env("BUILT", built.trim_end_matches("/jsshim"))
        .preload_inside()
        .any_peak()
}

/// It succeeds, and this is so.
pub fn once(run: Run, check: impl Fn(&Outcome) + 'static) {
    if artifact("jsshim").is_some() {
        run.check(|o| assert!(o.status.success())).check(check).once();
    }
}

/// What cargo has just built is what is installed, not what was there before.
fn what_is_stale_is_built() {
    let text = "
        $I --prefix=$P >said; grep -x 'cargo build --release --workspace' said
        grep -qx $PWD/tree said; cat opt/lib/*/jsshim/jsshim-helper";
    let does = "echo new >target/release/jsshim-helper\n";
    once(run(text).env("CARGO_DOES", does), |o| {
        assert_eq!(o.text(), "cargo build --release --workspace\nnew\n");
    });
}

fn without_cargo_only_what_is_fresh() {
    let text = "
        rm bin/cargo; PATH=/usr/bin:/bin:/usr/sbin:/sbin; touch tree/target/release/*
        $I --prefix=$P >/dev/null; test -x opt/bin/jsshim
        touch -d '+1 second' tree/src/engine/lib.rs; without $I --prefix=$P 2>said; cat said; $I --prefix=$P --built=$BUILT >/dev/null";
    once(run(text), |o| {
        assert!(
            o.text().starts_with("install: there is no cargo, and what is in "),
            "{}",
            o.text()
        );
        assert_eq!(o.text().lines().count(), 1);
    });
}

fn its_words() {
    let text = "
        $I --help | grep -c -- '--prefix=DIR'
        $I --prefix=$P >said; test -x opt/bin/jsshim; $I --uninstall --prefix=$P; test ! -e opt
        $I --prefix $P >said; $I --uninstall --prefix $P; test ! -e opt
        DESTDIR=$PWD/stage $I --prefix=/usr --libdir=/usr/lib64 >said; test -f stage/usr/lib64/jsshim/libjsshim.so
        $I --destdir=$PWD/stage --prefix=/usr --uninstall; test ! -e stage/usr
        for wrong in --prefix --prefix=rel --nonsense --destdir=rel --libdir=/elsewhere word; do
            without $I --built=$BUILT $wrong 2>/dev/null
        done; test ! -e /elsewhere";
    once(run(text), |o| assert_eq!(o.text(), "2\n"));
}

fn modes_and_files() {
    let text = "
        umask 077; $I --prefix=$P --libdir=lib >said
        cd opt; find . -type f -printf '%m %p\\n' | sort >../modes; cd share/doc/jsshim
        for file in $(cd $ROOT; find examples -type f); do test $(stat -c %a $file) = $(stat -c %a $ROOT/$file) || echo $file; done
        ls LICENSE LICENSE-MIT LICENSE-APACHE
        # What a document links to is there.
        grep -oE '\\]\\([^):]*\\)' README.md | tr -d '])(' | grep -v '^packaging' | while read -r name; do test -e $name || echo missing $name; done
        cd ../../..; test -s share/jsshim/status.schema.json
        find . -type d ! -perm 755; find . -type f ! -perm 644 ! -perm 755; find . -type f -perm 755 ! -path '*/examples/*' | sort";
    once(run(text), |o| {
        let programs = "./bin/jsshim\n./bin/jsshim-cc\n./lib/jsshim/jsshim-helper\n";
        assert_eq!(o.text(), format!("LICENSE\nLICENSE-APACHE\nLICENSE-MIT\n{programs}"));
    });
}

/// In C and in C++: two jobs on a pool of its own, and what they end with.
const PROGRAM: &str = "#include <jobserver.h>
static int job(void *data) { return *(int *)data; }
static void ended(void *data, int how) { *(int *)data = how; }
int main(void) {
    struct jobserver js;
    int data[] = { 3, 4 }, i;
    js.dry_run = js.debug = js.keep_going = false;
    if (jobserver_create_n(&js, 2, '+') < 0) return 1;
    for (i = 0; i < 2; i++)
        if (jobserver_launch_job(&js, -1, true, &data[i], job, ended) != 0) return 2;
    while (js.current_jobs > 0)
        if (jobserver_collect(&js, -1) != 0) return 3;
    if (data[0] != 3 << 8 || data[1] != 4 << 8) return 4;
    return jobserver_close(&js) == 0 ? 0 : 5;
}
";

/// The same from Python, of which the header tells nothing.
const CTYPES: &str = "
import ctypes, sys
lib, js, ended = ctypes.CDLL(sys.argv[1]), ctypes.create_string_buffer(80), []
JOB, ENDED = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p), ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int)
job, done = JOB(lambda data: 3), ENDED(lambda data, status: ended.append(status))
assert lib.jobserver_create_n(js, ctypes.c_size_t(2), ctypes.c_char(b'+')) >= 0
for _ in range(2):
    assert lib.jobserver_launch_job(js, -1, ctypes.c_bool(True), None, job, done) == 0
while len(ended) < 2:
    assert lib.jobserver_collect(js, -1) == 0
assert ended == [3 << 8] * 2 and lib.jobserver_close(js) == 0
";

/// In C, C++ and Python, shared, static, and in a program that is static as a whole; version 0.2.0 is asked for, as
/// programs of the first libjobserver do.
fn by_pkg_config_and_cmake() {
    const LISTS: &str = "cmake_minimum_required(VERSION 3.16)\nproject(user C CXX)
find_package(jobserver 0.2.0 REQUIRED)
add_executable(shared user.c)\ntarget_link_libraries(shared jobserver::jobserver)
add_executable(static user.c)\ntarget_link_libraries(static jobserver::static)
add_executable(cpp user.cpp)\ntarget_link_libraries(cpp jobserver::jobserver)
add_executable(static_cpp user.cpp)\ntarget_link_libraries(static_cpp jobserver::static)\n";
    let text = "
        for libdir in lib lib/x86_64-linux-gnu; do
            $I --prefix=$P --libdir=$libdir >said
            export PKG_CONFIG_PATH=$P/$libdir/pkgconfig LD_LIBRARY_PATH=$P/$libdir
            pkg-config --print-errors --exists 'jobserver >= 0.2.0'; without pkg-config --exists 'jobserver >= 0.3'
            cc -o user user.c $(pkg-config --cflags --libs jobserver); ./user
            c++ -o cpp user.cpp $(pkg-config --cflags --libs jobserver); ./cpp
            without env -u LD_LIBRARY_PATH ./user 2>/dev/null
            cc -static -o whole user.c $(pkg-config --static --cflags --libs jobserver)
            cmake -S . -B b -DCMAKE_PREFIX_PATH=$P >log 2>&1 || { cat log; exit 1; }
            cmake --build b >log 2>&1 || { cat log; exit 1; }
            (unset LD_LIBRARY_PATH; ./whole; b/shared; b/static; b/cpp; b/static_cpp; python3 own.py $P/$libdir/libjobserver.so)
            test -z \"$(readelf -dW b/static b/static_cpp | grep jobserver)\"; test -z \"$(readelf -dW whole | grep NEEDED)\"
            sed -i 's/0.2.0 REQ/0.3 REQ/' CMakeLists.txt; without cmake -S . -B c -DCMAKE_PREFIX_PATH=$P >log 2>&1
            sed -i 's/0.3 REQ/0.2.0 REQ/' CMakeLists.txt; rm -r b c; $I --uninstall --prefix=$P
        done";
    let run = run(text).file("user.c", PROGRAM).file("user.cpp", PROGRAM).file("own.py", CTYPES);
    once(run.file("CMakeLists.txt", LISTS), |o| assert_eq!(o.text(), ""));
}

/// It is said what is left to do, or nothing if nothing is.
fn what_the_loader_does_not_know() {
    let text = r#"
        $I --prefix=$P >said; sed "s|$PWD||g" said | tail -n1
        # A loader that looks there, before and after ldconfig.
        printf '#!/bin/sh\ncase $1 in -p) cat cache ;; *) echo "%s: (from x:1)" ;; esac\n' $P/lib >bin/ldconfig; chmod +x bin/ldconfig
        echo >cache; $I --prefix=$P --libdir=lib >said; tail -n1 said
        echo "	libjobserver.so.0 (libc6,x86-64) => $P/lib/libjobserver.so.0" >cache
        $I --prefix=$P --libdir=lib >said; tail -n1 said | cut -c1-15
        $I --destdir=$PWD/stage --prefix=/usr >said; tail -n1 said | cut -c1-15"#;
    once(run(text), |o| {
        let lines: Vec<_> = o.text().lines().map(str::to_owned).collect();
        assert!(lines[0].starts_with("ld.so does not look into /opt/lib"), "{lines:?}");
        assert_eq!(
            lines[1],
            "run 'ldconfig' as root: until then programs do not find libjobserver.so.0"
        );
        assert_eq!(lines[2..], ["installed below", "installed below"]);
    });
}

/// A program that is linked to the library where cargo leaves it finds its soname there.
fn from_the_folder_of_the_build() {
    let text =
        "cc -o user user.c -Itree/src/libjobserver -L$BUILT -ljobserver -Wl,-rpath,$BUILT; ./user";
    once(run(text).file("user.c", PROGRAM), |o| assert_eq!(o.text(), ""));
}

/// `cargo install` puts nothing else anywhere: the launcher has the library and the helper in it.
fn the_launcher_alone() {
    let text = "
        cp $BUILT/jsshim .; unset JSSHIM_LIB
        eight() { ./jsshim -j2 -- bash -c 'for i in 1 2 3 4 5 6 7 8; do $JOB -b 5 -s 40 & done; wait'; }
        eight & eight & wait
        HERE=$PWD; cd home/.local/share/jsshim; ls | wc -l; cd *; stat -c '%a %n' *
        cd $HERE; XDG_DATA_HOME=$PWD/data ./jsshim true; ls data/jsshim | cut -d- -f1; ls -A data/jsshim | wc -l
        ./jsshim doctor | grep -c -E '^ok +(library|helper) '";
    let wanted =
        format!("1\n755 jsshim-helper\n644 libjsshim.so\n{}\n1\n2\n", env!("CARGO_PKG_VERSION"));
    once(run(text), move |o| {
        assert_eq!(o.text(), wanted);
        assert_eq!(o.jobs.started, 16);
    });
}
