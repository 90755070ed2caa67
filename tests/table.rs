//! The table: every door by which a child is started or collected, a row each, under every way in which a
//! host can treat SIGCHLD, and with and without a slot for the child (c/table/). Each row tells all that
//! the caller and the child can see: what the call returned, errno, wait statuses and siginfo,
//! dispositions, masks, pending signals, descriptors and their flags, environment, directory, timers,
//! limits, which calls the host's handler got and in which order. It must be what it is without the
//! library, but for what [`DOCUMENTED`] says.

use std::any::Any;
use std::collections::HashSet;
use std::fmt::Debug;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::thread;

use crate::elf::DOORS;
use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, compiled_by, compiled_with, is_emulated, script};
use crate::harness::{Outcome, Run};
use crate::Test;

/// What the host does with SIGCHLD (c/table/conditions.c).
const CONDITIONS: [&str; 16] = [
    "default",
    "ignored",
    "no-child-wait",
    "no-child-wait-handler",
    "no-child-stop",
    "restarting",
    "interrupting",
    "signalfd",
    "sigwait",
    "siginfo",
    "nodefer",
    "resethand",
    "onstack",
    "bsd",
    "sigset",
    "reaping",
];

/// The slot of the row's child: which other children the host has, the size of the pool, `JSSHIM_GATE`, `JSSHIM_WAIT`.
type Slot = (&'static str, &'static str, usize, &'static str, &'static str);

const SLOTS: [Slot; 7] = [
    ("the only job", "alone", 3, "auto", ""),
    ("the only job, later", "joined", 3, "auto", ""),
    ("a token", "other", 3, "auto", ""),
    ("none, the parent waits", "other", 1, "auto", "pidfd"),
    ("none, the parent waits by a self-pipe", "other", 1, "auto", "selfpipe"),
    ("none, the child is held", "other", 1, "child", ""),
    ("none, beside a thread", "threaded", 1, "auto", ""),
];

/// One thing that is not as without the library. `docs/LIMITS.md` quotes these.
struct Documented {
    what: &'static str,
    /// A line of the row with this title, as it is compared; `None` if it is not.
    compared: fn(title: &str, line: &str) -> Option<String>,
    /// Where it must be seen, or it should not be on the list any more.
    seen_in: fn(condition: &str, slot: &str) -> bool,
}

/// The short list.
const DOCUMENTED: [Documented; 4] = [
    Documented {
        what: "The variables of the library, which are put back where the host leaves them out: \
               `LD_PRELOAD`, `JSSHIM_*`, and the pool in `MAKEFLAGS`.",
        compared: |_, line| {
            let ours = ["env LD_PRELOAD=", "env JSSHIM_", "env MAKEFLAGS= -j --jobserver-auth="];
            (!ours.iter().any(|name| line.trim_start().starts_with(name))).then(|| line.to_owned())
        },
        seen_in: |_, _| true,
    },
    Documented {
        what: "The library's descriptors, until it has seen that its last job ended: close-on-exec, \
               and numbers from 48 up, or as high as the limit allows.",
        compared: |_, line| (!is_high_descriptor(line)).then(|| line.to_owned()),
        seen_in: |condition, slot| condition == "ignored" && slot.starts_with("none"),
    },
    Documented {
        what: "`errno` after a success, which tells what libc met on its way: a signal, or along PATH, \
               where the library has searched in its place.",
        compared: |_, line| {
            let met = ["ENOENT", "EACCES", "ENOEXEC", "EBADF", "EINTR"];
            let success = ["  returned 0, ", "  returned a pid, "];
            let success = success.iter().any(|start| line.starts_with(start));
            let met = met.iter().find(|errno| success && line.ends_with(**errno));
            Some(met.map_or(line.to_owned(), |errno| line.replace(errno, "untouched")))
        },
        seen_in: |_, slot| slot == "none, the child is held",
    },
    Documented {
        what: "`AT_EXECFN` of a job that was started by descriptor (`fexecve`, `execveat`) and held: \
               the path of its program, not `/dev/fd/N`.",
        compared: |title, line| {
            let by_descriptor = title.contains("fexecve") || title.contains("execveat");
            let at = line.find(", started as ").filter(|_| by_descriptor);
            Some(line[..at.unwrap_or(line.len())].to_owned())
        },
        seen_in: |_, slot| slot == "none, the child is held",
    },
];

fn is_high_descriptor(line: &str) -> bool {
    let number = line.strip_prefix("  fd ").and_then(|rest| rest.split(':').next());
    let number = number.and_then(|n| n.parse().ok()).unwrap_or(0);
    number >= 48 && line.contains(": cloexec ")
}

/// The environment of the harness itself, which differs from run to run.
const OF_THE_HARNESS: [&str; 2] = ["env JSSHIM_LIB=", "env JSSHIM_TEST_"];

/// The doors by which three jobs at once are started (c/table/gates.c), each with the exec door of its
/// children, if any.
const GATED: [(&str, &str); 46] = [
    ("fork", "execve"),
    ("fork", "execv"),
    ("fork", "execvp"),
    ("fork", "execvpe"),
    ("fork", "execl"),
    ("fork", "execle"),
    ("fork", "execlp"),
    ("fork", "execveat"),
    ("fork", "fexecve"),
    ("vfork", "execve"),
    ("vfork", "execv"),
    ("vfork", "execvp"),
    ("vfork", "execvpe"),
    ("vfork", "execl"),
    ("vfork", "execle"),
    ("vfork", "execlp"),
    ("vfork", "execveat"),
    ("vfork", "fexecve"),
    ("__fork", "execve"),
    ("_Fork", "execv"),
    ("_Fork", "fexecve"),
    ("__vfork", "execlp"),
    ("__vfork", "execveat"),
    ("clone", "execve"),
    ("__clone", "execvp"),
    ("clone without a signal", "execv"),
    ("clone as vfork", "execve"),
    ("clone as vfork", "execlp"),
    ("forkpty", "execve"),
    ("fork", ""),
    ("__fork", ""),
    ("_Fork", ""),
    ("clone", ""),
    ("__clone", ""),
    ("clone without a signal", ""),
    ("posix_spawn", ""),
    ("posix_spawnp", ""),
    ("posix_spawn@GLIBC_2.2.5", ""),
    ("posix_spawnp@GLIBC_2.2.5", ""),
    ("pidfd_spawn", ""),
    ("pidfd_spawnp", ""),
    ("popen, pclose", ""),
    ("popen, fclose", ""),
    ("popen for writing", ""),
    ("_IO_popen", ""),
    ("system in threads", ""),
];

/// And those by which it is not, with the reason.
const NOT_GATED: [(&str, &str, &str); 1] =
    [("forkpty", "", "a child of forkpty that does not exec: they are for programs on a terminal")];

/// Doors that only the parent can wait before: their child cannot be held.
const GATED_BY_THE_PARENT: [&str; 3] = ["system", "wordexp", "wordexp with its errors"];

pub fn tests() -> Vec<Test> {
    let condition = |name: &'static str| {
        let test = format!("table::{}", name.replace('-', "_"));
        crate::test(&test, move || compare_in_all_slots("cc", name))
    };
    let mut tests: Vec<_> = CONDITIONS.into_iter().map(condition).collect();
    tests.extend(crate::tests![every_door_takes_a_slot, every_door_has_a_row]);
    tests
}

/// All rows of a condition, with and without the library.
pub fn compare_in_all_slots(compiler: &str, condition: &str) {
    none(failures(&SLOTS, |slot| compare(compiler, condition, slot)));
}

fn none(failures: Vec<String>) {
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// All at once, since mostly they wait; says of each that failed what it was.
pub fn failures<T: Debug + Sync>(items: &[T], run: impl Fn(&T) + Send + Sync) -> Vec<String> {
    let run = |item| panic::catch_unwind(AssertUnwindSafe(|| run(item)));
    thread::scope(|scope| {
        let start = |item| (item, scope.spawn(move || run(item)));
        let threads: Vec<_> = items.iter().map(start).collect();
        let end = |(item, thread): (_, thread::ScopedJoinHandle<'_, _>)| {
            let panic: Box<dyn Any + Send> = thread.join().unwrap_or_else(Err).err()?;
            let text = panic.downcast_ref::<String>().map_or("a panic", String::as_str);
            Some(format!("{item:?}: {text}"))
        };
        threads.into_iter().filter_map(end).collect()
    })
}

/// The table as it is compiled for glibc, or by another compiler: the program, and the library of old names that it loads.
pub fn program(compiler: &str) -> (String, String) {
    let parts = ["shared", "report", "conditions", "reaps", "spawns", "rows", "gates"];
    let parts = parts.map(|part| script(&format!("c/table/{part}.c")));
    let (target, parts) = (format!("table-{compiler}"), parts.each_ref().map(String::as_str));
    let program = compiled_by(compiler, "table/main", &target, &parts);
    (program, compiled_with("table/old", "old.so", &["-shared", "-fPIC"]))
}

fn table(compiler: &str, args: &[&str]) -> Run {
    let (program, old) = program(compiler);
    Run::new(&[&[program.as_str()], args].concat()).env("TABLE_OLD", &old)
}

fn compare(compiler: &str, condition: &str, (slot, others, pool, gate, wait): &Slot) {
    let run = table(compiler, &[condition, others]);
    let run = run.env("JSSHIM_GATE", gate).env("JSSHIM_WAIT", wait);
    let run = run.pool(Kind::NonBlocking, *pool).any_peak();
    let plain = run.run(false);
    assert!(plain.status.success(), "{:?}\n{}", plain.status, plain.stderr);
    assert!(!plain.text().contains("waited in vain"), "{}", plain.text());
    if artifact("libjsshim.so").is_none() {
        return;
    }
    let shimmed = run.run(true);
    assert_eq!(shimmed.status, plain.status);
    if let Some(difference) = difference(&plain, &shimmed, &DOCUMENTED.iter().collect::<Vec<_>>()) {
        panic!("\n{difference}");
    }
    assert_eq!(errors(&shimmed), errors(&plain), "standard error");
    // musl has not all of these doors.
    let needed =
        |documented: &&Documented| compiler == "cc" && (documented.seen_in)(condition, slot);
    for documented in DOCUMENTED.iter().filter(needed) {
        let others = DOCUMENTED.iter().filter(|other| other.what != documented.what);
        let seen = difference(&plain, &shimmed, &others.collect::<Vec<_>>());
        assert!(seen.is_some(), "not seen in {slot}: {}", documented.what);
    }
}

/// Lines from children come in any order.
fn errors(outcome: &Outcome) -> Vec<&str> {
    let mut lines: Vec<_> = outcome.stderr.lines().collect();
    lines.sort_unstable();
    lines
}

/// The rows of a run with their lines as they are compared.
fn rows(outcome: &Outcome, documented: &[&Documented]) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for line in outcome.text().lines() {
        let by_harness = OF_THE_HARNESS.iter().any(|name| line.trim_start().starts_with(name));
        if by_harness {
            continue;
        }
        if line.starts_with("== ") {
            rows.push(vec![line.to_owned()]);
            continue;
        }
        let row = rows.last_mut().expect("a title comes first");
        let compare = |line: String, d: &&Documented| (d.compared)(&row[0], &line);
        // The kernel reads which signal has stopped a child when it tells of it: by then the parent may have
        // collected that.
        let line = line.replace("code 5, status 13,", "code 5, status 0,");
        if let Some(line) = documented.iter().try_fold(line, compare) {
            row.push(line);
        }
    }
    rows
}

/// The rows that differ, with the lines that do.
fn difference(plain: &Outcome, shimmed: &Outcome, documented: &[&Documented]) -> Option<String> {
    let (plain, shimmed) = (rows(plain, documented), rows(shimmed, documented));
    let mut text = String::new();
    for (before, after) in plain.iter().zip(&shimmed).filter(|(before, after)| before != after) {
        let (lost, gained) = (only(before, after), only(after, before));
        let moved = lost.is_empty() && gained.is_empty();
        let order = if moved { ", in another order" } else { "" };
        text += &format!("{}{order}\n", before[0]);
        lost.iter().for_each(|line| text += &format!("-{line}\n"));
        gained.iter().for_each(|line| text += &format!("+{line}\n"));
    }
    if plain.len() != shimmed.len() {
        text += &format!("{} rows, and {} with the library\n", plain.len(), shimmed.len());
    }
    (!text.is_empty()).then_some(text)
}

/// The lines that are in `a` more often than in `b`.
fn only<'a>(a: &'a [String], b: &[String]) -> Vec<&'a String> {
    let mut left: Vec<_> = b.iter().collect();
    let missing = |line: &&String| match left.iter().position(|other| other == line) {
        Some(at) => {
            left.swap_remove(at);
            false
        }
        None => true,
    };
    a.iter().filter(missing).collect()
}

fn gated(compiler: &str, args: &[&str], gate: &str, wait: &str) {
    let run = || {
        let run = table(compiler, args).env("JSSHIM_GATE", gate).env("JSSHIM_WAIT", wait);
        run.pool(Kind::Fifo, 2).may_idle()
    };
    if !run().run(false).text().contains("absent") {
        run().both();
    }
}

fn every_door_takes_a_slot() {
    every_door_takes_a_slot_in("cc");
}

/// In a table that this compiler has made.
pub fn every_door_takes_a_slot_in(compiler: &str) {
    let free = |(door, exec, _): &(&str, &str, &str)| {
        table(compiler, &["gates", door, exec]).pool(Kind::Fifo, 2).any_peak().once();
    };
    let in_both = |(door, exec): &(&str, &str)| {
        let threads = door.strip_suffix(" in threads");
        let args = ["gates", threads.unwrap_or(door), exec, "threads"];
        let args = &args[..if threads.is_some() { 4 } else { 3 }];
        gated(compiler, args, "auto", "pidfd");
        gated(compiler, args, "auto", "selfpipe");
        gated(compiler, args, "child", "");
    };
    let mut failed: Vec<_> = GATED.chunks(8).flat_map(|some| failures(some, in_both)).collect();
    let by_parent = |door: &&str| gated(compiler, &["gates", door], "auto", "");
    // No parent waits in qemu's user mode: each process has a second thread there, the emulator's.
    let by_parents = if is_emulated() { &[][..] } else { &GATED_BY_THE_PARENT };
    failed.extend(failures(by_parents, by_parent));
    failed.extend(failures(&NOT_GATED, free));
    none(failed);
}

/// None that the library has a hook for may be left out.
fn every_door_has_a_row() {
    let files = ["execs.h", "table/spawns.c", "table/reaps.c", "table/shared.c", "blocks.c"];
    let text = |file| fs::read_to_string(script(&format!("c/{file}"))).unwrap();
    let text: String = files.map(text).concat();
    let words: HashSet<_> = text.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let missing: Vec<_> = DOORS.iter().filter(|(_, name)| !words.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
