//! The trace, and the picture that is made of it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{is_here, part, script, NESTED_JOBS};
use crate::harness::Outcome;
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        nested_build_on_two_slots,
        overdrafts_have_lanes_of_their_own,
        a_trace_by_the_environment,
        names_by_every_door,
        a_trace_begins_anew,
        what_cannot_be_read,
    ]
}

/// A trace as a browser reads it: an array that may lack its end.
pub fn events(text: &str) -> Vec<Value> {
    assert!(text.starts_with("[\n"), "the start of an array");
    let text = text.trim_end();
    let end = if text.ends_with("\n]") { "" } else { "]" };
    let closed = format!("{}{end}", text.trim_end_matches(','));
    let all: Value = serde_json::from_str(&closed).unwrap_or_else(|e| panic!("{e}:\n{text}"));
    all.as_array().expect("an array").clone()
}

/// A complete event: start and end in ns.
fn span(e: &Value) -> (u64, u64) {
    let nanos = |key: &str| (e[key].as_f64().expect("a number") * 1000.0).round() as u64;
    (nanos("ts"), nanos("ts") + nanos("dur"))
}

fn is_on_slot(e: &Value) -> bool {
    e["ph"] == "X" && e["pid"].as_u64().expect("a pid").is_multiple_of(4)
}

/// The most lanes of slots that were busy at once.
fn most_busy(events: &[Value]) -> usize {
    let mut steps: Vec<(u64, i32, u64)> = Vec::new();
    for e in events.iter().filter(|e| is_on_slot(e)) {
        let (start, end) = span(e);
        let lane = e["tid"].as_u64().expect("a lane");
        steps.extend([(start, 1, lane), (end, -1, lane)]);
    }
    // At one instant, ends come first.
    steps.sort_unstable();
    let (mut depth, mut most) = (BTreeMap::<u64, i32>::new(), 0);
    for (_, by, lane) in steps {
        *depth.entry(lane).or_default() += by;
        most = most.max(depth.values().filter(|n| **n > 0).count());
    }
    most
}

/// On each lane, an event lies within another or beside it.
fn nests(events: &[Value]) {
    let mut lanes = BTreeMap::<(u64, u64), Vec<(u64, u64)>>::new();
    for e in events.iter().filter(|e| e["ph"] == "X") {
        let lane = (e["pid"].as_u64().unwrap(), e["tid"].as_u64().unwrap());
        lanes.entry(lane).or_default().push(span(e));
    }
    for (lane, mut spans) in lanes {
        spans.sort_by_key(|(start, end)| (*start, std::cmp::Reverse(*end)));
        let mut around: Vec<u64> = Vec::new();
        for (start, end) in spans {
            around.retain(|outer| *outer > start);
            assert!(around.iter().all(|outer| *outer >= end), "overlap on lane {lane:?}");
            around.push(end);
        }
    }
}

fn names(events: &[Value]) -> Vec<String> {
    let runs = events.iter().filter(|e| e["ph"] == "X");
    runs.map(|e| e["name"].as_str().expect("a name").to_owned()).collect()
}

/// A number of a page.
pub fn shown(page: &str, id: &str) -> String {
    let mark = format!("<dd id=\"{id}\"");
    let (_, rest) = page.split_once(&mark).unwrap_or_else(|| panic!("no {id} in the page"));
    let (_, text) = rest.split_once('>').unwrap();
    text.split('<').next().unwrap().to_owned()
}

const NESTED: &str = "
    $CLI -j2 --trace t.json -- make -s -f M || exit
    $CLI report t.json -o t.svg || exit
    for part in t.json t.svg; do echo \"--- $part\"; cat $part; done";

fn nested_build_on_two_slots() {
    if !is_here() {
        return;
    }
    script(NESTED)
        .check(|o| {
            assert_eq!((o.status.code(), o.stderr.as_str()), (Some(0), ""));
            assert!(o.jobs.peak <= 2 && o.jobs.started == NESTED_JOBS);
            let events = events(&part(o, "t.json"));
            assert_eq!(most_busy(&events), 2, "lanes busy at once");
            nests(&events);
            let names = names(&events);
            for made in ["touch a1.o", "touch a4.o", "job -s 60"] {
                assert!(names.iter().any(|n| n.contains(made)), "{made} in {names:?}");
            }
            let ran = events.iter().filter(|e| e["ph"] == "X" && e["cat"] != "wait");
            assert!(ran.clone().all(|e| e["name"] != "(fork)"), "all that ran have a name");
            inner_jobs_have_an_outer_one(&events);
            let svg = part(o, "t.svg");
            assert!(svg.starts_with("<svg xmlns=") && svg.trim_end().ends_with("</svg>"));
            assert!(svg.contains("class=\"part implicit\""), "the lanes");
            assert!(svg.contains("class=\"busy\"") && svg.contains("N = 2"), "the curve against N");
        })
        .once();
}

/// The jobs of the shells are in the jobs of the ninjas that have started these.
fn inner_jobs_have_an_outer_one(events: &[Value]) {
    let name_of = |id: &Value| {
        let is_it = |e: &&Value| e["ph"] == "X" && e["cat"] != "wait" && e["args"]["job"] == *id;
        let runs = events.iter().find(is_it);
        runs.map(|e| e["name"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
    };
    for e in events.iter().filter(|e| e["ph"] == "X" && e["name"] == "job -s 60") {
        let outer = name_of(&e["args"]["in"]);
        assert!(outer.contains("../two"), "{e} is in {outer:?}");
    }
}

fn overdrafts_have_lanes_of_their_own() {
    if !is_here() {
        return;
    }
    let text = "
        $CLI -j1 --trace t.json -- $PY -c \"$0\"
        $CLI report t.json -o t.html && for part in t.json t.html; do echo \"--- $part\"; cat $part; done";
    script(text)
        .arg(super::OVERDRAWN)
        .feeds_a_pipe()
        .check(|o| {
            let events = events(&part(o, "t.json"));
            let over: Vec<_> = events.iter().filter(|e| e["cat"] == "overdraft").collect();
            assert_eq!(over.len(), 1);
            assert_eq!(over[0]["args"]["why"], "it cannot be held");
            assert!(!is_on_slot(over[0]) && most_busy(&events) == 1);
            let page = part(o, "t.html");
            assert_eq!(
                (shown(&page, "overdrafts"), shown(&page, "jobs")),
                ("1".into(), "2".into())
            );
        })
        .once();
}

/// Two ninjas below a make that is not ours, one after the other: one trace.
fn a_trace_by_the_environment() {
    if !is_here() {
        return;
    }
    let text = "
        export JSSHIM_TRACE=$PWD/t.json N=\"env LD_PRELOAD=$JSSHIM_LIB\"
        make -s -f M -j2 x && make -s -f M -j2 y && echo --- t.json && cat t.json";
    script(text)
        .check(|o| {
            assert_eq!((o.stderr.as_str(), o.jobs.started), ("", NESTED_JOBS));
            let events = events(&part(o, "t.json"));
            let made = |n: &&String| n.ends_with("touch a1.o");
            assert_eq!(names(&events).iter().filter(made).count() % 2, 0, "of both");
            assert!(most_busy(&events) <= 2);
            nests(&events);
            let slots = events.iter().find_map(|e| e["args"]["slots"].as_u64());
            assert_eq!(slots, Some(2), "make says how many");
        })
        .once();
}

fn names_by_every_door() {
    if !is_here() {
        return;
    }
    let python = "import os, subprocess as s, multiprocessing as m\n\
        j = os.environ['JOB']\n\
        a = [s.Popen([j, '-s', '80', '-i', 'by-spawn']), s.Popen(['sh', '-c', 'X=1 ' + j + ' -i in-shell'])]\n\
        b = os.popen(j + ' -s 20 -i by-popen')\n\
        p = os.fork()\n\
        if p == 0: os.execv(j, [j, '-i', 'by-fork'])\n\
        q = os.fork()\n\
        if q == 0: os._exit(0)\n\
        [x.wait() for x in a]; b.close(); os.waitpid(p, 0); os.waitpid(q, 0)\n\
        os.system(j + ' -i by-system')\n\
        os.execv(j, [j, '-i', 'none'])";
    let text = "$CLI -j3 --trace t.json -- $PY -c \"$0\" >/dev/null; echo --- t.json; cat t.json";
    script(text)
        .arg(python)
        .check(|o| {
            let names = names(&events(&part(o, "t.json")));
            for name in
                ["by-spawn", "job -i in-shell", "by-popen", "by-fork", "by-system", " (fork)"]
            {
                assert!(names.iter().any(|n| n.contains(name)), "{name} in {names:?}");
            }
        })
        .once();
}

fn a_trace_begins_anew() {
    if !is_here() {
        return;
    }
    let text = "
        echo old >t.json
        for i in 1 2; do $CLI -j2 --trace t.json -- bash -c '$JOB -s 20 & $JOB -s 20 & wait'; done
        echo --- t.json; cat t.json; $CLI --trace no/such/t -- true; echo $?";
    script(text)
        .check(|o| {
            let text = part(o, "t.json");
            let events = events(text.trim_end().trim_end_matches('2'));
            assert_eq!(names(&events).iter().filter(|n| n.contains("job -s 20")).count() / 2, 1);
            assert!(text.trim_end().ends_with("\n2"), "the status of one that cannot be written");
            assert!(o.stderr.contains("no/such/t"), "{}", o.stderr);
        })
        .once();
}

fn what_cannot_be_read() {
    if !is_here() {
        return;
    }
    for (text, said) in [
        ("exec $CLI report none -o t.html", "none: No such file"),
        ("echo '[' >t; exec $CLI report t -o t.html", "no job"),
        ("echo junk >t; exec $CLI report t -o t.svg", "no job"),
        ("echo junk >t; exec $CLI report t -o t.pdf", "neither .html, .svg, .json nor .json.gz"),
        ("exec $CLI report", "required"),
        ("exec $CLI --trace t.json.gz -- true", "is packed afterwards"),
    ] {
        let check = move |o: &Outcome| {
            assert_eq!((o.status.code(), o.text().as_str()), (Some(2), ""));
            assert!(o.stderr.contains(said), "{}", o.stderr);
        };
        script(text).check(check).once();
    }
}
