//! Which processes have a pipe open, and as which descriptor.

use crate::pool::pipe::{self, fd_path, Id};
use crate::{proc, sys};

/// Returns the identity of the pipe, if `r` and `w` are its read and write end in this process.
#[inline(never)]
pub fn inherited(r: i32, w: i32) -> Option<Id> {
    let (sr, sw) = (sys::fstat(r).ok()?, sys::fstat(w).ok()?);
    let mode = |fd| pipe::access(fd).ok();
    let one = (sr.st_dev, sr.st_ino) == (sw.st_dev, sw.st_ino)
        && sr.st_mode & libc::S_IFMT == libc::S_IFIFO;
    let ways = mode(r)? != libc::O_WRONLY && mode(w)? != libc::O_RDONLY;
    (one && ways).then(|| (sr.st_dev, sr.st_ino, sys::birth_of(r)))
}

/// Returns whether `pid` has this pipe open as descriptor `fd`.
#[inline(never)]
pub(crate) fn holds(pid: i32, fd: i32, id: Id) -> bool {
    sys::stat(fd_path(pid, fd).c(), true).is_ok_and(|st| (st.st_dev, st.st_ino) == (id.0, id.1))
}

/// The first descriptor of `pid` that is this pipe.
#[inline(never)]
pub fn holds_anywhere(pid: i32, id: Id) -> Option<i32> {
    let mut found = None;
    proc::each_fd(pid, |fd| found = found.or_else(|| holds(pid, fd, id).then_some(fd)));
    found
}

/// Returns the identity of the pipe, if `r` and `w` are its read and write end in another process. The permission bits
/// of the links in /proc/PID/fd tell the directions (proc(5)).
#[inline(never)]
pub(crate) fn pair(pid: i32, r: i32, w: i32) -> Option<Id> {
    let stat = |fd, follow| sys::stat(fd_path(pid, fd).c(), follow).ok();
    let id = |fd| stat(fd, true).filter(|st| st.st_mode & libc::S_IFMT == libc::S_IFIFO);
    let id = |fd| id(fd).map(|st| (st.st_dev, st.st_ino));
    let one = id(r)?;
    let ways = stat(r, false)?.st_mode & 0o400 != 0 && stat(w, false)?.st_mode & 0o200 != 0;
    (id(w)? == one && ways).then(|| (one.0, one.1, sys::birth(fd_path(pid, r).c())))
}

/// The first process that has this pipe open and `suits`, with the descriptor.
#[inline(never)]
pub fn find(id: Id, suits: impl Fn(i32, i32) -> bool) -> Option<(i32, i32)> {
    let mut found = None;
    proc::each_process(|pid| {
        let fd = if found.is_none() { holds_anywhere(pid, id) } else { None };
        found = found.or_else(|| fd.filter(|fd| suits(pid, *fd)).map(|fd| (pid, fd)));
    });
    found
}
