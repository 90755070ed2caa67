//! Doors in which a process sleeps until another wakes it. If its slot was lent meanwhile, it waits for a slot before
//! it goes on. Otherwise this costs two loads; while the job of the process is not known, also the reading of a clock.
//! While other jobs wait for the slot of one that sleeps, each call is preceded by the question whether it would sleep
//! ([`crate::hooks::sleeps`]). Functions of the same shape share a body.

use core::ffi::{c_int, c_ulong, c_void};

use crate::job::lent;

use super::sleeps;

/// The body of read(2) and readv(2).
///
/// # Safety
/// As these.
pub unsafe fn read<A, B, R>(real: impl Fn(c_int, A, B) -> R, fd: c_int, a: A, b: B) -> R {
    lent::across_read(|| sleeps::on(fd, 0), || real(fd, a, b))
}

/// The body of accept(2).
///
/// # Safety
/// As accept(2).
pub unsafe fn accept<A, B, R>(real: impl Fn(c_int, A, B) -> R, fd: c_int, a: A, b: B) -> R {
    lent::across(|| sleeps::on(fd, 0), || real(fd, a, b))
}

/// The body of accept4(2).
///
/// # Safety
/// As accept4(2).
pub unsafe fn accept4<A, B, R>(
    real: impl Fn(c_int, A, B, c_int) -> R,
    fd: c_int,
    a: A,
    b: B,
    flags: c_int,
) -> R {
    // The flags are those of the new descriptor.
    lent::across(|| sleeps::on(fd, 0), || real(fd, a, b, flags))
}

/// The body of recvmsg(2).
///
/// # Safety
/// As recvmsg(2).
pub unsafe fn recvmsg<A, R>(
    real: impl Fn(c_int, A, c_int) -> R,
    fd: c_int,
    a: A,
    flags: c_int,
) -> R {
    lent::across(|| sleeps::on(fd, flags), || real(fd, a, flags))
}

/// The body of recv(2).
///
/// # Safety
/// As recv(2).
pub unsafe fn recv<A, B, R>(
    real: impl Fn(c_int, A, B, c_int) -> R,
    fd: c_int,
    a: A,
    b: B,
    flags: c_int,
) -> R {
    lent::across(|| sleeps::on(fd, flags), || real(fd, a, b, flags))
}

/// The body of recvfrom(2).
///
/// # Safety
/// As recvfrom(2).
pub unsafe fn recvfrom<A, B, C, D, R>(
    real: impl Fn(c_int, A, B, c_int, C, D) -> R,
    fd: c_int,
    a: A,
    b: B,
    flags: c_int,
    c: C,
    d: D,
) -> R {
    lent::across(|| sleeps::on(fd, flags), || real(fd, a, b, flags, c, d))
}

/// The body of poll(2).
///
/// # Safety
/// As poll(2).
pub unsafe fn poll<R>(
    real: impl Fn(*mut c_void, c_ulong, c_int) -> R,
    fds: *mut c_void,
    count: c_ulong,
    millis: c_int,
) -> R {
    // SAFETY: the caller's.
    let sleeps = || millis != 0 && unsafe { sleeps::on_all(fds, count) };
    lent::across(sleeps, || real(fds, count, millis))
}

/// The body of ppoll(2).
///
/// # Safety
/// As ppoll(2).
pub unsafe fn ppoll<M, R>(
    real: impl Fn(*mut c_void, c_ulong, *const c_void, M) -> R,
    fds: *mut c_void,
    count: c_ulong,
    time: *const c_void,
    mask: M,
) -> R {
    // SAFETY: the caller's.
    let sleeps = || unsafe { sleeps::may_last(time) && sleeps::on_all(fds, count) };
    lent::across(sleeps, || real(fds, count, time, mask))
}

/// The body of select(2).
///
/// # Safety
/// As select(2).
pub unsafe fn select<R>(
    real: impl Fn(c_int, *mut c_void, *mut c_void, *mut c_void, *mut c_void) -> R,
    count: c_int,
    reads: *mut c_void,
    writes: *mut c_void,
    others: *mut c_void,
    time: *mut c_void,
) -> R {
    // SAFETY: the caller's.
    let sleeps = || unsafe { sleeps::on_sets(count, [reads, writes, others], time) };
    lent::across(sleeps, || real(count, reads, writes, others, time))
}

/// The body of pselect(2).
///
/// # Safety
/// As pselect(2).
#[allow(clippy::too_many_arguments)] // they are the function's
pub unsafe fn pselect<R>(
    real: impl Fn(c_int, *mut c_void, *mut c_void, *mut c_void, *const c_void, *const c_void) -> R,
    count: c_int,
    reads: *mut c_void,
    writes: *mut c_void,
    others: *mut c_void,
    time: *const c_void,
    mask: *const c_void,
) -> R {
    // SAFETY: the caller's.
    let sleeps = || unsafe { sleeps::on_sets(count, [reads, writes, others], time) };
    lent::across(sleeps, || real(count, reads, writes, others, time, mask))
}

/// The body of epoll_wait(2).
///
/// # Safety
/// As epoll_wait(2).
pub unsafe fn epoll_wait<A, B, R>(
    real: impl Fn(c_int, A, B, c_int) -> R,
    fd: c_int,
    events: A,
    count: B,
    millis: c_int,
) -> R {
    lent::across(|| millis != 0 && sleeps::on(fd, 0), || real(fd, events, count, millis))
}

/// The body of epoll_pwait(2).
///
/// # Safety
/// As epoll_pwait(2).
pub unsafe fn epoll_pwait<A, B, M, R>(
    real: impl Fn(c_int, A, B, c_int, M) -> R,
    fd: c_int,
    events: A,
    count: B,
    millis: c_int,
    mask: M,
) -> R {
    lent::across(|| millis != 0 && sleeps::on(fd, 0), || real(fd, events, count, millis, mask))
}

/// The body of a function of one argument of which it cannot be told whether it sleeps.
///
/// # Safety
/// As that function.
pub unsafe fn one<A, R>(real: impl Fn(A) -> R, a: A) -> R {
    lent::across(|| false, || real(a))
}

/// As [`one`], of two arguments.
///
/// # Safety
/// As that function.
pub unsafe fn two<A, B, R>(real: impl Fn(A, B) -> R, a: A, b: B) -> R {
    lent::across(|| false, || real(a, b))
}

/// As [`one`], of three arguments.
///
/// # Safety
/// As that function.
pub unsafe fn three<A, B, C, R>(real: impl Fn(A, B, C) -> R, a: A, b: B, c: C) -> R {
    lent::across(|| false, || real(a, b, c))
}

/// As [`one`], of four arguments.
///
/// # Safety
/// As that function.
pub unsafe fn four<A, B, C, D, R>(real: impl Fn(A, B, C, D) -> R, a: A, b: B, c: C, d: D) -> R {
    lent::across(|| false, || real(a, b, c, d))
}
