//! The kernel's questions (seccomp_unotify(2)). A question is received into memory that the double shares: what a killed
//! supervisor has not answered, the next one answers.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr::from_mut;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

use jsshim_engine::sys;
use libc::{seccomp_notif, seccomp_notif_addfd, seccomp_notif_resp};

/// The error by which the kernel asks the caller to make its call again; no program sees it.
const RESTART: i32 = -513;

/// What a newer kernel may write, which has more fields.
const QUESTION: usize = 1024;

/// A question.
pub type Question = seccomp_notif;

/// The descriptor by which the kernel asks.
pub struct Listener {
    fd: OwnedFd,
    shared: *mut u8,
}

impl Listener {
    /// # Errors
    /// As mmap(2).
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        let shared =
            sys::map_shared_anonymous(QUESTION).map_err(|e| io::Error::from_raw_os_error(e.0))?;
        let listener = Self { fd, shared };
        // Linux 6.6: the asker and the supervisor take turns on one CPU.
        let _ = listener.ask(libc::SECCOMP_IOCTL_NOTIF_SET_FLAGS, 1);
        Ok(listener)
    }

    /// Its number.
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    fn ask(&self, what: libc::Ioctl, with: usize) -> io::Result<i32> {
        // SAFETY: `with` is a number, or the address of what the request wants, which lives for the call.
        match unsafe { libc::ioctl(self.fd(), what, with) } {
            -1 => Err(io::Error::last_os_error()),
            value => Ok(value),
        }
    }

    /// The id of the question in the shared memory, which is 0 if there is none.
    fn id(&self) -> &AtomicU64 {
        // SAFETY: the start of a mapping that is never unmapped.
        unsafe { AtomicU64::from_ptr(self.shared.cast()) }
    }

    /// The question that a killed supervisor has left, if there is one.
    pub fn left(&self) -> Option<Question> {
        // Acquire: the question is whole.
        let is_there = self.id().load(Acquire) != 0;
        // SAFETY: the kernel has written it; a stranger's bytes would be numbers, too.
        is_there.then(|| unsafe { self.shared.cast::<Question>().read() })
    }

    /// The next question, which is there.
    ///
    /// # Errors
    /// ENOENT: the asker was killed meanwhile.
    pub fn receive(&self) -> io::Result<Question> {
        // SAFETY: this mapping; the kernel wants zeros.
        unsafe { self.shared.write_bytes(0, QUESTION) };
        self.ask(libc::SECCOMP_IOCTL_NOTIF_RECV, self.shared as usize)?;
        self.left().ok_or_else(|| io::Error::from_raw_os_error(libc::ENOENT))
    }

    /// The question is answered.
    pub fn done(&self) {
        self.id().store(0, Release);
    }

    fn answer(&self, id: u64, error: i32, flags: u32) -> io::Result<()> {
        let mut answer = seccomp_notif_resp { id, val: 0, error, flags };
        self.ask(libc::SECCOMP_IOCTL_NOTIF_SEND, from_mut(&mut answer) as usize).map(drop)
    }

    /// Lets the call go on. It fails if the asker was killed, or somebody has answered already.
    pub fn go_on(&self, id: u64) {
        let _ = self.answer(id, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32);
    }

    /// Lets the asker make its call again.
    pub fn ask_again(&self, id: u64) -> io::Result<()> {
        self.answer(id, RESTART, 0)
    }

    /// Adds a descriptor of ours to the asker. Returns its number there.
    pub fn add(&self, id: u64, fd: RawFd, how: i32) -> io::Result<i32> {
        let mut add = seccomp_notif_addfd {
            id,
            flags: 0,
            srcfd: fd.unsigned_abs(),
            newfd: 0,
            newfd_flags: how.unsigned_abs(),
        };
        self.ask(libc::SECCOMP_IOCTL_NOTIF_ADDFD, from_mut(&mut add) as usize)
    }
}
