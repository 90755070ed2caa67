//! Whether a call would sleep if it were made now. Nothing is read, and no event of an epoll set is taken. All of it is
//! by raw system calls, so that errno stays.

use core::ffi::{c_int, c_ulong, c_void};

use jsshim_engine::sys;

/// Sets of descriptors for select(2) that are larger are not copied; the kernel's words.
const WORDS: usize = 16;

/// Returns whether a read of this descriptor would sleep; `flags` are those of recv(2).
pub fn on(fd: c_int, flags: c_int) -> bool {
    let mut one = [libc::pollfd { fd, events: libc::POLLIN, revents: 0 }];
    let blocks = || sys::fcntl(fd, libc::F_GETFL, 0).is_ok_and(|f| f & libc::O_NONBLOCK == 0);
    // epoll_wait(2) sleeps whatever the flags of the set are; such a descriptor has none.
    flags & libc::MSG_DONTWAIT == 0 && sys::poll(&mut one, 0) == Ok(0) && blocks()
}

/// Returns whether poll(2) would sleep.
///
/// # Safety
/// As poll(2): `fds` points to so many structs, which this changes.
pub unsafe fn on_all(fds: *mut c_void, count: c_ulong) -> bool {
    if fds.is_null() || count == 0 {
        return count == 0;
    }
    // SAFETY: the caller's.
    let all = unsafe { core::slice::from_raw_parts_mut(fds.cast(), count as usize) };
    sys::poll(all, 0) == Ok(0)
}

/// Returns whether a time-out that is one struct of two numbers (timespec, timeval), or null, is more than nothing.
///
/// # Safety
/// It is one, or null.
pub unsafe fn may_last(time: *const c_void) -> bool {
    // SAFETY: the caller's.
    time.is_null() || unsafe { *time.cast::<[i64; 2]>() } != [0, 0]
}

/// Returns whether select(2) would sleep.
///
/// # Safety
/// As select(2): each set has room for so many descriptors, or is null; `time` as in [`may_last`].
pub unsafe fn on_sets(count: c_int, sets: [*mut c_void; 3], time: *const c_void) -> bool {
    // SAFETY: the caller's.
    if !unsafe { may_last(time) } {
        return false;
    }
    let Ok(words) = usize::try_from(count).map(|n| n.div_ceil(u64::BITS as usize)) else {
        return false;
    };
    let mut copies = [[0u64; WORDS]; 3];
    let mut at = [core::ptr::null_mut(); 3];
    for ((copy, set), at) in copies.iter_mut().zip(sets).zip(&mut at) {
        let Some(copy) = copy.get_mut(..words) else { return false };
        if !set.is_null() {
            // SAFETY: the caller's; the kernel reads and writes whole words, too.
            let from = unsafe { core::slice::from_raw_parts(set.cast::<u64>(), words) };
            copy.copy_from_slice(from);
            *at = copy.as_mut_ptr();
        }
    }
    // SAFETY: copies of the same size.
    unsafe { sys::select_now(count, at) == Ok(0) }
}
