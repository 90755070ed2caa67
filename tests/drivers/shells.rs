//! Shells besides bash and dash.

use super::{recipe, shell, Row};
use crate::harness::pool::Kind;
use crate::harness::Run;

pub const ROWS: &[Row] = &[
    ("zsh", |_| background("zsh")),
    ("zsh_pipelines", |_| pipelines("zsh")),
    ("mksh", |_| background("mksh")),
    ("mksh_pipelines", |_| pipelines("mksh")),
    ("ksh93", |_| background("ksh93")),
    ("ksh93_pipelines", |_| pipelines("ksh93")),
    ("busybox_ash", |_| background("busybox")),
    ("busybox_ash_pipelines", |_| pipelines("busybox")),
    ("fish", |_| shell("fish", "for i in (seq 8); sh j $i & end; wait; exit 5")),
    ("fish_pipelines", |_| {
        shell("fish", "for i in (seq 8); sh j $i 4000 | cat | cksum & end; wait; exit 5").may_idle()
    }),
];

/// It closes what it inherits in itself; then the pool is found in the make above.
pub const BELOW_MAKE: &[Row] = &[
    ("tcsh", |kind| tcsh(kind, "sh j $i")),
    ("tcsh_pipelines", |kind| tcsh(kind, "sh j $i 4000 | cat | cksum")),
];

fn run(name: &str, text: &str) -> Run {
    match name {
        "busybox" => Run::new(&["busybox", "ash", "-c", text]).file("j", super::JOB),
        _ => shell(name, text),
    }
}

/// It tells the number of each job in brackets.
fn tcsh(kind: Kind, command: &str) -> Run {
    let text = format!("foreach i (1 2 3 4 5 6 7 8)\n{command} &\nend\nwait\nexit 5\n");
    recipe(kind, "exec tcsh -f jobs 2>/dev/null").file("jobs", &text).ignoring("[")
}

fn background(name: &str) -> Run {
    let text = "for i in 1 2 3 4 5 6 7 8; do sh j $i 1 1$i & all=\"$all $!\"; done
        for i in 1 2 3 4; do (sh j s$i; exit $i) & done
        part() { n=0; while [ $n -lt 200 ]; do n=$((n + 1)); done; sh j f$i; echo $n; }
        for i in 1 2 3 4; do part & done
        eval 'for p in '$all'; do wait $p; echo $?; done'; wait; exit 5";
    run(name, text)
}

fn pipelines(name: &str) -> Run {
    run(name, "for i in 1 2 3 4 5 6 7 8; do (sh j p$i 4000 | cat | wc -c) & done; wait; exit 5")
}
