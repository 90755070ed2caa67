//! Long runs: one host with ten thousand children, in which nothing may grow; and builds in which every
//! process may be killed at any time.

mod kills;
mod scenes;
mod storm;

use crate::harness::pool::Kind;
use crate::harness::programs::compiled;
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    let kinds =
        [("posix_spawn", Kind::NonBlocking), ("fork", Kind::Blocking), ("vfork", Kind::Fifo)];
    let test = |(door, kind): (&'static str, Kind)| {
        let name = format!("soak::ten_thousand_by_{door}");
        crate::test(&name, move || ten_thousand(door, kind))
    };
    let mut list: Vec<Test> = kinds.map(test).into();
    list.push(crate::test("soak::kill_storm", storm::kill_storm));
    list
}

fn ten_thousand(door: &str, kind: Kind) {
    let run = Run::new(&[&compiled("soak"), door, "10000"]).pool(kind, 3);
    run.check(nothing_grew).once();
}

fn nothing_grew(outcome: &Outcome) {
    assert!(outcome.status.success());
    assert_eq!(outcome.stderr, "");
    let line = |line: &str| line.split(' ').map(|n| n.parse().unwrap()).collect::<Vec<u64>>();
    let rows: Vec<_> = outcome.text().lines().map(line).collect();
    let [early, late] = &rows[..] else { panic!("two lines, not {rows:?}") };
    assert_eq!(early[0], late[0], "descriptors, after a thousand and after all");
    assert!(late[1] <= early[1] + 256, "resident kilobytes: {} then {}", early[1], late[1]);
    assert_eq!(early[2..], late[2..], "files of the library and their bytes");
}
