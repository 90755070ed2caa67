//! What is tested across modules.

mod adopt;
mod stress;
