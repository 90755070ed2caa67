//! What the ledgers of a run-time folder say, for those who look for the cause of a failure.

use std::collections::HashMap;
use std::ffi::CString;
use std::fmt::Write;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use jsshim_engine::ledger::access::Ledger;
use jsshim_engine::ledger::header::LIFE;
use jsshim_engine::slots::State;
use jsshim_engine::space;
use jsshim_engine::sys;

/// None stays mapped: that would look like one that somebody has.
fn each(dir: &Path, mut f: impl FnMut(String, &Ledger)) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = CString::new(entry.path().as_os_str().as_bytes()).unwrap();
        let name = entry.file_name().into_string().unwrap();
        let _ = Ledger::inspect(&path, |ledger| f(name, ledger));
    }
}

/// Is there a ledger that never had a guard?
pub fn has_no_guard(dir: &Path) -> bool {
    let mut any = false;
    each(dir, |_, ledger| any |= ledger.header.guard.load(Relaxed) == 0);
    any
}

/// Is there a ledger that has no guard now?
pub fn is_unguarded(dir: &Path) -> bool {
    fs::read_dir(dir).into_iter().flatten().flatten().any(|entry| {
        let path = CString::new(entry.path().as_os_str().as_bytes()).unwrap();
        let Ok(fd) = sys::open(&path, libc::O_RDONLY | libc::O_NONBLOCK, 0) else { return false };
        let locked = sys::is_byte_locked(fd, LIFE);
        sys::close(fd);
        entry.path().extension().is_some_and(|e| e == "ledger") && locked == Ok(false)
    })
}

/// What part each process has in lending ([`jsshim_engine::lending`]), of those in the caller's PID namespace: `borrower`,
/// `lender`, or `parked`.
pub fn parts(dir: &Path) -> HashMap<i32, &'static str> {
    let mut parts = HashMap::new();
    each(dir, |_, ledger| {
        if ledger.header.space() != space::own() {
            return;
        }
        for (_, record) in ledger.records() {
            let (state, generation) = record.now();
            let part = match state {
                _ if !state.runs() => continue,
                _ if record.is_parked(generation) => "parked",
                _ if record.sleeps(generation) => "lender",
                State::Borrowed => "borrower",
                _ => continue,
            };
            parts.insert(record.pid.load(Relaxed), part);
        }
    });
    parts
}

/// A line for each record in use.
pub fn describe(dir: &Path) -> String {
    let mut text = String::new();
    each(dir, |name, ledger| {
        let guard = ledger.header.guard.load(Relaxed);
        let _ = writeln!(text, "ledger {name}, guard {guard}:");
        for (index, record) in ledger.records() {
            let (state, generation) = record.now();
            if state == State::Free {
                continue;
            }
            let tokens = if record.has_token(generation) { "a byte" } else { "no byte" };
            let (pid, client) = (record.pid.load(Relaxed), record.client.load(Relaxed));
            let implicit = record.implicit.load(Relaxed);
            let _ = writeln!(
                text,
                "  {index}: {state:?} pid {pid} client {client} implicit {implicit:x} {tokens}"
            );
        }
    });
    text
}
