//! The atomics that processes and threads share. `tests/deep` compiles these files with other atomics, which let it
//! choose the order of events.

pub use core::sync::atomic::*;
