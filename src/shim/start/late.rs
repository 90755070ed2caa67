//! Starts of processes before our constructor. Constructors of libraries after ours in LD_PRELOAD run before it, and
//! those of the program's own libraries always do. Their starts are gated like all others: the first one runs our
//! constructor, with the arrays that glibc would pass to it later.

use core::ffi::c_int;
use core::ptr::null;

use jsshim_engine::sys;

use crate::exec::environ::Strings;
use crate::host::objects::{self, Object};
use crate::job::first;
use crate::job::state::{OFF, STATE};

use super::constructor;

/// Returns whether the caller, which is about to start a process, is another process on this memory
/// ([`foreign`](crate::job::state::State::foreign)).
#[inline]
pub fn foreign() -> bool {
    if STATE.pid() == 0 {
        begin();
    }
    STATE.foreign()
}

/// Returns whether a start came before the constructor.
#[inline]
pub fn has_begun() -> bool {
    STATE.pid() != 0 && STATE.pid() == sys::getpid()
}

/// If the arrays cannot be found, the process is left alone until the constructor.
#[cold]
#[inline(never)]
fn begin() {
    if STATE.phase() == OFF {
        return;
    }
    let (name, mut at) = (c"__libc_stack_end", 0);
    objects::each(|info| {
        at = Object::of(info).map_or(0, |o| o.find(name, objects::gnu_hash(name)).newest);
        at != 0
    });
    if at == 0 {
        // musl passes nothing to the constructor either.
        constructor::run(0, null(), null(), first::record);
    } else if let Some((count, arguments)) = kernel_arguments(at) {
        let environment = arguments.wrapping_add(count as usize).wrapping_add(1);
        constructor::run(count, arguments, environment, first::record);
    }
}

/// argc and argv as the kernel laid them out: they begin where ld.so's stack ends (`__libc_stack_end`, glibc 2.1, which
/// lies at `at`). The environment follows them; libc's own variable for it may already point to a copy made by setenv(3).
fn kernel_arguments(at: usize) -> Option<(c_int, Strings)> {
    // SAFETY: ld.so's own variable, a pointer; null after the stack was made executable.
    let top = Some(unsafe { (at as *const *const usize).read() }).filter(|top| !top.is_null())?;
    // SAFETY: the kernel's words: argc, then that many pointers and a NULL.
    let count = c_int::try_from(unsafe { top.read() }).ok().filter(|n| *n > 0)?;
    let arguments: Strings = top.wrapping_add(1).cast();
    // SAFETY: as above.
    let end = unsafe { arguments.wrapping_add(count as usize).read() };
    end.is_null().then_some((count, arguments))
}
