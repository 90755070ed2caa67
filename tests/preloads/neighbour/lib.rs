//! A preloaded library in the manner of others: it stands before every function that creates a process.
//!
//! - `JSSHIM_TEST_SPY=FILE`: each creation is a line `PID FUNCTION WHAT` in the file (`record`);
//! - `JSSHIM_TEST_FAULT=FUNCTION,...:ERRNO:N`: the N-th call of such a function in a process fails, each one if N
//!   is 0 (`faults`);
//! - `JSSHIM_TEST_START=WORD,...`: what its constructor does in the first process (`start`).
//!
//! Hooks by redhook (`hooks`), where it can, by instructions where it cannot (`jumps`).
#![cfg(target_env = "gnu")]

mod faults;
mod hooks;
mod jumps;
mod record;
mod start;

use std::ffi::{c_char, c_int, CStr};

/// A function is called that starts `what`, or nothing that has a name. Gives the error with which it shall fail.
///
/// # Safety
/// `what` must be a C string, or null.
unsafe fn starts(function: &'static str, what: *const c_char) -> Option<c_int> {
    // SAFETY: by the contract.
    let what = (!what.is_null()).then(|| unsafe { CStr::from_ptr(what) });
    record::write(function, what.unwrap_or(c"-"));
    faults::due(function)
}

/// The same of one that collects a process. How often a host calls those depends on when its jobs end.
fn collects(function: &'static str) -> Option<c_int> {
    faults::due(function)
}
