//! scripts/jsshim-cc, by the names of compilers whose drivers start jobs of their own, below a make whose
//! recipes have no `+`.

use std::fs;

use crate::harness::programs::{artifact, on_path, once, output, script, tool};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        gcc_lto_joins_the_pool,
        gcc_lto_through_ccache,
        gcc_lto_below_our_own_pool,
        a_driver_that_forks,
        itself_is_never_found,
        what_is_started_is_as_before,
        without_a_library,
        links_are_made,
    ]
}

const MASK: &str = "mask=$PWD/mask; sh $CC --install $mask gcc nvcc show >&2 || exit 9
    [ -z $JSSHIM_LIB ] || PATH=$mask:$PATH";

/// A recipe of a make with two slots; `sh host` has the masquerade in front, in the run with the library.
fn below(make: &str, flags: &[&str], plus: &str, text: &str) -> Run {
    let top = format!("all:\n\t{plus}@sh host\n");
    Run::new(&[&[make, "-s", "-j2", "-f", "Top"], flags].concat())
        .file("Top", &top)
        .file("host", &format!("{MASK}\n{text}"))
        .env("CC", &script("../scripts/jsshim-cc"))
        .preload_inside()
        .make(2)
}

/// Lua, in twelve parts for the optimizer at link time. `$MAKE` is what lto-wrapper starts: it
/// must have been told of the pool with the library, and of no number of its own.
const LUA: &str = "
    chmod +x bin/as make
    export REAL=$(command -v make) MAKE=$PWD/make
    gcc -Bbin/ -flto=8 --param lto-min-partition=500 --param lto-partitions=12 -o lua $LUA/*.o -lm || exit 9
    if [ $JSSHIM_LIB ]; then
        grep -q pool make.log && ! grep -q 'make.* -j' make.log || { cat make.log >&2; exit 8; }
    else
        ! grep -q pool make.log && grep -q 'make.* -j8' make.log || { cat make.log >&2; exit 8; }
    fi
    ./lua -e 'print(_VERSION, ((\"x\"):rep(3)))' && exec $JOB -s 1";

/// Tells how it is called, and whether the pool's descriptors are there.
const TELLING_MAKE: &str = "#!/bin/sh
auth=${MAKEFLAGS##*--jobserver-auth=} read=${auth%%,*}
{ echo make \"$@\"; [ ! -p \"/proc/self/fd/$read\" ] || echo pool; } >make.log
exec $REAL \"$@\"
";

/// Compiles it, once.
fn lua_objects() -> String {
    once("lua", |dir| {
        fs::create_dir_all(dir).unwrap();
        // Debian's own, of which only the paths of a package would come.
        let header = "#define DEB_HOST_MULTIARCH \"x\"\n";
        fs::write(dir.join("lua5.4-deb-multiarch.h"), header).unwrap();
        let flags = "-c -O1 -flto -DLUA_USE_POSIX -I.";
        let sources = "$(ls $0/src/*.c | grep -v -e /luac -e /ltests)";
        let text = format!("cd $1 && gcc {flags} {sources}");
        output("sh", &["-c", &text, &tool("suite-lua", ""), dir.to_str().unwrap()]);
    })
}

fn lua(run: Run) -> Run {
    run.file("bin/as", "#!/bin/sh\n$JOB -b 5 -s 300\nexec as \"$@\"\n")
        .file("make", TELLING_MAKE)
        .env("LUA", &lua_objects())
        .check(|o| {
            assert_eq!(o.stderr, "");
            assert!(o.text().starts_with("Lua 5.") && o.text().contains("xxx"), "it works");
            assert!(o.jobs.started >= 9, "few parts");
        })
}

/// On a pipe and on a fifo; in a recipe without `+`, the descriptors are closed or there is no word for them.
fn gcc_lto_joins_the_pool() {
    lua(below(&on_path("make"), &[], "", LUA)).both();
    lua(below(&tool("make-4.4.1", "make"), &[], "", LUA)).both();
    // Here gcc joins the pool by itself, and must still do.
    lua(below(&on_path("make"), &[], "+", LUA)).once_full();
}

/// make has told only that there is nothing, but jsshim knows the pool.
fn gcc_lto_below_our_own_pool() {
    if let Some(cli) = artifact("jsshim") {
        let text = format!("{MASK}\n{LUA}");
        let run =
            Run::new(&["sh", "-c", "exec $CLI -j2 -- $MAKE44 --jobserver-style=pipe -s -f Top"]);
        let run =
            run.file("Top", "all:\n\t@sh host\n").file("host", &text).slots(2).preload_inside();
        let run = run.env("CC", &script("../scripts/jsshim-cc")).env("CLI", &cli);
        lua(run.env("MAKE44", &tool("make-4.4.1", "make"))).once_full();
    }
}

/// Which finds the compiler behind the links, in either order.
fn gcc_lto_through_ccache() {
    let text = format!("export CCACHE_DIR=$PWD/cache; PATH=$PWD/ccache:$PATH
        mkdir ccache; ln -s $(command -v ccache) ccache/gcc; [ -z $JSSHIM_LIB ] || PATH=$mask:$PATH\n{LUA}");
    lua(below(&on_path("make"), &[], "", &text)).once_full();
}

/// As nvcc does with an architecture for each part: four sub-compilers at once, and a recipe for each of three.
fn a_driver_that_forks() {
    let rules = "all: a b c\na b c:\n\t@nvcc -t4 $@.cu\n";
    let text = "chmod +x tools/nvcc; PATH=$PATH:$PWD/tools; exec make -s -f Sub";
    let top = below(&on_path("make"), &[], "+", text).file("Sub", rules);
    top.file("tools/nvcc", NVCC).unordered().both();
    let direct = "chmod +x tools/nvcc; PATH=$PATH:$PWD/tools; exec nvcc -t4 x.cu";
    let one = below(&on_path("make"), &[], "", direct).file("tools/nvcc", NVCC);
    one.unordered()
        .check(|o| assert_eq!(o.text().lines().filter(|l| l.contains("sm_")).count(), 4))
        .both();
}

const NVCC: &str = r#"#!/bin/bash
for sm in 50 60 70 80; do { $JOB -b 5 -s 60; echo "sm_$sm $*"; } & done
wait
"#;

const PLAIN: &str = "#!/bin/sh\necho \"$0\" \"$@\" | sed s,$PWD/,,\nexit 5\n";

fn plain(text: &str) -> Run {
    Run::new(&["sh", "-c", &format!("{MASK}\nchmod +x tools/*; {text}")])
        .env("CC", &script("../scripts/jsshim-cc"))
        .file("tools/show", PLAIN)
        .preload_inside()
        .any_peak()
}

/// By whatever other way it stands in PATH: a link to a link, a relative directory, a copy.
fn itself_is_never_found() {
    let text = "
        mkdir again copy; ln -s ../mask/show again/show; cp $CC copy/show; ln -s mask linked
        PATH=${JSSHIM_LIB:+linked:again:copy:mask:$mask:}$PWD/tools:$PATH; exec show 'a  b' '' '*'";
    plain(text).check(|o| assert_eq!(o.status.code(), Some(5))).both();
    // And where nothing else is.
    let alone = |o: &Outcome| {
        assert_eq!(o.status.code(), Some(127));
        assert!(o.stderr.contains("jsshim-cc: show: nothing of that name"), "{}", o.stderr);
    };
    plain("exec mask/show").check(alone).once();
    // An empty part of PATH is the current directory.
    let here = "cd tools; PATH=$mask::/usr/bin:/bin; exec show x";
    plain(here).check(|o| assert_eq!(o.text(), "./show x\n")).once();
}

/// Input, output, statuses, and the rest of the environment.
fn what_is_started_is_as_before() {
    let text = "
        printf '#!/bin/sh\\ncat; env -0 | tr \"\\\\0\" \"\\\\n\" | sed \"s/=.*//\" | grep -v -e ^LD_PRELOAD -e ^JSSHIM_POOL -e ^_ | sort; kill -9 $$' >tools/show
        PATH=$PATH:$PWD/tools; echo in | show; echo $?";
    plain(text).both();
    let twice = "PATH=$PATH:$PWD/tools; printf '#!/bin/sh\\nprintf %s \"$LD_PRELOAD\"' >tools/show
        [ \"$(LD_PRELOAD=$JSSHIM_LIB show)\" = \"$JSSHIM_LIB\" ] && [ \"$(show)\" = \"$JSSHIM_LIB\" ]";
    plain(twice).check(|o| assert!(o.status.success())).once();
}

/// The compiler runs, and one line says so.
fn without_a_library() {
    let text = "mkdir alone; cp $CC alone/show; unset JSSHIM_LIB; PATH=$PWD/alone:$PWD/tools:$PATH; exec show a";
    let check = |o: &Outcome| {
        assert_eq!((o.status.code(), o.text().as_str()), (Some(5), "tools/show a\n"));
        assert_eq!(
            o.stderr,
            "jsshim-cc: libjsshim.so is not to be found; the jobs of show do not queue\n"
        );
    };
    plain(text).check(check).once();
}

fn links_are_made() {
    let text = "cc() { sh $CC \"$@\"; echo $?; }
        cc --install new gcc g++; readlink new/gcc | sed s,.*/,,; cc --install new gcc
        echo own >new/clang; cc --install new clang; cat new/clang
        cc --install new a/b; cc --install new; cc --install; cc; cc --help; ls new";
    let check = |o: &Outcome| {
        let wanted = "0\njsshim-cc\n0\n1\nown\n2\n2\n2\n2\n";
        assert!(o.text().starts_with(wanted), "{}", o.text());
        assert!(o.text().ends_with("0\nclang\ng++\ngcc\n"), "{}", o.text());
        assert!(o.stderr.contains("new/clang is there already"), "{}", o.stderr);
    };
    plain(text).check(check).once();
}
