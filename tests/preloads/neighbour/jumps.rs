//! What redhook cannot hook. A function that is no Rust function notes the call and jumps to the next one, as if that
//! had been called: vfork's child returns to the caller itself, and the arguments of execl are where they were.

use std::arch::naked_asm;
use std::ffi::{c_char, c_int, c_void};
use std::ptr::null;

use redhook::ld_preload::dlsym_next;

use crate::starts;

/// Where to jump: the next function, or one that fails.
unsafe fn go_on(name: &'static str, what: *const c_char) -> *const c_void {
    extern "C" fn fails() -> c_int {
        -1
    }
    // SAFETY: the caller's arguments; the name ends in a NUL.
    unsafe {
        let Some(errno) = starts(name.trim_end_matches('\0'), what) else {
            return dlsym_next(name).cast();
        };
        *libc::__errno_location() = errno;
        (fails as extern "C" fn() -> c_int) as *const c_void
    }
}

/// Notes a call of `$name`, whose first argument, if any, is the program.
macro_rules! jump {
    ($name:ident, $note:ident, $what:expr) => {
        unsafe extern "C" fn $note(first: *const c_char) -> *const c_void {
            let what: fn(*const c_char) -> *const c_char = $what;
            // SAFETY: the caller's argument.
            unsafe { go_on(concat!(stringify!($name), "\0"), what(first)) }
        }

        #[unsafe(naked)]
        #[no_mangle]
        unsafe extern "C" fn $name() {
            #[cfg(target_arch = "x86_64")]
            naked_asm!(
                "push rdi", // the arguments in registers
                "push rsi",
                "push rdx",
                "push rcx",
                "push r8",
                "push r9",
                "push rax", // how many of them are floating-point numbers; and aligned
                "call {note}",
                "mov r11, rax",
                "pop rax",
                "pop r9",
                "pop r8",
                "pop rcx",
                "pop rdx",
                "pop rsi",
                "pop rdi",
                "jmp r11",
                note = sym $note,
            );
            #[cfg(target_arch = "aarch64")]
            naked_asm!(
                "stp x29, x30, [sp, #-80]!",
                "stp x0, x1, [sp, #16]", // the arguments in registers
                "stp x2, x3, [sp, #32]",
                "stp x4, x5, [sp, #48]",
                "stp x6, x7, [sp, #64]",
                "bl {note}",
                "mov x16, x0",
                "ldp x0, x1, [sp, #16]",
                "ldp x2, x3, [sp, #32]",
                "ldp x4, x5, [sp, #48]",
                "ldp x6, x7, [sp, #64]",
                "ldp x29, x30, [sp], #80",
                "br x16",
                note = sym $note,
            );
        }
    };
}

jump!(vfork, note_vfork, |_| null());
jump!(execl, note_execl, |path| path);
jump!(execlp, note_execlp, |file| file);
jump!(execle, note_execle, |path| path);
