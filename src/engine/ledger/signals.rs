//! The signals that processes of a ledger send to each other. Both are ignored by default: the pid may belong to
//! another process by now, and a late signal must not affect a program that runs already.

/// Tells a waiting job that it has been granted a slot.
pub const WAKE: i32 = libc::SIGURG;

/// Asks the guard to check at once.
pub const CALL: i32 = libc::SIGURG;
