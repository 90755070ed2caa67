//! The engine's own files over a kernel in memory.
//!
//! What is compiled here are the sources of `src/engine`, and the guard of `src/helper`, unchanged; only
//! the two seams below them are others: [`sys`] makes no system calls but plays the kernel, with
//! processes, descriptors and one pool, and [`sync`] can be loom's. So
//!
//! - the fuzz targets run a whole ledger with its clients, held jobs and guard, some ten thousand times a
//!   second, and no signal of a broken ledger leaves the process;
//! - loom tries the orders in which real code meets itself, the kernel's own write included;
//! - Miri runs what makes system calls, too.
// The tests in those files are not for this kernel.
#![cfg(not(test))]
#![allow(dead_code, missing_docs)]

#[cfg(all(feature = "loom", feature = "libfuzzer"))]
compile_error!("a fuzz target needs a kernel without loom's threads");

extern crate self as jsshim_engine;

#[path = "../../src/engine/client.rs"]
pub mod client;
#[path = "../../src/engine/glob.rs"]
pub mod glob;
#[path = "../../src/engine/hold.rs"]
pub mod hold;
#[path = "../../src/engine/jobs.rs"]
pub mod jobs;
#[path = "../../src/engine/join.rs"]
pub mod join;
#[path = "../../src/engine/ledger.rs"]
pub mod ledger;
#[path = "../../src/engine/makeflags/mod.rs"]
pub mod makeflags;
#[path = "../../src/engine/pool.rs"]
pub mod pool;
#[path = "../../src/engine/proc.rs"]
pub mod proc;
#[path = "../../src/engine/record.rs"]
pub mod record;
#[path = "../../src/engine/rundir.rs"]
pub mod rundir;
#[path = "../../src/engine/slots.rs"]
pub mod slots;
#[path = "../../src/engine/spec.rs"]
pub mod spec;
#[path = "../../src/engine/target.rs"]
pub mod target;
#[path = "../../src/engine/text.rs"]
pub mod text;

#[path = "../../src/helper/guard.rs"]
pub mod helper_guard;

pub mod kernel;
#[cfg(feature = "loom")]
mod model;
pub mod sync;
pub mod sys;
#[cfg(not(feature = "loom"))]
pub mod targets;
#[cfg(not(feature = "loom"))]
pub mod turns;

/// Nobody starts a guard here; whoever runs the world runs it, too.
pub mod guard {
    use core::ffi::c_char;

    pub fn ensure(
        _: &crate::ledger::Shared,
        _: &crate::text::Path,
        _: &crate::text::Path,
        _: *const *const c_char,
        _: bool,
    ) {
    }
}

/// Whom a process waits for, this kernel does not tell.
pub mod stall {
    pub struct Breaker;

    impl Breaker {
        pub fn new(_: u64) -> Self {
            Self
        }

        pub fn round(&mut self, _: &crate::ledger::Shared) {}
    }
}
