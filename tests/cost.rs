//! What is exact and cheap to count of the library's cost: what the loader does with it at each exec, the
//! system calls of an exec and of a spawn, the instructions before main. Times are for scripts/bench.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, compiled, output};
use crate::harness::Run;
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        little_to_map_and_relocate,
        calls_of_an_exec,
        calls_of_an_only_job,
        calls_of_a_job_on_a_token,
        pages_of_a_job,
        no_host_sleeps_in_a_fork,
        instructions_before_main,
    ]
}

/// Each segment is a mapping; each page that is written is a fault.
fn little_to_map_and_relocate() {
    let Some(library) = artifact("libjsshim.so") else { return };
    let headers = output("readelf", &["-lW", &library]);
    let segments = headers.lines().filter(|line| line.trim_start().starts_with("LOAD"));
    assert_eq!(segments.count(), 2, "{headers}");
    let relocations = output("readelf", &["-rW", &library]);
    let of_kind = |word: &str| relocations.lines().filter(|line| line.contains(word)).count();
    let (relative, symbols) = (of_kind("R_X86_64_RELATIVE"), of_kind("@GLIBC"));
    assert!(relative <= 130, "{relative} relocations");
    assert!(symbols <= 12, "{symbols} symbols to look up:\n{relocations}");
}

/// How often each system call was made, by strace's lines.
type Calls = BTreeMap<String, i64>;

fn calls(text: &str) -> Calls {
    let mut calls = Calls::new();
    for (name, _) in text.lines().filter_map(|line| line.split_once('(')) {
        *calls.entry(name.to_owned()).or_default() += 1;
    }
    calls
}

/// What `more` has beyond `less`, in parts of `count`, rounded.
fn beyond(more: &Calls, less: &Calls, count: i64) -> Calls {
    let names = more.keys().chain(less.keys());
    let of = |calls: &Calls, name| calls.get(name).copied().unwrap_or(0);
    let rest = names.map(|name| (name.clone(), of(more, name) - of(less, name)));
    rest.map(|(name, n)| (name, (n + count / 2).div_euclid(count)))
        .filter(|(_, n)| *n != 0)
        .collect()
}

/// The calls of one process below a pool of four slots, without its children.
fn traced(command: &str, kind: Kind, shimmed: bool) -> Calls {
    let text = format!(
        "exec strace -o /dev/fd/1 -e 'signal=!all' ${{OURS:+-E LD_PRELOAD=$OURS}} {command}"
    );
    let run = Run::new(&["bash", "-c", &format!("OURS=$JSSHIM_LIB; {text}")]).preload_inside();
    calls(&run.pool(kind, 4).any_peak().run(shimmed).text())
}

/// Opened, its head read, its size asked for, mapped twice (both segments), closed; and it asks
/// for its pid.
fn calls_of_an_exec() {
    if artifact("libjsshim.so").is_none() {
        return;
    }
    let of_true = |shimmed| traced("/bin/true", Kind::Fifo, shimmed);
    let more = beyond(&of_true(true), &of_true(false), 1);
    let loader = ["openat", "read", "newfstatat", "fstat", "mmap", "close"];
    let total: i64 = more.values().sum();
    let known = more.keys().all(|name| loader.contains(&name.as_str()) || name == "getpid");
    assert!(known && total <= 7 && more.get("getpid").is_none_or(|n| *n == 1), "{more:?}");
}

/// What one spawn and its reap cost more with the library.
fn calls_per_job(door: &str, case: &str, kind: Kind) -> Calls {
    const COUNT: i64 = 50;
    let spawns = compiled("spawns");
    let per_job = |shimmed| {
        let run = |count: i64| traced(&format!("{spawns} {door} {case} {count}"), kind, shimmed);
        beyond(&run(5 + COUNT), &run(5), COUNT)
    };
    beyond(&per_job(true), &per_job(false), 1)
}

fn calls_of_an_only_job() {
    if artifact("libjsshim.so").is_none() {
        return;
    }
    for door in ["posix_spawn", "vfork", "fork"] {
        let more = calls_per_job(door, "only", Kind::Fifo);
        let known = more.keys().all(|name| name == "getpid");
        assert!(known && more.values().sum::<i64>() <= 3, "{door}: {more:?}");
    }
}

/// None of these waits: the pool's description is a non-blocking one. Who has not inherited a write end opens one
/// for each token that goes back.
fn calls_of_a_job_on_a_token() {
    if artifact("libjsshim.so").is_none() {
        return;
    }
    // By kill(2) it is asked at one job of four whether the guard lives.
    let allowed = ["getpid", "statx", "read", "write", "clock_gettime", "kill"];
    for door in ["posix_spawn", "vfork", "fork"] {
        for (kind, opened) in [(Kind::Blocking, 0), (Kind::Fifo, 1)] {
            let mut more = calls_per_job(door, "token", kind);
            for name in ["openat", "close"] {
                assert!(more.remove(name).unwrap_or(0) <= opened, "{door}, {kind:?}: {name}");
            }
            let known = more.keys().all(|name| allowed.contains(&name.as_str()));
            assert!(known && more.values().sum::<i64>() <= 7, "{door}, {kind:?}: {more:?}");
        }
    }
}

/// The page faults of hosts and of their jobs, of all jobs but each host's first: the sums over `hosts` hosts.
fn faults(door: &str, case: &str, hosts: i64, count: i64, shimmed: bool) -> [i64; 2] {
    let spawns = compiled("spawns");
    let text = format!(
        "for ((i = 0; i < {hosts}; i++)); do \
            ${{OURS:+env LD_PRELOAD=$OURS}} {spawns} {door} {case} {count} || exit; done"
    );
    let run = Run::new(&["bash", "-c", &format!("OURS=$JSSHIM_LIB; {text}")]).preload_inside();
    let text = run.pool(Kind::Fifo, 4).any_peak().run(shimmed).text();
    let numbers: Vec<i64> = text.split_whitespace().map(|n| n.parse().expect("a number")).collect();
    assert_eq!(numbers.len() as i64, 2 * hosts, "{text}");
    numbers.chunks(2).fold([0, 0], |sum, of| [sum[0] + of[0], sum[1] + of[1]])
}

/// Each is a microsecond or more. A job loads the library, which takes it 6; and before that one that was forked
/// copies a page that it writes, and looks into the library's code; one on a token into the ledger, too, and into
/// memory for its environment. Of the host the fork has write-protected what it writes.
///
/// Where the kernel puts a library decides across how many of its groups of sixteen pages it lies, and all jobs of a
/// host find it there: the mean of many hosts counts.
fn pages_of_a_job() {
    const LANES: i64 = 8;
    const HOSTS: i64 = 20;
    const COUNT: i64 = 10;
    if artifact("libjsshim.so").is_none() {
        return;
    }
    for (door, case, of_host, of_job) in [
        ("posix_spawn", "only", 0.5, 7.3),
        ("vfork", "token", 0.5, 7.3),
        ("fork", "only", 1.5, 10.6),
        ("fork", "token", 3.0, 12.9),
    ] {
        let lane = |shimmed| faults(door, case, HOSTS, 1 + COUNT, shimmed);
        let all = |shimmed| {
            std::thread::scope(|scope| {
                let lanes: Vec<_> =
                    (0..LANES).map(|_| scope.spawn(move || lane(shimmed))).collect();
                let each = lanes.into_iter().map(|lane| lane.join().expect("no panic"));
                each.fold([0, 0], |sum, of| [sum[0] + of[0], sum[1] + of[1]])
            })
        };
        let (plain, shimmed) = (all(false), all(true));
        let more = [0, 1].map(|i| (shimmed[i] - plain[i]) as f64 / (LANES * HOSTS * COUNT) as f64);
        let few = more[0] <= of_host && more[1] <= of_job;
        assert!(few, "{door}, {case}: {more:.1?} more");
    }
}

/// Each subshell of a configure script starts a pipeline, whose second command has no slot yet: what that child is for is
/// found out by the child, and the guard says when it is there.
fn no_host_sleeps_in_a_fork() {
    if artifact("libjsshim.so").is_none() {
        return;
    }
    let text = "exec strace -f -qq -o /dev/fd/1 -e trace=nanosleep,clock_nanosleep,clone,fork,vfork,execve \
        -E LD_PRELOAD=$JSSHIM_LIB bash -c 'for i in 1 2 3 4 5 6; do x=$(echo a$i | sed s/a/b/); done'";
    let run = Run::new(&["bash", "-c", text]).preload_inside().pool(Kind::Fifo, 1).any_peak();
    let log = run.run(true).text();
    let pids = |word: &str| -> BTreeSet<&str> {
        let lines = log.lines().filter(|line| line.contains(word));
        lines.filter_map(|line| line.split_whitespace().next()).collect()
    };
    // The guard and its double sleep, and a child that has become the helper.
    let (hosts, helpers) = (pids("clone("), pids("jsshim-helper"));
    assert!(hosts.len() > 6, "{log}");
    let sleeps: Vec<_> =
        hosts.difference(&helpers).filter(|pid| pids("nanosleep(").contains(*pid)).collect();
    assert!(sleeps.is_empty(), "{sleeps:?}\n{log}");
}

/// Of the constructor and all that it calls, in an environment of six words.
fn instructions_before_main() {
    let Some(library) = artifact("libjsshim.so") else { return };
    let text = format!(
        "exec env -i PATH=/bin HOME=/ LANG=C TERM=dumb USER=root LD_PRELOAD={library} valgrind --tool=callgrind \
        --callgrind-out-file=/dev/null --toggle-collect='jsshim::constructor*' /bin/true 2>&1"
    );
    let log = output("sh", &["-c", &text]);
    let count = log.split("Collected : ").nth(1).and_then(|rest| rest.split_whitespace().next());
    let count = count.unwrap_or_else(|| panic!("{log}")).parse::<u32>().expect("a number");
    assert!((50..600).contains(&count), "{count} instructions\n{log}");
}
