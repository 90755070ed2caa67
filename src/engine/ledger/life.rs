//! Making a ledger, whole or not at all, and closing it.

use core::ffi::CStr;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};

use crate::pool::own_pool;
use crate::pool::pipe::{self, Id};
use crate::slots::State;
use crate::sync::{fence, AtomicI32, AtomicU64};
use crate::sys::{self, Errno, Result};
use crate::text::{self, Path};
use crate::{proc, space};

use super::access::Ledger;
use super::header::{Header, CLOSED, CLOSING, MAGIC, OPEN};
use super::opening::map;
use super::rundir::Lock;
use super::used::FIRST_ROOM;

/// The values with which a ledger is made.
pub struct Founding {
    /// Which pool.
    pub id: Id,
    /// How to open the pool.
    pub path: Path,
    /// See [`Header::space`].
    pub space: AtomicU64,
    /// See [`Header::root`].
    pub root: AtomicI32,
    /// See [`Header::slots`].
    pub slots: u32,
    /// See [`Header::load_milli`].
    pub load_milli: u32,
    /// Whether statistics are wanted.
    pub stats: bool,
    /// Where a trace is wanted; empty: none.
    pub trace: Path,
}

impl Ledger {
    /// Makes the ledger without a name, or under a name that only this process uses, then links it to its final name.
    ///
    /// # Errors
    /// EEXIST: another process was first; open its ledger. ENOSPC and others: from the file system.
    pub fn create(path: &CStr, founding: &Founding) -> Result<&'static Self> {
        match Self::create_unnamed(path, founding) {
            Err(e) if e != Errno::EXIST => Self::create_named(path, founding),
            made => made,
        }
    }

    /// A kill here leaves no file behind.
    #[inline(never)]
    fn create_unnamed(path: &CStr, founding: &Founding) -> Result<&'static Self> {
        let mut dir = Path::default();
        let fd = sys::unnamed(dir.put(text::parent(path.to_bytes())).c(), 0o600)?;
        let made = Self::fill(fd, founding, |fd| sys::link_fd(fd, path));
        sys::close(fd);
        made
    }

    #[inline(never)]
    fn create_named(path: &CStr, founding: &Founding) -> Result<&'static Self> {
        let mut tmp = Path::default();
        tmp.put(path.to_bytes()).put(b".").put_num(sys::getpid());
        if !tmp.fits() {
            return Err(Errno::INVAL);
        }
        let _ = sys::unlink(tmp.c());
        let how = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL;
        let fd = sys::open(tmp.c(), how, 0o600).inspect_err(|e| {
            // A process that may create a file but not write to it (landlock(7)) has created it.
            if *e == Errno(libc::EACCES) {
                let _ = sys::unlink(tmp.c());
            }
        })?;
        let made = Self::fill(fd, founding, |_| sys::link(tmp.c(), path));
        sys::close(fd);
        let _ = sys::unlink(tmp.c());
        made
    }

    #[inline(never)]
    fn fill(
        fd: i32,
        founding: &Founding,
        name: impl FnOnce(i32) -> Result<()>,
    ) -> Result<&'static Self> {
        // The umask may have removed the owner's own rights.
        sys::fchmod(fd, 0o600)?;
        sys::reserve(fd, Self::least_size())?;
        let shared = map(fd)?;
        shared.header.found(founding, &sys::fstat(fd)?);
        name(fd).map(|()| shared)
    }

    /// Another process is closing the ledger, or died doing so; taking the lock tells which. Returns whether the ledger
    /// is open.
    #[inline(never)]
    pub(super) fn reopen(&self, path: &CStr) -> bool {
        match lock(path) {
            Ok(Some(_lock)) => {
                let _ = self.header.state.compare_exchange(CLOSING, OPEN, SeqCst, SeqCst);
            }
            // No lock is to be had: the closing process has none either, and will finish soon.
            Ok(None) => {
                let closes = |_: &i32| self.header.state.load(SeqCst) == CLOSING;
                (0..100).take_while(closes).for_each(|_| sys::sleep_millis(1));
            }
            Err(_) => return false,
        }
        self.header.state.load(SeqCst) == OPEN
    }

    /// Returns whether the ledger is closed: no process can enter it any more.
    pub fn is_closed(&self) -> bool {
        self.header.state.load(SeqCst) == CLOSED
    }

    /// Closes the ledger and removes its name if no record is in use. Returns whether it is closed: another process may
    /// have closed it first, and the name may belong to another ledger by now.
    pub fn close_if_idle(&self, path: &CStr) -> bool {
        if !self.is_idle() {
            return false;
        }
        let Ok(_lock) = lock(path) else { return false };
        // If stat fails, assume that the name is ours: only the holder of the lock gives the name to another ledger.
        let there = sys::stat(path, false);
        let ours = there.is_err() || self.header.is_at(there);
        // A process killed here has left `Closing` or the name behind.
        let idle = self.header.state.swap(CLOSING, SeqCst) == CLOSED || {
            fence(SeqCst);
            self.is_idle()
        };
        // No process can enter from now on, and the name is certainly this ledger's.
        self.header.state.store(if idle { CLOSED } else { OPEN }, SeqCst);
        if idle && ours {
            let _ = sys::unlink(path);
        }
        idle
    }

    /// Returns whether this ledger's file, open as `file`, has lost its name, or another file has the name. No process
    /// can enter by the name then.
    pub fn is_nameless(&self, file: i32, path: &CStr) -> bool {
        let unlinked = sys::fstat(file).is_ok_and(|st| st.st_nlink == 0);
        unlinked
            || match sys::stat(path, false) {
                Err(e) => matches!(e, Errno::NOENT | Errno(libc::ENOTDIR)),
                there => !self.header.is_at(there),
            }
    }

    /// Returns whether no record is in use.
    pub fn is_idle(&self) -> bool {
        self.records().all(|(_, r)| r.state() == State::Free)
    }

    /// Returns whether any process in its records still runs.
    pub fn is_inhabited(&self) -> bool {
        self.records().filter(|(_, r)| r.state() != State::Free).any(|(_, r)| {
            let pid = r.pid.load(Acquire);
            pid > 0 && !proc::has_ended(pid)
        })
    }

    /// Closes the ledger whatever is in it. The caller holds the lock and gives the name to another ledger.
    pub fn give_up(&self) {
        self.header.state.store(CLOSED, SeqCst);
    }
}

/// Takes the lock that protects this ledger's name. Returns `Ok(None)` if its directory is gone or cannot be opened any
/// more, so that no other process gives or removes names there either.
///
/// # Errors
/// The lock is not available now; perhaps it will be later.
fn lock(path: &CStr) -> Result<Option<Lock>> {
    match Lock::take(path) {
        Err(e @ (Errno::AGAIN | Errno(libc::EMFILE | libc::ENFILE | libc::ENOMEM))) => Err(e),
        taken => Ok(taken.ok()),
    }
}

/// The session id of a pool's root, or of the make that made the pool; 0 if that process is in another PID namespace or
/// cannot be found.
fn session_of_build(root: i32, path: &Path) -> i32 {
    let ours =
        own_pool::maker(path.name()).map(|(pid, of, _)| if of == space::own() { pid } else { -1 });
    let builder = if root != 0 { root } else { ours.unwrap_or_else(|| pipe::maker(path)) };
    sys::getsid(builder).unwrap_or(0)
}

impl Header {
    #[inline(never)]
    fn found(&self, f: &Founding, file: &libc::stat) {
        let [dev, ino] = &self.file;
        dev.store(file.st_dev, Relaxed);
        ino.store(file.st_ino, Relaxed);
        for (at, part) in self.id.iter().zip([f.id.0, f.id.1, f.id.2]) {
            at.store(part, Relaxed);
        }
        let root = f.root.load(Acquire);
        self.root.store(root, Relaxed);
        if root != 0 {
            let born = proc::stat(root).map_or(0, |s| s.start as u32);
            self.root_born.store(born, Relaxed);
        }
        self.session.store(session_of_build(root, &f.path), Relaxed);
        self.space.store(f.space.load(Acquire), Relaxed);
        self.boot.store(proc::boot(), Relaxed);
        self.slots.store(f.slots, Relaxed);
        self.load_milli.store(f.load_milli, Relaxed);
        self.set_path(&f.path);
        self.used.room.store(FIRST_ROOM, Relaxed);
        self.state.store(OPEN, SeqCst);
        self.magic.store(MAGIC, Release);
    }
}
