//! Faults: what the library and its helper ask of the kernel fails, and the host must not notice. Every
//! system call of theirs is made to fail, once at each of its times and then always; and they meet a
//! system that lacks things (`places`).
//!
//! A host (c/faulty.c) goes through all kinds of doors below an injector (c/inject.c). It prints the same as
//! without the library and finds nothing changed, the pool is as before, nothing stays behind, and the library
//! says at most a line per process.
//!
//! `scripts/test` tries a part; with `JSSHIM_DEEP` set, each error of each call is tried at every time.

mod places;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::panic::{catch_unwind, AssertUnwindSafe};

use libc::*;

use crate::harness::pool::Kind;
use crate::harness::programs::{base, compiled, compiled_with};
use crate::harness::{Outcome, Run};
use crate::Test;

/// What each call may fail with, by its manual page or by a sandbox's filter.
const ERRORS: &[(&str, &[i32])] = &[
    ("openat", &[EMFILE, ENFILE, EACCES, ENOMEM, ENOENT]),
    ("read", &[EIO, EINTR, EAGAIN]),
    ("pread64", &[EIO]),
    ("write", &[ENOMEM, EINTR]),
    ("splice", &[ENOSYS, ENOMEM, EINVAL, EAGAIN]),
    ("pipe2", &[EMFILE, ENFILE]),
    ("ppoll", &[EINTR, ENOMEM, EINVAL]),
    ("fcntl", &[EMFILE, EPERM]),
    ("fstat", &[ENOMEM, EACCES]),
    ("statx", &[ENOSYS, EPERM]),
    ("fallocate", &[ENOSPC, EOPNOTSUPP, EINTR]),
    ("getdents64", &[ENOENT, EPERM]),
    ("close_range", &[ENOSYS, EPERM]),
    ("prlimit64", &[EPERM, ENOSYS]),
    ("newfstatat", &[EACCES, ENOMEM, ENOENT]),
    ("faccessat2", &[ENOSYS, EPERM, EACCES]),
    ("faccessat", &[EACCES]),
    ("readlinkat", &[EACCES, ENOENT]),
    ("mkdirat", &[EACCES, ENOSPC, EROFS]),
    ("mknodat", &[EACCES, ENOSPC, EPERM]),
    ("linkat", &[EPERM, ENOSPC, EMLINK]),
    ("chdir", &[EACCES]),
    ("mmap", &[ENOMEM, EAGAIN]),
    ("munmap", &[ENOMEM]),
    ("clock_gettime", &[EPERM]),
    ("nanosleep", &[EINTR, EPERM]),
    ("timer_create", &[ENOSYS, EAGAIN, ENOMEM, EPERM]),
    ("timer_settime", &[EINVAL, EPERM]),
    ("timer_delete", &[EINVAL]),
    ("sysinfo", &[EPERM]),
    ("socket", &[EACCES, EMFILE, EAFNOSUPPORT]),
    ("setsid", &[EPERM]),
    ("setpgid", &[EPERM]),
    ("sched_getaffinity", &[EPERM, ENOSYS]),
    ("kill", &[EPERM]),
    ("waitid", &[ENOSYS, EPERM, EINTR]),
    ("pidfd_open", &[ENOSYS, EMFILE, ENFILE, ENOMEM, EPERM]),
    ("wait4", &[EINTR, ECHILD]),
    ("clone", &[EAGAIN, ENOMEM, ENOSYS, EPERM]),
    ("execve", &[ENOENT, EACCES, ENOMEM, EAGAIN]),
    ("rt_sigaction", &[EPERM]),
    ("rt_sigprocmask", &[EPERM]),
    ("rt_sigpending", &[EPERM]),
    ("rt_sigtimedwait", &[EAGAIN, EINTR]),
    ("rt_sigqueueinfo", &[EPERM, EAGAIN]),
    ("sigaltstack", &[EPERM]),
    ("signalfd4", &[EMFILE, EPERM]),
    ("setitimer", &[EPERM]),
];

// Not tried: close(2), since Linux closes the descriptor whatever it says; unlink(2), since what a file
// system does not let go has to stay.

/// The exec of the program itself: it fails without the library, too.
const THE_HOSTS: (&str, &str) = ("hold", "execve");

/// These fail in a sandbox, and then always.
const NEVER_ONCE: [&str; 6] =
    ["fstat", "rt_sigaction", "rt_sigprocmask", "rt_sigpending", "setitimer", "clock_gettime"];

/// Where no token can be written back, ever, they stay away.
const NEVER_FOR_EVER: &str = "write";

/// A fault: in whose call, which call, which error, at which time (0: always).
type Fault<'a> = (&'a str, &'a str, i32, u64);

pub fn tests() -> Vec<Test> {
    let mut list = places::tests();
    for (part, scene) in SCENES.iter().enumerate() {
        let name = scene.0;
        list.push(crate::test(&format!("faults::always_on_{name}"), move || always(part)));
        list.push(crate::test(&format!("faults::once_on_{name}"), move || once(part)));
    }
    list
}

/// Where the pool comes from decides on which calls are made.
type Scene = (&'static str, fn(Run) -> Run);

const SCENES: [Scene; 4] = [
    ("fifo", |run| run.pool(Kind::Fifo, 2).env("JSSHIM_WAIT", "selfpipe")),
    ("pipe_held", |run| run.pool(Kind::NonBlocking, 2).env("JSSHIM_GATE", "child")),
    ("own_pool", |run| run.env("JSSHIM_JOBS", "2")),
    // The pipe of another user cannot be opened anew.
    ("borrowed_pipe", |run| run.pool(Kind::Blocking, 2).by_nobody()),
];

/// A host below the injector, which notes in `log` what it did.
fn host(part: usize, what: &str, log: &str) -> Run {
    let injector = compiled_with("inject", "inject", &["-static"]);
    let run = Run::new(&[&injector, log, what, &compiled("faulty")]);
    let (_, scene) = SCENES[part];
    // A line for each process that has jobs, and for each job that is held.
    scene(run).may_overdraw().may_warn(0..=20)
}

fn log_file(name: &str) -> String {
    let path = base().join(format!("{name}.log"));
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// How often each call is made without a fault, and a run without the library.
fn counted(part: usize) -> (Vec<(String, String, u64)>, Outcome) {
    let log = log_file(&format!("count-{part}"));
    let run = host(part, "count", &log);
    let plain = run.run(false);
    assert_eq!(plain.status.code(), Some(5), "{}", plain.text());
    run.against(&plain);
    let text = fs::read_to_string(&log).unwrap();
    let words = text.lines().filter_map(|line| {
        let mut words = line.split(' ').map(str::to_owned);
        Some((words.next()?, words.next()?, words.next()?.parse().ok()?))
    });
    (words.collect(), plain)
}

fn errors(call: &str) -> &'static [i32] {
    ERRORS.iter().find(|(name, _)| *name == call).map_or(&[], |(_, errors)| errors)
}

fn is_deep() -> bool {
    std::env::var_os("JSSHIM_DEEP").is_some()
}

/// Runs each of the faults and tells all that were noticed.
fn try_all<'a>(part: usize, plain: &Outcome, faults: impl Iterator<Item = Fault<'a>>) {
    let mut noticed = Vec::new();
    let only = std::env::var("JSSHIM_FAULT").unwrap_or_default();
    for (role, call, errno, time) in faults {
        let what = format!("{role}:{call}:{errno}:{time}");
        if !what.contains(&only) {
            continue;
        }
        eprintln!("fault {what} on {}", SCENES[part].0);
        let log = log_file(&format!("{part}-{what}"));
        let run = host(part, &what, &log);
        if catch_unwind(AssertUnwindSafe(|| run.against(plain))).is_err() {
            noticed.push(what);
        }
        let _ = fs::remove_file(log);
    }
    assert!(noticed.is_empty(), "noticed by the host: {}", noticed.join(" "));
}

/// Each call fails always: it does not exist here, or is forbidden.
fn always(part: usize) {
    let (calls, plain) = counted(part);
    let lasts = |errno: &i32| !matches!(*errno, EINTR | EAGAIN);
    let all = calls.iter().flat_map(|(role, call, _)| {
        let errors = errors(call).iter().filter(|e| lasts(e));
        errors.map(move |errno| (role.as_str(), call.as_str(), *errno, 0))
    });
    let all = all.filter(|(role, call, ..)| (*role, *call) != THE_HOSTS && *call != NEVER_FOR_EVER);
    // Without depth each scene has its part of them.
    let mine = |(at, _): &(usize, _)| is_deep() || at % SCENES.len() == part;
    try_all(part, &plain, all.enumerate().filter(mine).map(|(_, fault)| fault));
}

/// Each call fails once: at each time if that is wanted, else at one time with one of its errors.
fn once(part: usize) {
    let (calls, plain) = counted(part);
    let mut faults = Vec::new();
    for (at, (role, call, count)) in calls.iter().enumerate() {
        let errors = errors(call);
        if errors.is_empty()
            || NEVER_ONCE.contains(&call.as_str())
            || (role.as_str(), call.as_str()) == THE_HOSTS
        {
            continue;
        }
        if is_deep() {
            let times = (1..=*count).filter(|n| *n <= 10 || n % (count / 5) == part as u64);
            faults.extend(times.flat_map(|n| errors.iter().map(move |e| (role, call, *e, n))));
        } else if at % 2 == part % 2 {
            let errno = errors[(at + part) % errors.len()];
            faults.push((role, call, errno, 1 + (at as u64 * 7) % count));
        }
    }
    let faults = faults.iter().map(|(role, call, e, n)| (role.as_str(), call.as_str(), *e, *n));
    try_all(part, &plain, faults);
}
