//! `jsshim status` on builds that run.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{is_here, part, script};
use crate::harness::pool::Kind;
use crate::harness::programs::{compiled_with, python, source, tool};
use crate::harness::Outcome;
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        a_nested_build,
        a_pool_of_make,
        shares_of_builds,
        a_client_that_waits,
        what_a_client_waits_for,
        an_overdraft,
        no_pool,
        a_job_that_sleeps,
        names_say_what_is_built,
        who_has_just_ended_is_of_no_other_user,
        who_is_of_another_user,
        no_terminal,
        programs_of_these_names,
    ]
}

/// Waits until status shows a line, at most a minute; then prints all forms of it.
const UNTIL: &str = "
    until $CLI status >table; grep -q \"$SHOWS\" table; do
        [ $((n += 1)) -lt 600 ] || exit 9; sleep 0.1
    done
    $CLI status --json >json
    for part in table json; do echo \"--- $part\"; cat $part; done";

/// The JSON of a run, after it has been held against the schema.
fn json(o: &Outcome) -> Value {
    let text = part(o, "json");
    let schema = source().join("../docs/status.schema.json");
    let check = "import json, sys, warnings; warnings.simplefilter('ignore'); import jsonschema\n\
        schema = json.load(open(sys.argv[1]))\n\
        jsonschema.Draft202012Validator.check_schema(schema)\n\
        jsonschema.validate(json.load(sys.stdin), schema, jsonschema.Draft202012Validator)";
    let mut validator = Command::new(python())
        .args(["-c", check, schema.to_str().unwrap()])
        .env("PYTHONPATH", tool("python-schema", "."))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    validator.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let out = validator.wait_with_output().unwrap();
    assert!(out.status.success(), "{}\n{text}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_str(&text).unwrap()
}

fn pool(json: &Value) -> &Value {
    assert_eq!(json["pools"].as_array().map(Vec::len), Some(1), "{json}");
    &json["pools"][0]
}

fn states(pool: &Value) -> Vec<&str> {
    pool["jobs"].as_array().unwrap().iter().map(|j| j["state"].as_str().unwrap()).collect()
}

fn a_nested_build() {
    if !is_here() {
        return;
    }
    let fixed = compiled_with("job", "job-static", &["-static"]);
    let text = format!(
        "export NAP=700; sed -i \"s,^build a1.o.*,rule s\\n  command = $FIXED -s 2500 -i x && touch \\$out\\n\
         build a1.o: s,\" b.ninja\n\
         $CLI -j2 -- make -s -f M & SHOWS=escaped{UNTIL}\nwait $!"
    );
    script(&text)
        .env("FIXED", &fixed)
        .check(|o| {
            assert_eq!((o.status.code(), o.stderr.as_str()), (Some(0), ""));
            let json = json(o);
            let pool = pool(&json);
            assert_eq!(
                (&pool["slots"], &pool["in_use"], &pool["free"]),
                (&2.into(), &2.into(), &0.into())
            );
            assert_eq!(pool["root"]["program"], "make");
            let states = states(pool);
            let run = states.iter().filter(|s| **s != "held").count();
            let held = states.len() - run;
            // One of each ninja at least, which waits for its slot itself.
            assert!(held >= 2 && states[run..].iter().all(|s| *s == "held"), "{states:?}");
            assert_eq!((&pool["running"], &pool["held"]), (&run.into(), &held.into()));
            assert_eq!(pool["statistics"]["jobs"], pool["done"].as_u64().unwrap() + run as u64);
            let jobs = pool["jobs"].as_array().unwrap();
            let seconds =
                |name: &str| -> Vec<_> { jobs.iter().map(|j| j[name].as_f64().unwrap()).collect() };
            let (since, waited) = (seconds("state_seconds"), seconds("waited_seconds"));
            assert!(since[..run].is_sorted_by(|a, b| a >= b), "the longest runners first");
            assert!(waited[run..].is_sorted_by(|a, b| a >= b), "the longest waiters first");
            // All of it counts: in the client, and since there is a process.
            assert!((run..states.len()).all(|n| waited[n] >= since[n]));
            let wall = pool["seconds"].as_f64().unwrap();
            assert!(waited.iter().chain(&since).all(|t| (0.0..wall).contains(t)), "{wall}");
            assert!(pool["memory_bytes"].as_u64().unwrap() > 1 << 20, "two ninjas, and more");
            let is_made = |j: &Value| j["pid"].as_i64().unwrap() > 0;
            assert!(jobs.iter().all(|j| is_made(j) || j["state"] == "held"));
            let clients: Vec<_> = jobs.iter().map(|j| &j["client"]["program"]).collect();
            assert!(clients.contains(&&"ninja".into()), "{clients:?}");
            let builds = |j: &Value| j["name"].as_str().unwrap().contains("touch a");
            assert!(jobs.iter().any(builds), "what it builds: {jobs:?}");
            let escaped = pool["escaped"].as_array().unwrap();
            assert!(escaped.iter().any(|e| e["program"] == "job-static"), "{escaped:?}");
            assert!(escaped.iter().all(|e| e["why"] == "is statically linked"), "{escaped:?}");
            let table = part(o, "table");
            assert!(table.contains("slots: 2 in use, 0 free, 2 in all  [##]\n"), "{table}");
            assert!(table.contains(", of make ("), "{table}");
            assert!(table.contains("job-static is statically linked"), "{table}");
        })
        .once();
}

/// make's own pool, of which the command line tells how large it is.
fn a_pool_of_make() {
    if !is_here() {
        return;
    }
    for kind in [Kind::NonBlocking, Kind::Fifo] {
        let text = format!(
            "LD_PRELOAD=$JSSHIM_LIB bash -c 'for i in 1 2 3 4 5; do $JOB -s 700 -i j$i & done; wait' &\n\
             SHOWS='2 held'{UNTIL}\nwait $!"
        );
        let check = |o: &Outcome| {
            let json = json(o);
            let pool = pool(&json);
            assert_eq!((&pool["slots"], &pool["root"]), (&3.into(), &Value::Null));
            assert_eq!((&pool["in_use"], &pool["free"]), (&3.into(), &0.into()));
            let mut states = states(pool);
            states.sort_unstable();
            assert_eq!(states, ["held", "held", "implicit", "token", "token"]);
            assert!(pool["jobs"][0]["name"].as_str().unwrap().starts_with("job -s 700 -i j"));
        };
        script(&text).feeds_a_pipe().pool(kind, 3).check(check).once();
    }
}

/// Only those that are not what most have.
fn shares_of_builds() {
    if !is_here() {
        return;
    }
    let host = "bash -c 'for i in 1 2 3 4; do $JOB -s 700 -i j$i & done; wait'";
    let text = format!(
        "JSSHIM_SHARE=3 $CLI -j2 -- sh -c \"{host} & JSSHIM_SHARE=idle {host} & JSSHIM_SHARE=1 {host} & wait\" &
         SHOWS='3, bash.* idle'{UNTIL}\nwait $!"
    );
    let check = |o: &Outcome| {
        let json = json(o);
        let shares = pool(&json)["shares"].as_array().unwrap();
        let mut seen: Vec<_> = shares.iter().map(|s| s["share"].as_u64().unwrap()).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [0, 3], "{shares:?}");
        let table = part(o, "table");
        assert!(table.contains("\n  shares: ") && !table.contains(") 1"), "{table}");
    };
    script(&text).feeds_a_pipe().slots(2).check(check).once();
}

/// A shell that needs nothing but a slot waits for it before it forks.
fn a_client_that_waits() {
    if !is_here() {
        return;
    }
    let text = format!(
        "$CLI -j1 -- bash -c '$JOB -s 2500 -i a & $JOB -i b & wait' &\nSHOWS='its client waits'{UNTIL}\nwait $!"
    );
    let check = |o: &Outcome| {
        let table = part(o, "table");
        assert!(table.contains("slots: 1 in use, 0 free, 1 in all"), "{table}");
        assert!(table.contains("  jobs: 1 running, 1 held, 0 done in "), "{table}");
        let json = json(o);
        let jobs = pool(&json)["jobs"].as_array().unwrap();
        let of_bash = jobs.iter().all(|j| j["client"]["program"] == "bash");
        assert!(of_bash && jobs.len() == 2, "{jobs:?}");
    };
    script(&text).slots(1).check(check).once();
}

/// A host that waits before it makes a job knows what that will be, but for a fork. The wait is short: there is another
/// one until it has been seen, by both forms of status.
fn what_a_client_waits_for() {
    if !is_here() {
        return;
    }
    let program = "
import ctypes, os, subprocess, sys
job, libc = os.environ['JOB'], ctypes.CDLL(None)
libc.popen.restype = ctypes.c_void_p
def spawn():
    os.waitpid(os.posix_spawn(job, [job, '-i', 'b'], os.environ), 0)
def system():
    os.system('cd . && $JOB -i b')
def popen():
    libc.pclose(ctypes.c_void_p(libc.popen(b'X=1 $JOB -i b', b'w')))
def fork():
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitpid(pid, 0)
while not os.path.exists('seen'):
    first = subprocess.Popen([job, '-s', '1500', '-i', 'a'])
    globals()[sys.argv[1]]()
    first.wait()
";
    let fork = format!("{} (fork)", python().rsplit('/').next().unwrap());
    let names = ["job -i b", "$JOB -i b", "$JOB -i b", &fork];
    for (kind, name) in ["spawn", "system", "popen", "fork"].into_iter().zip(names) {
        let text = format!(
            "$CLI -j1 -- $PY -c \"$0\" {kind} &
            until $CLI status --json >json; tr -d ' \n' <json | grep -q '\"pid\":0,[^{{]*\"state\":\"held\"' &&
                $CLI status >table; grep -q 'its client waits' table; do
                [ $((n += 1)) -lt 600 ] || exit 9; sleep 0.1
            done
            : >seen; wait $!
            for part in table json; do echo \"--- $part\"; cat $part; done"
        );
        let name = name.to_owned();
        let check = move |o: &Outcome| {
            let json = json(o);
            let jobs = pool(&json)["jobs"].as_array().unwrap();
            let waits = jobs.iter().find(|j| j["pid"] == 0 && j["state"] == "held").unwrap();
            assert_eq!(waits["name"].as_str(), Some(name.as_str()), "{kind}");
            let line = format!("  {name} (its client waits before it makes it)");
            assert!(part(o, "table").contains(&line), "{kind}: {}", part(o, "table"));
        };
        script(&text).arg(program).file("table", "").any_peak().check(check).once();
    }
}

fn an_overdraft() {
    if !is_here() {
        return;
    }
    let text = "
        export THEN='$CLI status >table; $CLI status --json >json; :'
        $CLI -j1 -- $PY -c \"$0\"
        for part in table json; do echo \"--- $part\"; cat $part; done";
    script(text)
        .arg(super::OVERDRAWN)
        .feeds_a_pipe()
        .check(|o| {
            let json = json(o);
            let pool = pool(&json);
            assert_eq!(states(pool).len(), 2);
            let jobs = pool["jobs"].as_array().unwrap();
            let over = jobs.iter().find(|j| j["state"] == "overdraft").expect("an overdraft");
            let client = Value::from(python().rsplit('/').next().unwrap());
            assert_eq!(
                (&over["reason"], &over["client"]["program"]),
                (&"it cannot be held".into(), &client)
            );
            assert_eq!(pool["statistics"]["overdrafts"], 1);
            assert!(part(o, "table").contains("[it cannot be held]"));
        })
        .once();
}

fn no_pool() {
    if !is_here() {
        return;
    }
    let text = "export JSSHIM_DIR=$PWD/none
        $CLI status; echo --- json; $CLI status --json; [ ! -e none ]";
    let check = |o: &Outcome| {
        assert_eq!((o.status.code(), o.stderr.as_str()), (Some(0), ""));
        assert!(o.text().starts_with("no pool is in use\n"));
        assert_eq!(json(o), serde_json::json!({"version": 1, "pools": []}));
    };
    script(text).check(check).once();
}

/// The one with the slot sleeps; the other one computes on its slot.
fn a_job_that_sleeps() {
    if !is_here() {
        return;
    }
    let text = format!(
        "export JSSHIM_COUNT=running JSSHIM_GATE=child; echo 'until [ -e go ]; do :; done' >busy
        $CLI -j1 -- bash -c '$JOB -w go -i idle & sh busy & wait' &
        SHOWS='borrowed .*busy'{UNTIL}\ntouch go; wait $!"
    );
    let check = |o: &Outcome| {
        let json = json(o);
        let pool = pool(&json);
        let numbers = ["slots", "in_use", "free", "lent", "above", "running", "held", "done"];
        let numbers = numbers.map(|name| pool[name].as_u64().unwrap());
        assert_eq!(numbers, [1, 1, 0, 1, 0, 2, 0, 0]);
        let jobs = pool["jobs"].as_array().unwrap();
        let sleeps: Vec<_> = jobs.iter().map(|j| (&j["state"], &j["sleeps"])).collect();
        let wanted = [(&"implicit".into(), &true.into()), (&"borrowed".into(), &false.into())];
        assert_eq!(sleeps, wanted);
        assert_eq!(pool["statistics"]["borrowed"], 1);
        let table = part(o, "table");
        assert!(table.contains("slots: 1 in use, 0 free, 1 in all  [~] 1 lent\n"), "{table}");
        assert!(table.contains("  sleeps "), "{table}");
    };
    script(&text).any_peak().check(check).once();
}

/// As CMake and meson write commands for ninja.
fn names_say_what_is_built() {
    if !is_here() {
        return;
    }
    let long = "long/".repeat(40) + "end.o";
    let rules = format!(
        "rule a\n  command = cd sub && $$JOB -w ../go -i a.o && :\n\
         rule b\n  command = : && $$JOB -w go -i {long} && :\nbuild a: a\nbuild b: b\n"
    );
    let text = format!(
        "mkdir sub; $CLI -j2 -- ninja -f rules -j2 >/dev/null &
        SHOWS='2 running'{UNTIL}\ntouch go; wait $!"
    );
    let check = move |o: &Outcome| {
        let json = json(o);
        let jobs = pool(&json)["jobs"].as_array().unwrap();
        let mut names: Vec<_> = jobs.iter().map(|j| j["name"].as_str().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(names, ["$JOB -w ../go -i a.o", &format!("$JOB -w go -i {long}")]);
    };
    script(&text).file("rules", &rules).any_peak().check(check).once();
}

/// Processes that come and go all the time.
fn who_has_just_ended_is_of_no_other_user() {
    if !is_here() {
        return;
    }
    let text = "
        $CLI -j2 -- bash -c 'churn() { until [ -e go ]; do /bin/true; done; }; churn & churn & churn & wait' &
        until $CLI status | grep -q running; do sleep 0.1; done
        for i in $(seq 60); do $CLI status --json; done >all; touch go; wait $!
        grep -c '^  \"pools\"' all; grep why all | sort -u";
    let check = |o: &Outcome| assert_eq!((o.text().as_str(), o.stderr.as_str()), ("60\n", ""));
    script(text).any_peak().check(check).once();
}

fn who_is_of_another_user() {
    if !is_here() {
        return;
    }
    // A program that gets root's rights, seen by one who has not got them.
    let text = "
        mkdir -m 700 run; chown 65534 run; export JSSHIM_DIR=$PWD/run; cp $JOB other; chmod 4755 other
        as() { setpriv --reuid=65534 --regid=65534 --clear-groups -- \"$@\"; }
        as $CLI -j2 -- bash -c './other -w go & $JOB -w go & wait' &
        until as $CLI status >table; grep escaped table; do
            [ $((n += 1)) -lt 300 ] || break; sleep 0.1
        done
        touch go; wait";
    let check = |o: &Outcome| {
        let said = "  escaped: other belongs to another user, or is setuid\n";
        assert!(o.text().ends_with(said) && o.text().lines().count() == 1);
    };
    script(text).any_peak().check(check).once();
}

fn no_terminal() {
    if !is_here() {
        return;
    }
    let text = "setsid $CLI status --watch </dev/null | cat; exit ${PIPESTATUS[0]}";
    let check = |o: &Outcome| {
        assert_eq!((o.status.code(), o.text().as_str()), (Some(2), ""));
        assert!(o.stderr.contains("needs a terminal"), "{}", o.stderr);
    };
    script(text).check(check).once();
}

/// The first word decides; behind `--`, or an option, it is a command.
fn programs_of_these_names() {
    if !is_here() {
        return;
    }
    let text = "
        mkdir bin; for name in status report help; do
            printf '#!/bin/sh\\necho ran %s \"$@\"\\n' $name >bin/$name; chmod +x bin/$name
        done
        PATH=$PWD/bin:$PATH; for name in status report; do
            $CLI -- $name a; $CLI -j2 $name --json
        done; $CLI help; $CLI echo status";
    let check = |o: &Outcome| {
        let want =
            "ran status a\nran status --json\nran report a\nran report --json\nran help\nstatus\n";
        assert_eq!((o.text().as_str(), o.stderr.as_str()), (want, ""));
    };
    script(text).check(check).once();
}
