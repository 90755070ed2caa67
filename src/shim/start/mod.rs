//! Who is this process, and which pool is its?

pub mod constructor;
pub mod dialect;
pub mod helper;
pub mod join;
pub mod late;
pub mod program;
pub mod settings;
