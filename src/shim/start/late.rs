//! Starts before our constructor. Constructors of libraries behind ours in LD_PRELOAD run before it, and those of the
//! program's own libraries always do; what they start queues like everything else. So the first start runs our
//! constructor, by the arrays that glibc would hand over to it later.

use core::ffi::c_int;

use jsshim_engine::sys;

use crate::exec::environ::Strings;
use crate::host::objects::{self, Object};
use crate::job::first;
use crate::job::state::{OFF, STATE};

use super::constructor;

/// Is the caller, which is about to start a process, another one on this memory
/// ([`foreign`](crate::job::state::State::foreign))?
#[inline]
pub fn foreign() -> bool {
    if STATE.pid() == 0 {
        begin();
    }
    STATE.foreign()
}

/// Has a start come before the constructor?
#[inline]
pub fn has_begun() -> bool {
    STATE.pid() != 0 && STATE.pid() == sys::getpid()
}

/// Where the arrays cannot be found (musl), the process is left alone until the constructor.
#[cold]
#[inline(never)]
fn begin() {
    if STATE.phase() == OFF {
        return;
    }
    if let Some((count, arguments)) = kernel_arguments() {
        let environment = arguments.wrapping_add(count as usize).wrapping_add(1);
        constructor::run(count, arguments, environment, first::record);
    }
}

/// argc and argv as the kernel laid them out: where the stack ends for ld.so (`__libc_stack_end`, glibc 2.1). The
/// environment is behind them; libc's own variable for it may already point to a copy that setenv(3) has made.
fn kernel_arguments() -> Option<(c_int, Strings)> {
    let (name, mut at) = (c"__libc_stack_end", 0);
    objects::each(|info| {
        at = Object::of(info).map_or(0, |o| o.find(name, objects::gnu_hash(name)).newest);
        at != 0
    });
    // SAFETY: ld.so's own variable, a pointer; null once the stack has been made executable.
    let top = (at != 0)
        .then(|| unsafe { (at as *const *const usize).read() })
        .filter(|top| !top.is_null())?;
    // SAFETY: the kernel's words: argc, then so many pointers and a NULL.
    let count = c_int::try_from(unsafe { top.read() }).ok().filter(|n| *n > 0)?;
    let arguments: Strings = top.wrapping_add(1).cast();
    // SAFETY: as above.
    let end = unsafe { arguments.wrapping_add(count as usize).read() };
    end.is_null().then_some((count, arguments))
}
