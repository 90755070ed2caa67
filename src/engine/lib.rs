//! The job server engine of jsshim: everything about pools, slots and jobs, and nothing about hooks or hosts.
//!
//! | room | what is in it; it knows the rooms below it, and none above |
//! |---|---|
//! | [`gate`] | a client waits for a slot before its job exists |
//! | [`serve`] | a client or server without the shim: libjobserver, and the loop of a build tool |
//! | [`client`] | a process that takes slots |
//! | [`watchdog`] | the guard's judgement: which processes live, which jobs sleep, what they wait for |
//! | [`guard`] | starting the guard, and the keeper above it |
//! | [`hold`] | the wait of a job: for its first slot, or until its lent slot is free again |
//! | [`join`] | finding our pool |
//! | [`ledger`] | the shared record of all clients and jobs, and the operations on it |
//! | [`pool`] | the pipe, and taking and giving back its bytes |
//! | [`show`] | lines on stderr, a trace |
//! | [`program`] | whether an exec would succeed, and whether that program speaks the protocol |
//! | [`makeflags`] | parsing and writing MAKEFLAGS |
//! | [`slots`], [`lending`], [`share`] | the states of a job, the slot on which it runs, a client's share of them; pure |
//! | [`clock`], [`proc`](mod@proc), [`space`], [`text`], [`room`], [`zeroed`], [`sys`] | the interface to the system |
//!
//! No allocator, no libc call, no lock and no panic: the engine runs in hooks of foreign processes, in forked children
//! of threaded processes, and in a helper that has no libc.
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

pub mod bits;
pub mod client;
pub mod clock;
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
pub mod share;
pub mod show;
pub mod slots;
pub mod space;
mod sync;
pub mod sys;
#[cfg(test)]
mod tests;
pub mod text;
pub mod watchdog;
pub mod zeroed;
