//! A client: a process that takes slots of a pool for its jobs.
//!
//! | module | one idea |
//! |---|---|
//! | `attach` | the ledger of a pool: opened, or made |
//! | `entry` | how a process becomes a client |
//! | [`jobs`] | its jobs by pid |
//! | `slots` | the slots of its jobs |
//! | `leave` | its end |

mod attach;
mod entry;
pub mod jobs;
mod leave;
mod slots;

pub use entry::{Client, Setup};
