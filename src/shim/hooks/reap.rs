//! Doors through which a child is collected: its slot is free then, if the sweep has not seen it before.

use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;

use jsshim_engine::sys;

use crate::host::errno::fail;
use crate::job::state::STATE;
use crate::job::{lent, life};

/// The body of wait(2).
///
/// # Safety
/// As wait(2).
pub unsafe fn wait(real: impl Fn(*mut c_int) -> c_int, status: *mut c_int) -> c_int {
    life::before_wait();
    // SAFETY: the host's arguments.
    unsafe { reap(status, real) }
}

/// The body of waitpid(2).
///
/// # Safety
/// As waitpid(2).
pub unsafe fn waitpid(
    real: impl Fn(c_int, *mut c_int, c_int) -> c_int,
    pid: c_int,
    status: *mut c_int,
    options: c_int,
) -> c_int {
    // SAFETY: the host's arguments.
    unsafe { reap(status, |status| any(pid == ANY, options, || real(pid, status, options))) }
}

/// The body of wait3(2).
///
/// # Safety
/// As wait3(2).
pub unsafe fn wait3(
    real: impl Fn(*mut c_int, c_int, *mut c_void) -> c_int,
    status: *mut c_int,
    options: c_int,
    usage: *mut c_void,
) -> c_int {
    // SAFETY: the host's arguments.
    unsafe { reap(status, |status| any(true, options, || real(status, options, usage))) }
}

/// The body of wait4(2).
///
/// # Safety
/// As wait4(2).
pub unsafe fn wait4(
    real: impl Fn(c_int, *mut c_int, c_int, *mut c_void) -> c_int,
    pid: c_int,
    status: *mut c_int,
    options: c_int,
    usage: *mut c_void,
) -> c_int {
    // SAFETY: the host's arguments.
    unsafe { reap(status, |status| any(pid == ANY, options, || real(pid, status, options, usage))) }
}

/// Any child, for waitpid(2).
const ANY: c_int = -1;

/// A wait for any child, if it is one: what is ours of the children is not there.
fn any(is_any: bool, options: c_int, real: impl Fn() -> c_int) -> c_int {
    if !is_any {
        return real();
    }
    life::before_wait();
    match options & (libc::__WALL | libc::__WCLONE) {
        0 => real(),
        _ => without_ours(options, real, |pid| *pid),
    }
}

/// A wait that sees the children which send no signal, too, our keeper among them. `of` says whom it has shown, or 0.
#[inline(never)]
fn without_ours(options: c_int, real: impl Fn() -> c_int, of: impl Fn(&c_int) -> c_int) -> c_int {
    let Some(keeper) = STATE.client().map(|c| c.keeper()).filter(|k| k.is_there()) else {
        return real();
    };
    loop {
        if keeper.is_alone(options & libc::__WALL != 0) {
            return fail(libc::ECHILD);
        }
        let ret = real();
        let pid = of(&ret);
        if !keeper.is(pid) {
            return ret;
        }
        // Shown without being collected, it would be shown again.
        let _ = sys::reap_clone(pid);
    }
}

/// The body of waitid(2). WNOWAIT collects nothing, so the slot of what it shows goes with the sweep.
///
/// # Safety
/// As waitid(2).
pub unsafe fn waitid(
    real: impl Fn(libc::idtype_t, libc::id_t, *mut libc::siginfo_t, c_int) -> c_int,
    kind: libc::idtype_t,
    id: libc::id_t,
    info: *mut libc::siginfo_t,
    options: c_int,
) -> c_int {
    let mut own = MaybeUninit::<libc::siginfo_t>::zeroed();
    let to = if info.is_null() { own.as_mut_ptr() } else { info };
    let wait = || lent::across_wait(|| real(kind, id, to, options));
    let ret = if kind == libc::P_ALL {
        life::before_wait();
        let shown = |ret: &c_int| {
            // SAFETY: after a success it is filled in.
            unsafe {
                if *ret == 0 {
                    (*to).si_pid()
                } else {
                    0
                }
            }
        };
        match options & (libc::__WALL | libc::__WCLONE) {
            0 => wait(),
            _ => without_ours(options, wait, shown),
        }
    } else {
        wait()
    };
    // SAFETY: the host's siginfo, or our own in place of a null one; what the kernel filled in is read only
    // after a success.
    unsafe {
        let ended = ret == 0
            && options & libc::WNOWAIT == 0
            && matches!((*to).si_code, libc::CLD_EXITED | libc::CLD_KILLED | libc::CLD_DUMPED);
        if ended {
            life::ended((*to).si_pid());
        }
    }
    ret
}

/// Calls `real` with a status word of our own where the host gave none, and ends the job of a child
/// that has ended; one that stopped or continued has not.
unsafe fn reap(status: *mut c_int, real: impl FnOnce(*mut c_int) -> c_int) -> c_int {
    let mut own = 0;
    let to = if status.is_null() { &raw mut own } else { status };
    let pid = lent::across_wait(|| real(to));
    // SAFETY: after a success the word is filled in.
    if pid > 0 && unsafe { libc::WIFEXITED(*to) || libc::WIFSIGNALED(*to) } {
        life::ended(pid);
    }
    pid
}
