//! Hosts that start their children in an environment of their own making, and hosts that close or reuse
//! descriptors that are not theirs.

use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, compiled, on_path, python};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    let mut list = crate::tests![
        scrubbed_by_env,
        scrubbed_twice,
        scrubbed_by_python,
        scrubbed_by_system,
        scrubbed_by_sudo,
        scrubbed_below_make,
        flags_lost_on_the_way,
        a_pipe_in_between,
        put_back_once,
        put_back_in_the_same_words,
        put_behind_others,
        respected,
    ];
    for how in ["closefrom", "close_range", "loop", "shut", "cloexec", "reuse", "move", "read-only"]
    {
        let name = format!("environment::descriptors_{}", how.replace('-', "_"));
        list.push(crate::test(&name, move || descriptors(how)));
    }
    list
}

const KINDS: [Kind; 3] = [Kind::Blocking, Kind::NonBlocking, Kind::Fifo];

/// What the jobs need to be counted, and nothing else.
const SCRUB: &str = r#"
scrub() {
    env -i PATH="$PATH" JOB="$JOB" JSSHIM_TEST_ID="$JSSHIM_TEST_ID" \
        JSSHIM_TEST_JOBS="$JSSHIM_TEST_JOBS" "$@"
}
"#;

const EIGHT: &str = "seq 8 | xargs -P8 -I+ $JOB -b 5 -s 60";

fn host(text: &str) -> Run {
    Run::new(&["bash", "-c", &format!("{SCRUB}\n{text}")]).env("EIGHT", EIGHT)
}

fn on_each_pool(text: &str) {
    for kind in KINDS {
        host(text).pool(kind, 2).both();
    }
}

fn scrubbed_by_env() {
    on_each_pool("scrub sh -c \"$EIGHT\"");
}

fn scrubbed_twice() {
    on_each_pool("scrub bash -c \"$(declare -f scrub); scrub sh -c '$EIGHT'\"");
}

/// Python closes the descriptors as well.
const PYTHON: &str = "
import os, subprocess, sys
from concurrent.futures import ThreadPoolExecutor
keep = ('PATH', 'JOB', 'JSSHIM_TEST_ID', 'JSSHIM_TEST_JOBS')
env = {name: os.environ[name] for name in keep}
run = lambda _: subprocess.run(['sh', '-c', '$JOB -s 40 & $JOB -s 40; wait'], env=env).returncode
print(sum(ThreadPoolExecutor(4).map(run, range(4))))
";

fn scrubbed_by_python() {
    for kind in KINDS {
        Run::new(&[&python(), "-c", PYTHON]).pool(kind, 2).both();
    }
}

/// Whose shell has the environment that the host has then.
const SYSTEM: &str = "
import os, sys
keep = ('PATH', 'JOB', 'JSSHIM_TEST_ID', 'JSSHIM_TEST_JOBS')
eight = os.environ['EIGHT']
for name in list(os.environ):
    if name not in keep:
        del os.environ[name]
print(os.system(eight), os.popen(eight + \"; echo it\\\\'s $1 'a  b'\").read())
";

fn scrubbed_by_system() {
    for kind in KINDS {
        Run::new(&[&python(), "-c", SYSTEM]).env("EIGHT", EIGHT).pool(kind, 2).both();
    }
}

/// Which closes all descriptors and keeps next to nothing of the environment.
fn scrubbed_by_sudo() {
    let text = "exec sudo -n PATH=\"$PATH\" JOB=\"$JOB\" JSSHIM_TEST_ID=\"$JSSHIM_TEST_ID\" \
        JSSHIM_TEST_JOBS=\"$JSSHIM_TEST_JOBS\" sh -c \"$EIGHT\"";
    on_path("sudo");
    on_each_pool(text);
}

fn scrubbed_below_make() {
    for plus in ["", "+"] {
        let rules = format!("all:\n\t{plus}@bash scrub.sh\n");
        let run = Run::new(&["make", "-j2"]).make(2);
        run.file("Makefile", &rules)
            .file(
                "scrub.sh",
                &format!("{SCRUB}\nexport LD_PRELOAD=$JSSHIM_LIB\n{EIGHT}\nscrub sh -c '{EIGHT}'"),
            )
            .preload_inside()
            .both();
    }
}

/// The library stays, and only make's word goes.
fn flags_lost_on_the_way() {
    on_each_pool("env -u MAKEFLAGS sh -c \"$EIGHT\"; MAKEFLAGS= sh -c \"$EIGHT\"");
}

/// Something between has a pipe of its own under the numbers of the pool that make has closed, as a shell has
/// that starts a pipeline, and gcc when it starts anything.
fn a_pipe_in_between() {
    const BETWEEN: &str = "
import os, subprocess, sys
r, w = os.pipe()
os.dup2(r, 3), os.dup2(w, 4)
sys.exit(subprocess.run(sys.argv[1:]).returncode)
";
    let run = Run::new(&["make", "-s", "-j2"]).make(2).env("PYTHON", &python());
    run.file("Makefile", "all:\n\t@$$PYTHON between.py sh host\n")
        .file("between.py", BETWEEN)
        .file("host", &format!("export LD_PRELOAD=$JSSHIM_LIB\n{EIGHT}\nsh -c '{EIGHT}'"))
        .preload_inside()
        .both();
}

/// Prints the lines of its environment that name the library or a pool.
const TOLD: &str = r"
tr '\0' '\n' </proc/$$/environ |
    sed -n 's,[^ :=]*/libjsshim.so,ours,
        s,^\(JSSHIM_POOL\|MAKEFLAGS\)=.*,\1,
        /^\(LD_PRELOAD\|JSSHIM_POOL\|MAKEFLAGS\)/p' |
    sort
";

/// What the child `sh told` of `text` is told, run with the library only.
fn told(text: &str, wanted: &'static [&'static str]) {
    let check = move |o: &Outcome| {
        let text = o.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines, wanted);
    };
    host(text).file("told", TOLD).pool(Kind::Fifo, 2).any_peak().check(check).once();
}

fn put_back_once() {
    told("scrub sh told", &["LD_PRELOAD=ours", "MAKEFLAGS"]);
    // With a second job, the pool is known.
    told("sleep 0.1 & scrub sh told; wait", &["JSSHIM_POOL", "LD_PRELOAD=ours", "MAKEFLAGS"]);
    // make's word alone may have been left out on purpose: a make below is not told, but others are.
    let told_others = &["JSSHIM_POOL", "LD_PRELOAD=ours"];
    told("scrub LD_PRELOAD=\"$LD_PRELOAD\" sh told", told_others);
}

/// `$LIB` is another folder for a program of another kind.
fn put_back_in_the_same_words() {
    let text = "
        lib=$PWD/lib/x86_64-linux-gnu; mkdir -p $lib $PWD/lib64
        cp $JSSHIM_LIB $(dirname $JSSHIM_LIB)/jsshim-helper $lib
        ln -s $lib/* $PWD/lib64
        LD_PRELOAD=$PWD'/$LIB/libjsshim.so' bash scrub.sh | sed s,$PWD,,";
    let scrub = format!(
        "{SCRUB}\nscrub tr '\\0' '\\n' </proc/self/environ | grep LD_P\n\
        scrub sh -c \"tr '\\0' '\\n' </proc/self/environ\" | grep LD_P"
    );
    let check = |o: &Outcome| {
        assert_eq!(o.text().trim().lines().last(), Some("LD_PRELOAD=/$LIB/libjsshim.so"))
    };
    host(text).file("scrub.sh", &scrub).pool(Kind::Fifo, 2).any_peak().check(check).once();
}

fn put_behind_others() {
    if artifact("libjsshim.so").is_none() {
        return;
    }
    let library = "lib=$(ls /usr/lib/*/libeatmydata.so | head -n 1); ";
    let short = "| sed s,=/[^:]*/lib,=lib,";
    let with = |text: &str| format!("{library}{text} {short}");
    let wanted = &["JSSHIM_POOL", "LD_PRELOAD=libeatmydata.so:ours"];
    told(&with("scrub LD_PRELOAD=$lib sh told"), wanted);
    told(&with("scrub LD_PRELOAD=\"$lib:$JSSHIM_LIB\" sh told"), wanted);
    let wanted = &["JSSHIM_POOL", "LD_PRELOAD=libeatmydata.so ours"];
    told(&with("scrub LD_PRELOAD=\"$lib $JSSHIM_LIB\" sh told"), wanted);
}

/// What is left out on purpose stays out.
fn respected() {
    told("env -u LD_PRELOAD sh told", &["MAKEFLAGS"]);
    told("LD_PRELOAD= sh told", &["LD_PRELOAD=", "MAKEFLAGS"]);
    told("JSSHIM_ENV=respect scrub sh told", &[]);
    told("export JSSHIM_ENV=respect; scrub sh told", &[]);
}

fn descriptors(how: &'static str) {
    for kind in KINDS {
        let run = Run::new(&[&compiled("closes"), how]).pool(kind, 3);
        run.check(|o| assert_eq!(o.status.code(), Some(5))).both();
    }
}
