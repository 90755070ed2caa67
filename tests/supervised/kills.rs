//! The supervisor, or its double, is killed while it answers: no exec fails, and no slot is lost.

use std::env;

use super::{ash, static_job};
use crate::harness::pool::Kind;
use crate::harness::programs::artifact;
use crate::harness::Run;
use crate::Test;

/// Kills when nobody says how many (JSSHIM_SOAK_KILLS), and at most: a run must come to its end in time.
const SHORT: usize = 12;
const MOST: usize = 200;

pub fn tests() -> Vec<Test> {
    crate::tests![killed_supervisors, stopped_supervisors]
}

/// Kills one of the pair, until the host has ended or there were so many kills. It waits until there is a pair again.
const KILLER: &str = "
    pair() { for p in $(pgrep -x jsshim-all); do
            tr '\\0' '\\n' </proc/$p/environ 2>/dev/null | grep -qx JSSHIM_TEST_ID=$JSSHIM_TEST_ID &&
                ! grep -q 'State:.Z' /proc/$p/status 2>/dev/null && echo $p; done; }
    killed=0; while kill -0 $host 2>/dev/null && [ $killed -lt $KILLS ]; do
        set -- $(pair); [ $# = 2 ] || continue
        [ $((RANDOM % 2)) = 0 ] || shift
        kill -SIGNAL $1 && killed=$((killed + 1)); AFTER
    done 2>/dev/null";

/// Rounds of jobs, until the killer is done: each exec is asked about, and each exit status is looked at.
const ROUNDS: &str = r#"
    while [ ! -e done ]; do
        for i in 1 2 3 4 5; do $STATIC_JOB -s 2 -x 3 & pids="$pids $!"; done
        for p in $pids; do wait $p; s=$?; [ $s = 3 ] || echo bad $s; done; pids=; $JOB -x 4; [ $? = 4 ] || echo bad
    done; $BUSYBOX echo fine; exit 5"#;

fn under(signal: &str, after: &str) -> Run {
    let killer = KILLER.replace("SIGNAL", signal).replace("AFTER", after);
    let text = format!(
        "${{JSSHIM_LIB:+$CLI --all --}} $BUSYBOX ash -c \"$ROUNDS\" & host=$!
        case $JSSHIM_LIB in '') sleep 0.5 ;; *) {killer}; [ $killed = $KILLS ] || echo $killed kills ;; esac
        touch done; wait $host"
    );
    let kills = env::var("JSSHIM_SOAK_KILLS").ok().and_then(|n| n.parse().ok());
    let run = Run::new(&["bash", "-c", &text]).env("ROUNDS", ROUNDS.trim()).env("BUSYBOX", &ash());
    let run = run.env("KILLS", &kills.unwrap_or(SHORT).min(MOST).to_string());
    let run =
        run.env("STATIC_JOB", &static_job()).env("CLI", &artifact("jsshim").unwrap_or_default());
    run.preload_inside().pool(Kind::Fifo, 2).check(|o| {
        assert_eq!((o.status.code(), o.text().as_str()), (Some(5), "fine\n"), "{}", o.stderr);
    })
}

fn killed_supervisors() {
    under("KILL", "").any_peak().breaks().once();
}

/// What stops it, its double lets go on; nobody but that one sees it.
fn stopped_supervisors() {
    under("STOP", "sleep 0.05; kill -CONT $1").any_peak().breaks().once();
}
