//! Doors in which a process sleeps until another wakes it. If its slot was lent meanwhile, it waits for a slot before
//! it goes on. Otherwise this costs one load; while the job of the process is not known, also the reading of a clock.
//! Functions of the same shape share a body.

use crate::job::lent;

/// The body of read(2) and readv(2).
///
/// # Safety
/// As these.
pub unsafe fn read<A, B, C, R>(real: impl Fn(A, B, C) -> R, a: A, b: B, c: C) -> R {
    lent::across_read(|| real(a, b, c))
}

/// The body of a function of one argument.
///
/// # Safety
/// As that function.
pub unsafe fn one<A, R>(real: impl Fn(A) -> R, a: A) -> R {
    lent::across(|| real(a))
}

/// The body of a function of two arguments.
///
/// # Safety
/// As that function.
pub unsafe fn two<A, B, R>(real: impl Fn(A, B) -> R, a: A, b: B) -> R {
    lent::across(|| real(a, b))
}

/// The body of a function of three arguments.
///
/// # Safety
/// As that function.
pub unsafe fn three<A, B, C, R>(real: impl Fn(A, B, C) -> R, a: A, b: B, c: C) -> R {
    lent::across(|| real(a, b, c))
}

/// The body of a function of four arguments.
///
/// # Safety
/// As that function.
pub unsafe fn four<A, B, C, D, R>(real: impl Fn(A, B, C, D) -> R, a: A, b: B, c: C, d: D) -> R {
    lent::across(|| real(a, b, c, d))
}

/// The body of a function of five arguments.
///
/// # Safety
/// As that function.
pub unsafe fn five<A, B, C, D, E, R>(
    real: impl Fn(A, B, C, D, E) -> R,
    a: A,
    b: B,
    c: C,
    d: D,
    e: E,
) -> R {
    lent::across(|| real(a, b, c, d, e))
}

/// The body of a function of six arguments.
///
/// # Safety
/// As that function.
#[allow(clippy::too_many_arguments)] // they are the function's
pub unsafe fn six<A, B, C, D, E, F, R>(
    real: impl Fn(A, B, C, D, E, F) -> R,
    a: A,
    b: B,
    c: C,
    d: D,
    e: E,
    f: F,
) -> R {
    lent::across(|| real(a, b, c, d, e, f))
}
