//! From the kernel to Rust: the entry point, and the memory functions that compilers assume.

use core::arch::naked_asm;
use core::ffi::{c_char, c_int};

use crate::args::Args;

/// The entry point: passes the stack pointer to [`begin`].
///
/// # Safety
/// Called by the kernel only.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[no_mangle]
pub unsafe extern "C" fn _start() -> ! {
    naked_asm!(
        "xor ebp, ebp",
        "mov rdi, rsp",
        "and rsp, -16",
        "call {begin}",
        "ud2",
        begin = sym begin,
    )
}

/// The entry point: passes the stack pointer to [`begin`].
///
/// # Safety
/// Called by the kernel only.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
#[no_mangle]
pub unsafe extern "C" fn _start() -> ! {
    naked_asm!("mov x29, xzr", "mov x0, sp", "bl {begin}", "brk 1", begin = sym begin)
}

extern "C" fn begin(sp: *mut usize) -> ! {
    // SAFETY: the kernel puts argc at the stack pointer, then the pointers.
    let args = unsafe { Args::at(sp) };
    crate::main(&args)
}

/// memcpy(3). The loops below are volatile so that they are not compiled into calls of themselves.
///
/// # Safety
/// As memcpy(3).
#[no_mangle]
pub unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    let mut i = 0;
    while i < n {
        // SAFETY: by the caller's contract, `i` is within both.
        unsafe { to.wrapping_add(i).write_volatile(from.wrapping_add(i).read()) };
        i = i.wrapping_add(1);
    }
    to
}

/// memset(3).
///
/// # Safety
/// As memset(3).
#[no_mangle]
pub unsafe extern "C" fn memset(to: *mut u8, c: c_int, n: usize) -> *mut u8 {
    let mut i = 0;
    while i < n {
        // SAFETY: by the caller's contract, `i` is within it.
        unsafe { to.wrapping_add(i).write_volatile(c as u8) };
        i = i.wrapping_add(1);
    }
    to
}

/// memcmp(3).
///
/// # Safety
/// As memcmp(3).
#[no_mangle]
pub unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> c_int {
    let mut i = 0;
    while i < n {
        // SAFETY: by the caller's contract, `i` is within both.
        let (x, y) = unsafe { (a.wrapping_add(i).read_volatile(), b.wrapping_add(i).read()) };
        if x != y {
            return c_int::from(x).wrapping_sub(c_int::from(y));
        }
        i = i.wrapping_add(1);
    }
    0
}

/// bcmp(3).
///
/// # Safety
/// As bcmp(3).
#[no_mangle]
pub unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, n: usize) -> c_int {
    // SAFETY: the same contract.
    unsafe { memcmp(a, b, n) }
}

/// strlen(3).
///
/// # Safety
/// As strlen(3).
#[no_mangle]
pub unsafe extern "C" fn strlen(s: *const c_char) -> usize {
    let mut n = 0usize;
    // SAFETY: `s` ends in a NUL.
    while unsafe { s.wrapping_add(n).read_volatile() } != 0 {
        n = n.wrapping_add(1);
    }
    n
}

/// Nothing here panics. If it does after all, the process ends like one that could not exec.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    jsshim_engine::sys::exit(127)
}
