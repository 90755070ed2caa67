//! A client or server of a pool without the shim, as a build tool is one: it starts jobs on slots, waits for their
//! ends, and passes their slots on. libjobserver is built on this. A Rust program can use it directly:
//! `examples/minimake.rs` is a build tool of one page, made of a [`Server`] with a [`Table`], a [`Host`] that has the
//! queue, and [`run()`].
//!
//! # How it waits
//!
//! All signals are blocked from the start of a call to its end ([`Masked`]), except in its one ppoll(2). That has the
//! caller's mask, so a handler of the program interrupts the wait, but never the time between a check and the wait; no
//! wake-up is lost. Only SIGCHLD stays blocked even there, and a signalfd reports it: so if the wait is interrupted, it
//! was by another signal. SIGCHLD is then delivered. Its handler, which only writes to the self-pipe of each server,
//! runs for the servers that wait in other threads; the handler that was installed before runs after it. Code of the
//! program (the start of a job, the report of its end) runs with the caller's mask.
//!
//! Children are examined without reaping them, until one is known to be a job of ours: the status of a child that the
//! program has started itself is not ours to take.
//!
//! # Slots
//!
//! A [`Server`] owns the implicit slot of its process. Other jobs run on tokens. When the implicit job ends while
//! others run, one of these becomes the implicit job, and its token goes back at once: no slot is idle while another
//! process may wait for it. A token is written back exactly once, with its value.
//!
//! | module | one idea |
//! |---|---|
//! | `tokens` | the bytes of a pool, taken without ever blocking |
//! | `self_pipe`, `wake`, `watched` | the self-pipes and the handler |
//! | `mask` | the signal mask of a call |
//! | `children` | which children of this process are jobs |
//! | `table`, `server` | jobs and their slots |
//! | `waiting`, `until` | waiting for a slot, the end of a job, or a time-out |
//! | `run` | the loop of a build tool |

mod children;
mod mask;
mod run;
mod self_pipe;
mod server;
mod table;
#[cfg(test)]
mod tests;
mod tokens;
mod until;
mod waiting;
mod wake;
mod watched;

pub use children::starting;
pub use mask::{Masked, BLOCKED, CHILD};
pub use run::{run, Next, Outcome, Work};
pub use self_pipe::SelfPipe;
pub use server::{Host, Server};
pub use table::{Job, Jobs, Slot, Table};
pub use tokens::Tokens;
pub use until::Until;
pub use waiting::{obtain, wait, Stop};
pub use wake::forget;
