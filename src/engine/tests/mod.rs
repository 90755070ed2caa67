//! What is tested across modules.

mod adopt;
mod names;
mod stress;
