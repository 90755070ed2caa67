//! What is tested across modules.

mod stress;
