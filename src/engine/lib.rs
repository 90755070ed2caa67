//! The job server engine of jsshim: everything that knows pools, slots and jobs, and nothing that knows
//! hooks or hosts.
//!
//! | module | one idea |
//! |---|---|
//! | [`makeflags`] | MAKEFLAGS, read and written |
//! | [`join`], [`own`], [`pool`] | which pool, a new one, its bytes |
//! | [`slots`], [`lending`] | what a job may be, and on whose slot it runs; pure |
//! | [`ledger`], [`record`] | the shared record of all jobs, and one of them |
//! | [`client`], [`jobs`], [`gate`] | a process that takes slots |
//! | [`serve`] | being a client or server by oneself: libjobserver, and the loop of a build tool |
//! | [`hold`], [`spec`] | a job that waits for one, and what its helper is told |
//! | [`park`] | a job that has slept, and waits for its slot to be free again |
//! | [`target`] | would this exec succeed? |
//! | [`watch`], [`stats`], [`lanes`], [`trace`], [`name`] | what is told of the jobs: numbers, a picture |
//! | [`space`] | whose pids are they? |
//! | [`glob`], [`speaker`] | names of programs, and of those that speak the protocol |
//! | [`guard`], [`keeper`], [`alive`], [`stall`] | starting the process that looks after the rest; who lives; deadlocks |
//! | [`sys`], [`proc`](mod@proc), [`rundir`], [`text`], [`report`] | the seam to the system |
//!
//! No allocator, no libc call, no lock and no panic: it runs in hooks of foreign processes, in forked
//! children of threaded ones, and in a helper that has no libc.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::panic
    )
)]

pub mod alive;
pub mod client;
pub mod gate;
pub mod glob;
pub mod guard;
pub mod hold;
pub mod jobs;
pub mod join;
pub mod keeper;
pub mod lanes;
pub mod ledger;
pub mod lending;
pub mod makeflags;
pub mod name;
pub mod own;
pub mod park;
pub mod pool;
pub mod proc;
pub mod record;
pub mod report;
pub mod room;
pub mod rundir;
pub mod search;
pub mod serve;
pub mod slots;
pub mod space;
pub mod speaker;
pub mod spec;
pub mod stall;
pub mod stats;
mod sync;
pub mod sys;
pub mod target;
#[cfg(test)]
mod tests;
pub mod text;
pub mod trace;
pub mod watch;
