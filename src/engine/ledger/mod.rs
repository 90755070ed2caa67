//! The ledger: shared memory with one record for every client and every job of a pool.
//!
//! # How it works
//!
//! The file is fixed in size and never grows: two pages of header, then records of 128 bytes. Its blocks are
//! reserved when it is made, so that a full /dev/shm is an error then and not a SIGBUS in a host later.
//! Every field is an atomic; there is no lock. A record's first word holds state and generation and
//! moves by compare-and-swap only ([`crate::slots`] says which steps are legal); who makes the step to
//! `Ending` frees the record. A token's byte is read by the kernel straight into the record, and who
//! swaps it out writes it back to the pool: so a byte is never in two hands, and a process that is
//! killed between the `read` and its next instruction has lost nothing.
//!
//! The guard, which has a double, holds a lock on the first byte of the file ([`header::LIFE`]); who starts one, on the
//! second ([`header::START`]), and who would take over, on the third ([`header::NEXT`]). Locks go with their holder, so no
//! pid is trusted for long.
//!
//! All pids in it are of one PID namespace, which the file's name tells as well ([`crate::space`]).
//!
//! The file appears under its name complete (link(2)), and goes when the guard has seen the last client
//! go: `Open` → `Closing` → `Closed`. A client first claims its record, then looks at that word; the
//! guard first writes the word, then looks at the records. Each has a fence between the two, so one of
//! them sees the other. Names are given and taken under a lock ([`rundir::Lock`]), which no client needs that finds
//! its ledger open. Everything else is `AcqRel`: a state publishes the fields written before it.
//!
//! All of it is async-signal-safe, and safe in the child of a fork: the mapping is shared.
//!
//! | module | one idea |
//! |---|---|
//! | [`access`] | the whole file, and its records |
//! | [`header`], [`record`], [`handle`], [`reason`] | what it is made of |
//! | [`claim`], [`steps`], [`queue`], [`debts`] | a record for a job; its start and end; who is next; lent slots |
//! | [`life`], [`opening`], [`deserted`], [`unguarded`], [`rundir`] | how a ledger comes to be, is found, and goes |
//! | [`observe`], [`lanes`], [`tracing`], [`asked`], [`stats`], [`debug`] | what is told of the jobs: numbers, a picture |
//! | [`signals`] | how the processes of a ledger wake each other |

pub mod access;
pub mod asked;
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
pub mod queue;
pub mod reason;
pub mod record;
pub mod rundir;
pub mod signals;
pub mod stats;
pub mod steps;
pub mod tracing;
pub mod unguarded;
