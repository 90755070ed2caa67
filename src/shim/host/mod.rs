//! The host's C library, into which we are loaded.

pub mod errno;
pub mod kind;
pub mod leaving;
pub mod next;
pub mod objects;
pub mod thread;
