//! The functions that cannot be written in Rust: `vfork`, whose child returns through the parent's
//! frame, `fork` and `posix_spawn`, which must know their caller, and the variadic `execl` family.

use core::arch::naked_asm;

use crate::hooks::exec::{execl_list, execle_list, execlp_list};
use crate::hooks::fork::{fork_from, underscore_fork_from, vfork_after, vfork_before};
use crate::hooks::spawn::{posix_spawn_from, posix_spawnp_from};

/// `rdi` keeps the return address across the system call, `rsi` the result of `vfork_before`: the stack is the child's
/// until it execs or exits.
macro_rules! vfork {
    ($name:ident) => {
        #[doc = concat!("Hook of `", stringify!($name), "`: vfork(2).")]
        ///
        /// # Safety
        /// As vfork(2).
        #[unsafe(naked)]
        #[no_mangle]
        pub unsafe extern "C" fn $name() -> i32 {
            naked_asm!(
                "sub rsp, 8",          // aligned for the call
                "call {before}",
                "add rsp, 8",
                "mov rsi, rax",        // kept by the kernel
                "pop rdi",             // the child's return will overwrite its place
                "mov eax, 58",
                "syscall",
                "push rdi",
                "mov rdi, rax",
                "test rax, rax",
                "jnz {after}",         // in the parent: after(pid or -errno, what before said)
                "ret",                 // in the child: 0
                before = sym vfork_before,
                after = sym vfork_after,
            )
        }
    };
}
vfork!(vfork);
vfork!(__vfork);

/// Passes the return address on: the call site tells the purpose of a fork.
macro_rules! fork {
    ($name:ident, $to:ident) => {
        #[doc = concat!("Hook of `", stringify!($name), "`: fork(2).")]
        ///
        /// # Safety
        /// As fork(2).
        #[unsafe(naked)]
        #[no_mangle]
        pub unsafe extern "C" fn $name() -> i32 {
            naked_asm!("mov rdi, [rsp]", "jmp {to}", to = sym $to)
        }
    };
}
fork!(fork, fork_from);
fork!(__fork, fork_from);
fork!(_Fork, underscore_fork_from);

/// Passes the return address on as a seventh argument: the version of the function to which the caller was linked
/// decides how a text is run.
macro_rules! spawn {
    ($name:ident, $to:ident) => {
        #[doc = concat!("Hook of `", stringify!($name), "`: posix_spawn(3).")]
        ///
        /// # Safety
        /// As posix_spawn(3).
        #[unsafe(naked)]
        #[no_mangle]
        pub unsafe extern "C" fn $name() -> i32 {
            naked_asm!(
                ".cfi_startproc",
                "push qword ptr [rsp]", // aligned for the call
                ".cfi_adjust_cfa_offset 8",
                "call {to}",
                "add rsp, 8",
                ".cfi_adjust_cfa_offset -8",
                "ret",
                ".cfi_endproc",
                to = sym $to,
            )
        }
    };
}
spawn!(posix_spawn, posix_spawn_from);
spawn!(posix_spawnp, posix_spawnp_from);

/// Pushes the register arguments below those on the stack: together they are the argv of `execv`,
/// whatever its length. The return address moves below them and back.
macro_rules! execl {
    ($name:ident, $to:ident) => {
        #[doc = concat!("Hook of `", stringify!($name), "`: exec(3).")]
        ///
        /// # Safety
        /// As exec(3).
        #[unsafe(naked)]
        #[no_mangle]
        pub unsafe extern "C" fn $name() -> i32 {
            naked_asm!(
                "pop rax",             // the return address; the stack arguments follow it
                "push r9",
                "push r8",
                "push rcx",
                "push rdx",
                "push rsi",            // argv starts here
                "mov rsi, rsp",
                "push rax",            // six pushed for one popped: aligned
                "call {to}",           // (path, list)
                "pop rcx",
                "add rsp, 40",
                "push rcx",
                "ret",
                to = sym $to,
            )
        }
    };
}
execl!(execl, execl_list);
execl!(execlp, execlp_list);
execl!(execle, execle_list);
