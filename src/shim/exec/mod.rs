//! What a new program gets: its environment, or the helper in its place.

pub mod bounds;
pub mod environ;
pub mod exec_pipe;
pub mod foretell;
pub mod goflags;
pub mod keep_env;
pub mod limits;
pub mod quotes;
pub mod redirect;
pub mod words;
