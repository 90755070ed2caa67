//! Programs: whether an exec would succeed, where PATH leads, and whether a program speaks the protocol.
//!
//! | module | one idea |
//! |---|---|
//! | [`target`] | whether an exec would succeed |
//! | [`search`] | the search along PATH |
//! | [`go`] | the command that starts Go's tools |
//! | [`speaker`] | programs that speak the protocol |
//! | [`glob`] | globs for program names |

pub mod glob;
pub mod go;
pub mod search;
pub mod speaker;
pub mod target;
