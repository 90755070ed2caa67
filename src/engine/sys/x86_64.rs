//! The two instructions that differ by architecture: enter the kernel, leave a signal handler.

use core::arch::{asm, naked_asm};

/// Enters the kernel with up to six arguments. Returns the value left in `rax` (`-errno` on failure).
///
/// # Safety
/// As dangerous as the call that `n` names.
#[inline(always)]
pub unsafe fn syscall6(n: i64, a: [usize; 6]) -> isize {
    let [a0, a1, a2, a3, a4, a5] = a;
    let ret: isize;
    // SAFETY: the kernel clobbers rcx and r11 only (syscall(2), "Architecture calling conventions").
    unsafe {
        asm!("syscall", inlateout("rax") n as isize => ret,
            in("rdi") a0, in("rsi") a1, in("rdx") a2, in("r10") a3, in("r8") a4, in("r9") a5,
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    ret
}

/// `SA_RESTORER`: the kernel of this architecture requires it (sigreturn(2)).
pub const SA_RESTORER: u64 = 0x0400_0000;

/// Where a handler returns to: `rt_sigreturn`.
#[unsafe(naked)]
pub unsafe extern "C" fn restorer() {
    naked_asm!("mov eax, 15", "syscall")
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
        "mov r8, rsi", // the kernel keeps r8 and r9
        "mov r9, rdx",
        "xor esi, esi", // stack: the same
        "mov rdx, rcx", // parent_tid
        "mov r10, rcx", // child_tid
        "mov eax, 56",
        "syscall",
        "test rax, rax",
        "jnz 2f",
        "xor ebp, ebp", // the child: no frame above
        "mov rdi, r9",
        "sub rsp, 8", // aligned for a call
        "call r8",
        "ud2",
        "2: ret",
    )
}
