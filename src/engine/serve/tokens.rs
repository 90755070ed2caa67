//! The tokens of a pool, for a client or server without a ledger.
//!
//! The announced descriptors are shared with all other users of the pool, so their flags are not changed. Tokens are
//! read through a description of our own, which does not block. Where none can be opened (no /proc, a pipe of another
//! uid), `splice` takes one byte from the announced end, without blocking either.

use crate::join::holders;
use crate::pool::pipe::{self, fd_path, move_high};
use crate::sys::{self, Errno, Result};
use crate::text::LongPath;

/// A pool. Only [`Tokens::close`] closes its descriptors.
pub struct Tokens {
    /// The announced end for reading.
    pub read: i32,
    /// The announced end for writing.
    pub write: i32,
    /// Device and inode.
    id: (u64, u64),
    /// Our own description, or -1.
    own: i32,
    /// The path of a fifo, if it is one.
    pub path: Option<LongPath>,
    /// Whether the pipe was made here.
    pub made: bool,
}

impl Tokens {
    /// Makes a new pipe with these tokens, at most 4096 (`PIPE_BUF`). Children inherit its ends.
    ///
    /// # Errors
    /// INVAL: too many tokens. As pipe2(2): EMFILE, ENFILE.
    pub fn create(tokens: &[u8]) -> Result<Self> {
        if tokens.len() > libc::PIPE_BUF {
            return Err(Errno::INVAL);
        }
        let [read, write] = sys::pipe2(0)?;
        let written = if tokens.is_empty() { Ok(0) } else { sys::write(write, tokens) };
        let joined = written.and_then(|_| Self::join(read, write)).inspect_err(|_| {
            sys::close(read);
            sys::close(write);
        })?;
        Ok(Self { made: true, ..joined })
    }

    /// Joins the pool of two inherited descriptors.
    ///
    /// # Errors
    /// EACCES: they are closed, or other files have their numbers: the recipe had no `+`.
    pub fn join(read: i32, write: i32) -> Result<Self> {
        let (dev, ino, _) = holders::inherited(read, write).ok_or(Errno(libc::EACCES))?;
        let path = fd_path(0, read);
        let own = pipe::open(&path, (dev, ino, 0), libc::O_RDWR).map_or(-1, move_high);
        Ok(Self { read, write, id: (dev, ino), own, path: None, made: false })
    }

    /// Joins the pool of a named pipe.
    ///
    /// # Errors
    /// ENODEV: there is no such file. EPROTO: it is no pipe. Others as open(2).
    pub fn join_fifo(path: &LongPath) -> Result<Self> {
        let flags = libc::O_RDWR | libc::O_NONBLOCK;
        let opened = sys::open(path.c(), flags, 0);
        let own = opened.map_err(|e| if e == Errno::NOENT { Errno(libc::ENODEV) } else { e })?;
        let st = sys::fstat(own)?;
        // It may be an emulated device (make's bug 67726).
        if !matches!(st.st_mode & libc::S_IFMT, libc::S_IFIFO | libc::S_IFCHR) {
            sys::close(own);
            return Err(Errno(libc::EPROTO));
        }
        let own = move_high(own);
        Ok(Self {
            read: own,
            write: own,
            id: (st.st_dev, st.st_ino),
            own,
            path: Some(*path),
            made: false,
        })
    }

    /// Takes one token, if there is one now.
    ///
    /// # Errors
    /// BADF: the announced end for reading is not open, or is no longer this pool.
    pub fn take(&self) -> Result<Option<u8>> {
        if !self.is_pool(self.read) {
            return Err(Errno::BADF);
        }
        let mut byte = [0];
        let read =
            if self.own >= 0 { sys::read(self.own, &mut byte) } else { self.splice(&mut byte) };
        match (read, byte) {
            (Ok(1), [byte]) => Ok(Some(byte)),
            (Err(Errno::AGAIN | Errno::INTR), _) => Ok(None),
            _ => Err(Errno::BADF),
        }
    }

    fn splice(&self, byte: &mut [u8]) -> Result<usize> {
        let Ok([from, to]) = sys::pipe2(libc::O_CLOEXEC) else { return Err(Errno::AGAIN) };
        let read = sys::splice_byte(self.read, to).and_then(|n| match n {
            0 => Ok(0),
            _ => sys::read(from, byte),
        });
        sys::close(from);
        sys::close(to);
        read
    }

    /// Gives a token back. If the announced end has been closed meanwhile, uses our own description; without either the
    /// token is lost.
    pub fn give(&self, token: u8) {
        let end = if self.is_pool(self.write) { self.write } else { self.own };
        while end >= 0 && sys::write(end, &[token]) == Err(Errno::INTR) {}
    }

    /// How many tokens the pool holds now.
    ///
    /// # Errors
    /// BADF: it cannot be determined.
    pub fn level(&self) -> Result<usize> {
        sys::level(if self.own >= 0 { self.own } else { self.read })
    }

    /// The descriptor to poll for a token.
    pub fn pollable(&self) -> i32 {
        if self.own >= 0 {
            self.own
        } else {
            self.read
        }
    }

    /// Our own description, or -1.
    pub(super) fn own(&self) -> i32 {
        self.own
    }

    /// Returns whether the announced end for reading is still open.
    pub fn is_open(&self) -> bool {
        self.is_pool(self.read)
    }

    fn is_pool(&self, fd: i32) -> bool {
        fd >= 0 && pipe::is(fd, (self.id.0, self.id.1, 0))
    }

    /// Closes our own description; with `ends` also the announced ends.
    pub fn close(&mut self, ends: bool) {
        let mut fds = [self.own, self.read, self.write];
        if self.path.is_some() || !ends {
            fds = [self.own, -1, -1];
        }
        for fd in fds.into_iter().filter(|fd| self.is_pool(*fd)) {
            sys::close(fd);
        }
        (self.own, self.read, self.write) = (-1, -1, -1);
    }
}
