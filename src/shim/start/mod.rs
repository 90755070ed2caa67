//! Which program this process is, its settings, and its pool.

pub mod constructor;
pub mod dialect;
pub mod helper;
pub mod join;
pub mod kernel;
pub mod late;
pub mod program;
pub mod settings;
