//! The limits on a program's arguments (execve(2), "Limits on size of arguments and environment"). Our additions must
//! not exceed them.

use core::ffi::CStr;

use jsshim_engine::sys;

use super::environ::{self, Strings};

/// The most bytes of one string with its NUL (`MAX_ARG_STRLEN`: 32 pages, here the smallest; more where pages are
/// larger).
pub const STRING_MOST: usize = 32 * 4096;

/// The least and the greatest total limit of the kernel, whatever the limit on the stack (`bprm_stack_limits` in its
/// fs/exec.c).
const ALL_LEAST: u64 = 128 << 10;
const ALL_MOST: u64 = 6 << 20;

/// Room for what the kernel adds: the words of a `#!` line, the program's name.
const ADDED: usize = 1024;

/// The pointer and the NUL of each string.
const EACH: usize = size_of::<usize>().saturating_add(1);

/// Returns whether the kernel accepts these arguments with `more` bytes added. In doubt returns false.
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
