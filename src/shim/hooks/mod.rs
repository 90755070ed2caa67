//! The hooks, by kind of door. Each is: foreign? → before → real → after.

pub mod exec;
pub mod exit;
pub mod reap;
pub mod spawn;
pub mod stdio;

use core::ffi::c_int;

/// What a libc function does when it fails.
pub fn fail(errno: c_int) -> c_int {
    // SAFETY: this thread's own errno.
    unsafe { *libc::__errno_location() = errno };
    -1
}
