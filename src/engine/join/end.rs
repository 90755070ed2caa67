//! What the pool's read end was when the process started.

use crate::pool::pipe::Id;
use crate::sys;

/// What the descriptor that MAKEFLAGS names for reading was when the process started. Where make has
/// closed it, its number is soon that of another pipe.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum End {
    /// Nobody looked; it is what it is now.
    #[default]
    Now,
    /// Closed, or no pipe.
    None,
    /// This device and inode.
    Was(u64, u64),
}

impl End {
    /// Looks at a descriptor.
    pub fn of(fd: i32) -> Self {
        match sys::fstat(fd) {
            Ok(st) if st.st_mode & libc::S_IFMT == libc::S_IFIFO => Self::Was(st.st_dev, st.st_ino),
            _ => Self::None,
        }
    }

    pub(super) fn was(self, id: Id) -> bool {
        self == Self::Now || self == Self::Was(id.0, id.1)
    }
}
