//! The pool: one byte in a pipe or fifo per free slot.
//!
//! The pool is reached by its *path* (a fifo, or `/proc/PID/fd/N` of the process that owns the pipe):
//! opening that gives a file description of our own, so that `O_NONBLOCK` touches nobody else's, and
//! works after the host has closed what it inherited. Only where such an open is refused (another uid
//! than the pipe's creator) the inherited descriptors serve: `splice` takes one byte and never blocks.
//! Tokens go back with write(2), never with splice: each spliced byte occupies a whole pipe buffer.
//!
//! The description that is kept is one for reading, but in a process that has inherited the write end: a make
//! that ends reads its pool until the last writer has gone, and who has been left in the background, with jobs
//! that never end, would keep it waiting. For writing the pool is opened each time.
//!
//! | module | one idea |
//! |---|---|
//! | [`pipe`] | which pipe it is, and how it is opened |
//! | [`place`] | room for one byte, in shared memory |
//! | [`tokens`] | a byte is taken, and given back |
//! | [`own_pool`], [`cpus`] | a pool of our own, and how large it is |

pub mod cpus;
pub mod own_pool;
pub mod pipe;
pub mod place;
pub mod tokens;
