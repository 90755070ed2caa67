//! What only the guard asks of the kernel.

use core::ffi::c_int;
use core::mem::MaybeUninit;

use super::{call, kill, Errno, Result};
use crate::kernel::current;

/// The models make few of these; each stays for the life of the test.
///
/// # Safety
/// Zeros must be a valid `T`.
pub unsafe fn map_zeroed<T>() -> Result<&'static mut T> {
    let room = Box::leak(Box::new(MaybeUninit::<T>::zeroed()));
    // SAFETY: by the contract.
    Ok(unsafe { room.assume_init_mut() })
}

/// A process of the models has one thread.
pub fn gettid() -> i32 {
    current()
}

pub fn kill_thread(tid: i32, signal: c_int) {
    let _ = kill(tid, signal);
}

pub fn signalfd(_: u64) -> Result<c_int> {
    Err(Errno::INVAL)
}

pub fn unlock_byte(_: c_int, _: i64) {}

/// # Safety
/// As munmap(2); what is mapped here stays.
pub unsafe fn unmap(_: *mut u8, _: usize) {}

pub fn close_range(first: c_int) -> Result<()> {
    call(|k| {
        if let Some(process) = k.processes.get_mut(&current()) {
            process.fds.retain(|fd, _| *fd < first);
        }
        Ok(())
    })
}
