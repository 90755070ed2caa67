//! A job server pool made by the harness, which remembers what it put in.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The values of the tokens, in the order of their use: no two alike, and none that a careless
/// reader could take for "nothing" or for the customary `+` by accident.
const VALUES: [u8; 8] = [0xff, b'+', 0, b'G', 1, b'\n', 0x80, 2];

/// Numbers of the pipe's ends in the host, as make itself has them.
pub const READ_END: RawFd = 3;
pub const WRITE_END: RawFd = 4;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// The pipe of make up to 4.2.
    Blocking,
    /// The pipe of make 4.3 and later.
    NonBlocking,
    /// The named pipe of make 4.4.
    Fifo,
}

pub struct Pool {
    pub slots: usize,
    kind: Kind,
    read: File,
    write: File,
    path: PathBuf,
    flags: (i32, i32),
}

impl Pool {
    /// A pool for `slots` jobs: one byte less than slots, since each client owns an implicit one.
    pub fn new(kind: Kind, slots: usize, dir: &Path) -> io::Result<Pool> {
        let path = dir.join("pool");
        let (read, write) = match kind {
            Kind::Fifo => named(&path)?,
            Kind::Blocking => pipe(0)?,
            Kind::NonBlocking => pipe(libc::O_NONBLOCK)?,
        };
        let mut pool = Pool { slots, kind, read, write, path, flags: (0, 0) };
        pool.write.write_all(pool.tokens())?;
        pool.flags = pool.flags_now();
        Ok(pool)
    }

    fn tokens(&self) -> &'static [u8] {
        &VALUES[..self.slots - 1]
    }

    /// The tokens that lie in the pool now.
    pub fn level(&self) -> usize {
        let mut queued: libc::c_int = 0;
        // SAFETY: FIONREAD writes one int to the given place.
        let r = unsafe { libc::ioctl(self.read.as_raw_fd(), libc::FIONREAD, &mut queued) };
        assert_eq!(r, 0, "FIONREAD: {}", io::Error::last_os_error());
        usize::try_from(queued).unwrap()
    }

    pub fn is_full(&self) -> bool {
        self.level() == self.tokens().len()
    }

    /// What make would write into MAKEFLAGS for this pool.
    pub fn makeflags(&self) -> String {
        let auth = match self.kind {
            Kind::Fifo => format!("fifo:{}", self.path.display()),
            _ => format!("{READ_END},{WRITE_END}"),
        };
        format!(" -j{} --jobserver-auth={auth}", self.slots)
    }

    /// The descriptors that the host inherits.
    pub fn inherited(&self) -> Option<(RawFd, RawFd)> {
        (self.kind != Kind::Fifo).then(|| (self.read.as_raw_fd(), self.write.as_raw_fd()))
    }

    /// Says what is not as it was; takes all tokens out.
    pub fn complaint(&mut self) -> Option<String> {
        let flags = self.flags_now();
        let mut found = vec![0; self.level()];
        if !found.is_empty() {
            self.read.read_exact(&mut found).unwrap();
        }
        let mut wanted = self.tokens().to_vec();
        found.sort_unstable();
        wanted.sort_unstable();
        if found != wanted {
            return Some(format!("the pool holds {found:02x?} and held {wanted:02x?}"));
        }
        if flags != self.flags {
            return Some(format!("flags of the pool are {flags:x?} and were {:x?}", self.flags));
        }
        None
    }

    fn flags_now(&self) -> (i32, i32) {
        // SAFETY: F_GETFL takes no argument and reads no memory.
        let get = |file: &File| unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETFL) };
        (get(&self.read), get(&self.write))
    }
}

fn named(path: &Path) -> io::Result<(File, File)> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: `name` is a terminated string that lives through the call.
    if unsafe { libc::mkfifo(name.as_ptr(), 0o600) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let read = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let write = File::options().write(true).open(path)?;
    Ok((high(read.into())?, high(write.into())?))
}

fn pipe(read_flags: i32) -> io::Result<(File, File)> {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for the two descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both were opened just now and belong to nobody else.
    let (read, write) = unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
    if read_flags != 0 {
        // SAFETY: F_SETFL takes an int and reads no memory.
        unsafe { libc::fcntl(read.as_raw_fd(), libc::F_SETFL, read_flags) };
    }
    Ok((high(read)?, high(write)?))
}

/// Moves a descriptor out of the way of the numbers that hosts are given.
fn high(fd: OwnedFd) -> io::Result<File> {
    // SAFETY: F_DUPFD_CLOEXEC takes an int and reads no memory.
    let moved = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 100) };
    if moved < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was made just now and belongs to nobody else.
    Ok(unsafe { File::from_raw_fd(moved) })
}
