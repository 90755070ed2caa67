//! Preloaded libraries in Rust, made with ctor and redhook (tests/preloads), before and behind ours: they see every
//! process that is created, and their constructors do what ours must not mind.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::{below, ends_with_5, KINDS, PUT};
use crate::harness::pool::Kind;
use crate::harness::programs::{compiled, compiled_with, preload, script};
use crate::harness::Outcome;
use crate::Test;

pub fn tests() -> Vec<Test> {
    let mut list = crate::tests![spawnlog_before_ours, spawnlog_behind_ours];
    for host in &HOSTS {
        for (order, how) in ORDERS {
            let name = format!("neighbours::spies::sees_each_start_{how}_ours::{}", host.0);
            list.push(crate::test(&name, move || sees_each_start(host, order)));
        }
    }
    for words in CONSTRUCTORS {
        for (order, how) in ORDERS {
            let (name, word) = (words.replace(',', "_"), words);
            let test =
                |of: &str| format!("neighbours::spies::constructor_{how}_ours_in_{of}::{name}");
            list.push(crate::test(&test("a_host"), move || constructor_in_a_host(order, word)));
            list.push(crate::test(&test("each_job"), move || constructor_in_each_job(order, word)));
        }
    }
    list
}

/// Where ours goes, and so where the other one is.
type Order = &'static str;

const BEFORE_OURS: Order = "behind";
const BEHIND_OURS: Order = "before";
const ORDERS: [(Order, &str); 2] = [(BEFORE_OURS, "before"), (BEHIND_OURS, "behind")];

/// The library and ours, in this order.
fn put(library: &str, order: Order) -> String {
    format!("{PUT}\nbehind {library}; {order} $OURS")
}

/// Eight jobs at once.
const JOBS: &str = "for i in 1 2 3 4 5 6 7 8; do $JOB -b 5 -s 40 & done; wait; exit 5";

const NINJA: &str = "rule job
  command = $$JOB -b 5 -s 40
build a: job\nbuild b: job\nbuild c: job\nbuild d: job\nbuild e: job\nbuild f: job\nbuild g: job\nbuild h: job\n";

/// Hosts that start their jobs through different doors. All end with 5.
const HOSTS: [(&str, &str); 10] = [
    ("bash", "bash jobs.sh"),
    ("dash", "dash jobs.sh"),
    ("xargs", "seq 8 | xargs -P8 -I+ $JOB -b 5 -s 40; exit 5"),
    ("ninja", "NINJA_STATUS= ninja -j8; exit 5"),
    ("python", "python3 python.py; exit 5"),
    (
        "perl",
        "perl -e 'for (1..8) { fork or exec \"$ENV{JOB} -b 5 -s 40\" } 1 while wait > 0; exit 5'",
    ),
    ("every_door", "$DOORS; exit $?"),
    // The execl family with lists of every length, after fork and after vfork.
    ("lists", "$LISTS 20; exit 5"),
    ("popen", "$HOSTS popen"),
    ("vforks", "$HOSTS vforks"),
];

const PYTHON: &str = "
import os, subprocess
jobs = [subprocess.Popen([os.environ['JOB'], '-b', '5', '-s', '40']) for _ in range(8)]
print([job.wait() for job in jobs])";

/// The lines of the spy: how often each function was called, with what.
type Seen = BTreeMap<(String, String), usize>;

fn seen(outcome: &Outcome) -> Seen {
    let mut seen = Seen::new();
    for line in outcome.text().lines() {
        let mut words = line.splitn(3, ' ');
        if words.next() == Some("spied") {
            let mut next = || words.next().unwrap_or_default().to_owned();
            *seen.entry((next(), next())).or_default() += 1;
        }
    }
    assert!(!seen.is_empty(), "the spy saw nothing: {}", outcome.text());
    seen
}

/// Before ours it sees what the host calls. Behind ours it sees one call for each: by another name of the family, and
/// for a job that waits for its slot the helper.
fn sees_each_start((name, command): &'static (&str, &str), order: Order) {
    let text = format!(
        "export JSSHIM_TEST_SPY=$PWD/spied
        ({}\n{command})
        status=$?; sed 's/^[0-9]* /spied /' spied; exit $status",
        put(&preload("neighbour"), order)
    );
    let headers = format!("-I{}", script("arch"));
    for gate in ["auto", "child"] {
        let logs = Rc::new(RefCell::new(Vec::new()));
        let log = Rc::clone(&logs);
        let run = below(&text)
            .file("jobs.sh", JOBS)
            .file("build.ninja", NINJA)
            .file("python.py", PYTHON)
            .env("DOORS", &compiled("faulty"))
            .env("HOSTS", &compiled("hosts"))
            .env("LISTS", &compiled_with("lists", "lists", &[&headers]))
            .env("JSSHIM_GATE", gate)
            .ignoring("spied ")
            .check(move |o| log.borrow_mut().push(seen(o)));
        let run = match *name {
            // They have few jobs at once, which do not count themselves.
            "every_door" | "lists" => run.pool(Kind::Fifo, 2).any_peak(),
            "popen" | "vforks" => run.pool(Kind::Fifo, 2).settles(8),
            _ => run.pool(Kind::Fifo, 2),
        };
        ends_with_5(run).both();
        let logs = logs.borrow();
        let (plain, shimmed) = (logs.first().unwrap(), logs.last().unwrap());
        if order == BEFORE_OURS {
            // Who execs the helper there is the shell of a popen(3), which is told to.
            let mut shimmed = shimmed.clone();
            shimmed.retain(|(function, what), _| !(is_exec(function) && is_helper(what)));
            assert_eq!(*plain, shimmed, "what the host starts, without ours and with it");
        } else {
            let mut wanted = family(plain);
            *wanted.entry("exec").or_default() += told_shells(shimmed);
            assert_eq!(wanted, family(shimmed), "{plain:#?} {shimmed:#?}");
        }
    }
}

fn is_exec(function: &str) -> bool {
    function.starts_with("exec")
}

fn is_helper(what: &str) -> bool {
    what.ends_with("/jsshim-helper")
}

/// How many commands of popen(3) and system(3) tell their shell to exec the helper first.
fn told_shells(seen: &Seen) -> usize {
    let told = |(function, what): &&(String, String)| {
        ["popen", "system"].contains(&&**function) && what.contains("/jsshim-helper' ")
    };
    seen.iter().filter(|(call, _)| told(call)).map(|(_, count)| count).sum()
}

/// How many calls there were of each family, apart from vfork(2), which ours makes itself.
fn family(seen: &Seen) -> BTreeMap<&str, usize> {
    let mut families = BTreeMap::new();
    for ((function, _), count) in seen.iter().filter(|((function, _), _)| function != "vfork") {
        let name = if is_exec(function) { "exec" } else { function };
        *families.entry(name).or_default() += count;
    }
    families
}

// ---- constructors ------------------------------------------------------------------------------

/// What a constructor does; see tests/preloads/neighbour/start.rs.
const CONSTRUCTORS: [&str; 5] = ["setenv,spawn", "exec", "popen", "fork", "thread,fork,popen"];

/// How many jobs it runs, four at once.
fn jobs_of(words: &str) -> u32 {
    4 * u32::from(["spawn", "exec", "popen"].iter().any(|word| words.contains(word)))
}

/// The first process with the library is the host.
fn constructor_in_a_host(order: Order, words: &str) {
    let jobs = 8 + jobs_of(words);
    let put = put(&preload("neighbour"), order);
    let text = format!("{put}\nexport JSSHIM_TEST_START={words}; exec dash jobs.sh");
    let run = below(&text).file("jobs.sh", JOBS).pool(Kind::Blocking, 2);
    ends_with_5(run.check(move |o| assert_eq!(o.jobs.started, jobs))).both();
    // On a pool of its own.
    let text = format!("{put}\nexport JSSHIM_JOBS=2 JSSHIM_TEST_START={words}; exec dash jobs.sh");
    ends_with_5(below(&text).file("jobs.sh", JOBS).slots(2)).both();
}

/// What a job starts before its main function queues as what it starts later.
fn constructor_in_each_job(order: Order, words: &str) {
    let jobs = 8 + 8 * jobs_of(words);
    let script = JOBS.replace("$JOB", &format!("JSSHIM_TEST_START={words} $JOB"));
    let text = format!("{}\nexec dash jobs.sh", put(&preload("neighbour"), order));
    let run = below(&text).file("jobs.sh", &script).pool(Kind::NonBlocking, 2);
    let run = run.env("JSSHIM_GATE", "child");
    ends_with_5(run.check(move |o| assert_eq!(o.jobs.started, jobs))).both();
}

// ---- examples/spawnlog.rs ----------------------------------------------------------------------

/// ninja spawns eight shells, each of which becomes its job.
fn spawnlog(order: Order) {
    let text = format!(
        "export SPAWNLOG=$PWD/log
        ({}\nNINJA_STATUS= ninja -j8) && cat log && exit 5",
        put(&preload("spawnlog"), order)
    );
    for kind in KINDS {
        let check = move |o: &Outcome| {
            let text = o.text();
            let held = text.matches("/jsshim-helper\n").count();
            let jobs = text.matches("/job\n").count();
            assert_eq!((text.matches("/bin/sh\n").count() + held, jobs), (8, 8), "{text}");
            assert!(order == BEHIND_OURS || held == 0, "{text}");
        };
        let run = below(&text).file("build.ninja", NINJA).env("JSSHIM_GATE", "child");
        ends_with_5(run.pool(kind, 2).ignoring("/").check(check)).both();
    }
}

fn spawnlog_before_ours() {
    spawnlog(BEFORE_OURS);
}

fn spawnlog_behind_ours() {
    spawnlog(BEHIND_OURS);
}
