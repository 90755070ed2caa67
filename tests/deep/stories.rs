//! Short stories, each played again and again with one thing gone wrong: a SIGKILL at every step of every
//! process, and a change of every byte of the ledger that is in use.
#![cfg(not(feature = "loom"))]

use std::mem::offset_of;

use jsshim_deep::kernel;
use jsshim_deep::ledger::header::Header;
use jsshim_deep::targets::world::{record_at, World, RECORD};

/// What a process of a world does next, by the codes of its script.
const SPAWN: u8 = 0;
const ENDS: u8 = 4;
const HELPER: u8 = 7;
const GUARD: u8 = 0x4a;
/// The same by the second host.
const SECOND: u8 = 0x10;

struct Story {
    tokens: &'static [u8],
    begins: &'static [u8],
    ends: &'static [u8],
}

const TOKENS: Story =
    Story { tokens: b"+\0\xff", begins: &[SPAWN, SPAWN, SPAWN], ends: &[ENDS, SPAWN, ENDS, ENDS] };
const GRANTS: Story =
    Story { tokens: b"", begins: &[SPAWN, SPAWN, SPAWN, HELPER, HELPER], ends: &[ENDS] };
const GIFTS: Story = Story {
    tokens: b"+",
    begins: &[SPAWN, SPAWN, SPAWN, SPAWN, SECOND | SPAWN, SECOND | SPAWN, HELPER],
    ends: &[ENDS, HELPER, SECOND | ENDS, ENDS],
};
const TWO_HOSTS: Story = Story {
    tokens: b"++",
    begins: &[SPAWN, SPAWN, SECOND | SPAWN, SECOND | SPAWN, SPAWN, SECOND | SPAWN, HELPER],
    ends: &[SECOND | HELPER, GUARD, ENDS, SECOND | ENDS],
};

/// The pids of a world, in the order in which its processes start; more than a story has.
const PIDS: std::ops::Range<i32> = 101..120;

/// A step is an atomic of the ledger. No byte is lost, none is made, and nobody waits for ever.
fn killed_at_every_step(story: &Story) {
    let script = [story.begins, story.ends].concat();
    let mut runs = 0;
    for pid in PIDS {
        for step in 1.. {
            let world = World::new(story.tokens, |_| ()).expect("a world");
            kernel::doom(pid, step);
            // Shown when it fails.
            println!("pid {pid} is killed at its step {step}");
            world.play(&script);
            runs += 1;
            if kernel::is_doomed() {
                break;
            }
        }
    }
    assert!(runs > 400, "only {runs} runs");
}

/// Of the header the fields, the beginning of its path, who asked for what, what is counted, and the first
/// lanes; and the first records. A token may be lost, but none is made, and nobody waits for ever.
fn every_byte_changed(story: &Story) {
    let (asked, stats) = (offset_of!(Header, asked), offset_of!(Header, stats));
    let lanes = offset_of!(Header, lanes);
    let header = [0..asked - 256 + 16, asked..asked + 4, stats..stats + 24, lanes..lanes + 64];
    let records = (1..8).map(|index| record_at(index)..record_at(index) + RECORD);
    for at in header.into_iter().chain(records).flatten() {
        for mask in [0x01, 0x80, 0xff] {
            let world = World::new(story.tokens, |_| ()).expect("a world");
            println!("byte {at} is changed by {mask:x}");
            world.play_and_break(story.begins, at, mask, story.ends);
        }
    }
}

macro_rules! stories {
    ($($name:ident $story:ident)*) => {
        $(mod $name {
            #[test]
            fn killed_at_every_step() {
                super::killed_at_every_step(&super::$story);
            }

            #[test]
            fn every_byte_changed() {
                super::every_byte_changed(&super::$story);
            }
        })*
    };
}

stories!(tokens TOKENS grants GRANTS gifts GIFTS two_hosts TWO_HOSTS);
