//! System calls, made directly.
//!
//! Everything here is async-signal-safe, leaves the host's `errno` alone, is no cancellation point and
//! is seen by no other preloaded library (fakeroot and pseudo hook libc's `open` and `stat`). It also
//! works where there is no libc at all, in the helper, and in the child of a `vfork`. Failures are the
//! kernel's numbers (errno(3)).

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "aarch64")]
use aarch64 as arch;
#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "x86_64")]
use x86_64 as arch;

/// An error number of the kernel, always positive (errno(3)).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub i32);

impl Errno {
    /// No slot, no data: try again.
    pub const AGAIN: Self = Self(libc::EAGAIN);
    /// A signal handler ran.
    pub const INTR: Self = Self(libc::EINTR);
    /// The descriptor is not open.
    pub const BADF: Self = Self(libc::EBADF);
    /// There is one already.
    pub const EXIST: Self = Self(libc::EEXIST);
    /// There is no such file.
    pub const NOENT: Self = Self(libc::ENOENT);
    /// There is no such process.
    pub const SRCH: Self = Self(libc::ESRCH);
    /// Nobody reads.
    pub const PIPE: Self = Self(libc::EPIPE);
    /// It does not fit, or is malformed.
    pub const INVAL: Self = Self(libc::EINVAL);
}

/// What a system call gives.
pub type Result<T> = core::result::Result<T, Errno>;

fn check(ret: isize) -> Result<usize> {
    if (-4095..0).contains(&ret) {
        Err(Errno(ret.wrapping_neg() as i32))
    } else {
        Ok(ret as usize)
    }
}

/// Enters the kernel with up to six arguments, each of them anything that `as usize` takes.
macro_rules! call {
    ($n:expr $(, $a:expr)*) => {
        $crate::sys::check($crate::sys::arch::syscall6($n, $crate::sys::six([$($a as usize),*])))
    };
}

#[inline(always)]
fn six<const N: usize>(args: [usize; N]) -> [usize; 6] {
    const { assert!(N <= 6) };
    let mut all = [0; 6];
    all.iter_mut().zip(args).for_each(|(to, arg)| *to = arg);
    all
}

mod files;
mod memory;
mod paths;
mod processes;
mod signals;
mod sockets;
mod time;

pub use files::*;
pub use memory::*;
pub use paths::*;
pub use processes::*;
pub use signals::*;
pub use sockets::*;
pub use time::*;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_numbers() {
        assert_eq!(open(c"/nonexistent/x", libc::O_RDONLY, 0), Err(Errno::NOENT));
        assert_eq!(read(-1, &mut [0]), Err(Errno::BADF));
    }
}
