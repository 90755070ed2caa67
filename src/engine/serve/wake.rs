//! Waking a wait: the self-pipe of each server, and the handler that writes to all of them.
//!
//! The handler knows only the table of write ends, which is atomic. A server that leaves removes its end from the
//! table. Before it closes the descriptor, whose number another file may get at once, it waits until no handler is
//! running that may have seen it. What is installed, and for how many servers, is changed under a lock. The lock is
//! never held while anything waits, and it names its holder, so that a copy in a forked child is recognised.

use core::ffi::{c_int, c_void};
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, AtomicUsize};

use crate::pool::pipe::move_high;
use crate::sys::{self, Action, Errno};

use super::children;
use super::mask::{Masked, CHILD, QUIT};
use super::self_pipe::SelfPipe;
use super::watched::Watched;

/// The most servers of one process at a time.
const MOST: usize = 256;

/// The write ends of the self-pipes; 0: unused.
static ENDS: [AtomicI32; MOST] = [const { AtomicI32::new(0) }; MOST];
/// The inodes of these pipes, by which a forked child that has closed everything recognises its own.
static INODES: [AtomicU64; MOST] = [const { AtomicU64::new(0) }; MOST];
/// The announced read ends of these servers; several may share one.
static ANNOUNCED: [AtomicI32; MOST] = [const { AtomicI32::new(0) }; MOST];
/// No entry from this index on was ever used.
static HIGH: AtomicUsize = AtomicUsize::new(0);
/// How many handlers are reading the table.
static INSIDE: AtomicU32 = AtomicU32::new(0);
/// The process to which these servers belong; its children by fork or vfork have the same handler.
static OWNER: AtomicI32 = AtomicI32::new(0);
/// The pid of the process that holds the lock, or 0.
static LOCK: AtomicI32 = AtomicI32::new(0);
/// The signalfd of SIGCHLD, or 0.
static SIGNALS: AtomicI32 = AtomicI32::new(0);

static CHILDREN: Watched = Watched::new(libc::SIGCHLD, handle);
static QUITS: [Watched; 2] =
    [Watched::new(libc::SIGINT, handle), Watched::new(libc::SIGTERM, handle)];

/// The handler for all of them: writes the signal's number to each self-pipe.
pub extern "C" fn handle(signal: c_int, info: *mut c_void, context: *mut c_void) {
    // SeqCst with the swap in `leave`: either this sees the end removed, or `leave` sees this in INSIDE.
    INSIDE.fetch_add(1, SeqCst);
    if OWNER.load(Relaxed) == sys::getpid() {
        for end in ENDS.iter().take(HIGH.load(Acquire)) {
            let fd = end.load(SeqCst);
            if fd > 0 {
                // If the pipe is full, it is readable, and that suffices.
                let _ = sys::write(fd, &[signal as u8]);
            }
        }
    }
    INSIDE.fetch_sub(1, SeqCst);
    let (handler, flags) = &CHILDREN.chained;
    if signal == libc::SIGCHLD {
        let words = (handler.load(Acquire), flags.load(Relaxed));
        // SAFETY: the arguments of this handler.
        unsafe { Action::chain(words, signal, info, context) };
    }
}

/// Runs `f` in one thread of this process at a time. All signals must be blocked.
fn locked<R>(f: impl FnOnce() -> R) -> R {
    let me = sys::getpid();
    loop {
        let holder = LOCK.load(Relaxed);
        // A holder with another pid was left behind by a fork.
        if holder != me && LOCK.compare_exchange(holder, me, Acquire, Relaxed).is_ok() {
            break;
        }
        sys::yield_now();
    }
    let result = f();
    LOCK.store(0, Release);
    result
}

/// The self-pipe of a server.
pub struct Wake {
    /// Readable when a child may have ended.
    pub fd: i32,
    place: usize,
    owner: i32,
}

impl Wake {
    /// Makes the self-pipe of a server with this announced end. The first one of the process installs the handler of
    /// SIGCHLD.
    ///
    /// # Errors
    /// EMFILE, ENFILE; `None`: no signalfd is to be had; ENOMEM: there are 256 servers in this process.
    pub fn new(_: &Masked, announced: i32) -> core::result::Result<Self, Option<Errno>> {
        locked(|| {
            let me = sys::getpid();
            if OWNER.load(Relaxed) != me {
                disown(None);
            }
            let mut ends = ENDS.iter().enumerate();
            let free = ends.find(|(_, end)| end.load(Relaxed) == 0);
            let (place, end) = free.ok_or(Some(Errno(libc::ENOMEM)))?;
            let pipe = SelfPipe::new().map_err(Some)?;
            if SIGNALS.load(Relaxed) == 0 {
                match sys::signalfd(CHILD) {
                    Ok(fd) => SIGNALS.store(move_high(fd), Relaxed),
                    Err(_) => {
                        pipe.close();
                        return Err(None);
                    }
                }
            }
            OWNER.store(me, Relaxed);
            let this = Self { fd: pipe.read, place, owner: me };
            if let Some(inode) = INODES.get(place) {
                inode.store(inode_of(pipe.read), Relaxed);
            }
            if let Some(place) = ANNOUNCED.get(place) {
                place.store(announced, Relaxed);
            }
            end.store(pipe.write, SeqCst);
            HIGH.fetch_max(place.saturating_add(1), SeqCst);
            CHILDREN.begin();
            Ok(this)
        })
    }

    /// Returns whether this is, in a forked child, the parent's self-pipe.
    pub fn is_foreign(&self) -> bool {
        self.owner != sys::getpid()
    }

    /// Empties the pipe. Calls `quit` for each SIGINT or SIGTERM in it.
    pub fn drain(&self, mut quit: impl FnMut(c_int)) {
        let mut buf = [0u8; 64];
        while let Ok(n @ 1..) = sys::read(self.fd, &mut buf) {
            let signals = buf.get(..n).unwrap_or_default().iter().map(|s| c_int::from(*s));
            signals.filter(|s| sys::sigset(*s) & QUIT != 0).for_each(&mut quit);
        }
    }

    /// Removes the self-pipe; the last one of the process restores SIGCHLD. Returns whether no other server of this
    /// process has the same announced end.
    pub fn leave(&mut self, _: &Masked) -> bool {
        if self.fd < 0 {
            return true;
        }
        let read = core::mem::replace(&mut self.fd, -1);
        let inode = INODES.get(self.place).map_or(0, |inode| inode.load(Relaxed));
        if self.is_foreign() {
            if inode_of(read) == inode {
                sys::close(read);
            }
            return true;
        }
        locked(|| {
            let write = ENDS.get(self.place).map_or(0, |end| end.swap(0, SeqCst));
            while INSIDE.load(SeqCst) != 0 {
                sys::yield_now();
            }
            SelfPipe { read, write }.close();
            CHILDREN.end();
            if CHILDREN.users.load(Relaxed) == 0 {
                sys::close(SIGNALS.swap(0, Relaxed));
            }
            let announced = ANNOUNCED.get(self.place).map_or(0, |fd| fd.load(Relaxed));
            let others = ENDS.iter().zip(&ANNOUNCED).filter(|(end, _)| end.load(Relaxed) != 0);
            others.filter(|(_, fd)| fd.load(Relaxed) == announced).count() == 0
        })
    }
}

/// The inode of a pipe; 0 for anything else.
fn inode_of(fd: i32) -> u64 {
    let st = sys::fstat(fd).ok().filter(|st| st.st_mode & libc::S_IFMT == libc::S_IFIFO);
    st.map_or(0, |st| st.st_ino)
}

/// Returns whether each SIGCHLD of this process ends a wait of a caller with this mask. It does not if a thread may
/// take it off the queue (sigwait(3)), or if the program has replaced our handler.
pub fn is_sure(mask: u64) -> bool {
    mask & CHILD == 0 && sys::action(libc::SIGCHLD).is_ok_and(|a| a.is(handle))
}

/// Readable while SIGCHLD is pending.
pub fn signals() -> i32 {
    Some(SIGNALS.load(Relaxed)).filter(|fd| *fd > 0).unwrap_or(-1)
}

/// From here on SIGINT and SIGTERM are written to the self-pipes, until [`unwatch_quits`].
pub fn watch_quits(_: &Masked) {
    locked(|| QUITS.iter().for_each(Watched::begin));
}

/// See [`watch_quits`].
pub fn unwatch_quits(_: &Masked) {
    locked(|| QUITS.iter().for_each(Watched::end));
}

/// Returns whether the program wants no status of its own children.
pub fn children_reap_themselves(_: &Masked) -> bool {
    // SAFETY: under the lock.
    locked(|| unsafe { (*CHILDREN.before.get()).reaps() })
}

/// In a forked child: forgets the servers, jobs and handlers of its parent. SIGCHLD gets its default action; SIGINT and
/// SIGTERM get what they had before. All signals must be blocked.
pub fn forget() {
    if OWNER.load(Relaxed) != sys::getpid() {
        disown(Some(Action::DEFAULT));
    }
}

fn disown(child: Option<Action>) {
    for (end, inode) in ENDS.iter().zip(&INODES).take(HIGH.swap(0, Relaxed)) {
        let fd = end.swap(0, Relaxed);
        if fd > 0 && inode_of(fd) == inode.load(Relaxed) {
            sys::close(fd);
        }
    }
    // It cannot be told from another file with its number, and the next exec closes it.
    SIGNALS.store(0, Relaxed);
    INSIDE.store(0, Relaxed);
    children::clear();
    CHILDREN.forget(child);
    QUITS.iter().for_each(|quit| quit.forget(None));
}
