//! The loop and its steps with real processes.

use std::process::Command;

use super::*;
use crate::sys::{self, Result};

/// Runs so many commands, of which every third fails.
struct Build {
    server: Server<Table<usize, 8>>,
    left: usize,
    statuses: Vec<i32>,
}

impl Build {
    fn new(tokens: &[u8], left: usize) -> Self {
        let tokens = Tokens::create(tokens).unwrap();
        let server = Server::new(tokens, Table::default()).ok().unwrap();
        Self { server, left, statuses: Vec::new() }
    }

    fn command(&mut self) -> i32 {
        self.left -= 1;
        let code = if self.left.is_multiple_of(3) { "exit 3" } else { "exit 0" };
        Command::new("/bin/sh").args(["-c", code]).spawn().unwrap().id() as i32
    }

    /// What lies in the pool, sorted.
    fn drain(&mut self) -> Vec<u8> {
        let mut bytes: Vec<_> = std::iter::from_fn(|| self.server.tokens.take().unwrap()).collect();
        bytes.sort_unstable();
        bytes
    }
}

impl Host for Build {
    type Jobs = Table<usize, 8>;

    fn server(&mut self) -> &mut Server<Self::Jobs> {
        &mut self.server
    }

    fn ended(&mut self, _: usize, status: i32) {
        self.statuses.push(status);
    }
}

impl Work for Build {
    fn next(&mut self) -> Next {
        if self.left > 0 {
            Next::Ready
        } else {
            Next::Nothing
        }
    }

    fn start(&mut self) -> Result<(i32, usize)> {
        Ok((self.command(), self.left))
    }
}

#[test]
fn the_loop_runs_all_and_gives_back_all() {
    let mut build = Build::new(b"\0\xffa", 30);
    assert_eq!(run(&mut build), Ok(Outcome::Done));
    assert_eq!(build.statuses.len(), 30);
    assert_eq!(build.statuses.iter().filter(|s| **s == 3 << 8).count(), 10);
    assert_eq!(build.drain(), b"\0a\xff");
    assert!(build.server.implicit);
    build.server.close(true);
}

#[test]
fn the_implicit_slot_goes_to_a_job_on_a_token() {
    let mut build = Build::new(b"x", 0);
    let mut masked = Masked::new();
    for slot in [Slot::Implicit, Slot::Token(b'x')] {
        // Other tests have children, too.
        let mut next = || obtain(&mut build, &mut masked, Until::millis(-1));
        let got = std::iter::repeat_with(&mut next).find_map(|r| r.ok()).unwrap();
        assert_eq!(got, slot);
        let pid =
            starting(|| Ok(Command::new("/bin/sleep").arg("100").spawn().unwrap().id() as i32));
        let pid = pid.unwrap();
        build.server.jobs.add(Job { pid, slot: got, tag: 0 });
    }
    let first = build.server.jobs.remove(0).unwrap();
    build.server.put(first.slot);
    assert!(!build.server.implicit);
    assert_eq!(build.drain(), b"x");
    build.server.tokens.give(b'x');
    build.server.kill_all();
    sys::kill(first.pid, libc::SIGKILL).unwrap();
    let mut next = || wait(&mut build, &mut masked, Until::millis(-1));
    assert_eq!(std::iter::repeat_with(&mut next).find_map(|r| r.ok()), Some(0));
    assert!(build.server.implicit);
    let _ = sys::reap(first.pid, true);
    drop(masked);
    build.server.close(true);
}
