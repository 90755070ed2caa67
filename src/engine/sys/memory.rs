//! Mapped memory.

use core::ffi::c_int;

use super::Result;

/// mmap(2): `len` bytes of the file `fd`, shared; or private anonymous memory where `fd` is -1.
pub fn map(fd: c_int, len: usize) -> Result<*mut u8> {
    let how = if fd < 0 { libc::MAP_PRIVATE | libc::MAP_ANONYMOUS } else { libc::MAP_SHARED };
    map_as(fd, len, how)
}

/// mmap(2): anonymous memory that forked children share.
pub fn map_shared_anonymous(len: usize) -> Result<*mut u8> {
    map_as(-1, len, libc::MAP_SHARED | libc::MAP_ANONYMOUS)
}

fn map_as(fd: c_int, len: usize, how: c_int) -> Result<*mut u8> {
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    unsafe { call!(libc::SYS_mmap, 0usize, len, prot, how, fd, 0usize).map(|p| p as *mut u8) }
}

/// munmap(2).
///
/// # Safety
/// Nothing may use the mapping any more.
pub unsafe fn unmap(at: *mut u8, len: usize) {
    // SAFETY: by the contract above.
    let _ = unsafe { call!(libc::SYS_munmap, at, len) };
}
