//! The engine's own files over a kernel in memory.
//!
//! What is compiled here are the sources of `src/engine`, and the guard of `src/helper`, unchanged; only
//! the two seams below them are others: [`sys`] makes no system calls but plays the kernel, with
//! processes, descriptors and one pool, and [`sync`] can be loom's. So
//!
//! - the fuzz targets run a whole ledger with its clients, held jobs and guard some hundred times a second,
//!   and no signal of a broken ledger leaves the process;
//! - loom tries the orders in which real code meets itself, the kernel's own write included;
//! - Miri runs what makes system calls, too.
//!
//! A new module of the engine that one of these uses needs a line in `engine` below. What it asks the kernel
//! for and is not there yet is added to [`sys`], an operation of an atomic to [`sync`]. A part that needs
//! more of the system than the kernel plays gets a stand-in, as `guard`, `double` and `watchdog`.
// The tests in those files are not for this kernel.
#![cfg(not(test))]
#![allow(dead_code, missing_docs)]

#[cfg(all(feature = "loom", feature = "libfuzzer"))]
compile_error!("a fuzz target needs a kernel without loom's threads");

extern crate self as jsshim_engine;

pub use engine::*;

/// What is compiled of it.
#[path = "../../src/engine"]
mod engine {
    pub mod bits;
    pub mod client;
    pub mod clock;
    pub mod hold;
    pub mod join;
    pub mod ledger;
    pub mod lending;
    pub mod makeflags;
    pub mod pool;
    pub mod proc;
    pub mod program;
    pub mod room;
    pub mod share;
    pub mod show;
    pub mod slots;
    pub mod space;
    pub mod text;
    pub mod zeroed;
}

#[path = "../../src/helper"]
pub mod helper {
    pub mod guard;
    pub mod stale;
}
use helper::stale;

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
    pub mod process {
        use core::ffi::c_char;

        pub const KEPT: i32 = 0;
        pub const FILE: i32 = 1;
        pub const MOST: i32 = 65_536;

        pub fn close_from(first: i32) {
            let _ = crate::sys::close_range(first);
        }

        pub struct Start<'a> {
            pub ledger: &'a crate::ledger::access::Ledger,
            pub path: &'a crate::text::Path,
            pub pool: &'a crate::pool::tokens::Pool,
            pub helper: &'a core::ffi::CStr,
            pub envp: *const *const c_char,
        }
    }

    pub fn ensure(_: &process::Start<'_>, _: Option<&keeper::Keeper>, _: bool) {}

    /// Orphans mind nobody here.
    pub mod keeper {
        use super::process::Start;

        #[derive(Default)]
        pub struct Keeper;

        impl Keeper {
            #[allow(clippy::new_without_default)]
            pub const fn new() -> Self {
                Self
            }

            pub fn find_adopter(&self, _: &crate::ledger::access::Ledger) {}

            pub fn adopts(&self) -> bool {
                false
            }

            pub fn take_in(&self, _: &Start<'_>) {}

            pub fn leave(&self, _: &crate::ledger::access::Ledger, _: &crate::text::Path) {}
        }
    }
}

/// Nobody forks here: of the guard there is one process, and no double. Whoever runs the world starts
/// another one where it was killed, as the double does.
mod double {
    pub enum Role {
        Guard(i32),
        Double(i32),
    }

    pub fn fork() -> Role {
        Role::Guard(crate::sys::getppid())
    }

    /// Nobody is a double.
    pub fn was_killed(_: i32) -> bool {
        false
    }

    /// For the ledgers of others, of which there are none.
    pub fn apart(_: impl FnOnce()) {}
}

/// Whom a process waits for, this kernel does not tell: jobs sleep as it comes.
#[path = "../../src/engine/watchdog"]
pub mod watchdog {
    pub mod alive;

    use crate::ledger::access::Ledger;
    use crate::ledger::handle::Handle;
    use crate::slots::State;

    pub mod settings {
        #[derive(Clone, Copy)]
        pub enum Count {
            Running,
            Processes,
        }
    }

    use settings::Count;

    #[derive(Clone, Copy, PartialEq)]
    pub enum Pace {
        Rest,
        Soon,
        Hurry,
    }

    pub struct Watchdog(u32);

    impl Watchdog {
        pub fn new(_: Count, rounds: u64) -> Self {
            Self(rounds as u32)
        }

        /// Now and then there are jobs that lack a slot.
        pub fn missing(&self) -> u32 {
            self.0 % 3
        }

        /// Each third round a job falls asleep and one wakes up, and the oldest held one starts on its slot.
        pub fn round(&mut self, ledger: &Ledger) -> Pace {
            self.0 = self.0.wrapping_add(1);
            if !self.0.is_multiple_of(3) {
                return Pace::Rest;
            }
            let job = |is: fn(State) -> bool| {
                ledger.records().find_map(|(index, r)| {
                    let (state, generation) = r.now();
                    is(state).then_some((Handle { index, generation }, r))
                })
            };
            if let Some((h, record)) = job(State::runs) {
                record.set_sleeps(h.generation, !record.sleeps(h.generation));
            }
            if let Some((h, _)) = job(|state| state == State::Waiting) {
                ledger.borrow(h);
            }
            Pace::Rest
        }

        pub fn finish(&mut self, _: &Ledger) {}
    }
}
