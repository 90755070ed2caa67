//! What the ledger's file starts with.

use core::sync::atomic::Ordering::{Acquire, Relaxed};

use crate::pool::pipe::{self, Id};
use crate::proc;
use crate::show::lanes::Lanes;
use crate::sync::{AtomicI32, AtomicU32, AtomicU64, AtomicU8};
use crate::sys::{self, Result};
use crate::text::Path;

use super::asked::Asked;
use super::stats::Stats;

pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"jsshim\x00\x05");
pub(crate) const OPEN: u32 = 1;
pub(crate) const CLOSING: u32 = 2;
pub(crate) const CLOSED: u32 = 3;
/// The byte of the file on which the guard holds a lock.
pub const LIFE: i64 = 0;
/// The byte on which a starter of the guard holds one.
pub const START: i64 = 1;
/// The byte on which keepers that wait for their turn share one.
pub const NEXT: i64 = 2;

/// What the file starts with. The plain values are written before the file has a name.
#[repr(C, align(4096))]
pub struct Header {
    pub(super) magic: AtomicU64,
    pub(super) state: AtomicU32,
    /// The guard's pid; 0 when there was none yet.
    pub guard: AtomicI32,
    /// The guard's descriptor of the pool, by which others can open it; -1 if it has none.
    pub guard_fd: AtomicI32,
    /// Records ever used: nothing lies above.
    pub(super) high: AtomicU32,
    pub(super) hint: AtomicU32,
    pub(super) id: [AtomicU64; 3],
    /// For a pool of our own: the process with which it ends; otherwise 0.
    pub root: AtomicI32,
    /// Slots of the pool, the implicit one of its root included; 0 if unknown.
    pub slots: AtomicU32,
    /// No start while the load is above this many thousandths; 0: no limit (`-l`).
    pub load_milli: AtomicU32,
    /// When the root started, as [`crate::ledger::record::Record::born`]; 0 if unknown.
    pub root_born: AtomicU32,
    /// The guard's double; 0 if it has none.
    pub double: AtomicI32,
    /// The keeper that the guard is below, and the client that it belongs to; 0 if there is none. See
    /// [`crate::guard::keeper`].
    pub keeper: AtomicI32,
    /// See `keeper`.
    pub owner: AtomicI32,
    /// Orphans of the ledger's processes go to one that minds them.
    pub minds: AtomicU32,
    /// The guard that is asked to make room for another one.
    pub resign: AtomicI32,
    /// The root, when it is at its end.
    pub leaving: AtomicI32,
    /// Not 0: a job that computes may have borrowed its slot ([`crate::lending`]).
    pub owed: AtomicU32,
    /// Not 0: the guard knows that jobs wait, and looks often.
    pub looks: AtomicU32,
    /// How many more jobs computed than there were slots when the guard looked last.
    pub debt: AtomicU32,
    /// The job that has woken up without waiting, since it will not compute for long ([`super::handle::Handle::pack`]); 0: none.
    pub grace: AtomicU64,
    /// How often the guard has looked.
    pub rounds: AtomicU32,
    /// Slots whose jobs slept when the guard looked last, and that nobody has taken since.
    pub spare: AtomicU32,
    /// The session of the build that the pool was made for; 0: one from outside this PID namespace.
    pub session: AtomicI32,
    /// That build has ended. Only daemons of it are left, and the guard keeps the pool for them.
    pub outlived: AtomicU32,
    /// The PID namespace of all pids in it ([`crate::space::own`]); 0 if its maker could not tell.
    pub(super) space: AtomicU64,
    /// See [`proc::boot`].
    pub(super) boot: AtomicU64,
    /// Device and inode of the file itself.
    pub(super) file: [AtomicU64; 2],
    path: [AtomicU8; 256],
    /// Who asked for lanes and a trace.
    pub asked: Asked,
    /// What has been counted.
    pub stats: Stats,
    /// Which slot is which.
    pub lanes: Lanes,
}

impl Header {
    /// Which pool it is.
    pub fn id(&self) -> Id {
        let [dev, ino, birth] = &self.id;
        (dev.load(Relaxed), ino.load(Relaxed), birth.load(Relaxed))
    }

    /// The PID namespace to which the pids in it belong ([`crate::space::own`]).
    pub fn space(&self) -> u64 {
        self.space.load(Relaxed)
    }

    /// A path by which the pool can be opened now: the one it was found by, else the guard's.
    pub fn reach(&self) -> Path {
        let path = self.path();
        let guard = self.guard.load(Acquire);
        match pipe::open(&path, self.id(), libc::O_RDONLY) {
            Ok(fd) => sys::close(fd),
            Err(_) if guard > 0 => {
                return pipe::fd_path(guard, self.guard_fd.load(Acquire));
            }
            Err(_) => {}
        }
        path
    }

    /// The guard that keeps the pool for daemons which have outlived their build, and its descriptor.
    pub fn kept_by(&self) -> Option<(i32, i32)> {
        if self.outlived.load(Acquire) == 0 {
            return None;
        }
        Some((self.guard.load(Acquire), self.guard_fd.load(Acquire)))
    }

    /// The path by which the pool was found, if it is a proper string.
    pub fn path(&self) -> Path {
        let mut p = Path::default();
        for b in self.path.iter().map(|b| b.load(Relaxed)).take_while(|b| *b != 0) {
            p.push([b]);
        }
        p
    }

    /// Is this file (still) the ledger's own, and not one that came later under its name?
    pub fn is_at(&self, file: Result<libc::stat>) -> bool {
        let [dev, ino] = &self.file;
        file.is_ok_and(|st| (st.st_dev, st.st_ino) == (dev.load(Relaxed), ino.load(Relaxed)))
    }

    /// Was it made since the machine was started? If so, a pipe of its pool's number is its pool.
    pub fn is_of_this_boot(&self) -> bool {
        let boot = self.boot.load(Relaxed);
        boot != 0 && boot == proc::boot()
    }

    pub(super) fn set_path(&self, path: &Path) {
        for (at, b) in self.path.iter().zip(path.c().to_bytes_with_nul()) {
            at.store(*b, Relaxed);
        }
    }
}
