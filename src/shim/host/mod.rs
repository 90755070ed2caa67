//! The C library of the host that we are loaded into.

pub mod errno;
pub mod leaving;
pub mod next;
pub mod objects;
pub mod thread;
