//! Hosts that treat the ends of their children in unusual ways (c/hosts.c). In each, the tokens
//! come back when the jobs exit, while the host lives on and whether or not it reaps.

use crate::harness::pool::Kind;
use crate::harness::programs::compiled;
use crate::harness::Run;
use crate::Test;

const MODES: [(&str, u32); 14] = [
    ("reaps-at-the-end", 8),
    ("forks-without-exec", 8),
    ("vforks", 8),
    ("never-reaps", 8),
    ("never-drains", 8),
    ("tight-loop", 40),
    ("ignores-sigchld", 8),
    ("no-child-wait", 8),
    ("signalfd", 8),
    ("sigwait", 8),
    ("handler", 8),
    ("restarting-handler", 8),
    ("threads", 8),
    ("popen", 8),
];

pub fn tests() -> Vec<Test> {
    let test = |(mode, jobs): (&'static str, u32)| {
        let name = format!("hosts::{}", mode.replace('-', "_"));
        crate::test(&name, move || tokens_come_back(mode, jobs))
    };
    MODES.map(test).into()
}

fn tokens_come_back(mode: &str, jobs: u32) {
    for kind in [Kind::Blocking, Kind::NonBlocking, Kind::Fifo] {
        for slots in [1, 3] {
            let run = Run::new(&[&compiled("hosts"), mode]).pool(kind, slots).settles(jobs);
            run.check(|outcome| assert_eq!(outcome.status.code(), Some(5))).both();
        }
    }
}
