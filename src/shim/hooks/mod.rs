//! The bodies of the hooks, by kind of door. The first argument of each is the function behind the door.

pub mod block;
pub mod exec;
pub mod exit;
pub mod fork;
pub mod reap;
mod sleeps;
pub mod spawn;
pub mod stdio;
