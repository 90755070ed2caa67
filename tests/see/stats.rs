//! `JSSHIM_STATS`: who prints, once, and right numbers.

use serde_json::Value;

use super::{blocks, is_here, number, script, value};
use crate::harness::pool::Kind;
use crate::harness::Outcome;
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        on_stderr_at_the_end,
        not_asked_for,
        a_word_for_yes,
        lines_of_json,
        what_is_no_file_of_numbers,
        one_build_below_a_preloaded_make,
        appended_to_a_file,
        nothing_ran,
        a_top_that_closes_its_stderr,
        a_top_that_speaks_the_protocol,
        a_top_that_becomes_another_program,
        forks_print_nothing,
        each_job_below_make_is_told_once,
        a_pool_that_is_inherited,
        a_top_that_is_killed,
        overdrafts_have_a_reason,
        tokens_that_the_guard_gives_back,
        a_host_that_collects_late,
    ]
}

/// Runs a script that ends well, with its demands.
fn run(text: &str, check: impl Fn(&Outcome) + 'static) {
    if is_here() {
        let ends = |o: &Outcome| assert_eq!(o.status.code(), Some(0));
        script(text).check(ends).check(check).once();
    }
}

const EIGHT: &str = "for i in 1 2 3 4 5 6 7 8; do $JOB -s 60 & done; wait";

/// One block, and nothing else on stderr.
fn one(o: &Outcome) -> Vec<(String, String)> {
    let mut all = blocks(&o.stderr);
    assert_eq!(all.len(), 1, "blocks");
    let rest = o.stderr.lines().filter(|l| !l.starts_with("  ") && !l.starts_with("jsshim: stat"));
    assert_eq!(rest.count(), 0, "more was said");
    all.remove(0)
}

fn on_stderr_at_the_end() {
    run(&format!("JSSHIM_STATS=1 $CLI -j3 -- bash -c '{EIGHT}'"), |o| {
        let block = one(o);
        assert!(o.stderr.starts_with("jsshim: statistics at the end of bash\n"));
        assert_eq!(number(&block, "jobs"), 8);
        assert_eq!(value(&block, "slots at peak"), "3 of 3");
        let waits = number(&block, "token waits");
        // Three that end at once leave two of the next three nothing to wait for.
        assert!((2..=5).contains(&waits), "{waits} of 8 jobs waited for one of 3 slots");
        let text = value(&block, "token waits");
        for word in ["; median ~", ", p95 ~", ", longest "] {
            let rest = text.split(word).nth(1).unwrap_or_else(|| panic!("no {word} in {text}"));
            assert!(rest.starts_with(|c: char| c.is_ascii_digit()), "{text}");
        }
        // Three digits, with a unit.
        let (held, unit) = value(&block, "time held").split_once(' ').unwrap();
        assert!(
            held.len() <= 4 && held.parse::<f64>().unwrap() > 1.0 && unit == "ms",
            "{held} {unit}"
        );
        assert_eq!(number(&block, "overdrafts"), 0);
    });
}

fn not_asked_for() {
    for asked in ["", "JSSHIM_STATS=", "JSSHIM_STATS=0", "JSSHIM_STATS=no", "JSSHIM_STATS=off"] {
        run(&format!("{asked} $CLI -j3 -- bash -c '{EIGHT}'; ! ls -d no off 2>/dev/null"), |o| {
            assert_eq!((o.stderr.as_str(), o.text().as_str()), ("", ""));
        });
    }
}

/// No file of that name is written.
fn a_word_for_yes() {
    for word in ["yes", "on", "true"] {
        let text = format!("JSSHIM_STATS={word} $CLI -j3 -- bash -c '{EIGHT}'; test ! -e {word}");
        run(&text, |o| assert_eq!(number(&one(o), "jobs"), 8));
    }
}

fn appended_to_a_file() {
    let text = format!(
        "export JSSHIM_STATS=$PWD/s\n\
         $CLI -j3 -- bash -c '{EIGHT}'; $CLI -j2 -- bash -c '{EIGHT}'; $CLI stats s"
    );
    run(&text, |o| {
        assert_eq!(o.stderr, "");
        let all = blocks(&o.text());
        let peaks: Vec<_> = all.iter().map(|b| value(b, "slots at peak")).collect();
        assert_eq!(peaks, ["3 of 3", "2 of 2"]);
        assert!(all.iter().all(|b| number(b, "jobs") == 8));
    });
}

/// Each line stands for itself, and says what `stats` says of it.
fn lines_of_json() {
    let text = format!(
        "export JSSHIM_STATS=$PWD/s
         $CLI -j3 -- bash -c '{EIGHT}'; $CLI -j2 -- bash -c '{EIGHT}'; cat s; $CLI stats s >blocks; cat blocks >&2"
    );
    run(&text, |o| {
        let lines: Vec<Value> =
            o.text().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let all = blocks(&o.stderr);
        assert_eq!((lines.len(), all.len()), (2, 2));
        assert_ne!(lines[0]["pool"], lines[1]["pool"]);
        for (line, block) in lines.iter().zip(&all) {
            assert_eq!((&line["version"], &line["program"]), (&1.into(), &"bash".into()));
            assert_eq!(line["jobs"], number(block, "jobs"));
            let peak = format!("{} of {}", line["peak"], line["slots"]);
            assert_eq!(peak, value(block, "slots at peak"));
            let waits = line["waits"].as_array().unwrap().iter().map(|w| w[1].as_u64().unwrap());
            assert_eq!(waits.sum::<u64>(), u64::from(number(block, "token waits")));
            let (held, longest) = (&line["held_ns"], &line["longest_ns"]);
            assert!(held.as_u64() >= longest.as_u64() && longest.as_u64() > Some(1_000_000));
        }
    });
}

fn what_is_no_file_of_numbers() {
    for (make, said) in [
        ("rm -f s", "s: No such file or directory"),
        ("echo text >s", "s:1: no line of JSSHIM_STATS: expected ident at line 1 column 2"),
        ("sed -i s/:1,/:2,/ s", "s:1: of another version (2)"),
    ] {
        let text = format!(
            "JSSHIM_STATS=s $CLI -j2 -- bash -c '{EIGHT}'; {make}; $CLI stats s; echo $?; true"
        );
        run(&text, move |o| {
            assert_eq!(
                (o.text().as_str(), o.stderr.as_str()),
                ("2\n", &*format!("jsshim: {said}\n"))
            );
        });
    }
}

/// Each recipe has a top of its own, which comes and goes: one after the other.
fn one_build_below_a_preloaded_make() {
    let text = "
        cat >P <<'END'
all: $(foreach n,1 2 3 4 5 6,r$(n))
r2: r1
r3: r2
r4: r3
r5: r4
r6: r5
r%:; +@for i in 1 2 3; do $$JOB -s 60 & done; wait
END
        export JSSHIM_STATS=$PWD/s
        LD_PRELOAD=$JSSHIM_LIB make -s -f P -j2; wc -l <s; $CLI stats s";
    run(text, |o| {
        let text = o.text();
        let lines: u32 = text.lines().next().unwrap().parse().unwrap();
        let all = blocks(&text);
        assert!(lines > 1, "else there is nothing to sum up");
        assert_eq!((all.len(), number(&all[0], "jobs")), (1, 18));
        assert_eq!(value(&all[0], "slots at peak"), "2 of 2");
        assert_eq!(number(&all[0], "tokens recovered"), 0);
    });
}

fn nothing_ran() {
    run("JSSHIM_STATS=1 $CLI -j2 -- true", |o| assert_eq!(number(&one(o), "jobs"), 0));
}

fn a_top_that_closes_its_stderr() {
    run("seq 8 | JSSHIM_STATS=1 $CLI -j2 -- xargs -P0 -n1 $JOB -s 60 -i", |o| {
        assert_eq!(number(&one(o), "jobs"), 8);
    });
    // A descriptor of the host's own under that number is not written to.
    let python = "import os, subprocess as s, sys\n\
        a = [s.Popen([os.environ['JOB'], '-s', '60']) for _ in range(4)]\n\
        [p.wait() for p in a]\n\
        f = os.open('mine', os.O_CREAT | os.O_WRONLY)\n\
        for n in range(900, 1024): os.dup2(f, n)\n\
        os._exit(0)";
    let text = "JSSHIM_STATS=1 $CLI -j2 -- $PY -c \"$0\"; cat mine";
    if is_here() {
        let check = |o: &Outcome| {
            assert_eq!((number(&one(o), "jobs"), o.text().as_str()), (4, ""));
        };
        script(text).arg(python).check(check).once();
    }
}

fn a_top_that_speaks_the_protocol() {
    run("JSSHIM_STATS=1 $CLI -j2 -- make -s -f M", |o| {
        assert!(o.stderr.starts_with("jsshim: statistics at the end of make\n"));
        assert_eq!(value(&one(o), "slots at peak"), "2 of 2");
    });
}

fn a_top_that_becomes_another_program() {
    let text = format!("JSSHIM_STATS=1 $CLI -j2 -- sh -c 'exec bash -c \"$0\"' '{EIGHT}'");
    run(&text, |o| assert_eq!(number(&one(o), "jobs"), 8));
}

fn forks_print_nothing() {
    run(
        "JSSHIM_STATS=1 $CLI -j2 -- bash -c '(exit 0) & (:; exit 0) & (sleep 0.1; :) & wait'",
        |o| {
            assert_eq!(number(&one(o), "jobs"), 4, "three of bash, and one of its fork");
        },
    );
}

/// Two ninjas at once on make's pool share a ledger, one after the other may not. Each job is in one block.
fn each_job_below_make_is_told_once() {
    for jobs in [1, 3] {
        let text = format!(
            "export JSSHIM_STATS=$PWD/s N=\"env LD_PRELOAD=$JSSHIM_LIB\"\n\
             sed -i 's/bash .* && /$$JOB -s 60 \\&\\& /' b.ninja\n\
             make -s -f M -j{jobs}; $CLI stats s"
        );
        run(&text, move |o| {
            assert_eq!(o.stderr, "");
            let all = blocks(&o.text());
            // Without a number of jobs make has no pool, and each ninja makes its own.
            assert_eq!(all.len(), if jobs == 1 { 2 } else { 1 }, "builds");
            assert_eq!(all.iter().map(|b| number(b, "jobs")).sum::<u32>(), 8);
            let peak = all.iter().map(|b| number(b, "slots at peak")).max();
            assert!(jobs == 1 || peak <= Some(jobs) && peak > Some(1), "{peak:?}");
        });
    }
}

fn a_pool_that_is_inherited() {
    if is_here() {
        for kind in [Kind::NonBlocking, Kind::Fifo] {
            let text = format!("LD_PRELOAD=$JSSHIM_LIB JSSHIM_STATS=1 bash -c '{EIGHT}'");
            let check = |o: &Outcome| {
                assert_eq!(value(&one(o), "slots at peak"), "2 of 2");
                assert_eq!(number(&one(o), "jobs"), 8);
            };
            script(&text).pool(kind, 2).check(check).once();
        }
    }
}

/// Nobody is left to print to its stderr; a file gets the block from the guard, once all jobs have ended.
fn a_top_that_is_killed() {
    let text = format!(
        "JSSHIM_STATS=$PWD/s $CLI -j2 -- bash -c '{} kill -9 $$' 2>/dev/null\n\
         for i in $(seq 600); do [ -s s ] && break; sleep 0.1; done; $CLI stats s",
        EIGHT.trim_end_matches("wait")
    );
    run(&text, |o| {
        let all = blocks(&o.text());
        assert_eq!(all.len(), 1, "{}", o.text());
        assert_eq!(number(&all[0], "jobs"), 8);
        assert!(o.text().contains("at the end of all its processes"));
    });
}

fn overdrafts_have_a_reason() {
    if is_here() {
        let check = |o: &Outcome| {
            let block = one(o);
            assert_eq!((number(&block, "jobs"), number(&block, "overdrafts")), (2, 1));
            assert!(o.stderr.contains("\n    1: it cannot be held\n"));
        };
        let run = script("JSSHIM_STATS=1 $CLI -j1 -- $PY -c \"$0\"");
        run.arg(super::OVERDRAWN).feeds_a_pipe().check(check).once();
    }
}

/// The guard gives back what such a host has not yet, and nothing is lost.
fn a_host_that_collects_late() {
    let python = "import os, subprocess as s, time
a = [s.Popen([os.environ['JOB'], '-s', '100']) for _ in range(4)]
time.sleep(1.5)
[p.wait() for p in a]";
    if is_here() {
        let check = |o: &Outcome| {
            let block = one(o);
            assert_eq!((number(&block, "jobs"), number(&block, "tokens recovered")), (4, 0));
        };
        script("JSSHIM_STATS=1 $CLI -j3 -- $PY -c \"$0\"").arg(python).check(check).once();
    }
}

/// A client that dies beside its jobs: the token of the one that ends first comes back by the guard.
fn tokens_that_the_guard_gives_back() {
    let text = "
        cat >dies <<'END'
$JOB -s 2500 & $JOB -s 300 & sleep 0.1; kill -9 $$
END
        JSSHIM_STATS=1 $CLI -j3 -- bash -c 'bash ./dies 2>&1 & wait
            until [ -e go ]; do sleep 0.1; done' >/dev/null &
        for i in $(seq 600); do
            $CLI status --json | grep -q '\"recovered\": [1-9]' && break; sleep 0.1
        done
        touch go; wait $!";
    run(text, |o| {
        let all = blocks(&o.stderr);
        assert_eq!(all.len(), 1);
        assert!(number(&all[0], "tokens recovered") >= 1, "{}", o.stderr);
    });
}
