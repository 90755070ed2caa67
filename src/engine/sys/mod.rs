//! System calls, made directly.
//!
//! Everything here is async-signal-safe, does not change the host's `errno`, and is no cancellation point. No other
//! preloaded library sees it (fakeroot and pseudo hook libc's `open` and `stat`). It also works where there is no libc
//! at all, in the helper, and in the child of a `vfork`. Errors are the kernel's numbers (errno(3)).

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[macro_use]
mod call;
mod files;
mod memory;
mod paths;
mod processes;
mod signals;
mod sockets;
mod time;
#[cfg(target_arch = "x86_64")]
mod x86_64;

pub use call::{Errno, Result};
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
