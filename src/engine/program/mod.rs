//! Programs: would this exec succeed, along PATH, and does the program speak the protocol?
//!
//! | module | one idea |
//! |---|---|
//! | [`target`] | would this exec succeed? |
//! | [`search`] | along PATH |
//! | [`speaker`] | programs that speak the protocol |
//! | [`glob`] | names of programs in a variable |

pub mod glob;
pub mod search;
pub mod speaker;
pub mod target;
