//! What the pool's read end was when the process started.

use crate::pool::pipe::Id;
use crate::sys;

/// What the descriptor that MAKEFLAGS names for reading was when the process started. If make has closed it, another
/// pipe soon gets its number.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum End {
    /// Not recorded; it is taken to be what it is now.
    #[default]
    Now,
    /// Closed, or no pipe.
    None,
    /// This device and inode.
    Was(u64, u64),
}

impl End {
    /// Records what a descriptor is now.
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
