//! Mapped memory.

use core::ffi::c_int;
use core::sync::atomic::{AtomicI32, AtomicU32};

use super::call::Result;
use super::time::timespec;

/// mmap(2): `len` bytes of the file `fd`, shared; or private anonymous memory if `fd` is -1.
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

/// Private memory for one `T`, zeroed, for the caller alone and never unmapped.
///
/// # Safety
/// Zeros must be a valid `T`.
pub unsafe fn map_zeroed<T>() -> Result<&'static mut T> {
    let at = map(-1, core::mem::size_of::<T>())?;
    // SAFETY: page-aligned, as large as `T`, zeroed; no one else knows of it.
    Ok(unsafe { &mut *at.cast::<T>() })
}

/// Frees the pages of private anonymous memory (madvise(2) with `MADV_DONTNEED`): they read as zeros afterwards.
pub fn drop_pages(from: usize, to: usize) {
    // SAFETY: the caller owns the process and does not use that memory any more.
    let _ = unsafe { call!(libc::SYS_madvise, from, to.wrapping_sub(from), libc::MADV_DONTNEED) };
}

/// Sleeps while a word of shared memory is `seen`, until [`wake_word`], for at most `millis` ms (futex(2)).
///
/// # Errors
/// EAGAIN: the word has another value. ETIMEDOUT, EINTR.
pub fn wait_word(word: &AtomicU32, seen: u32, millis: u32) -> Result<()> {
    wait(word.as_ptr(), seen, millis)
}

/// [`wait_word`] for a pid, until [`wake_pid_word`].
///
/// # Errors
/// As [`wait_word`].
pub fn wait_pid_word(word: &AtomicI32, seen: i32, millis: u32) -> Result<()> {
    wait(word.as_ptr().cast(), seen as u32, millis)
}

fn wait(word: *mut u32, seen: u32, millis: u32) -> Result<()> {
    let most = timespec(u64::from(millis).wrapping_mul(1_000_000));
    // SAFETY: the callers' word lives for the call; one struct to read.
    unsafe { call!(libc::SYS_futex, word, libc::FUTEX_WAIT, seen, &raw const most).map(drop) }
}

/// Wakes all threads that sleep in [`wait_word`].
pub fn wake_word(word: &AtomicU32) {
    wake(word.as_ptr(), i32::MAX);
}

/// Wakes one thread that sleeps in [`wait_word`].
pub fn wake_one(word: &AtomicU32) {
    wake(word.as_ptr(), 1);
}

/// Wakes all threads that sleep in [`wait_pid_word`].
pub fn wake_pid_word(word: &AtomicI32) {
    wake(word.as_ptr().cast(), i32::MAX);
}

fn wake(word: *mut u32, most: i32) {
    // SAFETY: the word is an address only.
    let _ = unsafe { call!(libc::SYS_futex, word, libc::FUTEX_WAKE, most) };
}

/// munmap(2).
///
/// # Safety
/// Nothing may use the mapping any more.
pub unsafe fn unmap(at: *mut u8, len: usize) {
    // SAFETY: by the contract above.
    let _ = unsafe { call!(libc::SYS_munmap, at, len) };
}
