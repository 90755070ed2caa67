//! The bodies of the hooks, by kind of door. Each gets the function behind it first.

pub mod block;
pub mod exec;
pub mod exit;
pub mod fork;
pub mod reap;
pub mod spawn;
pub mod stdio;
