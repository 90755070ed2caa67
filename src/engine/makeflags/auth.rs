//! Where the jobserver is.

use super::words::Unescape;

/// Where the jobserver is, as MAKEFLAGS says.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub enum Auth<'a> {
    /// `R,W`: inherited descriptors. make reads them with `scanf("%d,%d")`, so text after them is ignored. They may be
    /// negative, which means "not for you" (make's `posixos.c`).
    Fds {
        /// Where tokens are read.
        read: i32,
        /// Where tokens are written back.
        write: i32,
    },
    /// `fifo:PATH`, make ≥ 4.4.
    Fifo(RawPath<'a>),
    /// Anything else, still escaped. There is a pool, but no way to it that we know.
    Unknown(&'a [u8]),
}

/// A path as it stands in MAKEFLAGS, still escaped.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub struct RawPath<'a>(pub(super) &'a [u8]);

impl<'a> RawPath<'a> {
    /// The path as it stands there.
    pub fn escaped(&self) -> &'a [u8] {
        self.0
    }

    /// The path itself, written into `buf`. None if it does not fit.
    pub fn unescape<'b>(&self, buf: &'b mut [u8]) -> Option<&'b [u8]> {
        let path = buf.get_mut(..Unescape(self.0).count())?;
        path.iter_mut().zip(Unescape(self.0)).for_each(|(to, c)| *to = c);
        Some(path)
    }
}
