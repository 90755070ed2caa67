//! What is tested across modules.

mod names;
mod stress;
