//! System calls, made directly.
//!
//! Everything here is async-signal-safe, does not change the host's `errno`, and is no cancellation point. No other
//! preloaded library sees it (fakeroot and pseudo hook libc's `open` and `stat`). It also works where there is no libc
//! at all, in the helper, and in the child of a `vfork`. Errors are the kernel's numbers (errno(3)).
//!
//! What an older kernel does not have, and a sandbox may refuse with another error than ENOSYS, is done without:
//!
//! | since | call | without it |
//! |---|---|---|
//! | Linux 3.11 | `O_TMPFILE` ([`unnamed`]) | a file has a temporary name at first |
//! | 3.15 | locks of a description ([`lock_byte`]) | the ledger alone tells who is the guard |
//! | 3.19 | execveat(2) ([`exec_file`]) | a program that was deleted while its job was held does not start |
//! | 4.11 | statx(2) ([`file_id`], [`birth`]) | fstat(2); files with one inode are the same |
//! | 5.3 | pidfd_open(2) ([`pidfd_open`]) | SIGCHLD in a [gate](crate::gate); the guard polls |
//! | 5.8 | faccessat2(2) ([`may`]) | faccessat(2), by the real ids |
//! | 5.9 | close_range(2) ([`close_range`]) | the descriptors of /proc/self/fd, or all numbers up to the limit |
//! | 6.11 | a namespace by a pidfd ([`pid_namespace`]) | /proc alone tells |

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
