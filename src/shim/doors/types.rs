//! Types of the doors' arguments and results.

use core::convert::Infallible;
use core::ffi::{c_int, c_void};

use jsshim_engine::sys;

use crate::host::errno::Missing;

/// An error number as a result, as posix_spawn(3) returns it.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ErrorNumber(pub c_int);

impl Missing for ErrorNumber {
    fn missing() -> Self {
        Self(libc::ENOSYS)
    }
}

/// The result of a function that does not return.
pub type Never = Infallible;

impl Missing for Never {
    fn missing() -> Self {
        sys::exit(127)
    }
}

/// The function that a process made by clone(3) runs.
pub type Run = Option<unsafe extern "C" fn(*mut c_void) -> c_int>;
