//! Output for users: lines on stderr, statistics, and a trace.
//!
//! | module | one idea |
//! |---|---|
//! | [`stderr`] | one line, in one write |
//! | [`name`] | the name of a job |
//! | [`lanes`] | the numbering of slots |
//! | [`trace`] | the lines of a trace |
//! | [`numbers`] | statistics |
//! | [`json`] | strings in both |
//! | [`closing`] | the end of a trace |

pub mod closing;
pub mod json;
pub mod lanes;
pub mod name;
pub mod numbers;
pub mod stderr;
pub mod trace;
