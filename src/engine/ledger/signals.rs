//! The signals by which the processes of a ledger tell each other something. Both are ignored by default: the pid may be
//! that of another process by now, and one that comes late does nothing to a program that runs already.

/// Tells a job that waits that it has been granted a slot.
pub const WAKE: i32 = libc::SIGURG;

/// Asks the guard to look at once.
pub const CALL: i32 = libc::SIGURG;
