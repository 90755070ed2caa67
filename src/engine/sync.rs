//! The atomics of what processes and threads share. `tests/deep` compiles these files with others here,
//! which let it choose the order of what happens.

pub use core::sync::atomic::*;
