//! The two instructions that differ by architecture: enter the kernel, leave a signal handler.

use core::arch::{asm, naked_asm};

/// Enters the kernel with up to six arguments. Returns the value left in `x0` (`-errno` on failure).
///
/// # Safety
/// As dangerous as the call that `n` names.
#[inline(always)]
pub unsafe fn syscall6(n: i64, a: [usize; 6]) -> isize {
    let [a0, a1, a2, a3, a4, a5] = a;
    let ret: isize;
    // SAFETY: the kernel keeps every register but x0 (syscall(2), "Architecture calling conventions").
    unsafe {
        asm!("svc 0", in("x8") n, inlateout("x0") a0 as isize => ret,
            in("x1") a1, in("x2") a2, in("x3") a3, in("x4") a4, in("x5") a5, options(nostack));
    }
    ret
}

/// No restorer is needed: the kernel returns through the vdso.
pub const SA_RESTORER: u64 = 0;

/// Never called on this architecture; `rt_sigreturn` for completeness.
#[unsafe(naked)]
pub unsafe extern "C" fn restorer() {
    naked_asm!("mov x8, 139", "svc 0")
}

/// clone(2) with `CLONE_VM | CLONE_VFORK`: calls `f(arg)`, which must not return, in a child that runs on this stack,
/// below this frame, while the caller sleeps. Returns the pid or `-errno`. `tid` is the address for the flags that need
/// one.
#[unsafe(naked)]
pub unsafe extern "C" fn clone_vm(
    flags: u64,
    f: extern "C" fn(usize) -> !,
    arg: usize,
    tid: *mut i32,
) -> isize {
    naked_asm!(
        "mov x9, x1", // the kernel keeps x9 and x10
        "mov x10, x2",
        "mov x1, xzr", // stack: the same
        "mov x2, x3",  // parent_tid
        "mov x4, x3",  // child_tid
        "mov x3, xzr",
        "mov x8, 220",
        "svc 0",
        "cbnz x0, 2f",
        "mov x29, xzr", // the child: no frame above
        "mov x0, x10",
        "blr x9",
        "brk 1",
        "2: ret",
    )
}
