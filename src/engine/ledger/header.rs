//! The header of the ledger's file.

use core::sync::atomic::Ordering::{Acquire, Relaxed};

use crate::pool::pipe::{self, Id};
use crate::proc;
use crate::show::lanes::Lanes;
use crate::sync::{AtomicI32, AtomicU32, AtomicU64, AtomicU8};
use crate::sys::{self, Result};
use crate::text::Path;

use super::asked::Asked;
use super::passed::Passed;
use super::stats::Stats;
use super::used::Used;

pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"jsshim\x00\x08");
pub(crate) const OPEN: u32 = 1;
pub(crate) const CLOSING: u32 = 2;
pub(crate) const CLOSED: u32 = 3;
/// The byte of the file that the guard keeps locked.
pub const LIFE: i64 = 0;
/// The byte that the process starting a guard locks.
pub const START: i64 = 1;
/// The byte on which waiting keepers share a lock.
pub const NEXT: i64 = 2;

/// The header. The plain values are written before the file gets its name.
#[repr(C, align(4096))]
pub struct Header {
    pub(super) magic: AtomicU64,
    pub(super) state: AtomicU32,
    /// The guard's pid; 0 if there was none yet.
    pub guard: AtomicI32,
    /// The guard's descriptor of the pool, through which others can open the pool; -1 if it has none.
    pub guard_fd: AtomicI32,
    pub(super) id: [AtomicU64; 3],
    /// For a pool of our own, the pid of the process with which the pool ends; otherwise 0.
    pub root: AtomicI32,
    /// Slots of the pool, including the implicit slot of its root; 0 if unknown.
    pub slots: AtomicU32,
    /// No job starts while the load is above this many thousandths (`-l`); 0: no limit.
    pub load_milli: AtomicU32,
    /// When the root started, in the unit of [`crate::ledger::record::Record::born`]; 0 if unknown.
    pub root_born: AtomicU32,
    /// The pid of the guard's double; 0 if it has none.
    pub double: AtomicI32,
    /// The pid of the keeper, the guard's ancestor; 0 if there is none. See [`crate::guard::keeper`].
    pub keeper: AtomicI32,
    /// The pid of the client to which the keeper belongs; 0 if there is none.
    pub owner: AtomicI32,
    /// Not 0: orphans of the ledger's processes are reparented to a process that minds them.
    pub minds: AtomicU32,
    /// The pid of the guard that is asked to make room for another guard.
    pub resign: AtomicI32,
    /// The pid of the root when it is about to end.
    pub leaving: AtomicI32,
    /// Not 0: a job that computes may be borrowed ([`crate::lending`]).
    pub owed: AtomicU32,
    /// Whether the guard lends slots, and how often it checks which jobs sleep: 0 or one of the numbers of
    /// [`super::debts`].
    pub lending: AtomicU32,
    /// How many more jobs than slots computed at the guard's last check.
    pub debt: AtomicU32,
    /// The job that woke up and did not park, because it will not compute for long ([`super::handle::Handle::pack`]);
    /// 0: none.
    pub grace: AtomicU64,
    /// How often the guard has checked.
    pub rounds: AtomicU32,
    /// Not 0: a client with a weight above 1 has entered ([`crate::share`]).
    pub(super) weighted: AtomicU32,
    /// Not 0: a client of the background has entered ([`super::background`]).
    pub(super) background: AtomicU32,
    /// When a job of another client made its last step, in ns (`CLOCK_BOOTTIME`).
    pub(super) wanted: AtomicU64,
    /// How many held jobs could have started at the guard's last check, on slots whose jobs slept.
    pub spare: AtomicU32,
    /// How often jobs were parked.
    pub parks: AtomicU32,
    /// Not 0: that is often, so whoever falls asleep passes its slot on.
    pub passes: AtomicU32,
    /// Slots that were passed on.
    pub passed: Passed,
    /// Not 0: there was a job that waits for a record; and how often a record has become free since then.
    pub(super) starved: AtomicU32,
    pub(super) freed: AtomicU32,
    /// The session id of the build for which the pool was made; 0 if that build is outside of this PID namespace.
    pub session: AtomicI32,
    /// Not 0: that build has ended. Only its daemons are left, and the guard keeps the pool for them.
    pub outlived: AtomicU32,
    /// The PID namespace of all pids in the ledger ([`crate::space::own`]); 0 if its maker could not tell.
    pub(super) space: AtomicU64,
    /// See [`proc::boot`].
    pub(super) boot: AtomicU64,
    /// Device and inode of the file itself.
    pub(super) file: [AtomicU64; 2],
    path: [AtomicU8; 256],
    /// Whether lanes and a trace are wanted.
    pub asked: Asked,
    /// What has been counted.
    pub stats: Stats,
    /// Which records are in use. Its first words are on the header's first page.
    pub(super) used: Used,
    /// Which lanes are in use.
    pub lanes: Lanes,
}

impl Header {
    /// The identity of the pool.
    pub fn id(&self) -> Id {
        let [dev, ino, birth] = &self.id;
        (dev.load(Relaxed), ino.load(Relaxed), birth.load(Relaxed))
    }

    /// The PID namespace of the pids in the ledger ([`crate::space::own`]).
    pub fn space(&self) -> u64 {
        self.space.load(Relaxed)
    }

    /// A path by which the pool can be opened now: the path by which it was found, else the guard's descriptor.
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

    /// If the guard keeps the pool for daemons that outlived their build: its pid, and its descriptor of the pool.
    pub fn kept_by(&self) -> Option<(i32, i32)> {
        if self.outlived.load(Acquire) == 0 {
            return None;
        }
        Some((self.guard.load(Acquire), self.guard_fd.load(Acquire)))
    }

    /// The path by which the pool was found, if it is a valid string.
    pub fn path(&self) -> Path {
        let mut p = Path::default();
        for b in self.path.iter().map(|b| b.load(Relaxed)).take_while(|b| *b != 0) {
            p.push([b]);
        }
        p
    }

    /// Returns whether `file` is still the ledger's own file, not a later one of the same name.
    pub fn is_at(&self, file: Result<libc::stat>) -> bool {
        let [dev, ino] = &self.file;
        file.is_ok_and(|st| (st.st_dev, st.st_ino) == (dev.load(Relaxed), ino.load(Relaxed)))
    }

    /// Returns whether the ledger was made since the machine booted. If so, a pipe with its pool's inode is its pool.
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
