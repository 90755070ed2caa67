//! The system calls of the engine, made to the kernel in memory. The names and types are those of
//! `src/engine/sys`; the manual pages are the same.

mod guards;
mod spaces;
mod time;

use core::ffi::{c_int, CStr};
use std::sync::Arc;

use crate::kernel::{self, current, enter, kernel, Kernel, Life, Node, Open};
use crate::sync::changes;
use crate::sync::Ordering::AcqRel;

pub use guards::*;
pub use spaces::*;
pub use time::*;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub i32);

impl Errno {
    pub const AGAIN: Self = Self(libc::EAGAIN);
    pub const INTR: Self = Self(libc::EINTR);
    pub const BADF: Self = Self(libc::EBADF);
    pub const EXIST: Self = Self(libc::EEXIST);
    pub const NOENT: Self = Self(libc::ENOENT);
    pub const SRCH: Self = Self(libc::ESRCH);
    pub const PIPE: Self = Self(libc::EPIPE);
    pub const INVAL: Self = Self(libc::EINVAL);
}

pub type Result<T> = core::result::Result<T, Errno>;

/// A system call: the signal that has been sent comes first.
fn call<R>(f: impl FnOnce(&mut Kernel) -> R) -> R {
    enter();
    kernel(f)
}

// ---- files -----------------------------------------------------------------------------------

/// The same where names of ledgers come and go: loom shall see it.
fn naming<R>(f: impl FnOnce(&mut Kernel) -> R) -> R {
    enter();
    changes(|| kernel(f))
}

pub fn open(path: &CStr, flags: c_int, _: u32) -> Result<c_int> {
    let is_ledger = path.to_bytes().ends_with(b".ledger");
    let open = |k: &mut Kernel| {
        let path = path.to_bytes();
        let new = libc::O_CREAT | libc::O_EXCL;
        let node = match k.find(path) {
            Ok(_) if flags & new == new => return Err(Errno::EXIST),
            Err(Errno::NOENT) if flags & new == new => {
                let node = k.create_memory();
                k.files.insert(path.to_vec(), node.clone());
                node
            }
            found => found?,
        };
        k.open(node, flags)
    };
    if is_ledger {
        naming(open)
    } else {
        call(open)
    }
}

pub fn unnamed(_: &CStr, _: u32) -> Result<c_int> {
    call(|k| {
        let node = k.create_memory();
        k.open(node, libc::O_RDWR)
    })
}

/// A handler calls it, which nothing can be unwound through.
pub fn close(fd: c_int) {
    kernel(|k| {
        if let Some(process) = k.processes.get_mut(&current()) {
            process.fds.remove(&fd);
        }
    });
}

/// Of what is no pipe.
fn read_data(open: &mut Open, buf: &mut [u8], at: Option<usize>) -> Result<usize> {
    let (Node::Data(data) | Node::Folder(data)) = &open.node else { return Err(Errno::INVAL) };
    let rest = data.get(at.unwrap_or(open.at)..).unwrap_or_default();
    let n = rest.len().min(buf.len());
    buf[..n].copy_from_slice(&rest[..n]);
    if at.is_none() {
        open.at += n;
    }
    Ok(n)
}

pub fn read(fd: c_int, buf: &mut [u8]) -> Result<usize> {
    call(|k| read_data(k.fd(fd)?, buf, None))
}

pub fn pread(fd: c_int, buf: &mut [u8], at: u64) -> Result<usize> {
    let at = i64::try_from(at).map_err(|_| Errno::INVAL)? as usize;
    call(|k| read_data(k.fd(fd)?, buf, Some(at)))
}

pub fn getdents(fd: c_int, buf: &mut [u8]) -> Result<usize> {
    read(fd, buf)
}

/// Takes a byte out of a pipe. `Ok(None)`: it would have to wait.
fn take(k: &mut Kernel, fd: c_int) -> Result<Option<u8>> {
    let open = k.fd(fd)?;
    let (Node::Pipe(pipe), flags) = (open.node.clone(), open.flags) else {
        return Err(Errno::INVAL);
    };
    match k.pipes[pipe].pop_front() {
        Some(byte) => {
            k.taken += 1;
            Ok(Some(byte))
        }
        None if flags & libc::O_NONBLOCK != 0 => Err(Errno::AGAIN),
        None => Ok(None),
    }
}

/// # Safety
/// `to` must be in the memory of a ledger.
pub unsafe fn read_byte_to(fd: c_int, to: *mut u8) -> Result<usize> {
    enter();
    let byte = kernel::wait_for(|k| take(k, fd).transpose())??;
    // SAFETY: by the contract.
    unsafe { crate::sync::kernel_writes(to, byte) };
    Ok(1)
}

pub fn write(fd: c_int, buf: &[u8]) -> Result<usize> {
    enter();
    changes(|| {
        kernel(|k| {
            let Node::Pipe(pipe) = k.fd(fd)?.node.clone() else { return Err(Errno::INVAL) };
            k.pipes[pipe].extend(buf);
            k.given += buf.len() as u64;
            assert!(k.given <= k.taken + k.owed, "more bytes go to the pool than came from it");
            Ok(buf.len())
        })
    })
}

pub fn pwrite(_: c_int, _: &[u8], _: u64) -> Result<usize> {
    Err(Errno::INVAL)
}

pub fn splice_byte(_: c_int, _: c_int) -> Result<usize> {
    Err(Errno::INVAL)
}

pub fn pipe2(_: c_int) -> Result<[c_int; 2]> {
    Err(Errno(libc::EMFILE))
}

pub fn unix_peer(_: u64) -> Result<Option<u64>> {
    Err(Errno::NOENT)
}

/// Pidfds are ready when their process has ended, pipes when a byte is there. Nobody waits here but for
/// another look: a turn of the others, and time passes.
#[cfg_attr(feature = "loom", allow(unused_variables))]
pub fn poll(fds: &mut [libc::pollfd], millis: i64) -> Result<usize> {
    let ready = call(|k| {
        let mut ready = 0;
        for p in fds.iter_mut() {
            let ended = match k.fd(p.fd).map(|open| open.node.clone()) {
                Ok(Node::Process(pid)) => !k.runs(pid),
                Ok(Node::Pipe(pipe)) => !k.pipes[pipe].is_empty(),
                _ => false,
            };
            p.revents = if ended { libc::POLLIN } else { 0 };
            ready += usize::from(ended);
        }
        ready
    });
    #[cfg(not(feature = "loom"))]
    if ready == 0 && millis > 0 {
        crate::targets::world::time_passes(millis as u64);
    }
    Ok(ready)
}

/// Sleeps with the signal not blocked, until it comes. Time passes by [`Kernel::tick`] only.
pub fn ppoll(_: &mut [libc::pollfd], _: Option<u64>, _: Option<u64>) -> Result<usize> {
    enter();
    let blocked = kernel::is_blocked();
    kernel::block(false);
    let timer = cfg!(not(feature = "loom"));
    let times = |timer| {
        kernel(|k| {
            let process = k.processes.get_mut(&kernel::current());
            process.is_some_and(|p| std::mem::replace(&mut p.timer, timer))
        })
    };
    let before = times(timer);
    let slept = kernel::wait_for(|_| None::<usize>);
    times(before);
    kernel::block(blocked);
    slept
}

pub fn epoll_create() -> Result<c_int> {
    Err(Errno(libc::ENOSYS))
}

pub fn epoll_add(_: c_int, _: c_int, _: u64, _: c_int) -> Result<()> {
    Err(Errno(libc::ENOSYS))
}

pub fn epoll_remove(_: c_int, _: c_int) -> Result<()> {
    Err(Errno(libc::ENOSYS))
}

pub fn epoll_ready(_: c_int, _: &mut [libc::epoll_event]) -> Result<usize> {
    Err(Errno(libc::ENOSYS))
}

pub fn epoll_wait(_: c_int, _: &mut [libc::epoll_event], _: i64) -> Result<usize> {
    Err(Errno(libc::ENOSYS))
}

pub fn fcntl(fd: c_int, cmd: c_int, arg: c_int) -> Result<c_int> {
    call(|k| {
        let open = k.fd(fd)?;
        match cmd {
            libc::F_GETFL => Ok(open.flags),
            libc::F_SETFL => {
                open.flags = arg;
                Ok(0)
            }
            libc::F_DUPFD_CLOEXEC => {
                let copy = open.clone();
                k.install(copy)
            }
            _ => Ok(0),
        }
    })
}

pub fn set_blocking(fd: c_int) -> Result<()> {
    let flags = fcntl(fd, libc::F_GETFL, 0)?;
    fcntl(fd, libc::F_SETFL, flags & !libc::O_NONBLOCK).map(drop)
}

fn describe(node: &Node) -> libc::stat {
    // SAFETY: a struct of numbers.
    let mut st: libc::stat = unsafe { core::mem::zeroed() };
    (st.st_dev, st.st_ino, st.st_mode) = match node {
        Node::Pipe(n) => (1, *n as u64, libc::S_IFIFO | 0o600),
        Node::Memory(memory) => (2, memory.number, libc::S_IFREG | 0o600),
        Node::Data(_) => (5, 1, libc::S_IFREG | 0o755),
        Node::Process(_) => (3, 1, libc::S_IFREG),
        Node::Folder(_) => (4, 1, libc::S_IFDIR | 0o700),
    };
    if let Node::Memory(_) = node {
        st.st_size = size_of::<crate::ledger::access::Ledger>() as i64;
    }
    st
}

pub fn fstat(fd: c_int) -> Result<libc::stat> {
    call(|k| Ok(describe(&k.fd(fd)?.node)))
}

pub fn file_id(fd: c_int) -> Result<(u64, u64)> {
    fstat(fd).map(|st| (st.st_dev, st.st_ino))
}

pub fn stat(path: &CStr, _: bool) -> Result<libc::stat> {
    call(|k| Ok(describe(&k.find(path.to_bytes())?)))
}

pub fn may(path: &CStr, _: i32) -> Result<()> {
    stat(path, true).map(drop)
}

pub use self::{birth as birth_of, may as access, may as chmod};

pub fn birth<T>(_: T) -> u64 {
    0
}

pub fn mkdir(path: &CStr, _: u32) -> Result<()> {
    call(|k| {
        k.files.insert(path.to_bytes().to_vec(), Node::Folder(Arc::from([])));
        Ok(())
    })
}

pub fn fchmod(_: c_int, _: u32) -> Result<()> {
    Ok(())
}

/// Nobody makes a pool of his own here.
pub fn mkfifo(_: &CStr, _: u32) -> Result<()> {
    Err(Errno::INVAL)
}

pub fn affinity() -> Result<u32> {
    Ok(1)
}

pub fn link(old: &CStr, new: &CStr) -> Result<()> {
    naming(|k| {
        let node = k.find(old.to_bytes())?;
        if k.files.contains_key(new.to_bytes()) {
            return Err(Errno::EXIST);
        }
        k.files.insert(new.to_bytes().to_vec(), node);
        Ok(())
    })
}

pub fn link_fd(fd: c_int, new: &CStr) -> Result<()> {
    naming(|k| {
        let node = k.fd(fd)?.node.clone();
        if k.files.contains_key(new.to_bytes()) {
            return Err(Errno::EXIST);
        }
        k.files.insert(new.to_bytes().to_vec(), node);
        Ok(())
    })
}

pub fn unlink(path: &CStr) -> Result<()> {
    naming(|k| k.files.remove(path.to_bytes()).map(drop).ok_or(Errno::NOENT))
}

/// Under loom it waits, and never says EAGAIN: who is told so asks again and again. In a world nobody
/// has to wait while somebody has a lock, unless who has it is killed.
pub fn lock(fd: c_int) -> Result<()> {
    enter();
    if cfg!(feature = "loom") {
        return kernel::wait_for(|k| match k.lock(fd, None) {
            Err(Errno::AGAIN) => None,
            locked => Some(locked),
        })?;
    }
    kernel(|k| k.lock(fd, None))
}

/// Who is killed calls it, too, on its way out.
pub fn unlock(fd: c_int) {
    changes(|| kernel(|k| k.unlock(fd)));
}

pub fn lock_byte(fd: c_int, at: i64) -> Result<()> {
    call(|k| k.lock(fd, Some(at)))
}

pub fn await_byte(_: c_int, _: i64) -> Result<()> {
    Err(Errno::INVAL)
}

pub fn is_byte_locked(fd: c_int, at: i64) -> Result<bool> {
    call(|k| k.is_locked(fd, Some(at)))
}

pub fn chdir(_: &CStr) -> Result<()> {
    Ok(())
}

pub fn reserve(_: c_int, _: usize) -> Result<()> {
    Ok(())
}

pub fn map(fd: c_int, len: usize) -> Result<*mut u8> {
    if fd < 0 {
        return Ok(Box::leak(vec![0; len].into_boxed_slice()).as_mut_ptr());
    }
    call(|k| {
        let Node::Memory(memory) = k.fd(fd)?.node.clone() else { return Err(Errno::INVAL) };
        let at = memory.address();
        k.mapped.push(memory);
        Ok(at)
    })
}

/// All processes of this kernel share their memory.
pub fn map_shared_anonymous(len: usize) -> Result<*mut u8> {
    map(-1, len)
}

/// # Safety
/// It must be anonymous memory of [`map`]; what is mapped of a file stays with its process.
pub unsafe fn unmap(at: *mut u8, len: usize) {
    // SAFETY: by the contract.
    drop(unsafe { Box::from_raw(core::ptr::slice_from_raw_parts_mut(at, len)) });
}

pub fn dup_to(fd: c_int, to: c_int, _: c_int) -> Result<()> {
    call(|k| {
        let copy = k.fd(fd)?.clone();
        if let Some(process) = k.processes.get_mut(&current()) {
            process.fds.insert(to, copy);
        }
        Ok(())
    })
}

pub fn level(fd: c_int) -> Result<usize> {
    call(|k| {
        let Node::Pipe(pipe) = k.fd(fd)?.node.clone() else { return Err(Errno::INVAL) };
        Ok(k.pipes[pipe].len())
    })
}

pub fn open_files_limit() -> u64 {
    1024
}

pub fn raise_open_files_limit() {}

// ---- processes -------------------------------------------------------------------------------

pub fn getpid() -> i32 {
    current()
}

pub fn getppid() -> i32 {
    call(|k| k.processes.get(&current()).map_or(0, |p| p.parent))
}

pub fn geteuid() -> u32 {
    0
}

pub fn setsid() {}

pub fn setpgid(_: i32) {}

pub fn getsid(_: i32) -> Result<i32> {
    Err(Errno::SRCH)
}

pub fn kill(pid: i32, signal: c_int) -> Result<()> {
    if let Some(signal) = call(|k| k.signal(pid, signal))? {
        // One atomic with the taking of it, or loom knows no order of the two.
        changes(|| signal.sent.swap(true, AcqRel));
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peek {
    Running,
    Zombie,
    Gone,
}

/// No process of the models passes its slot on by itself.
pub fn has_any_child() -> bool {
    true
}

pub fn peek(pid: i32) -> Peek {
    call(|k| match k.processes.get(&pid) {
        Some(p) if p.parent != current() => Peek::Gone,
        Some(p) if p.life == Life::Running => Peek::Running,
        Some(_) => Peek::Zombie,
        None => Peek::Gone,
    })
}

pub fn pidfd_open(pid: i32) -> Result<c_int> {
    call(|k| {
        k.processes.get(&pid).ok_or(Errno::SRCH)?;
        k.open(Node::Process(pid), 0)
    })
}

pub fn exit(status: c_int) -> ! {
    kernel::end_current(status)
}

pub fn date() -> u64 {
    0
}
