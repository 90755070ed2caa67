//! The pool's tokens: taking a byte, and giving it back.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use crate::ledger::record::Record;
use crate::sync::{AtomicI32, AtomicU64};
use crate::sys::{self, Errno, Result};
use crate::text::Path;

use super::pipe::{self, Id};
use super::place::Place;

/// A pool that was found or made.
pub struct Pool {
    /// The identity of its pipe.
    pub id: Id,
    /// The path by which it is opened; empty if it cannot be opened.
    pub path: Path,
    /// The inherited read and write end, if there are any.
    pub inherited: Option<(i32, i32)>,
    /// The description that is kept while there are jobs, with [`WRITES`] if it is also open for writing; or -1.
    fd: AtomicI32,
    /// The descriptor by which a byte is being written back, or -1.
    giving: AtomicI32,
    /// The guard's pid, and in the lower half its descriptor of the pool, for when the path leads nowhere; or 0.
    guard: AtomicU64,
}

/// A flag in [`Pool::fd`]; descriptors are smaller (`fs.nr_open`, proc(5)).
const WRITES: i32 = 1 << 30;

/// The result of taking a token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// A byte is in the record.
    Yes,
    /// No token is free now.
    Empty,
    /// No process has the pool open any more, or it cannot be reached.
    Gone,
}

/// The descriptor by which a byte is written back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The kept description: it is open for reading, too, so there is a reader.
    Kept,
    /// Opened for this write, also for reading.
    Opened,
    /// The inherited write end: there may be no reader any more.
    Inherited,
}

/// How often a write is tried if the kernel has no memory for it, 5 ms apart.
const GIVES: usize = 20;

/// Writes a byte back. Returns false if the kernel has no memory for it. `quiet`: without SIGPIPE.
fn put(fd: i32, byte: u8, quiet: bool) -> bool {
    for _ in 0..GIVES {
        let write = || sys::write(fd, &[byte]);
        match if quiet { sys::without_signals(write) } else { write() } {
            Err(Errno::INTR) => {}
            // The pool is full because more is in it than it was made with, or it has no reader any more: nothing is
            // owed.
            Ok(_) | Err(Errno::AGAIN | Errno::PIPE) => return true,
            // Keep the byte here: to another process, which may free the record, the record holds none.
            Err(_) => sys::sleep_millis(5),
        }
    }
    false
}

impl Pool {
    /// A pool whose identity is known.
    pub fn new(id: Id, path: Path, inherited: Option<(i32, i32)>) -> Self {
        let (fd, giving) = (AtomicI32::new(-1), AtomicI32::new(-1));
        Self { id, path, inherited, fd, giving, guard: AtomicU64::new(0) }
    }

    /// Copies the pool to `at`, without the descriptors that it has opened.
    ///
    /// # Safety
    /// `at` must be valid for a write.
    pub unsafe fn copy_to(&self, at: *mut Self) {
        // SAFETY: by the contract; all fields are written.
        unsafe {
            (&raw mut (*at).id).write(self.id);
            (&raw mut (*at).path).copy_from_nonoverlapping(&self.path, 1);
            (&raw mut (*at).inherited).write(self.inherited);
            (&raw mut (*at).fd).write(AtomicI32::new(-1));
            (&raw mut (*at).giving).write(AtomicI32::new(-1));
            (&raw mut (*at).guard).write(AtomicU64::new(0));
        }
    }

    /// Notes that this guard has the pool open as `fd`, for when the path leads nowhere.
    pub fn reach_by(&self, guard: i32, fd: i32) {
        let way = u64::from(guard.unsigned_abs()) << 32 | u64::from(fd.unsigned_abs());
        // Read first: in a forked child a store copies the page.
        if self.guard.load(Acquire) != way {
            self.guard.store(way, Release);
        }
    }

    /// Opens the pool by its path, or if that fails, through the guard.
    ///
    /// # Errors
    /// As [`pipe::open`].
    pub fn open(&self, how: i32) -> Result<i32> {
        let opened = pipe::open(&self.path, self.id, how);
        if opened.is_err() && self.guard.load(Acquire) != 0 {
            return self.open_by_guard(how);
        }
        opened
    }

    #[inline(never)]
    fn open_by_guard(&self, how: i32) -> Result<i32> {
        let way = self.guard.load(Acquire);
        pipe::open(&pipe::fd_path((way >> 32) as i32, way as i32), self.id, how)
    }

    /// Our own description for reading, non-blocking, kept until [`Pool::close`]. Its identity is checked each time: a
    /// host may have closed or reused the number.
    fn own(&self) -> Result<i32> {
        let kept = self.fd.load(Acquire);
        if let Some(fd) = self.ours(kept) {
            return Ok(fd);
        }
        let writes = self.write_end().is_some();
        let (how, mark) = if writes { (libc::O_RDWR, WRITES) } else { (libc::O_RDONLY, 0) };
        let fd = pipe::move_high(self.open(how)?);
        match self.fd.compare_exchange(kept, fd | mark, AcqRel, Acquire) {
            Ok(_) => Ok(fd),
            Err(other) => {
                sys::close(fd);
                Ok(other & !WRITES)
            }
        }
    }

    /// Returns the descriptor without [`WRITES`], if it is (still) this pool.
    fn ours(&self, fd: i32) -> Option<i32> {
        (fd >= 0).then_some(fd & !WRITES).filter(|fd| pipe::is(*fd, self.id))
    }

    /// The inherited write end, if it is still open.
    fn write_end(&self) -> Option<i32> {
        self.inherited.and_then(|(_, w)| self.ours(w))
    }

    /// Closes the kept description.
    pub fn close(&self) {
        if let Some(fd) = self.ours(self.fd.swap(-1, AcqRel)) {
            sys::close(fd);
        }
    }

    /// [`Pool::close`] in a forked child; also closes the descriptor by which another thread of the parent was writing.
    /// The fields keep their values, since a store would cost the child a copy of the page: each use checks the
    /// identity first.
    pub fn forked(&self) {
        for fd in [&self.fd, &self.giving] {
            if let Some(fd) = self.ours(fd.load(Acquire)) {
                sys::close(fd);
            }
        }
    }

    /// Takes one token into `record`, without waiting.
    pub fn take(&self, record: &Record, generation: u64) -> Taken {
        self.take_into(&record.landing, generation)
    }

    /// [`Pool::take`] into a place to which no other process reads.
    pub fn take_into(&self, place: &Place, generation: u64) -> Taken {
        if !place.announce(generation) {
            return Taken::Empty;
        }
        let taken = match self.own() {
            Ok(fd) => Self::take_own(fd, place),
            Err(_) => self.take_inherited(place),
        };
        match taken {
            Taken::Yes => place.mark(generation),
            _ => place.forgo(generation),
        }
        taken
    }

    fn take_own(fd: i32, landing: &Place) -> Taken {
        // SAFETY: the landing place is in the ledger's mapping, which is never unmapped.
        match unsafe { sys::read_byte_to(fd, landing.address()) } {
            Ok(1) => Taken::Yes,
            Err(Errno::AGAIN | Errno::INTR) => Taken::Empty,
            _ => Taken::Gone,
        }
    }

    fn take_inherited(&self, landing: &Place) -> Taken {
        let Some((r, w)) = self.inherited.filter(|(r, _)| pipe::is(*r, self.id)) else {
            return Taken::Gone;
        };
        let Ok([from, to]) = sys::pipe2(libc::O_CLOEXEC) else {
            return Taken::Empty;
        };
        let moved = sys::splice_byte(r, to);
        // SAFETY: as in `take_own`.
        let land = |_| unsafe { sys::read_byte_to(from, landing.address()) };
        let read = moved.and_then(land);
        if moved == Ok(1) && read != Ok(1) {
            // The byte must not end with the pipe that it is in.
            let _ = sys::splice_byte(from, w);
        }
        sys::close(from);
        sys::close(to);
        match (moved, read) {
            (_, Ok(1)) => Taken::Yes,
            (Err(Errno::AGAIN | Errno::INTR), _) => Taken::Empty,
            _ => Taken::Gone,
        }
    }

    /// Writes the bytes of a record back. Returns false if the pool cannot be reached; the bytes are still there then.
    /// An unmarked byte stays: its reader lives, has not noticed it yet, and will handle it.
    pub fn give(&self, record: &Record, generation: u64) -> bool {
        let mut marked = record.places().into_iter().filter(|p| p.is_marked(generation));
        marked.all(|place| self.give_from(place, generation))
    }

    /// [`Pool::give`] for a job that has ended: no byte can arrive afterwards.
    pub fn give_all(&self, record: &Record, generation: u64) -> bool {
        let seal = |place: &&Place| loop {
            if !self.write_back(place, generation, Place::seal) {
                return false;
            }
            if place.seal_empty(generation) {
                return true;
            }
        };
        record.places().iter().all(seal)
    }

    /// Writes the byte of a place back, if it has one; as [`Pool::give`].
    pub fn give_from(&self, place: &Place, generation: u64) -> bool {
        self.write_back(place, generation, Place::take)
    }

    /// The descriptor is opened first: only a few instructions lie between taking the byte and writing it, so that a
    /// SIGKILL is very unlikely to lose it.
    fn write_back(
        &self,
        place: &Place,
        generation: u64,
        take: fn(&Place, u64) -> Option<u8>,
    ) -> bool {
        if !place.is_full(generation) {
            return true;
        }
        let Some((fd, end)) = self.writer() else { return false };
        let put = |byte| put(fd, byte, end == End::Inherited);
        let given = take(place, generation)
            .is_none_or(|byte| put(byte) || !place.put_back(generation, byte));
        self.end_writing(fd, end);
        given
    }

    /// Writes back a byte that is in no record any more. Returns false if the pool cannot be reached.
    pub fn give_byte(&self, byte: u8) -> bool {
        let Some((fd, end)) = self.writer() else { return false };
        let given = put(fd, byte, end == End::Inherited);
        self.end_writing(fd, end);
        given
    }

    fn end_writing(&self, fd: i32, end: End) {
        if end == End::Opened {
            self.giving.store(-1, Release);
            sys::close(fd);
        }
    }

    fn writer(&self) -> Option<(i32, End)> {
        let kept = self.fd.load(Acquire);
        let for_writing = (kept >= WRITES).then_some(kept);
        if let Some(fd) = for_writing.and_then(|fd| self.ours(fd)) {
            return Some((fd, End::Kept));
        }
        match self.open(libc::O_RDWR) {
            Ok(fd) => {
                self.giving.store(fd, Release);
                Some((fd, End::Opened))
            }
            Err(_) => self.write_end().map(|fd| (fd, End::Inherited)),
        }
    }

    /// Makes `to` a write end that the next program inherits, or closes it. Async-signal-safe.
    pub fn hand_down(&self, to: i32) {
        let opened = self.open(libc::O_WRONLY).ok();
        let done = match opened.or_else(|| self.write_end()) {
            Some(fd) if fd == to => sys::fcntl(fd, libc::F_SETFD, 0).map(drop),
            Some(fd) => sys::dup_to(fd, to, 0),
            None => Err(Errno::NOENT),
        };
        opened.into_iter().filter(|fd| *fd != to).for_each(sys::close);
        if done.is_err() {
            sys::close(to);
        }
    }

    /// A descriptor to poll for tokens: our own, or the inherited read end.
    pub fn pollable(&self) -> Option<i32> {
        self.own().ok().or_else(|| self.inherited.and_then(|(r, _)| self.ours(r)))
    }
}
