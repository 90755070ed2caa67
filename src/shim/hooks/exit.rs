//! Doors through which a process ends. For exit(3) the destructor below suffices; the others run no destructor.

use core::ffi::c_int;

use crate::doors::types::Never;
use crate::job::life;

extern "C" fn at_exit() {
    life::leave();
}

/// Called by the loader when the process exits, after the handlers of atexit(3).
#[used]
#[link_section = ".fini_array"]
static AT_EXIT: extern "C" fn() = at_exit;

/// The body of _exit(2), _Exit(3), and of quick_exit(3), which runs the handlers of at_quick_exit(3) and
/// no destructor.
///
/// # Safety
/// As _exit(2).
pub unsafe fn leave(real: impl Fn(c_int) -> Never, status: c_int) -> Never {
    life::leave();
    real(status)
}
