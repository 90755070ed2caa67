//! Which C library this is, where another one than glibc does something else.

use core::ffi::c_char;

use super::next::Next;

#[link_section = "jsshim_doors"]
static VERSION: Next<unsafe extern "C" fn() -> *const c_char> = Next::new("gnu_get_libc_version\0");

/// Returns whether this is glibc; else it is musl. In musl a text without `#!` runs in no shell (execvp(3)), the default
/// of PATH is another one, and fclose(3) does not wait for the command of a popen(3).
pub fn is_glibc() -> bool {
    VERSION.get().is_some()
}
