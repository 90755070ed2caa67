//! What is tested across modules.

mod adopt;
mod join;
mod names;
mod order;
mod passing;
mod stress;
