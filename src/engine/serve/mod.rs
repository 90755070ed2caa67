//! Being a client or server of a pool by oneself, as a build tool is: jobs are started on slots, their ends
//! are waited for, their slots go on. This is what libjobserver is made of, and a Rust program can use it
//! directly: `examples/minimake.rs` is a build tool of a page on it, made of a [`Server`] with a [`Table`], a
//! [`Host`] that has the queue, and [`run()`].
//!
//! # How it waits
//!
//! All signals are blocked from the start of a call to its end ([`Masked`]), except in its one ppoll(2). That
//! has the mask of the caller, so a handler of the program interrupts the wait, never anything between a look
//! and the wait; no wake-up is lost. SIGCHLD alone stays blocked even there, and a signalfd tells of it: so
//! an interrupted wait was interrupted by something else. It is then let in, and the handler, which does
//! nothing but write to the self-pipe of each server, runs for those servers that wait in other threads, and
//! the handler that was there before runs after it. Code of the program (the start of a job, word of its end)
//! runs with the mask of the caller.
//!
//! Children are looked at, not collected, until one is known to be a job of ours: the status of a child that
//! the program has started in another way is not ours to take.
//!
//! # Slots
//!
//! A [`Server`] owns the implicit slot of its process. Further jobs run on tokens. When the implicit job ends
//! while others run, one of these becomes the implicit one, and its token goes back at once: no slot is idle
//! while somebody else may wait for it. A token is written back exactly once, with its value.
//!
//! | module | one idea |
//! |---|---|
//! | `tokens` | the bytes of a pool, taken without ever blocking |
//! | `wake`, `watched` | the self-pipes and the handler |
//! | `mask` | the signal mask of a call |
//! | `children` | which children of this process are jobs |
//! | `table`, `server` | jobs and their slots |
//! | `waiting`, `until` | until there is a slot, or a job has ended, or the time is over |
//! | `run` | the loop of a build tool |

mod children;
mod mask;
mod run;
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
pub use mask::Masked;
pub use run::{run, Next, Outcome, Work};
pub use server::{Host, Server};
pub use table::{Job, Jobs, Slot, Table};
pub use tokens::Tokens;
pub use until::Until;
pub use waiting::{obtain, wait, Stop};
pub use wake::forget;
