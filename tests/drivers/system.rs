//! Programs of every day that start helpers, filters or commands.

use super::{recipe, script, shell, Row};
use crate::harness::pool::Kind;
use crate::harness::Run;

pub const ROWS: &[Row] = &[
    ("git_fetch", |_| git(FETCH).may_idle()),
    ("git_submodules", |_| git(SUBMODULES).may_idle()),
    ("find_exec", |_| script("exec find j j j j j j j j -exec sh {} x ';'").any_peak()),
    ("find_exec_at_once", |_| each("find j -exec sh {} f$i ';'")),
    ("dpkg_deb", |_| {
        let text = "mkdir -p $i/DEBIAN; cp control $i/DEBIAN; cp data $i
            dpkg-deb -Zxz -b $i $i.deb >/dev/null; dpkg-deb -c $i.deb | wc -l";
        each(text).file("control", CONTROL)
    }),
    ("tar_and_gzip", |_| each("tar c --mtime=@0 data | gzip -1 | cksum")),
    ("tar_z", |_| each("tar czf $i.tgz data; tar tzf $i.tgz")),
    ("tar_with_a_compressor", |_| {
        each("tar -c -Ipigz -f $i.tgz data; tar -xO -Ipigz -f $i.tgz | cksum")
    }),
    ("sort_with_a_compressor", |_| each("sort -S1M --compress-program=gzip data | cksum")),
    ("pigz", |_| each("pigz -p8 -c data | gzip -d | cksum")),
    ("xz", |_| each("xz -T4 -1 -c data | xz -d -T4 | cksum")),
    ("zstd", |_| each("zstd -q -T4 -c data | zstd -d | cksum")),
    ("timeout", |_| each("timeout 60 sh j t$i")),
    ("script", |_| each("script -q -e -c \"sh j s$i\" /dev/null")),
    ("tini", |_| each("tini -s -- sh j t$i")),
    ("sudo", |_| each("sudo -n --preserve-env=JOB,JSSHIM_TEST_JOBS,JSSHIM_TEST_ID sh j s$i")),
    ("su", |_| each("su -m root -c \"sh j s$i\"")),
];

/// They run in the background and close what they inherit.
pub const BELOW_MAKE: &[Row] = &[
    ("tmux", |kind| {
        // The first window keeps the server, and a slot.
        detached(
            kind,
            "export TMUX_TMPDIR=$PWD; tmux -f /dev/null new-session -d 'exec sleep 600'
            for i in 1 2 3 4 5 6 7 8; do tmux new-window -d \"sh t $i\"; done",
            "tmux kill-server",
        )
        .may_idle()
    }),
    ("screen", |kind| {
        detached(
            kind,
            "export SCREENDIR=$PWD/s; mkdir -m 700 s
            for i in 1 2 3 4 5 6 7 8; do echo screen sh t $i; done >rc; screen -c rc -dmS x",
            ":",
        )
    }),
];

const CONTROL: &str =
    "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x.org>\nDescription: x\n";

/// Eight of these at once, each beside a counted job.
fn each(command: &str) -> Run {
    let text = format!(
        "seq 40000 >data
        for i in 1 2 3 4 5 6 7 8; do (sh j $i; {command}; echo $?) & done; wait; exit 5"
    );
    shell("bash", &text).may_idle()
}

fn detached(kind: Kind, start: &str, end: &str) -> Run {
    let wait = "while [ $(ls done* 2>/dev/null | wc -l) -lt 8 ]; do sleep 0.05; done";
    recipe(kind, &format!("{start}\n{wait}; {end} 2>/dev/null; exec cat done*"))
        .file("t", "sh j $1 >out$1; mv out$1 done$1\n")
}

/// Repositories `r1` to `r8` of a host; each connection to it is a counted job.
fn git(text: &str) -> Run {
    let make = "
        export GIT_SSH_COMMAND='sh ssh' GIT_SSH_VARIANT=simple TOP=$PWD
        export GIT_AUTHOR_NAME=x GIT_AUTHOR_EMAIL=x@x GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x@x
        git init -q r1; seq 20000 >r1/data; git -C r1 add .; git -C r1 commit -q -m x
        for i in 2 3 4 5 6 7 8; do cp -r r1 r$i; done; git init -q all; cd all; cp ../ssh .";
    script(&format!("{make}\n{text}")).file("ssh", "sh $TOP/j ssh 0; shift; eval \"$*\"\n")
}

const FETCH: &str = "
    for i in 1 2 3 4 5 6 7 8; do git remote add r$i host:$TOP/r$i; done
    git fetch -q --multiple -j8 r1 r2 r3 r4 r5 r6 r7 r8; echo $?; exec git branch -r";

const SUBMODULES: &str = r#"
    head=$(git -C ../r1 rev-parse HEAD)
    for i in 1 2 3 4 5 6 7 8; do
        printf '[submodule "r%s"]\npath = r%s\nurl = host:%s\n' $i $i $TOP/r$i >>.gitmodules
        git update-index --add --cacheinfo 160000,$head,r$i
    done
    git submodule -q update --init -j 8; echo $?; exec git submodule -q foreach 'cksum <data'"#;
