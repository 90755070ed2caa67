//! The jobs of this process.

pub mod debug;
pub mod family;
pub mod first;
pub mod fork_sites;
pub mod lent;
pub mod life;
pub mod names;
pub mod state;
pub mod stats;
pub mod ticket;
pub mod tool;
pub mod vforks;
