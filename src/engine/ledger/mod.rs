//! The ledger: shared memory with one record for every client and every job of a pool.
//!
//! # How it works
//!
//! The file has a header and room for 1,024 records at first ([`used`]), and grows by doubling while jobs need more. Its
//! blocks are reserved before they are used, so that a full /dev/shm is an error then and not a SIGBUS in a host later.
//! Every field is an atomic; there is no lock. A record's first word holds state and generation and changes by
//! compare-and-swap only
//! ([`crate::slots`] defines the legal steps); the process that makes the step to `Ending` frees the record. The kernel
//! reads a token's byte straight into the record, and the process that swaps it out writes it back to the pool: so a
//! byte is never in two hands, and a process that is killed between the `read` and its next instruction has lost
//! nothing.
//!
//! Three bytes of the file are locks: the guard, which has a double, holds the first ([`header::LIFE`]); a process that
//! starts a guard holds the second ([`header::START`]); those that wait to take over share the third
//! ([`header::NEXT`]). A lock ends with its holder, so no pid is trusted for long.
//!
//! All pids in the file belong to one PID namespace, which the file's name also tells ([`crate::space`]).
//!
//! The file appears under its name complete (link(2)). It is removed when the guard has seen the last client leave:
//! `Open` → `Closing` → `Closed`. A client first claims its record, then reads the header's state; the guard first
//! writes the state, then reads the records. Each has a fence between the two, so one of them sees the other. Names are
//! given and removed under a lock ([`rundir::Lock`]), which a client does not need if it finds its ledger open.
//! Everything else is `AcqRel`: a state publishes the fields written before it.
//!
//! All of it is async-signal-safe, and safe in the child of a fork: the mapping is shared.
//!
//! | module | one idea |
//! |---|---|
//! | [`access`] | the whole file, and its records |
//! | [`header`], [`record`], [`handle`], [`reason`] | the parts of the file |
//! | [`claim`], [`steps`], [`queue`], [`debts`] | a record for a job; its start and end; the next job; lent slots |
//! | [`passing`], [`passed`] | slots that jobs pass on when they fall asleep |
//! | [`table`], [`used`] | which records are in use |
//! | [`order`], [`background`] | which held job is next: of its client; of all clients |
//! | [`life`], [`opening`], [`deserted`], [`unguarded`], [`rundir`] | how a ledger is made, found and removed |
//! | [`observe`], [`lanes`], [`tracing`], [`asked`], [`stats`], [`debug`] | what is shown: numbers, lanes, a trace |
//! | [`signals`] | how the processes of a ledger wake each other |

pub mod access;
pub mod asked;
pub mod background;
pub mod claim;
pub mod debts;
pub mod debug;
pub mod deserted;
pub mod handle;
pub mod header;
pub mod lanes;
pub mod life;
pub mod observe;
pub mod opening;
pub mod order;
pub mod passed;
pub mod passing;
pub mod queue;
pub mod reason;
pub mod record;
pub mod rundir;
pub mod signals;
pub mod stats;
pub mod steps;
pub mod table;
pub mod tracing;
pub mod unguarded;
pub mod used;
