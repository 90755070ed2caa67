//! A pool that was found, and the way to reach it.

use crate::makeflags::RawPath;
use crate::pool::pipe::{self, fd_path, Id};
use crate::pool::tokens::Pool;
use crate::text::Path;
use crate::{proc, sys};

use super::holders::{holds, holds_anywhere};

/// A pool that was found, and the way to reach it. The search runs deep on the stack of a host, which may be small: the
/// path is built only after the search has returned.
#[derive(Clone, Copy)]
pub(crate) struct Hit<'a> {
    pub(super) id: Id,
    pub(super) way: Way<'a>,
    pub(super) inherited: Option<(i32, i32)>,
}

#[derive(Clone, Copy)]
pub(crate) enum Way<'a> {
    /// A process's descriptor: pid and fd.
    Fd(i32, i32),
    /// The path in `JSSHIM_POOL`.
    Told(&'a [u8]),
    /// The path in MAKEFLAGS.
    Fifo(RawPath<'a>),
}

impl Way<'_> {
    /// The path; empty if it is too long.
    #[inline(never)]
    pub(super) fn path(&self) -> Path {
        match *self {
            Self::Fd(pid, fd) => fd_path(pid, fd),
            Self::Told(path) => Path::new(path),
            Self::Fifo(raw) => {
                let mut buf = [0u8; 256];
                Path::new(raw.unescape(&mut buf).unwrap_or(b""))
            }
        }
    }

    /// Returns whether the way leads to this pool, which can be opened for reading and writing. Any other file is not
    /// opened.
    #[inline(never)]
    fn leads_to(&self, id: Id) -> bool {
        let path = self.path();
        let opened = pipe::is_at(&path, id).then(|| pipe::open(&path, id, libc::O_RDWR));
        opened.and_then(sys::Result::ok).is_some_and(|fd| {
            let birth = sys::birth_of(fd);
            sys::close(fd);
            pipe::is_same((id.0, id.1, birth), id)
        })
    }

    #[inline(never)]
    pub(super) fn birth(&self) -> u64 {
        sys::birth(self.path().c())
    }
}

impl<'a> Hit<'a> {
    #[inline(never)]
    pub(super) fn pool(&self) -> Pool {
        Pool::new(self.id, self.way.path(), self.inherited)
    }

    /// The pool by this way, if the way leads to it.
    pub(super) fn by(way: Way<'a>, id: Id) -> Option<Self> {
        way.leads_to(id).then_some(Self { id, way, inherited: None })
    }
}

/// A way to the pool whose descriptors this process has: the farthest ancestor that has it open. That is make itself,
/// whose descriptors last as long as the pool.
#[inline(never)]
pub(crate) fn way_to(r: i32, id: Id) -> Way<'static> {
    let has = |pid: &i32| holds(*pid, r, id);
    let by_number = proc::ancestors().filter(has).last().map(|pid| Way::Fd(pid, r));
    by_number.or_else(|| farthest_anywhere(id)).unwrap_or_else(|| Way::Fd(sys::getpid(), r))
}

/// The descriptor of the farthest ancestor that has this pipe open, as any descriptor.
#[inline(never)]
pub(crate) fn farthest_anywhere(id: Id) -> Option<Way<'static>> {
    let has = |pid| holds_anywhere(pid, id).map(|fd| Way::Fd(pid, fd));
    proc::ancestors().filter_map(has).last()
}
