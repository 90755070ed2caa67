//! The job server engine of jsshim: everything about pools, slots and jobs, and nothing about hooks or hosts.
//!
//! | room | what is in it; it knows the rooms below it, and none above |
//! |---|---|
//! | [`client`] | a process that takes slots |
//! | [`serve`] | a client or server without the shim: libjobserver, and the loop of a build tool |
//! | [`client`] | a process that takes slots |
//! | [`watchdog`] | what the guard judges: who lives, who sleeps, who waits for whom |
//! | [`guard`] | starting the guard, and the keeper above it |
//! | [`hold`] | a job that waits: for its first slot, or for the one that it had lent |
//! | [`join`] | which pool is ours |
//! | [`ledger`] | the shared record of all clients and jobs, and what is done to it |
//! | [`pool`] | the pipe, and a byte of it in one hand |
//! | [`show`] | lines on stderr, a trace |
//! | [`program`] | would this exec succeed, and does that program speak the protocol? |
//! | [`makeflags`] | MAKEFLAGS, read and written |
//! | [`slots`], [`lending`] | what a job may be, and on whose slot it runs; pure |
//! No allocator, no libc call, no lock and no panic: the engine runs in hooks of foreign processes, in forked children
//! of threaded processes, and in a helper that has no libc.
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

pub mod client;
pub mod gate;
pub mod guard;
pub mod hold;
pub mod join;
pub mod ledger;
pub mod lending;
pub mod makeflags;
pub mod pool;
pub mod proc;
pub mod program;
pub mod room;
pub mod serve;
pub mod settings;
pub mod show;
pub mod slots;
pub mod space;
mod sync;
pub mod sys;
#[cfg(test)]
mod tests;
pub mod text;
pub mod watchdog;
