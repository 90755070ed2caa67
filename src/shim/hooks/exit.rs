//! Doors through which a process ends. What exit(3) runs at its end, the destructor below, is enough for
//! it; the others run nothing.

use core::ffi::c_int;

use jsshim_engine::sys;

use crate::real::{self, Real};
use crate::ticket;

type ExitFn = unsafe extern "C" fn(c_int) -> !;

extern "C" fn at_exit() {
    ticket::leave();
}

/// Called by the loader when the process exits, after the handlers of atexit(3).
#[used]
#[link_section = ".fini_array"]
static AT_EXIT: extern "C" fn() = at_exit;

/// Hook of _exit(2).
///
/// # Safety
/// As _exit(2).
#[no_mangle]
pub unsafe extern "C" fn _exit(status: c_int) -> ! {
    leave_by(&real::EXIT, status)
}

/// Hook of _Exit(3), another name of _exit(2).
///
/// # Safety
/// As _Exit(3).
#[no_mangle]
pub unsafe extern "C" fn _Exit(status: c_int) -> ! {
    leave_by(&real::EXIT, status)
}

/// Hook of quick_exit(3), which runs the handlers of at_quick_exit(3) and no destructor.
///
/// # Safety
/// As quick_exit(3).
#[no_mangle]
pub unsafe extern "C" fn quick_exit(status: c_int) -> ! {
    leave_by(&real::QUICK_EXIT, status)
}

fn leave_by(real: &Real, status: c_int) -> ! {
    ticket::leave();
    // SAFETY: the type of both functions behind these hooks.
    let real = unsafe { real.get::<ExitFn>() };
    match real {
        // SAFETY: the function behind the hook.
        Some(f) => unsafe { f(status) },
        None => sys::exit(status),
    }
}
