//! Recipes whose shells have something in the background that waits: in as many as there are slots, and one more.

use super::{side_by_side, Place, PLACES};
use crate::Test;

/// A name, and a script that has its number as `$1`.
const SCRIPTS: &[(&str, &str)] = &[
    ("keep_alive", KEEP_ALIVE),
    ("watchdog", WATCHDOG),
    ("tail", TAIL),
    ("inotify", INOTIFY),
    ("sleep_infinity", SLEEP_INFINITY),
    ("flock", FLOCK),
    ("fifo", FIFO),
    ("pipe_of_our_own", PIPE),
    ("named_semaphore", SEMAPHORE),
    ("terminal", TERMINAL),
    ("polling_loop", POLLING),
    ("http_server", HTTP_SERVER),
    ("socat", SOCAT),
];

pub fn tests() -> Vec<Test> {
    let test = |(index, (name, script)): (usize, &(&str, &'static str))| {
        let (places, script) = (places(index), *script);
        crate::test(&format!("idle::recipes::{name}"), move || tried(&places, script))
    };
    SCRIPTS.iter().enumerate().map(test).collect()
}

/// The first three are what others complain of: they are tried everywhere, the others in one place in turn and on one
/// slot.
fn places(index: usize) -> Vec<Place> {
    match index {
        0..=2 => PLACES.to_vec(),
        _ => vec![PLACES[0], PLACES[1 + index % (PLACES.len() - 1)]],
    }
}

fn tried(places: &[Place], script: &str) {
    for &place in places {
        side_by_side(place, place.1 + 1, script)
            .file("typed", TYPED)
            .check(|o| assert!(o.status.success()))
            .both();
    }
}

/// So that a silent test of a service does not look dead.
const KEEP_ALIVE: &str = "
    while :; do sleep 1; done & k=$!
    $JOB -b 100 -k 1 -i work$1; kill $k; wait $k 2>/dev/null; echo $1: $?";

/// Its own group, so that nothing stays behind. What waits for its slot has not made that yet.
const WATCHDOG: &str = "
    setsid sh -c \"sleep 30; kill $$\" & w=$!
    $JOB -b 100 -k 1 -i work$1; kill -- -$w 2>/dev/null || kill $w; wait $w 2>/dev/null; echo $1: $?";

/// As GNU coreutils' tests of tail do: the log grows, and what tail says is waited for.
const TAIL: &str = "
    : >log$1; tail -f -s 0.1 log$1 >out$1 & t=$!
    for i in 1 2 3; do
        $JOB -b 40 -k 1 -i work$1; echo line $i >>log$1
        until grep -q $i out$1; do sleep 0.05; done
    done; kill $t; wait $t 2>/dev/null; echo $1: $?; cat out$1";

const INOTIFY: &str = "
    mkdir d$1; inotifywait -q -t 60 -e create d$1 >out$1 2>err$1 & w=$!
    $JOB -b 100 -k 1 -i work$1
    while kill -0 $w 2>/dev/null; do : >d$1/file; rm d$1/file; sleep 0.05; done
    wait $w; echo $1: $?; sort -u out$1";

const SLEEP_INFINITY: &str = "
    sleep infinity & s=$!
    $JOB -b 100 -k 1 -i work$1; kill $s; wait $s 2>/dev/null; echo $1: $?";

/// It waits for a lock of its own shell.
const FLOCK: &str = "
    exec 9>lock$1; flock 9
    flock lock$1 echo $1: got it 9>&- & f=$!
    $JOB -b 100 -k 1 -i work$1 9>&-; exec 9>&-; wait $f; echo $1: $?";

/// It sleeps until another opens the fifo, and then until that writes.
const FIFO: &str = "
    mkfifo fifo$1; cat fifo$1 & c=$!
    $JOB -b 60 -k 1 -i work$1; exec 9>fifo$1
    $JOB -b 60 -k 1 -i work$1 9>&-; echo $1: word >&9; exec 9>&-; wait $c; echo $1: $?";

const PIPE: &str = "
    mkfifo fifo$1; exec 9<>fifo$1
    (read -r line <&9; echo $1: $line) & r=$!
    $JOB -b 100 -k 1 -i work$1; echo word >&9; wait $r; echo $1: $?";

/// One that has a name is known to nobody as the tree's.
const SEMAPHORE: &str = "
    name=/$JSSHIM_TEST_ID.$1; $SEMAPHORE make $name
    $SEMAPHORE wait $name & s=$!
    $JOB -b 100 -k 1 -i work$1; $SEMAPHORE post $name; wait $s; echo $1: $?; $SEMAPHORE unlink $name";

const TERMINAL: &str = "
    mkdir t$1; cd t$1; $PYTHON ${PYTHONPATH%%:*}/terminal.py -c sh ../typed $1; echo $1: $?";

/// The first line comes at once, the second one never.
const TYPED: &str = "
    cat </dev/tty >typed & c=$!
    $JOB -b 100 -k 1 -i work$1; until grep -q line typed; do sleep 0.05; done
    kill $c; wait $c 2>/dev/null; echo $1: $?; cat typed";

/// All must be there before one goes on, and each looks for the others.
const POLLING: &str = "
    $JOB -b 60 -k 1 -i work$1; : >there$1
    for i in 1 2; do until [ -e there$i ]; do sleep 0.05; done; done
    $JOB -b 60; echo $1: $?";

const HTTP_SERVER: &str = "
    mkdir www$1; echo page $1 >www$1/page
    $PYTHON -u -m http.server -d www$1 -b 127.0.0.1 0 >port$1 2>log$1 & s=$!
    $JOB -b 60 -k 1 -i work$1
    until port=$(grep -o 'port [0-9]*' port$1); do sleep 0.05; done
    for i in 1 2 3; do curl -sf http://127.0.0.1:${port#port }/page; $JOB -b 40; done
    kill $s; wait $s 2>/dev/null; echo $1: $?";

const SOCAT: &str = "
    socat UNIX-LISTEN:s$1,fork EXEC:cat & s=$!
    $JOB -b 60 -k 1 -i work$1; until [ -S s$1 ]; do sleep 0.05; done
    for i in 1 2 3; do echo $1: $i | socat -t 10 - UNIX-CONNECT:s$1; $JOB -b 40; done
    kill $s; wait $s 2>/dev/null; echo $1: $?";
