//! Commands, arguments and environments that are as long as the kernel takes them.

use super::programs::bash;
use crate::harness::pool::Kind;
use crate::harness::programs::compiled;
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    let mut list = crate::tests![little_room_below_a_small_stack];
    for door in ["popen", "threads", "system"] {
        let name = format!("strangers::arguments::long_commands_{door}");
        list.push(crate::test(&name, move || long_commands(door)));
    }
    for door in ["posix_spawn", "posix_spawnp", "vfork", "fork", "popen", "system"] {
        let name = format!("strangers::arguments::near_the_limit_{door}");
        list.push(crate::test(&name, move || near_the_limit(door)));
    }
    list
}

fn long_commands(door: &'static str) {
    for fill in ["x", "'a' ", "\"$HOME\" `", "'\"$\\", "'ä' ", "\\"] {
        for kib in [1, 30, 44, 60, 100, 127] {
            let run =
                Run::new(&[&compiled("longcommand"), door, &(kib << 10).to_string(), fill, "5"]);
            let run = run
                .pool(Kind::Fifo, 2)
                .check(|o| assert!(o.text().ends_with("bad 0\n"), "{}", o.text()));
            // In quotes it would be longer than the kernel takes: it goes as it is.
            let fits =
                kib <= 30 || kib <= 100 && matches!(fill, "x" | "'a' " | "'ä' ") || kib <= 60;
            if fits {
                run.both();
            } else {
                run.may_overdraw().both();
            }
        }
    }
}

fn near_the_limit(door: &'static str) {
    let whole = door.ends_with("spawn") || door.ends_with("fork");
    let kinds: &[&str] = if whole { &["envp", "argv", "script"] } else { &["envp"] };
    for what in kinds {
        for less in [0, 1, 60, 100, 150, 199, 300, 700, 1500] {
            let less = less.to_string();
            Run::new(&[&compiled("nearlimit"), door, &less, what, "4"])
                .pool(Kind::Fifo, 2)
                .may_overdraw()
                .unordered()
                .check(|o| assert!(!o.text().contains("7f00") && o.jobs.ended == 4, "{}", o.text()))
                .both();
        }
    }
}

/// RLIMIT_STACK/4, but never less than 128 KiB.
fn little_room_below_a_small_stack() {
    for kib in [1024, 512, 256] {
        for door in ["posix_spawn", "vfork"] {
            let text = format!(
                "ulimit -s {kib}; SHIM=${{OURS:+LD_PRELOAD=$OURS}}; exec env $SHIM {} {door} {} envp 4",
                compiled("nearlimit"),
                if kib < 512 { kib * 256 - (128 << 10) } else { 40 }
            );
            bash(&text)
                .pool(Kind::Fifo, 2)
                .may_overdraw()
                .check(|o: &Outcome| assert_eq!(o.jobs.ended, 4))
                .both();
        }
    }
}
