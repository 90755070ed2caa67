//! The pool: one byte in a pipe or fifo per free slot.
//!
//! The pool is reached by its *path*: a fifo, or `/proc/PID/fd/N` of the process that owns the pipe. Opening it gives a
//! file description of our own, so `O_NONBLOCK` affects no other process. It also works after the host has closed the
//! inherited descriptors. These are used only if the open is refused (the pipe's creator has another uid): `splice`
//! takes one byte and never blocks. Tokens go back with write(2), never with splice: each spliced byte occupies a whole
//! pipe buffer.
//!
//! The description that is kept is read-only, except in a process that has inherited the write end: a make that ends
//! reads its pool until the last writer has closed it, and a background process whose jobs never end would keep it
//! waiting. For writing, the pool is opened each time.
//!
//! | module | one idea |
//! |---|---|
//! | [`pipe`] | which pipe is the pool, and how it is opened |
//! | [`place`] | room for one byte, in shared memory |
//! | [`tokens`] | taking a byte and giving it back |
//! | [`own_pool`], [`cpus`] | a pool of our own, and its size |

pub mod cpus;
pub mod own_pool;
pub mod pipe;
pub mod place;
pub mod tokens;
