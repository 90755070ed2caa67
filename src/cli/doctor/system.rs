//! What the kernel, /proc and the loader allow.

use std::fs;
use std::path::{Path, PathBuf};

use jsshim_engine::{proc, sys};

use super::findings::{variable, Report};
use crate::all::{self, Rights};

fn first_line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()?.lines().next().map(str::to_owned)
}

/// /proc, ptrace's restrictions, and what of the kernel is used.
pub fn check(report: &mut Report) {
    if proc::stat(0).is_none() {
        report.warn("/proc", "is not mounted: a pool whose descriptors are closed is not found, and the dead are noticed late");
    } else {
        ancestors(report);
    }
    if let Some(scope) = first_line("/proc/sys/kernel/yama/ptrace_scope").filter(|s| s != "0") {
        report.note(
            "ptrace",
            format!(
                "yama's ptrace_scope is {scope}: it matters to --all only, nothing else is traced"
            ),
        );
    }
    if nix::sys::prctl::get_dumpable() == Ok(false) {
        report.warn(
            "ptrace",
            "this process is not dumpable: others cannot reach the pool through its descriptors",
        );
    }
    kernel(report);
    around(report);
    supervisor(report);
}

/// Can `--all` be had?
fn supervisor(report: &mut Report) {
    match all::rights() {
        Ok(Rights::All) => {
            report.ok("--all", "can be had, for static programs and others that nothing is preloaded into; setuid programs keep their privileges");
        }
        Ok(Rights::NoNew) => {
            report.note("--all", "can be had, but without CAP_SYS_ADMIN setuid programs run without their privileges (no_new_privs)");
        }
        Err(why) => report.note("--all", format!("cannot be had: {why}")),
    }
}

/// The inode of the PID namespace of the machine itself (PROC_PID_INIT_INO, include/linux/proc_ns.h).
const FIRST_PID_SPACE: &str = "pid:[4026531836]";

/// Is this a container, or a sandbox?
fn around(report: &mut Report) {
    let link = fs::read_link("/proc/self/ns/pid").ok();
    let is_own = |link: &PathBuf| *link != Path::new(FIRST_PID_SPACE);
    if link.as_ref().is_some_and(is_own) {
        report.note("namespace", "this is a PID namespace of its own: jobs from outside of it on the same pool are counted apart, and 'jsshim status' of outside does not know their programs");
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|n| n.trim() == "2")) {
        report.note("seccomp", "system calls are filtered here: what is not allowed is done in another way, or left out");
    }
}

/// Those whose descriptors may be looked at (ptrace(2), PTRACE_MODE_READ): where recipes have no `+`, the
/// pool is found there.
fn ancestors(report: &mut Report) {
    let closed = |pid: &i32| fs::read_dir(format!("/proc/{pid}/fd")).is_err();
    let closed: Vec<_> = proc::ancestors().filter(closed).collect();
    let total = proc::ancestors().count();
    match closed.first() {
        None => report
            .ok("/proc", format!("mounted; the descriptors of all {total} ancestors can be seen")),
        Some(pid) => {
            let name = first_line(&format!("/proc/{pid}/comm")).unwrap_or_default();
            let (n, seen) = (closed.len(), total - closed.len());
            report.note("/proc", format!("mounted; the descriptors of {seen} ancestors can be seen, those of {n} not, from {pid} ({name}) on"));
        }
    }
}

fn kernel(report: &mut Report) {
    let mut lacks = Vec::new();
    match sys::pidfd_open(sys::getpid()) {
        Ok(fd) => sys::close(fd),
        Err(_) => lacks.push("pidfd_open (a parent waits by SIGCHLD, the guard polls)"),
    }
    if !splices() {
        lacks.push("splice (another user's pool is not reached)");
    }
    // No descriptor has this number.
    if sys::close_range(i32::MAX).is_err() {
        lacks.push("close_range (the guard closes one by one)");
    }
    if sys::birth(c"/proc/self/exe") == 0 && sys::birth(c"/tmp") == 0 {
        lacks.push("birth times of statx (a pool is told by its inode alone)");
    }
    let release = first_line("/proc/sys/kernel/osrelease").unwrap_or_default();
    let psi = if Path::new("/proc/pressure/io").exists() { "with" } else { "without" };
    let text = format!("Linux {release}, {psi} pressure information");
    if lacks.is_empty() {
        report.ok("kernel", text);
    } else {
        report.note("kernel", format!("{text}; it lacks {}", lacks.join(", ")));
    }
}

/// Does splice(2) take one byte out of a pipe?
fn splices() -> bool {
    let (Ok(a), Ok(b)) = (sys::pipe2(libc::O_CLOEXEC), sys::pipe2(libc::O_CLOEXEC)) else {
        return false;
    };
    let works = sys::write(a[1], b"+").is_ok() && sys::splice_byte(a[0], b[1]) == Ok(1);
    a.into_iter().chain(b).for_each(sys::close);
    works
}

/// Who else is preloaded.
pub fn preloads(report: &mut Report, library: Option<&Path>) {
    let list = variable("LD_PRELOAD").map(|v| v.to_string_lossy().into_owned()).unwrap_or_default();
    for entry in list.split([':', ' ']).filter(|e| !e.is_empty()) {
        let path = PathBuf::from(entry);
        let ours = path.file_name().is_some_and(|n| n == "libjsshim.so");
        if entry.contains('/') && !entry.contains('$') && !path.exists() {
            report.warn("LD_PRELOAD", format!("{entry} is not there: ld.so says so at each start"));
        } else if !ours {
            report.note("LD_PRELOAD", format!("{entry} is preloaded, too"));
        } else if library
            .is_some_and(|l| entry.contains('$') || path.canonicalize().is_ok_and(|p| p == l))
        {
            report.ok("LD_PRELOAD", format!("{entry} is preloaded"));
        } else {
            report.note(
                "LD_PRELOAD",
                format!("{entry} is preloaded, not the library of this jsshim"),
            );
        }
    }
    let all = fs::read_to_string("/etc/ld.so.preload").unwrap_or_default();
    if !all.trim().is_empty() {
        report.note(
            "LD_PRELOAD",
            format!(
                "/etc/ld.so.preload has {}",
                all.split_whitespace().collect::<Vec<_>>().join(" ")
            ),
        );
    }
}
