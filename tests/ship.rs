//! What is shipped: an installation and what it leaves, the Debian package in a small system of its own, man
//! pages and completions.

use std::fs;

use crate::harness::programs::{self, artifact, on_path, output, script, tool};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        installed_and_taken_away,
        installed_for_a_package,
        the_packages_are_sound,
        the_package_in_a_small_system,
        man_pages_are_sound,
        completions_load,
        the_demo_shows_it,
        every_option_has_its_place_in_the_man_page,
    ]
}

const EMAIL: &str = "jsshim@lists.debian.org";

fn run(text: &str) -> Run {
    Run::new(&["bash", "-euo", "pipefail", "-c", text])
        .env("ROOT", &script(".."))
        .env("CARGO_HOME", &home("CARGO_HOME", ".cargo"))
        .env("RUSTUP_HOME", &home("RUSTUP_HOME", ".rustup"))
        .env("DEBEMAIL", EMAIL)
        .preload_inside()
        .any_peak()
}

/// Where rustup keeps its things, in spite of the HOME of a test.
fn home(variable: &str, default: &str) -> String {
    let own = std::env::var(variable);
    own.unwrap_or_else(|_| format!("{}/{default}", std::env::var("HOME").unwrap_or_default()))
}

fn once(run: Run) {
    if artifact("jsshim").is_some() {
        run.check(|o| assert!(o.status.success())).once();
    }
}

/// It works from there by all its ways, a second installation replaces the first, and nothing is left.
fn installed_and_taken_away() {
    let text = "
        P=$PWD/opt; I=\"$ROOT/scripts/install --prefix $P\"
        mkdir -p opt/bin; echo own >opt/bin/own
        $I >said; $I >said; head -n1 said
        eight() { \"$@\" bash -c 'for i in 1 2 3 4 5 6 7 8; do $JOB -b 5 -s 40 & done; wait'; }
        eight $P/bin/jsshim -j2 --
        JSSHIM_JOBS=2 eight env LD_PRELOAD=\"$P/\\$LIB/jsshim/libjsshim.so\"
        $P/bin/jsshim-cc --install mask eight; mkdir real
        echo 'for i in 1 2 3 4 5 6 7 8; do $JOB -b 5 -s 40 & done; wait' >real/eight; chmod +x real/eight
        sed -i '1i #!/bin/bash' real/eight
        (unset JSSHIM_LIB; PATH=$PWD/mask:$PWD/real:$PATH JSSHIM_JOBS=2 eight)
        MANPATH=$P/share/man man -w jsshim jsshim-cc libjsshim >pages; test $(wc -l <pages) = 3
        ls $P/share/doc/jsshim/examples | grep -q . && test -s $P/share/doc/jsshim/TROUBLESHOOTING.md
        $I --uninstall; find opt -type f; ! $I --uninstall 2>no; grep -q 'there is no' no
        find opt -type d";
    let check = |o: &Outcome| {
        let text = o.text();
        let lines: Vec<_> = text.lines().skip(1).collect();
        assert!(text.contains("/opt/$LIB/jsshim/libjsshim.so"), "{text}");
        assert_eq!(lines, ["opt/bin/own", "opt", "opt/bin"], "what is left");
        assert_eq!(o.jobs.started, 24);
    };
    let text = text.replace("JSSHIM_JOBS=2 eight)", "JSSHIM_JOBS=2 command eight)");
    once(run(&text).slots(2).check(check));
}

fn installed_for_a_package() {
    let text = "
        I=\"$ROOT/scripts/install --destdir $PWD/stage --prefix /usr --libdir lib\"
        $I >said; grep -q \"LD_PRELOAD='/usr/lib/jsshim/libjsshim.so'\" said
        grep -q \"library='/usr/lib/jsshim/libjsshim.so'\" stage/usr/bin/jsshim-cc
        ! grep -rl $PWD stage; stage/usr/bin/jsshim -j2 -- true
        $I --uninstall; find stage -type f
        for wrong in '--prefix' '--prefix rel' '--nonsense' '--destdir rel'; do
            ! $ROOT/scripts/install $wrong 2>/dev/null
        done";
    once(run(text).check(|o| assert_eq!(o.text(), "")));
}

/// The folder of the packages, which are made once.
fn packages() -> String {
    programs::once("packages", |path| {
        fs::create_dir(path).unwrap();
        let text = "debs=$(DEBEMAIL=$1 $0/scripts/package 2>&1) || { echo \"$debs\" >&2; exit 1; }
            cp $(echo \"$debs\" | grep '\\.deb$') $2";
        output("sh", &["-c", text, &script(".."), EMAIL, path.to_str().unwrap()]);
    })
}

/// The same bytes each time, and nothing for lintian to complain of.
fn the_packages_are_sound() {
    let text = "
        sleep 1.1; again=$($ROOT/scripts/package 2>/dev/null)
        debs=$(for deb in $again; do echo $PACKAGES/${deb##*/}; done)
        for deb in $again; do cmp $deb $PACKAGES/${deb##*/}; done; test $(ls $PACKAGES | wc -l) = 3
        lintian --allow-root --fail-on error,warning $debs
        for deb in $debs; do dpkg-deb -f $deb Package; done
        ! for deb in $debs; do dpkg-deb -c $deb; done | awk '{ print $6 }' | grep -v '/$' | sort | uniq -d | grep .";
    on_path("lintian");
    if artifact("jsshim").is_some() {
        let run = run(text).env("PACKAGES", &packages());
        once(run.check(|o| assert_eq!(o.text(), "jsshim\nlibjobserver-dev\nlibjobserver0\n")));
    }
}

/// In a bootstrapped Debian, a build by a user without rights; a purge leaves the system as it was.
fn the_package_in_a_small_system() {
    const HOST: &str = "
        deb=$(ls $PACKAGES/jsshim_*.deb)
        mkdir over; mount -t tmpfs none over; mkdir over/{up,work,root}; S=$PWD/over/root
        mount -t overlay -o lowerdir=$SYSTEM,upperdir=over/up,workdir=over/work none $S
        mount -t proc none $S/proc; mount -t tmpfs -o mode=1777 none $S/dev/shm
        inside() { chroot $S /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \\
            JSSHIM_TEST_ID=$JSSHIM_TEST_ID JSSHIM_COUNT=processes DEBIAN_FRONTEND=noninteractive \"$@\"; }
        # The lists of dpkg itself differ, and what it keeps of the last state.
        listed() { find $S -xdev ! -path '*/var/lib/dpkg/*' ! -path '*/var/log/*' \\( -type d -printf '%P %m\\n' -o -printf '%P %y %m %s\\n' \\) | sort; }
        listed >before
        cp $deb $S/jsshim.deb; inside dpkg -i /jsshim.deb >dpkg.log 2>&1; rm $S/jsshim.deb
        mkdir -m 777 $S/build; cp build.sh count $S/build; chmod +x $S/build/count
        inside setpriv --reuid=65534 --regid=65534 --clear-groups bash -euo pipefail /build/build.sh
        rm -r $S/build $S/tmp/*  2>/dev/null || true
        inside dpkg --purge jsshim >dpkg.log 2>&1
        ! inside dpkg -s jsshim >/dev/null 2>&1
        listed | diff before -";
    const BUILD: &str = "
        cd /build
        for t in a b; do
            mkdir $t; printf 'rule cc\\n  command = ../count tcc -c $in -o $out\\n' >$t/build.ninja
            printf 'rule ld\\n  command = ../count tcc $in -o $out\\n' >>$t/build.ninja
            objects=
            for i in 1 2 3 4 5 6 7 8; do
                echo \"int f$i(void) { return $i; }\" >$t/$i.c; objects=\"$objects $i.o\"
                echo \"build $i.o: cc $i.c\" >>$t/build.ninja
            done
            echo 'int f8(void); int main(void) { return f8(); }' >$t/main.c
            printf 'build main.o: cc main.c\\nbuild prog: ld main.o%s\\n' \"$objects\" >>$t/build.ninja
        done
        printf 'all: a b\\n.PHONY: a b\\na b:\\n\\t@ninja -j8 -C $@ >/dev/null\\n' >Makefile
        peak() { # WORDS of the start
            echo 0 0 0 >c; for t in a b; do ninja -C $t -t clean >/dev/null; done
            \"$@\"; for t in a b; do $t/prog || test $? = 8; done; read r p t <c; test $r = 0 && test $t = 20; echo $p
        }
        test $(peak make -j2) -gt 2
        test $(peak env LD_PRELOAD='/usr/$LIB/jsshim/libjsshim.so' make -j2) = 2
        test $(peak jsshim -j2 -- make) = 2
        test $(peak jsshim -j3 -- make) = 3
        jsshim doctor ninja | grep -q 'All is fine'
        jsshim-cc --install mask ninja; test $(PATH=/build/mask:$PATH peak make -j2) = 2
        ls -A /dev/shm/jsshim-65534; id -u";
    const COUNT: &str = r#"#!/bin/sh
        step() (
            flock 9; read r p t </build/c
            r=$((r + $1)) t=$((t + ($1 > 0)))
            [ $r -le $p ] || p=$r
            echo $r $p $t >/build/c
        ) 9>/build/lock
        step 1; sleep 0.1; "$@"; status=$?; step -1; exit $status
"#;
    let release = output("sh", &["-c", ". /etc/os-release; echo $VERSION_CODENAME"]);
    let system = tool(&format!("root-{}", release.trim()), "");
    if artifact("jsshim").is_none() {
        return;
    }
    let text = "exec unshare -m bash -euo pipefail host";
    let run = run(text)
        .env("PACKAGES", &packages())
        .file("host", HOST)
        .file("build.sh", BUILD)
        .file("count", COUNT);
    once(run.env("SYSTEM", &system).check(|o| assert_eq!(o.text(), "65534\n")));
}

fn pages() -> Vec<String> {
    let dir = fs::read_dir(script("../man")).unwrap().flatten();
    dir.map(|e| e.path().to_str().unwrap().to_owned()).collect()
}

fn man_pages_are_sound() {
    assert!(pages().len() >= 3);
    for page in pages() {
        let text = "man --warnings=all -Tutf8 -Z -l $0 2>&1 >/dev/null; groff -man -Tutf8 -ww -z -rCHECKSTYLE=3 $0 2>&1; mandoc -T lint -W warning $0 2>&1";
        assert_eq!(output("sh", &["-c", text, &page]), "", "{page}");
        let text = fs::read_to_string(&page).unwrap();
        for section in ["NAME", "DESCRIPTION", "SEE ALSO"] {
            let is_there = text.replace('"', "").contains(&format!("\n.SH {section}\n"));
            assert!(is_there, "{page}: no {section}");
        }
    }
}

/// What `--help` names is in jsshim(1) or libjsshim(7).
fn every_option_has_its_place_in_the_man_page() {
    let Some(cli) = artifact("jsshim") else { return };
    let help = output(&cli, &["--help"]);
    let pages = ["jsshim.1", "libjsshim.7"]
        .map(|p| fs::read_to_string(script(&format!("../man/{p}"))).unwrap());
    let pages = pages.concat().replace('\\', "");
    let words = help.split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-')));
    let named = words.filter(|w| w.starts_with("--") && w.len() > 2 || w.starts_with("JSSHIM_"));
    let tools = help.lines().skip_while(|l| !l.starts_with("Commands:")).skip(1);
    let tools = tools
        .take_while(|l| !l.is_empty())
        .filter(|l| l.starts_with("  ") && !l.starts_with("   "));
    let tools = tools.filter_map(|l| l.split_whitespace().next());
    let missing: Vec<_> = named.chain(tools).filter(|w| !pages.contains(w)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// With a project of a few lines in the place of zstd, and where nothing may be installed.
fn the_demo_shows_it() {
    let text = "
        mkdir -p tree/target/demo/zstd/{lib/{common,compress,decompress,dictBuilder},programs} bin; cd tree
        cp -r $ROOT/scripts $ROOT/Cargo.toml .; cd target/demo/zstd
        for dir in lib/common lib/compress lib/decompress lib/dictBuilder programs; do
            for i in 1 2 3 4; do echo \"#include <stdlib.h>\" >$dir/$(basename $dir)$i.c; done
        done
        echo '#include <stdio.h>
        int main(int argc, char **argv) {
            FILE *f = argc > 2 ? fopen(argv[2], \"r\") : stdin;
            for (int c; (c = getc(f)) != EOF;) putchar(c);
        }' >programs/main.c; cd ../../..
        for name in apt-get sudo; do printf '#!/bin/sh\nexit 9\n' >../bin/$name; chmod +x ../bin/$name; done
        PATH=$PWD/../bin:$PATH scripts/demo >said; cat said >&2
        awk '$1 == \"plain\" { print $2, ($3 > 2), $6 } $1 == \"shim\" { print $2, $3, ($4 >= 0), $6 }' said
        grep -x 'All 46 files of the two runs are the same, byte for byte.' said
        grep -c '<canvas' target/demo/report.html
        PATH=$PWD/../bin:$PATH scripts/demo --plain-only | tail -n1 | cut -d' ' -f1";
    let wanted =
        "45 1 0\n45 2 1 0\nAll 46 files of the two runs are the same, byte for byte.\n1\nplain\n";
    once(run(text).check(move |o| assert_eq!(o.text(), wanted)));
}

/// In their shells, without a word.
fn completions_load() {
    let Some(cli) = artifact("jsshim") else { return };
    let tests = [
        "$0 completions bash >c; bash -euc '. ./c; complete -p jsshim' >/dev/null",
        "$0 completions fish >c; fish -c 'source c; complete -C\"jsshim do\"' | grep -q doctor",
        "$0 completions zsh >c; zsh -n c",
    ];
    for test in tests {
        let text = format!("cd $(mktemp -d) && {{ {test}; }} 2>&1; r=$?; rm -r $PWD; exit $r");
        assert_eq!(output("sh", &["-c", &text, &cli]), "", "{test}");
    }
}
