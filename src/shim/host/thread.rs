//! Identifying the current thread.

/// A value that differs between threads, and is the same in a `vfork` child as in its parent.
#[cfg(target_arch = "x86_64")]
pub fn thread_pointer() -> usize {
    let tp: usize;
    // SAFETY: the first word at %fs is the thread pointer itself (the x86-64 ABI for TLS).
    unsafe {
        core::arch::asm!("mov {}, fs:0", out(reg) tp, options(nostack, readonly, preserves_flags))
    };
    tp
}

/// A value that differs between threads, and is the same in a `vfork` child as in its parent.
#[cfg(target_arch = "aarch64")]
pub fn thread_pointer() -> usize {
    let tp: usize;
    // SAFETY: reads a register that user space may read.
    unsafe {
        core::arch::asm!("mrs {}, tpidr_el0", out(reg) tp, options(nostack, nomem, preserves_flags))
    };
    tp
}
