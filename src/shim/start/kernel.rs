//! What the kernel laid out at the start of this process (execve(2)): argc, the arguments, the environment and the
//! auxiliary vector, one behind the other.

use core::ffi::c_int;

use crate::exec::environ::{self, Strings};

/// The most that arguments and environment take (three quarters of the kernel's `_STK_LIM`), and their pointers.
const MOST: usize = 8 << 20;

/// Returns whether these three belong together. Nothing is dereferenced, since a value that does not fit may be no
/// pointer. With no arguments at all, which Linux has refused since 5.18, libc's `environ` must be the same.
pub fn is_whole(count: c_int, arguments: Strings, environment: Strings) -> bool {
    let behind = usize::try_from(count).ok().and_then(|n| n.checked_add(1));
    let behind = behind.map(|n| arguments.wrapping_add(n));
    let fits = !arguments.is_null() && arguments.is_aligned() && behind == Some(environment);
    fits && (count > 0 || environment == environ::current())
}

/// The arguments, where libc passes none to a constructor (musl): they lie before the environment, unless that is a copy
/// made by setenv(3).
pub fn arguments(environment: Strings) -> Option<Strings> {
    if environment.is_null() {
        return None;
    }
    // SAFETY: libc's own array.
    let first = unsafe { *environment };
    // The strings lie behind the arrays, on the stack. A copy of the array lies elsewhere, far from the strings.
    let distance = (first as usize).checked_sub(environment as usize)?;
    let mut at = environment.wrapping_sub(1);
    // SAFETY: on the stack the arguments and their number come before.
    unsafe {
        if distance > MOST || !(*at).is_null() {
            return None;
        }
        for count in 0..MOST {
            let before = at.wrapping_sub(1);
            // A pointer is never this small.
            if *before as usize == count {
                return Some(at);
            }
            at = before;
        }
    }
    None
}

/// A value of the auxiliary vector (getauxval(3), which needs glibc 2.16); 0 if it has none of this `kind`.
///
/// # Safety
/// The environment must be as the kernel laid it out: the auxiliary vector follows it.
pub unsafe fn auxiliary(environment: Strings, kind: usize) -> usize {
    // SAFETY: by the contract: up to the NULL, then pairs of words up to AT_NULL.
    unsafe {
        let mut at = environment;
        while !(*at).is_null() {
            at = at.wrapping_add(1);
        }
        // ld.so removes some variables where privileges have risen; each removed one has left a NULL behind.
        while (*at).is_null() {
            at = at.wrapping_add(1);
        }
        let mut pair = at.cast::<[usize; 2]>();
        loop {
            match *pair {
                [0, _] => return 0,
                [found, value] if found == kind => return value,
                _ => pair = pair.wrapping_add(1),
            }
        }
    }
}
