//! Code of the host that does not return to us: a signal handler that jumps (siglongjmp(3)) out of a wait, or a thread
//! that is cancelled in one. The pending work must not be lost then.
//!
//! In both cases glibc runs the cleanup handlers of the frames that are left, while their memory is still there
//! (pthread_cleanup_push(3), `__pthread_cleanup_upto`). Before glibc 2.34 it does so only in programs with libpthread.

use core::ffi::{c_int, c_void};
use core::ptr::null_mut;

use super::next::Next;

type Routine = unsafe extern "C" fn(*mut c_void);

/// `struct _pthread_cleanup_buffer`
#[repr(C)]
struct Buffer {
    routine: Option<Routine>,
    argument: *mut c_void,
    kind: c_int,
    previous: *mut Buffer,
}

#[link_section = "jsshim_doors"]
static PUSH: Next<unsafe extern "C" fn(*mut Buffer, Routine, *mut c_void)> =
    Next::new("_pthread_cleanup_push\0");
#[link_section = "jsshim_doors"]
static POP: Next<unsafe extern "C" fn(*mut Buffer, c_int)> = Next::new("_pthread_cleanup_pop\0");

/// Runs `body`. If it is left without returning, calls `leave` with `data`; `leave` must be async-signal-safe.
pub fn guarded<T, R>(data: &mut T, leave: fn(&mut T), body: impl FnOnce(&mut T) -> R) -> R {
    struct Both<'a, T> {
        data: *mut T,
        leave: fn(&'a mut T),
    }
    unsafe extern "C" fn left<T>(both: *mut c_void) {
        // SAFETY: the struct below, whose frame is still there; `body` does not continue.
        unsafe {
            let both = &*both.cast::<Both<'_, T>>();
            (both.leave)(&mut *both.data);
        }
    }
    let (Some(push), Some(pop)) = (PUSH.get(), POP.get()) else { return body(data) };
    let mut both = Both { data: &raw mut *data, leave };
    let mut buffer = Buffer { routine: None, argument: null_mut(), kind: 0, previous: null_mut() };
    // SAFETY: the buffer and what it points to stay where they are until it is taken off again.
    unsafe {
        push(&raw mut buffer, left::<T>, (&raw mut both).cast());
        let result = body(&mut *both.data);
        pop(&raw mut buffer, 0);
        result
    }
}
