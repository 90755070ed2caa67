//! How long the arguments of a program may be (execve(2), "Limits on size of arguments and environment"). What we
//! put in besides must not be what makes them too long.

use core::ffi::CStr;

use jsshim_engine::sys;

use super::environ::{self, Strings};

/// Bytes of one string with its NUL (`MAX_ARG_STRLEN`: 32 pages; where pages are larger, it is more).
pub const STRING_MOST: usize = 32 * 4096;

/// The least and the most that the kernel takes in all, whatever the limit on the stack (`bprm_stack_limits` in its
/// fs/exec.c).
const ALL_LEAST: u64 = 128 << 10;
const ALL_MOST: u64 = 6 << 20;

/// For what the kernel adds: the words of a `#!` line, the program's name.
const ADDED: usize = 1024;

/// For each string, its pointer and its NUL.
const EACH: usize = size_of::<usize>().saturating_add(1);

/// Does the kernel take these arguments, with `more` bytes besides? In doubt it does not.
///
/// # Safety
/// Both must be NULL or NULL-terminated arrays of C strings.
pub unsafe fn take(argv: Strings, envp: Strings, more: usize) -> bool {
    let limit = sys::stack_limit().wrapping_div(4).clamp(ALL_LEAST, ALL_MOST) as usize;
    let needs = [argv, envp].into_iter().fold(more.saturating_add(ADDED), |sum, list| {
        // SAFETY: by the contract.
        let words = unsafe { environ::pointers(list) };
        words.fold(sum, |sum, s| {
            // SAFETY: by the contract.
            let text = unsafe { CStr::from_ptr(s) }.count_bytes();
            sum.saturating_add(text).saturating_add(EACH)
        })
    });
    needs <= limit
}
