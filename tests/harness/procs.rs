//! The processes of one run, found by the mark that every one of them inherits.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use memchr::memmem;

/// How long a process may still need after the host's end.
const GRACE: Duration = Duration::from_secs(10);

/// What tells the processes of a run from all others: the value of JSSHIM_TEST_ID in their
/// environment, or the run's folder (whose name is that value) in their arguments.
#[derive(Clone)]
pub struct Mark(String);

impl Mark {
    pub fn new(id: &str) -> Mark {
        Mark(id.to_owned())
    }

    pub fn carriers(&self) -> Vec<u32> {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|e| e.file_name().to_str()?.parse().ok());
        pids.filter(|pid| self.is_on(*pid)).collect()
    }

    pub fn is_on(&self, pid: u32) -> bool {
        let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let words = || [read("environ"), read("cmdline")].concat();
        let mut text = words();
        // In the middle of an exec a process has neither yet, but it has a program, as no kernel thread has.
        for _ in 0..20 {
            if !text.is_empty() || fs::read_link(format!("/proc/{pid}/exe")).is_err() {
                break;
            }
            sleep(Duration::from_millis(1));
            text = words();
        }
        pid != std::process::id() && memmem::find(&text, self.0.as_bytes()).is_some()
    }

    /// Waits until none is left; the state of those that stay.
    pub fn leftovers(&self) -> Option<String> {
        let end = Instant::now() + GRACE;
        while !self.carriers().is_empty() {
            if Instant::now() > end {
                return Some(self.describe());
            }
            sleep(Duration::from_millis(10));
        }
        None
    }

    /// A line for each process, as ps would print it, with what it waits for.
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for pid in self.carriers() {
            let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}"));
            let stat = read("stat").unwrap_or_default();
            let fields = stat.rsplit(')').next().unwrap_or_default();
            let mut fields = fields.split_whitespace();
            let (state, ppid) = (fields.next().unwrap_or("?"), fields.next().unwrap_or("?"));
            let wchan = read("wchan").unwrap_or_default();
            let call = read("syscall").unwrap_or_default();
            let call = call.split(' ').take(3).collect::<Vec<_>>().join(" ");
            let args = read("cmdline").unwrap_or_default().replace('\0', " ");
            let args = args.chars().take(120).collect::<String>();
            let _ =
                writeln!(text, "  pid {pid} ppid {ppid} {state} {wchan} [{}] {args}", call.trim());
        }
        text
    }

    pub fn kill(&self) {
        for _ in 0..100 {
            let pids = self.carriers();
            if pids.is_empty() {
                return;
            }
            for pid in pids {
                // SAFETY: sends a signal; no memory is involved.
                unsafe { libc::kill(i32::try_from(pid).unwrap(), libc::SIGKILL) };
            }
            sleep(Duration::from_millis(10));
        }
    }
}

/// What lies in the run-time folder of the library, waiting for it to become empty.
pub fn residue(dir: &Path) -> Option<String> {
    let end = Instant::now() + GRACE;
    loop {
        let listing = list(dir);
        if listing.is_empty() {
            return None;
        }
        if Instant::now() > end {
            return Some(listing);
        }
        sleep(Duration::from_millis(10));
    }
}

/// A line for each file of a folder.
pub fn list(dir: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let size = entry.metadata().map(|m| m.len()).unwrap_or(0);
        let _ = writeln!(text, "  {size:>8} {}", entry.file_name().to_string_lossy());
    }
    text
}
