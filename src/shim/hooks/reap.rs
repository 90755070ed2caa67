//! Doors through which a child is reaped: its slot becomes free, if the sweep has not freed it before.

use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr::null_mut;

use jsshim_engine::sys;

use crate::doors::behind;
use crate::host::errno::fail;
use crate::job::state::STATE;
use crate::job::{lent, life, names};

/// All waits but waitid(2) are special cases of this one.
type Wait4 = unsafe extern "C" fn(c_int, *mut c_int, c_int, *mut c_void) -> c_int;

/// The body of wait(2).
///
/// # Safety
/// As wait(2).
pub unsafe fn wait(real: impl Fn(*mut c_int) -> c_int, status: *mut c_int) -> c_int {
    life::before_wait();
    // SAFETY: the host's arguments.
    unsafe { reap(status, 0, |status| measured((ANY, status, 0, null_mut()), || real(status))) }
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
    unsafe {
        reap(status, options, |status| {
            let call = (pid, status, options, null_mut());
            any(pid == ANY, options, || measured(call, || real(pid, status, options)))
        })
    }
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
    unsafe {
        reap(status, options, |status| {
            let call = (ANY, status, options, usage);
            any(true, options, || measured(call, || real(status, options, usage)))
        })
    }
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
    unsafe {
        reap(status, options, |status| {
            let call = (pid, status, options, usage);
            any(pid == ANY, options, || measured(call, || real(pid, status, options, usage)))
        })
    }
}

/// The same wait by wait4(2) if a trace is written, in which the child's memory is reported.
///
/// # Safety
/// As wait4(2); the status must not be null.
unsafe fn measured(
    call: (c_int, *mut c_int, c_int, *mut c_void),
    real: impl Fn() -> c_int,
) -> c_int {
    let Some(wait4) = names::is_traced().then(|| behind::wait4.get()).flatten() else {
        return real();
    };
    // SAFETY: by the contract.
    unsafe { measure(call, wait4) }
}

/// The second part of [`measured`]. A function of its own, because it needs stack.
#[inline(never)]
unsafe fn measure(
    (pid, status, options, usage): (c_int, *mut c_int, c_int, *mut c_void),
    wait4: Wait4,
) -> c_int {
    let mut own = MaybeUninit::<libc::rusage>::zeroed();
    let to = if usage.is_null() { own.as_mut_ptr() } else { usage.cast() };
    // SAFETY: the host's arguments, or memory of our own; read only after a success.
    unsafe {
        let child = wait4(pid, status, options, to.cast());
        if child > 0 && has_ended(*status) {
            names::memory(child, (*to).ru_maxrss);
        }
        child
    }
}

fn has_ended(status: c_int) -> bool {
    libc::WIFEXITED(status) || libc::WIFSIGNALED(status)
}

/// Any child, as in waitpid(2).
const ANY: c_int = -1;

/// Waits. A wait for any child does not see our own children.
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

/// A wait that also sees children without exit signal, our keeper among them. `of` returns the pid from the result, or
/// 0.
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
        // If it is returned without being reaped, it would be returned again.
        let _ = sys::reap_clone(pid);
    }
}

/// The body of waitid(2). WNOWAIT reaps nothing: the slot of that child is freed by the sweep.
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
    let wait = || {
        lent::across_wait(options, || {
            let ret = real(kind, id, to, options);
            if ret == 0 && options & libc::WNOWAIT == 0 {
                // SAFETY: filled in by a successful call.
                unsafe { note_end(to) }
            }
            ret
        })
    };
    if kind == libc::P_ALL {
        life::before_wait();
        let shown = |ret: &c_int| {
            // SAFETY: filled in by a successful call.
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
    }
}

/// Ends the job of a child that has ended.
unsafe fn note_end(info: *const libc::siginfo_t) {
    // SAFETY: a siginfo that describes a child, or zeros.
    let (code, pid) = unsafe { ((*info).si_code, (*info).si_pid()) };
    if matches!(code, libc::CLD_EXITED | libc::CLD_KILLED | libc::CLD_DUMPED) {
        life::ended(pid);
    }
}

/// Calls `real` with a status word of our own if the host gave none. Ends the job of a child that has ended, not of one
/// that has stopped or continued.
unsafe fn reap(
    status: *mut c_int,
    options: c_int,
    real: impl FnOnce(*mut c_int) -> c_int,
) -> c_int {
    let mut own = 0;
    let to = if status.is_null() { &raw mut own } else { status };
    lent::across_wait(options, || {
        let pid = real(to);
        // SAFETY: filled in by a successful call.
        if pid > 0 && has_ended(unsafe { *to }) {
            life::ended(pid);
        }
        pid
    })
}
