//! The pipeline rule: a job that reads from a running sibling is one job with it, and starts when there is data.

use core::sync::atomic::Ordering::Acquire;

use crate::ledger::access::Ledger;
use crate::ledger::record::Record;
use crate::pool::pipe;
use crate::pool::tokens::Pool;
use crate::slots::State;
use crate::sys::{self, Errno};
use crate::{proc, space};

/// How often, and for how many ms each time, a job waits for the host to close its end of a pipe.
const SHARED_CHECKS: u32 = 20;
pub(super) const SHARED_MILLIS: u32 = 5;

pub(super) const fn readable(fd: i32) -> libc::pollfd {
    libc::pollfd { fd, events: libc::POLLIN, revents: 0 }
}

/// The pipes that may make the job the reading end of a pipeline; first the pool, for ppoll.
pub(crate) struct Inputs {
    fds: [libc::pollfd; 9],
    /// How many inputs are still watched, and how many there were.
    used: usize,
    len: usize,
    /// How often an input may be polled again that the host reads as well.
    patience: u32,
}

impl Inputs {
    pub(super) fn new(candidates: &[i32], pool: &Pool) -> Self {
        let mut this = Self { fds: [readable(-1); 9], used: 0, len: 0, patience: SHARED_CHECKS };
        let pipe = |fd: i32| {
            let kind = sys::fstat(fd).map_or(0, |st| st.st_mode & libc::S_IFMT);
            let mode = pipe::access(fd).unwrap_or(0);
            // Some shells make their pipelines of socket pairs.
            kind == libc::S_IFIFO && mode == libc::O_RDONLY && !pipe::is(fd, pool.id)
                || kind == libc::S_IFSOCK && fd == 0
        };
        let pipes = candidates.iter().copied().filter(|fd| pipe(*fd));
        for (at, fd) in this.fds.iter_mut().skip(1).zip(pipes) {
            at.fd = fd;
            this.used = this.used.saturating_add(1);
        }
        this.len = this.used;
        this
    }

    pub(super) fn any(&self) -> bool {
        self.used > 0
    }

    /// Waits for a token or for input, if there are inputs. Returns the input that has data.
    pub(super) fn wait(&mut self, pool: i32, millis: i64) -> Option<i32> {
        if !self.any() {
            return None;
        }
        let [token, ..] = &mut self.fds;
        token.fd = pool;
        // No more entries than there are inputs: poll(2) refuses more than RLIMIT_NOFILE.
        match sys::poll(self.fds.get_mut(..=self.len)?, millis) {
            Ok(1..) => {}
            Ok(_) | Err(Errno::INTR) => return None,
            Err(_) => {
                self.used = 0;
                return None;
            }
        }
        let full = self.ready();
        let [token, ..] = &self.fds;
        full.filter(|_| token.revents == 0)
    }

    /// Sleeps for at most `nanos` ns with this signal mask. Returns the input that has data.
    ///
    /// # Errors
    /// EINTR: a signal.
    pub(super) fn rest(&mut self, nanos: u64, mask: u64) -> sys::Result<Option<i32>> {
        // No more entries than there are inputs: poll(2) refuses more than RLIMIT_NOFILE.
        let len = if self.any() { self.len } else { 0 };
        let inputs = self.fds.get_mut(1..=len).unwrap_or(&mut []);
        let ready = sys::ppoll(inputs, Some(nanos), Some(mask))?;
        Ok(if ready > 0 { self.ready() } else { None })
    }

    /// The input that has data, after a poll. Drops those that only hung up: their writer has ended, and its slot comes
    /// in another way.
    fn ready(&mut self) -> Option<i32> {
        let [_, inputs @ ..] = &mut self.fds;
        let full = inputs.iter().find(|p| p.revents & libc::POLLIN != 0).map(|p| p.fd);
        for p in inputs.iter_mut().filter(|p| p.revents != 0 && p.revents & libc::POLLIN == 0) {
            p.fd = -1;
            self.used = self.used.saturating_sub(1);
        }
        full
    }

    pub(super) fn lingers(&mut self) -> bool {
        self.patience = self.patience.saturating_sub(1);
        self.patience > 0
    }

    pub(super) fn drop(&mut self, fd: i32) {
        for p in self.fds.iter_mut().skip(1).filter(|p| p.fd == fd) {
            p.fd = -1;
            self.used = self.used.saturating_sub(1);
        }
    }
}

/// Returns whether this input is a pipe that a running job of the same client writes. The job's standard output or
/// error counts; any other descriptor counts only if each side has nothing but its own end (many processes hold both
/// ends of a queue).
pub(crate) fn fed_by_sibling(ledger: &Ledger, record: &Record, input: i32) -> bool {
    // This needs the siblings' pids, and their entries in /proc.
    if space::is_elsewhere() || !proc::is_ours() {
        return false;
    }
    let Ok(st) = sys::fstat(input) else {
        return false;
    };
    let socket = st.st_mode & libc::S_IFMT == libc::S_IFSOCK;
    // The other end of a pipe has the pipe's inode; that of a socket has its own.
    let inode = if socket { sys::unix_peer(st.st_ino) } else { Ok(Some(st.st_ino)) };
    let Ok(Some(inode)) = inode else { return false };
    let end = (st.st_dev, inode);
    let ours_to_read = !socket && ends_at(0, end) == (true, false);
    let me = record.pid.load(Acquire);
    ledger
        .busy_jobs_of(record.client.load(Acquire))
        // A forked job may run without a slot until its first exec: only one in its wait certainly does not run.
        .filter(|(_, state, _)| *state != State::Waiting)
        .map(|(_, _, job)| job.pid.load(Acquire))
        .filter(|pid| *pid > 0 && *pid != me)
        .any(|pid| {
            let writes = |fd| is_open_as(pid, fd, end);
            writes(1) || writes(2) || ours_to_read && ends_at(pid, end) == (false, true)
        })
}

/// Returns whether the host reads this pipe, too. Then a forked job has inherited it, and the pipe carries the results
/// of an older job: a program that makes a pipeline closes its own end at once.
pub(crate) fn is_read_by_host(ledger: &Ledger, record: &Record, input: i32) -> bool {
    let host = ledger.record(record.client.load(Acquire)).map_or(0, |r| r.pid.load(Acquire));
    let Ok(end) = sys::file_id(input) else { return false };
    host > 0 && ends_at(host, end).0
}

/// Returns whether this descriptor of a process is the pipe or socket with this device and inode.
fn is_open_as(pid: i32, fd: i32, end: (u64, u64)) -> bool {
    sys::stat(pipe::fd_path(pid, fd).c(), true).is_ok_and(|st| (st.st_dev, st.st_ino) == end)
}

/// Which ends of a pipe a process has open: (reading, writing). `pid` 0 is this process. The permission bits of the
/// links tell the direction (proc(5)).
pub fn ends_at(pid: i32, pipe: (u64, u64)) -> (bool, bool) {
    let (mut reads, mut writes) = (false, false);
    proc::each_fd(pid, |fd| {
        if is_open_as(pid, fd, pipe) {
            let link = sys::stat(pipe::fd_path(pid, fd).c(), false).map_or(0, |st| st.st_mode);
            reads |= link & 0o400 != 0;
            writes |= link & 0o200 != 0;
        }
    });
    (reads, writes)
}
