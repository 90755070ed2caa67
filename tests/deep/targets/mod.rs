//! What is fuzzed: each takes any bytes and panics when something does not hold.

pub mod elf;
pub mod flags;
pub mod ledger;
pub mod stat;
pub mod words;
pub mod world;

/// A name, and what is done with any bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target under its name.
pub const ALL: [Target; 6] = [
    ("makeflags", flags::run),
    ("words", words::run),
    ("stat", stat::run),
    ("elf", elf::run),
    ("ledger", ledger::any_ledger),
    ("corruption", ledger::broken_ledger),
];
