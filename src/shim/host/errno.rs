//! errno, and the results of functions that this libc does not have.

use core::ffi::{c_int, c_void};
use core::ptr::null_mut;

/// The result of a function that this libc does not have.
pub trait Missing {
    /// Sets errno where the function would.
    fn missing() -> Self;
}

impl Missing for c_int {
    fn missing() -> Self {
        fail(libc::ENOSYS)
    }
}

impl Missing for isize {
    fn missing() -> Self {
        fail(libc::ENOSYS) as isize
    }
}

impl Missing for *mut c_void {
    fn missing() -> Self {
        fail(libc::ENOSYS);
        null_mut()
    }
}

/// The error of the last libc function that failed.
pub fn errno() -> c_int {
    // SAFETY: this thread's own errno.
    unsafe { *libc::__errno_location() }
}

/// Sets errno and returns -1, as a failing libc function does.
pub fn fail(errno: c_int) -> c_int {
    // SAFETY: this thread's own errno.
    unsafe { *libc::__errno_location() = errno };
    -1
}
