//! The page in a browser: what it shows, used by its keys, against the statistics; and the traces that it is made of.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::{blocks, is_here, number, part, script, value, NESTED_JOBS};
use crate::harness::programs::{self, base, on_path, python, tool};
use crate::harness::Outcome;
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        a_page_tells_the_numbers_of_the_statistics,
        a_large_page_is_small,
        packed_and_rewritten_traces_give_the_same_page,
        a_trace_is_json_at_its_end,
        a_lent_slot_is_told,
        the_memory_of_jobs_is_told,
    ]
}

/// What `tests/py/page.py` reads from a page.
fn browse(name: &str, html: &str, word: &str) -> Value {
    let page = base().join(format!("page-{name}.html"));
    fs::write(&page, html).unwrap();
    let out = Command::new(on_path("timeout"))
        .args(["-k", "5", "240", &python(), &programs::script("py/page.py")])
        .arg(&page)
        .args([word, &on_path("chromium")])
        .env("PYTHONPATH", tool("python-browser", "."))
        .env_remove("LD_PRELOAD")
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn whole(shown: &Value) -> u32 {
    shown["jobs"].as_str().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{shown}"))
}

fn range(shown: &Value) -> (f64, f64) {
    let at = |key: &str| shown[key].as_str().unwrap().parse().unwrap();
    (at("from"), at("to"))
}

const NESTED: &str = "
    JSSHIM_STATS=1 $CLI -j2 --trace t.json -- make -s -f M || exit
    $CLI report t.json -o t.html || exit
    for part in t.json t.html; do echo \"--- $part\"; cat $part; done";

fn a_page_tells_the_numbers_of_the_statistics() {
    if !is_here() {
        return;
    }
    script(NESTED)
        .check(|o| {
            assert_eq!((o.status.code(), o.jobs.started), (Some(0), NESTED_JOBS));
            let shown = browse("numbers", &part(o, "t.html"), "job");
            same_numbers(o, &shown["numbers"]);
            let jobs = number(&blocks(&o.stderr)[0], "jobs");
            is_used(&shown, jobs, &part(o, "t.json"));
            for view in [&shown, &shown["dark"], &shown["narrow"]] {
                assert_eq!(view["said"], serde_json::json!([]), "errors, and what was fetched");
                assert_eq!((whole(&view["whole"]), &view["too_wide"]), (jobs, &0.into()));
                let contrast = view["contrast"].as_f64().unwrap();
                assert!(contrast >= 4.5, "contrast {contrast}");
                assert_eq!(view["out_of_sight"], serde_json::json!([]), "names of jobs");
            }
        })
        .once();
}

/// The page tells what the block on stderr told.
fn same_numbers(o: &Outcome, numbers: &Value) {
    let all = blocks(&o.stderr);
    assert_eq!(all.len(), 1, "blocks");
    let block = &all[0];
    let told = |id: &str| numbers[id].as_str().unwrap_or_else(|| panic!("no {id}: {numbers}"));
    for (id, line) in [("jobs", "jobs"), ("waits", "token waits"), ("overdrafts", "overdrafts")] {
        assert_eq!(told(id), number(block, line).to_string(), "{id}");
    }
    assert_eq!(told("peak"), value(block, "slots at peak"));
    let waits = value(block, "token waits");
    let wait = |word: &str| {
        let (_, rest) = waits.split_once(&format!("{word} ")).expect(word);
        rest.split(',').next().unwrap().to_owned()
    };
    let held = value(block, "time held").to_owned();
    let words = ["median", "p95", "longest"].map(|id| (id, wait(id)));
    for (id, text) in words.into_iter().chain([("held", held)]) {
        assert_eq!(told(id), text, "{id}");
    }
}

/// What keys and pointer do.
fn is_used(shown: &Value, jobs: u32, trace: &str) {
    let wall = shown["wall"].as_f64().unwrap();
    let near = |a: f64, b: f64| (a - b).abs() <= wall / 50.0;
    assert_eq!(range(&shown["whole"]), (0.0, wall));
    let (from, to) = range(&shown["zoomed"]);
    assert!(near(to - from, wall / 2.0) && near(from, wall / 4.0), "zoomed to {from} … {to}");
    let (panned, _) = range(&shown["panned"]);
    assert!(near(panned - from, wall / 16.0), "moved to {panned}");
    let (from, to) = range(&shown["dragged"]);
    assert!(near(from, wall / 4.0) && near(to, wall * 0.75), "dragged over {from} … {to}");
    let ids = super::report::events(trace).into_iter().filter(|e| {
        let has = e["name"].as_str().is_some_and(|name| name.contains("job"));
        e["ph"] == "X" && e["cat"] != "wait" && has
    });
    let ids: std::collections::BTreeSet<_> = ids.map(|e| e["args"]["job"].to_string()).collect();
    assert!(ids.len() >= NESTED_JOBS as usize / 2, "{ids:?}");
    assert_eq!(whole(&shown["found"]) as usize, ids.len(), "found");
    let picked = shown["picked"].as_str().unwrap();
    assert!(picked.contains("job -s 60 · pid ") && picked.contains(" for "), "{picked}");
    let (from, to) = range(&shown["close"]);
    assert!(to - from < wall * 0.9, "not close: {from} … {to} of {wall}");
    assert_eq!(shown["left_over"], serde_json::json!([]), "rows of the time that is seen");
    let label = shown["label"].as_str().unwrap();
    assert!(label.contains(&format!(" of {jobs} jobs")), "{label}");
    assert_eq!((whole(&shown["again"]), &shown["rows"]), (jobs, &jobs.min(15).into()));
    assert!((1..jobs).contains(&whole(&shown["chain"])), "the critical path: {}", shown["chain"]);
    assert_eq!(shown["trembling"], serde_json::json!([]), "slots in use");
    let shifts = shown["shifts"].as_array().unwrap();
    let is_none = |n: &Value| n.as_f64().is_some_and(|n| n.abs() < 1.0);
    assert!(shifts.len() >= 3 && shifts.iter().all(is_none), "{shifts:?}");
    for group in ["client", "program", "slot"] {
        assert!(shown[group].as_u64() >= Some(2), "rows by {group}");
    }
    let lists = shown["lists"].as_array().unwrap();
    for list in ["table-path", "table-programs", "table-waits", "table-runs"] {
        assert!(lists.iter().any(|l| l == list), "{list} in {lists:?}");
    }
}

const MADE: &str = "$PY $MAKE_TRACE $N >t.json && $CLI report t.json -o t.html && ";

fn made(n: &str, text: &str) -> crate::harness::Run {
    script(&format!("{MADE}{text}"))
        .env("MAKE_TRACE", &programs::script("py/make_trace.py"))
        .env("N", n)
}

fn a_large_page_is_small() {
    if !is_here() {
        return;
    }
    made("50000", "stat -c '--- size%n%s' t.html | sed 's/sizet.html/size\\n/' && echo && echo --- t.html && cat t.html")
        .check(|o| {
            assert_eq!((o.status.code(), o.stderr.as_str()), (Some(0), ""));
            let page = part(o, "t.html");
            assert!(page.len() < 5_000_000, "{} bytes", page.len());
            assert_eq!(super::report::shown(&page, "jobs"), "50,000");
        })
        .once();
}

/// By gzip, also cut off; by a tool that writes JSON anew, in one line or in many, as an array or in an object.
fn packed_and_rewritten_traces_give_the_same_page() {
    if !is_here() {
        return;
    }
    let text = "
        cp t.html plain.html
        gzip -k t.json && $PY -m json.tool t.json pretty.json && $PY -m json.tool --compact t.json compact.json || exit
        $PY -c \"import json; json.dump({'traceEvents': json.load(open('t.json'))}, open('object.json', 'w'))\" || exit
        for form in t.json.gz pretty.json compact.json object.json; do
            $CLI report $form -o t.html && cmp t.html plain.html || exit
        done
        $CLI report t.json -o again.json.gz && $CLI report again.json.gz -o t.html && cmp t.html plain.html || exit
        gunzip again.json.gz && $PY -m json.tool again.json >/dev/null || exit
        head -c 5000 t.json.gz >cut.json.gz && $CLI report cut.json.gz -o cut.html && echo same";
    made("300", text)
        .check(|o| assert_eq!((o.text().as_str(), o.stderr.as_str()), ("same\n", "")))
        .once();
}

/// Waits until the trace is closed, for some seconds at most, and shows it.
pub const CLOSED: &str = "
    n=0; until [ \"$(tail -n1 t.json)\" = ']' ]; do [ $((n += 1)) -lt 400 ] || exit 9; sleep 0.05; done
    $PY -m json.tool t.json >/dev/null || exit 8
    echo --- t.json; cat t.json";

/// Also where two ledgers write to the same one, at once or one after the other.
fn a_trace_is_json_at_its_end() {
    if !is_here() {
        return;
    }
    for (what, ledgers) in [
        ("$CLI -j2 --trace t.json -- make -s -f M", 1),
        ("export JSSHIM_TRACE=$PWD/t.json; for i in 1 2; do $CLI -j2 -- make -s -f M; rm d?/*.o; done", 2),
        (
            "export JSSHIM_TRACE=$PWD/t.json
             $CLI -j2 -- make -s -f M x & NAP=200 $CLI -j2 -- make -s -f M y; wait; sleep 2",
            2,
        ),
    ] {
        script(&format!("{what}{CLOSED}"))
            .check(move |o| {
                assert_eq!((o.status.code(), o.stderr.as_str()), (Some(0), ""));
                let text = part(o, "t.json");
                let all: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
                let all = all.as_array().unwrap();
                let abouts: Vec<_> = all.iter().filter(|e| e["name"] == "process_labels").collect();
                assert_eq!(abouts.len(), ledgers);
                let about = &abouts[0]["args"];
                let command = about["command"].as_str().unwrap();
                assert!(command.contains("-j2") && command.contains("make -s -f M"), "{command}");
                let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
                assert_eq!(about["host"], host.trim());
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
                let past = now.as_secs() - about["date"].as_u64().unwrap();
                assert!(past < 600, "{past} s ago");
            })
            .once();
    }
}

/// One slot: two jobs sleep for long, and a third computes on the slot of one of them.
fn a_lent_slot_is_told() {
    if !is_here() {
        return;
    }
    let text = format!(
        "$CLI -j1 --trace t.json -- bash -c 'sleep 3 & sleep 3 & $PY -c \"for i in range(10**7): pass\" & wait'{CLOSED}
         $CLI report t.json -o t.html && echo --- t.html && cat t.html"
    );
    script(&text)
        .running()
        .check(|o| {
            assert_eq!((o.status.code(), o.stderr.as_str()), (Some(0), ""));
            let all = super::report::events(&part(o, "t.json"));
            let lent: Vec<_> =
                all.iter().filter(|e| e["cat"] == "lent" && e["ph"] == "b").collect();
            let is_sleep = |e: &&&Value| {
                all.iter().any(|x| x["name"] == "sleep 3" && x["args"]["job"] == e["args"]["job"])
            };
            // One may begin to lend before it has exec'ed, and again then.
            let times = lent.iter().filter(is_sleep).map(|e| e["dur"].as_f64().unwrap());
            let long = times.reduce(f64::max).unwrap_or_else(|| panic!("none lends"));
            assert!((100_000.0..4_000_000.0).contains(&long), "for {long} µs");
            let page = part(o, "t.html");
            assert_ne!(super::report::shown(&page, "lent"), "0 s");
            assert!(page.contains("<li><i class=\"lent\"></i>"), "the colour is explained");
        })
        .once();
}

fn the_memory_of_jobs_is_told() {
    if !is_here() {
        return;
    }
    let text = format!(
        "large='x = bytearray(150_000_000)'
         $CLI -j2 --trace t.json -- bash -c '$PY -c \"$0\" & $PY -c pass & wait' \"$large\"{CLOSED}
         $CLI report t.json -o t.html && echo --- t.html && cat t.html"
    );
    script(&text)
        .check(|o| {
            assert_eq!((o.status.code(), o.stderr.as_str()), (Some(0), ""));
            let all = super::report::events(&part(o, "t.json"));
            let memory = |name: &str| {
                let is_it = |e: &&Value| {
                    e["ph"] == "X" && e["name"].as_str().is_some_and(|n| n.contains(name))
                };
                let pid =
                    &all.iter().find(is_it).unwrap_or_else(|| panic!("{name}"))["args"]["pid"];
                let told = all.iter().find(|e| e["name"] == "memory" && e["args"]["pid"] == *pid);
                told.unwrap_or_else(|| panic!("memory of {name}"))["args"]["memory"]
                    .as_u64()
                    .unwrap()
            };
            let (large, small) = (memory("bytearray"), memory("-c pass"));
            assert!(
                (150_000..200_000).contains(&large) && small < 50_000,
                "{large} kB, {small} kB"
            );
            let page = part(o, "t.html");
            assert!(page.contains(&format!("{} MB</td>", large / 1024)), "in a table");
        })
        .once();
}
