//! System calls on open descriptors.

use core::ffi::{c_int, c_void, CStr};
use core::mem::MaybeUninit;
use core::ptr::{null, null_mut};

use super::call::{Errno, Result};
use super::time::timespec;

/// open(2), always with `O_CLOEXEC` and `O_NOCTTY`.
pub fn open(path: &CStr, flags: c_int, mode: u32) -> Result<c_int> {
    let flags = flags | libc::O_CLOEXEC | libc::O_NOCTTY;
    // SAFETY: `path` ends in a NUL.
    unsafe {
        call!(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, mode).map(|fd| fd as c_int)
    }
}

/// close(2). EINTR is not retried: Linux has closed the descriptor then.
pub fn close(fd: c_int) {
    // SAFETY: closing touches no memory; the caller owns the number.
    let _ = unsafe { call!(libc::SYS_close, fd) };
}

/// dup3(2): makes `to` a copy of `fd`, and closes what `to` was. `flags`: `O_CLOEXEC` or 0.
pub fn dup_to(fd: c_int, to: c_int, flags: c_int) -> Result<()> {
    // SAFETY: no memory is involved; the caller gives up what `to` was.
    unsafe { call!(libc::SYS_dup3, fd, to, flags).map(drop) }
}

/// read(2) into `buf`.
pub fn read(fd: c_int, buf: &mut [u8]) -> Result<usize> {
    // SAFETY: the buffer is ours and of that length.
    unsafe { call!(libc::SYS_read, fd, buf.as_mut_ptr(), buf.len()) }
}

/// pread(2) into `buf`.
pub fn pread(fd: c_int, buf: &mut [u8], at: u64) -> Result<usize> {
    // SAFETY: the buffer is ours and of that length.
    unsafe { call!(libc::SYS_pread64, fd, buf.as_mut_ptr(), buf.len(), at) }
}

/// pwrite(2): not for a descriptor with `O_APPEND`.
pub fn pwrite(fd: c_int, buf: &[u8], at: u64) -> Result<usize> {
    // SAFETY: the buffer is readable and of that length.
    unsafe { call!(libc::SYS_pwrite64, fd, buf.as_ptr(), buf.len(), at) }
}

/// read(2) of one byte to an address in shared memory.
///
/// # Safety
/// `to` must be valid for a write of one byte at any time of the call.
pub unsafe fn read_byte_to(fd: c_int, to: *mut u8) -> Result<usize> {
    // SAFETY: by the contract above.
    unsafe { call!(libc::SYS_read, fd, to, 1usize) }
}

/// write(2).
pub fn write(fd: c_int, buf: &[u8]) -> Result<usize> {
    // SAFETY: the buffer is readable and of that length.
    unsafe { call!(libc::SYS_write, fd, buf.as_ptr(), buf.len()) }
}

/// splice(2) of one byte from pipe to pipe, never blocking.
pub fn splice_byte(from: c_int, to: c_int) -> Result<usize> {
    let flags = libc::SPLICE_F_NONBLOCK;
    // SAFETY: no offsets are passed.
    unsafe { call!(libc::SYS_splice, from, 0usize, to, 0usize, 1usize, flags) }
}

/// pipe2(2): `[read end, write end]`.
pub fn pipe2(flags: c_int) -> Result<[c_int; 2]> {
    let mut fds = [-1; 2];
    // SAFETY: room for two numbers.
    unsafe { call!(libc::SYS_pipe2, fds.as_mut_ptr(), flags)? };
    Ok(fds)
}

/// ppoll(2) with the mask unchanged; `millis` < 0 waits for ever.
pub fn poll(fds: &mut [libc::pollfd], millis: i64) -> Result<usize> {
    let ns = (millis >= 0).then(|| (millis as u64).wrapping_mul(1_000_000));
    ppoll(fds, ns, None)
}

/// ppoll(2): for up to `ns`, or for ever if None, with another signal mask meanwhile.
pub fn ppoll(fds: &mut [libc::pollfd], ns: Option<u64>, mask: Option<u64>) -> Result<usize> {
    // The kernel writes the remaining time into it.
    let mut ts = timespec(ns.unwrap_or(0));
    let ts = if ns.is_none() { null_mut() } else { &raw mut ts };
    let set = mask.as_ref().map_or(null(), core::ptr::from_ref);
    // SAFETY: the slice is ours for the time of the call; the set has the kernel's eight bytes.
    unsafe { call!(libc::SYS_ppoll, fds.as_mut_ptr(), fds.len(), ts, set, 8usize) }
}

/// pselect6(2) without waiting, on these sets of `count` descriptors, which the kernel changes; null: none. Returns how
/// many are ready.
///
/// # Safety
/// Each set has room for so many, or is null.
pub unsafe fn select_now(count: c_int, sets: [*mut u64; 3]) -> Result<usize> {
    let [reads, writes, others] = sets;
    let none = timespec(0);
    // SAFETY: the caller's; the kernel may write the remaining time.
    unsafe { call!(libc::SYS_pselect6, count, reads, writes, others, &raw const none, 0usize) }
}

/// epoll_create1(2), close-on-exec.
pub fn epoll_create() -> Result<c_int> {
    // SAFETY: a number only.
    unsafe { call!(libc::SYS_epoll_create1, libc::EPOLL_CLOEXEC).map(|fd| fd as c_int) }
}

/// epoll_ctl(2) with EPOLL_CTL_ADD: for reading, and these flags. `data` is what [`epoll_ready`] tells.
pub fn epoll_add(epoll: c_int, fd: c_int, data: u64, flags: c_int) -> Result<()> {
    let event = libc::epoll_event { events: (libc::EPOLLIN | flags) as u32, u64: data };
    let at = &raw const event;
    // SAFETY: one struct to read.
    unsafe { call!(libc::SYS_epoll_ctl, epoll, libc::EPOLL_CTL_ADD, fd, at).map(drop) }
}

/// epoll_ctl(2) with EPOLL_CTL_DEL.
pub fn epoll_remove(epoll: c_int, fd: c_int) -> Result<()> {
    // SAFETY: numbers only.
    unsafe { call!(libc::SYS_epoll_ctl, epoll, libc::EPOLL_CTL_DEL, fd, 0usize).map(drop) }
}

/// epoll_pwait(2) without waiting: how many events there were.
pub fn epoll_ready(epoll: c_int, events: &mut [libc::epoll_event]) -> Result<usize> {
    epoll_wait(epoll, events, 0)
}

/// epoll_pwait(2) for at most `millis` ms, with the mask unchanged; `millis` < 0: for ever.
pub fn epoll_wait(epoll: c_int, events: &mut [libc::epoll_event], millis: i64) -> Result<usize> {
    let (at, most, millis) = (events.as_mut_ptr(), events.len(), millis as c_int);
    // SAFETY: the slice is ours for the time of the call.
    unsafe { call!(libc::SYS_epoll_pwait, epoll, at, most, millis, 0usize, 8usize) }
}

/// How many bytes a pipe holds (`FIONREAD`, ioctl_fionread(2)).
pub fn level(fd: c_int) -> Result<usize> {
    let mut n: c_int = 0;
    // SAFETY: room for one number.
    unsafe { call!(libc::SYS_ioctl, fd, libc::FIONREAD, &raw mut n)? };
    Ok(usize::try_from(n).unwrap_or(0))
}

/// fcntl(2) with an integer argument.
pub fn fcntl(fd: c_int, cmd: c_int, arg: c_int) -> Result<c_int> {
    // SAFETY: used with commands that take a number only.
    unsafe { call!(libc::SYS_fcntl, fd, cmd, arg).map(|v| v as c_int) }
}

/// Locks the byte at `at` of a file for this description of it, without waiting (`F_OFD_SETLK`). The lock ends with the
/// last descriptor of the description, so a dead process never holds one.
///
/// # Errors
/// EAGAIN: another description has locked it. Others if the file system has no locks.
pub fn lock_byte(fd: c_int, at: i64) -> Result<()> {
    byte_lock(fd, libc::F_OFD_SETLK, libc::F_WRLCK, at).map(drop)
}

/// [`lock_byte`], but waits for the lock (`F_OFD_SETLKW`).
///
/// # Errors
/// EINTR: a signal handler has run.
pub fn await_byte(fd: c_int, at: i64) -> Result<()> {
    byte_lock(fd, libc::F_OFD_SETLKW, libc::F_WRLCK, at).map(drop)
}

/// Takes a shared lock on the byte (`F_RDLCK`).
///
/// # Errors
/// As [`lock_byte`].
pub fn share_byte(fd: c_int, at: i64) -> Result<()> {
    byte_lock(fd, libc::F_OFD_SETLK, libc::F_RDLCK, at).map(drop)
}

/// Releases such a lock.
pub fn unlock_byte(fd: c_int, at: i64) {
    let _ = byte_lock(fd, libc::F_OFD_SETLK, libc::F_UNLCK, at);
}

/// Returns whether another description of the file has locked the byte at `at` (`F_OFD_GETLK`).
///
/// # Errors
/// The file system has no locks.
pub fn is_byte_locked(fd: c_int, at: i64) -> Result<bool> {
    byte_lock(fd, libc::F_OFD_GETLK, libc::F_WRLCK, at).map(|kind| kind != libc::F_UNLCK)
}

fn byte_lock(fd: c_int, how: c_int, kind: c_int, at: i64) -> Result<c_int> {
    // SAFETY: a struct of numbers.
    let mut lock = unsafe { MaybeUninit::<libc::flock>::zeroed().assume_init() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    (lock.l_start, lock.l_len) = (at, 1);
    // SAFETY: one struct to read and write.
    unsafe { call!(libc::SYS_fcntl, fd, how, &raw mut lock)? };
    Ok(c_int::from(lock.l_type))
}

/// Takes a write lease on a file that the caller has open once, for reading and writing, or returns it (fcntl(2),
/// F_SETLEASE). The kernel grants it only if no other description of the file is open in any process, and a mapping
/// keeps its description open. While it is held, every other open(2) of the file waits, or fails with EAGAIN if it has
/// O_NONBLOCK.
///
/// # Errors
/// EAGAIN: another process has the file open or mapped, or the caller itself by another description. EINVAL and others:
/// the file system has no leases. EACCES: it is another user's file.
pub fn lease(fd: c_int, take: bool) -> Result<()> {
    let how = if take { libc::F_WRLCK } else { libc::F_UNLCK };
    fcntl(fd, libc::F_SETLEASE, how).map(drop)
}

/// The type of the file system of an open file (fstatfs(2)).
pub fn file_system(fd: c_int) -> Result<i64> {
    let mut fs = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: libc's `struct statfs` is the kernel's on 64-bit Linux.
    unsafe {
        call!(libc::SYS_fstatfs, fd, fs.as_mut_ptr())?;
        Ok(fs.assume_init().f_type)
    }
}

/// A descriptor of the PID namespace of a process, by a pidfd (`PIDFD_GET_PID_NAMESPACE`, Linux 6.11).
pub fn pid_namespace(pidfd: c_int) -> Result<c_int> {
    const PIDFD_GET_PID_NAMESPACE: c_int = 0xff05;
    // SAFETY: no memory is involved.
    unsafe { call!(libc::SYS_ioctl, pidfd, PIDFD_GET_PID_NAMESPACE, 0usize).map(|fd| fd as c_int) }
}

/// Clears `O_NONBLOCK` on a description that is the caller's own.
pub fn set_blocking(fd: c_int) -> Result<()> {
    let flags = fcntl(fd, libc::F_GETFL, 0)?;
    fcntl(fd, libc::F_SETFL, flags & !libc::O_NONBLOCK).map(drop)
}

/// Device and inode of a file, by statx(2) without times: since Linux 6.13 a file whose times were requested gets new
/// ones at its next write, which is expensive on a disk ("multigrain timestamps").
///
/// # Errors
/// As fstat(2), which is used if statx(2) is missing or forbidden.
pub fn file_id(fd: c_int) -> Result<(u64, u64)> {
    // The kernel writes all of it. It is not zeroed before: that would call memset(3), and a forked child that calls a
    // function of libc for the first time takes a page fault.
    let mut stx = MaybeUninit::<libc::statx>::uninit();
    let (empty, flags) = (c"".as_ptr(), libc::AT_EMPTY_PATH | libc::AT_STATX_DONT_SYNC);
    // SAFETY: room for one struct, which a success has filled in; the path ends in a NUL.
    let stx = unsafe {
        call!(libc::SYS_statx, fd, empty, flags, libc::STATX_INO, stx.as_mut_ptr())
            .map(|_| stx.assume_init())
    };
    match stx {
        Ok(stx) => Ok((libc::makedev(stx.stx_dev_major, stx.stx_dev_minor), stx.stx_ino)),
        Err(Errno::BADF) => Err(Errno::BADF),
        Err(_) => fstat(fd).map(|st| (st.st_dev, st.st_ino)),
    }
}

/// fstat(2).
pub fn fstat(fd: c_int) -> Result<libc::stat> {
    let mut st = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: libc's `struct stat` is the kernel's on 64-bit Linux.
    unsafe {
        call!(libc::SYS_fstat, fd, st.as_mut_ptr())?;
        Ok(st.assume_init())
    }
}

/// The birth time of a file in ns since 1970 (statx(2)); 0 if the file system keeps none, as for pipes.
pub fn birth(path: &CStr) -> u64 {
    birth_at(libc::AT_FDCWD, path, 0)
}

/// [`birth`] of an open file; needs no /proc.
pub fn birth_of(fd: c_int) -> u64 {
    birth_at(fd, c"", libc::AT_EMPTY_PATH)
}

fn birth_at(at: c_int, path: &CStr, flags: c_int) -> u64 {
    let mut stx = MaybeUninit::<libc::statx>::zeroed();
    let mask = libc::STATX_BTIME;
    // SAFETY: `path` ends in a NUL; libc's `struct statx` is the kernel's.
    unsafe {
        if call!(libc::SYS_statx, at, path.as_ptr(), flags, mask, stx.as_mut_ptr()).is_err() {
            return 0;
        }
        let stx = stx.assume_init();
        if stx.stx_mask & libc::STATX_BTIME == 0 {
            return 0;
        }
        let secs = (stx.stx_btime.tv_sec as u64).wrapping_mul(1_000_000_000);
        secs.wrapping_add(u64::from(stx.stx_btime.tv_nsec))
    }
}

/// Device, inode and type of a file by its name, as the kernel has them cached: a network file system's server, which
/// may not answer, is not asked.
pub fn glance(path: &CStr) -> Result<(u64, u64, u32)> {
    const TYPE_AND_INODE: u32 = 0x101;
    const DONT_SYNC: c_int = 0x4000;
    let mut stx = MaybeUninit::<libc::statx>::zeroed();
    let (at, to) = (libc::AT_FDCWD, stx.as_mut_ptr());
    // SAFETY: `path` ends in a NUL; libc's `struct statx` is the kernel's.
    let stx = unsafe {
        call!(libc::SYS_statx, at, path.as_ptr(), DONT_SYNC, TYPE_AND_INODE, to)?;
        stx.assume_init()
    };
    let device = u64::from(stx.stx_dev_major) << 32 | u64::from(stx.stx_dev_minor);
    Ok((device, stx.stx_ino, u32::from(stx.stx_mode) & libc::S_IFMT))
}

/// fallocate(2): reserves `len` bytes, so that a full file system is an error now and not a SIGBUS later. EFBIG: more
/// than RLIMIT_FSIZE, for which the kernel would send SIGXFSZ to the host.
pub fn reserve(fd: c_int, len: usize) -> Result<()> {
    if limit(libc::RLIMIT_FSIZE).is_ok_and(|most| most < len as u64) {
        return Err(Errno(libc::EFBIG));
    }
    // SAFETY: numbers only.
    unsafe { call!(libc::SYS_fallocate, fd, 0usize, 0usize, len).map(drop) }
}

/// fchmod(2).
pub fn fchmod(fd: c_int, mode: u32) -> Result<()> {
    // SAFETY: numbers only.
    unsafe { call!(libc::SYS_fchmod, fd, mode).map(drop) }
}

/// flock(2) without waiting: EAGAIN if another description has the lock.
pub fn lock(fd: c_int) -> Result<()> {
    // SAFETY: numbers only.
    unsafe { call!(libc::SYS_flock, fd, libc::LOCK_EX | libc::LOCK_NB).map(drop) }
}

/// Releases [`lock`], also for copies of the descriptor in forked children.
pub fn unlock(fd: c_int) {
    // SAFETY: numbers only.
    let _ = unsafe { call!(libc::SYS_flock, fd, libc::LOCK_UN) };
}

/// getdents64(2): raw directory records.
pub fn getdents(fd: c_int, buf: &mut [u8]) -> Result<usize> {
    // SAFETY: the buffer is ours and of that length.
    unsafe { call!(libc::SYS_getdents64, fd, buf.as_mut_ptr(), buf.len()) }
}

/// close_range(2), Linux 5.9: closes every descriptor from `first` on.
pub fn close_range(first: c_int) -> Result<()> {
    // SAFETY: the caller gives up those descriptors.
    unsafe { call!(libc::SYS_close_range, first, u32::MAX, 0usize).map(drop) }
}

/// A soft limit of this process (getrlimit(2)).
fn limit(which: libc::__rlimit_resource_t) -> Result<u64> {
    let mut lim = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: room for one struct.
    unsafe { call!(libc::SYS_prlimit64, 0usize, which, null::<c_void>(), &raw mut lim)? };
    Ok(lim.rlim_cur)
}

/// The soft limit on the stack, of which a program's arguments and environment may take a part (execve(2)).
pub fn stack_limit() -> u64 {
    limit(libc::RLIMIT_STACK).unwrap_or(0)
}

/// The soft limit on open descriptors.
pub fn open_files_limit() -> u64 {
    limit(libc::RLIMIT_NOFILE).unwrap_or(256)
}

/// Raises the soft limit on open descriptors to the hard limit; for processes of our own.
pub fn raise_open_files_limit() {
    let mut lim = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let which = libc::RLIMIT_NOFILE;
    // SAFETY: room for one struct; then one to read.
    unsafe {
        if call!(libc::SYS_prlimit64, 0usize, which, null::<c_void>(), &raw mut lim).is_ok() {
            lim.rlim_cur = lim.rlim_max.min(1 << 16);
            let _ = call!(libc::SYS_prlimit64, 0usize, which, &raw const lim, null_mut::<c_void>());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_goes_with_its_description() {
        let path = std::env::temp_dir().join(format!("jsshim-lock-{}", std::process::id()));
        std::fs::write(&path, "").unwrap();
        let path = crate::text::Path::new(path.as_os_str().as_encoded_bytes());
        let [one, two] = [0; 2].map(|_| open(path.c(), libc::O_RDWR, 0).unwrap());
        assert_eq!(is_byte_locked(two, 0), Ok(false));
        lock_byte(one, 0).unwrap();
        assert_eq!((is_byte_locked(two, 0), is_byte_locked(two, 1)), (Ok(true), Ok(false)));
        assert_eq!(lock_byte(two, 0), Err(Errno::AGAIN));
        lock_byte(two, 1).unwrap();
        close(one);
        assert_eq!(is_byte_locked(two, 0), Ok(false));
        close(two);
        super::super::unlink(path.c()).unwrap();
    }

    #[test]
    fn the_identity_is_that_of_fstat() {
        let [r, w] = pipe2(libc::O_CLOEXEC).unwrap();
        let file = open(c"/", libc::O_RDONLY, 0).unwrap();
        for fd in [r, w, file] {
            let st = fstat(fd).unwrap();
            assert_eq!(file_id(fd), Ok((st.st_dev, st.st_ino)));
            close(fd);
        }
        assert_eq!(file_id(r), Err(Errno::BADF));
    }

    #[test]
    fn splice_takes_one_byte_and_never_blocks() {
        let [r, w] = pipe2(libc::O_CLOEXEC).unwrap();
        let [r2, w2] = pipe2(libc::O_CLOEXEC).unwrap();
        assert_eq!(splice_byte(r, w2), Err(Errno::AGAIN));
        write(w, b"ab").unwrap();
        assert_eq!(splice_byte(r, w2), Ok(1));
        let mut buf = [0; 4];
        assert_eq!(read(r2, &mut buf), Ok(1));
        assert_eq!(buf[0], b'a');
        for fd in [r, w, r2, w2] {
            close(fd);
        }
    }
}
