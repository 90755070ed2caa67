//! Which pipe or fifo is the pool, and how it is opened.

use crate::proc;
use crate::sys::{self, Errno, Result};
use crate::text::{number, Path};

/// The identity of a pipe: device, inode, and the birth time, which distinguishes a fifo from a later one with the same
/// inode.
pub type Id = (u64, u64, u64);

/// Returns whether both are the same pool. A birth of 0 is unknown: the kernel or a sandbox does not tell it.
pub fn is_same(one: Id, other: Id) -> bool {
    (one.0, one.1) == (other.0, other.1) && (one.2 == other.2 || one.2 == 0 || other.2 == 0)
}

/// How a descriptor may be used: `O_RDONLY`, `O_WRONLY` or `O_RDWR`.
///
/// # Errors
/// As fcntl(2).
pub fn access(fd: i32) -> sys::Result<i32> {
    sys::fcntl(fd, libc::F_GETFL, 0).map(|flags| flags & libc::O_ACCMODE)
}

/// Returns whether `fd` is this pipe.
pub fn is(fd: i32, id: Id) -> bool {
    sys::file_id(fd) == Ok((id.0, id.1))
}

/// The path of a process's descriptor (proc(5)).
pub fn fd_path(pid: i32, fd: i32) -> Path {
    let mut path = Path::default();
    proc::put_folder(pid, &mut path);
    path.put(b"/fd/").put_num(fd);
    path
}

/// The pid of the make that made a pool, from the pool's path: `/proc/PID/fd/N`, or the name of its fifo. 0: unknown.
pub fn maker(path: &Path) -> i32 {
    let fifo = || path.name().strip_prefix(b"GMfifo");
    let pid = path.bytes().strip_prefix(b"/proc/").or_else(fifo).and_then(number);
    pid.and_then(|(pid, _)| i32::try_from(pid).ok()).unwrap_or(0)
}

/// Returns whether this path leads to this pipe. Does not open it.
pub fn is_at(path: &Path, id: Id) -> bool {
    path.fits() && sys::stat(path.c(), true).is_ok_and(|st| (st.st_dev, st.st_ino) == (id.0, id.1))
}

/// Opens `path` if it is this pipe.
pub fn open(path: &Path, id: Id, flags: i32) -> Result<i32> {
    // Without O_NONBLOCK an open for reading would wait for a writer (fifo(7)).
    let fd = sys::open(path.c(), flags | libc::O_NONBLOCK, 0)?;
    if is(fd, id) {
        return Ok(fd);
    }
    sys::close(fd);
    Err(Errno::NOENT)
}

/// [`open`], but refuses a later pool with the same inode: a file system reuses a fifo's inode number at once.
///
/// # Errors
/// As [`open`].
pub fn open_same(path: &Path, id: Id, flags: i32) -> Result<i32> {
    let fd = open(path, id, flags)?;
    let birth = sys::birth(path.c());
    if birth == 0 || birth == id.2 {
        return Ok(fd);
    }
    sys::close(fd);
    Err(Errno::NOENT)
}

/// Copies a descriptor to a number beyond those that programs use (shells keep theirs from 10 or 24 up, bash from 63
/// down), close-on-exec. Stays below 64: above, the kernel would allocate and copy a larger descriptor table for each
/// child (`NR_OPEN_DEFAULT` in its include/linux/fdtable.h).
///
/// # Errors
/// As fcntl(2) with F_DUPFD_CLOEXEC.
pub fn copy_high(fd: i32) -> Result<i32> {
    let room = sys::open_files_limit().min(64) as i32;
    sys::fcntl(fd, libc::F_DUPFD_CLOEXEC, room.saturating_sub(16).max(3))
}

/// [`copy_high`], and closes the old descriptor.
pub fn move_high(fd: i32) -> i32 {
    copy_high(fd).inspect(|_| sys::close(fd)).unwrap_or(fd)
}
