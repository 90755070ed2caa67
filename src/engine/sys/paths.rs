//! System calls on files by their names.

use core::ffi::{c_int, CStr};
use core::mem::MaybeUninit;

use crate::text::Text;

use super::call::{Errno, Result};

/// stat(2), or lstat(2) with `follow` false.
pub fn stat(path: &CStr, follow: bool) -> Result<libc::stat> {
    let flags = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
    let mut st = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: as in fstat; `path` ends in a NUL.
    unsafe {
        call!(libc::SYS_newfstatat, libc::AT_FDCWD, path.as_ptr(), st.as_mut_ptr(), flags)?;
        Ok(st.assume_init())
    }
}

/// Returns whether the process, by its effective ids, may do this with the file (`X_OK`, `W_OK`). Uses faccessat2(2);
/// access(2) before Linux 5.8, and in sandboxes whose filter does not know faccessat2 and fails with EPERM.
pub fn may(path: &CStr, what: i32) -> Result<()> {
    let (at, p) = (libc::AT_FDCWD, path.as_ptr());
    // SAFETY: `path` ends in a NUL.
    unsafe {
        match call!(libc::SYS_faccessat2, at, p, what, libc::AT_EACCESS) {
            Err(Errno(libc::ENOSYS | libc::EPERM)) => call!(libc::SYS_faccessat, at, p, what),
            r => r,
        }
        .map(drop)
    }
}

/// [`may`] by the real ids, by the call that each ld.so makes at its start: a filter that lets programs start allows
/// it.
pub fn access(path: &CStr, what: i32) -> Result<()> {
    let p = path.as_ptr();
    // SAFETY: `path` ends in a NUL.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        let may = call!(libc::SYS_access, p, what);
        #[cfg(not(target_arch = "x86_64"))]
        let may = call!(libc::SYS_faccessat, libc::AT_FDCWD, p, what);
        may.map(drop)
    }
}

/// readlink(2).
pub fn readlink<'b>(path: &CStr, buf: &'b mut [u8]) -> Result<&'b [u8]> {
    let (at, p) = (libc::AT_FDCWD, path.as_ptr());
    // SAFETY: the buffer is ours and of that length.
    let n = unsafe { call!(libc::SYS_readlinkat, at, p, buf.as_mut_ptr(), buf.len())? };
    buf.get(..n).ok_or(Errno::INVAL)
}

/// mkdir(2).
pub fn mkdir(path: &CStr, mode: u32) -> Result<()> {
    // SAFETY: `path` ends in a NUL.
    unsafe { call!(libc::SYS_mkdirat, libc::AT_FDCWD, path.as_ptr(), mode).map(drop) }
}

/// chmod(2).
pub fn chmod(path: &CStr, mode: u32) -> Result<()> {
    // SAFETY: `path` ends in a NUL.
    unsafe { call!(libc::SYS_fchmodat, libc::AT_FDCWD, path.as_ptr(), mode).map(drop) }
}

/// The working directory (getcwd(2)), with a `/` in front.
///
/// # Errors
/// ENOENT: it is gone, or not below the root directory. Others as getcwd(2).
pub fn getcwd(buf: &mut [u8]) -> Result<&[u8]> {
    // SAFETY: the buffer is ours and of that length.
    let n = unsafe { call!(libc::SYS_getcwd, buf.as_mut_ptr(), buf.len())? };
    let path = buf.get(..n.saturating_sub(1)).ok_or(Errno::INVAL)?;
    path.starts_with(b"/").then_some(path).ok_or(Errno::NOENT)
}

/// mkfifo(3).
pub fn mkfifo(path: &CStr, mode: u32) -> Result<()> {
    let mode = libc::S_IFIFO | mode;
    // SAFETY: `path` ends in a NUL.
    unsafe { call!(libc::SYS_mknodat, libc::AT_FDCWD, path.as_ptr(), mode, 0usize).map(drop) }
}

/// link(2).
pub fn link(old: &CStr, new: &CStr) -> Result<()> {
    let at = libc::AT_FDCWD;
    // SAFETY: both end in a NUL.
    unsafe { call!(libc::SYS_linkat, at, old.as_ptr(), at, new.as_ptr(), 0usize).map(drop) }
}

/// Gives a name to a file without one ([`unnamed`]); needs /proc (open(2), O_TMPFILE).
pub fn link_fd(fd: c_int, new: &CStr) -> Result<()> {
    let (mut old, at) = (Text::<40>::default(), libc::AT_FDCWD);
    let old = old.put(b"/proc/self/fd/").put_num(fd).c().as_ptr();
    // SAFETY: both end in a NUL.
    unsafe { call!(libc::SYS_linkat, at, old, at, new.as_ptr(), libc::AT_SYMLINK_FOLLOW).map(drop) }
}

/// Opens a new file in this directory that has no name yet and disappears with its last descriptor (O_TMPFILE).
pub fn unnamed(dir: &CStr, mode: u32) -> Result<c_int> {
    super::files::open(dir, libc::O_RDWR | libc::O_TMPFILE, mode)
}

/// unlink(2).
pub fn unlink(path: &CStr) -> Result<()> {
    // SAFETY: `path` ends in a NUL.
    unsafe { call!(libc::SYS_unlinkat, libc::AT_FDCWD, path.as_ptr(), 0usize).map(drop) }
}

/// chdir(2).
pub fn chdir(path: &CStr) -> Result<()> {
    // SAFETY: `path` ends in a NUL.
    unsafe { call!(libc::SYS_chdir, path.as_ptr()).map(drop) }
}
