//! The functions that cannot be written in Rust: `vfork`, whose child returns through the parent's
//! frame, `fork` and `posix_spawn`, which must know their caller, and the variadic `execl` family.

use core::arch::naked_asm;

use crate::hooks::exec::{execl_list, execle_list, execlp_list};
use crate::hooks::fork::{fork_from, underscore_fork_from, vfork_after, vfork_before};
use crate::hooks::spawn::{posix_spawn_from, posix_spawnp_from};

/// `x30` keeps the return address across the system call, `x9` the result of `vfork_before`: the stack is the child's
/// until it execs or exits. vfork(2) is clone(CLONE_VM | CLONE_VFORK | SIGCHLD) here.
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
                "stp x29, x30, [sp, -16]!",
                "bl {before}",
                "mov x9, x0",          // kept by the kernel
                "ldp x29, x30, [sp], 16",
                "mov x0, 0x4111",
                "mov x1, xzr",
                "mov x2, xzr",
                "mov x3, xzr",
                "mov x4, xzr",
                "mov x8, 220",
                "svc 0",
                "cbz x0, 2f",
                "mov x1, x9",
                "b {after}",           // in the parent: after(pid or -errno, what before said)
                "2: ret",              // in the child: 0
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
            naked_asm!("mov x0, x30", "b {to}", to = sym $to)
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
            naked_asm!("mov x6, x30", "b {to}", to = sym $to)
        }
    };
}
spawn!(posix_spawn, posix_spawn_from);
spawn!(posix_spawnp, posix_spawnp_from);

/// Stores the register arguments right below those on the stack: together they are the argv of `execv`, whatever its
/// length.
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
                "sub sp, sp, 64",
                "stp x1, x2, [sp, 8]", // argv starts here
                "stp x3, x4, [sp, 24]",
                "stp x5, x6, [sp, 40]",
                "str x7, [sp, 56]",    // the stack arguments follow
                "add x1, sp, 8",
                "stp x29, x30, [sp, -16]!",
                "bl {to}",             // (path, list)
                "ldp x29, x30, [sp], 16",
                "add sp, sp, 64",
                "ret",
                to = sym $to,
            )
        }
    };
}
execl!(execl, execl_list);
execl!(execlp, execlp_list);
execl!(execle, execle_list);
