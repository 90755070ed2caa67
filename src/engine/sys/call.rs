//! Entering the kernel, and the errors that it returns.

#[cfg(target_arch = "aarch64")]
pub(super) use super::aarch64 as arch;
#[cfg(target_arch = "x86_64")]
pub(super) use super::x86_64 as arch;

/// An error number of the kernel, always positive (errno(3)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub i32);

impl Errno {
    /// No slot or no data now: try again.
    pub const AGAIN: Self = Self(libc::EAGAIN);
    /// A signal handler ran.
    pub const INTR: Self = Self(libc::EINTR);
    /// The descriptor is not open.
    pub const BADF: Self = Self(libc::EBADF);
    /// It exists already.
    pub const EXIST: Self = Self(libc::EEXIST);
    /// There is no such file.
    pub const NOENT: Self = Self(libc::ENOENT);
    /// There is no such process.
    pub const SRCH: Self = Self(libc::ESRCH);
    /// There is no reader.
    pub const PIPE: Self = Self(libc::EPIPE);
    /// It does not fit, or is malformed.
    pub const INVAL: Self = Self(libc::EINVAL);
}

/// The result of a system call.
pub type Result<T> = core::result::Result<T, Errno>;

pub fn check(ret: isize) -> Result<usize> {
    if (-4095..0).contains(&ret) {
        Err(Errno(ret.wrapping_neg() as i32))
    } else {
        Ok(ret as usize)
    }
}

/// Enters the kernel with up to six arguments, each of any type that `as usize` accepts.
macro_rules! call {
    ($n:expr $(, $a:expr)*) => {
        $crate::sys::call::check($crate::sys::call::arch::syscall6($n, $crate::sys::call::six([$($a as usize),*])))
    };
}

#[inline(always)]
pub fn six<const N: usize>(args: [usize; N]) -> [usize; 6] {
    const { assert!(N <= 6) };
    let mut all = [0; 6];
    all.iter_mut().zip(args).for_each(|(to, arg)| *to = arg);
    all
}
