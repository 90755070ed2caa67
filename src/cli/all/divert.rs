//! The helper in the place of a program: the caller's exec becomes one of the helper, with the arguments and the environment
//! that were asked for.
//!
//! Arguments of a call cannot be changed by an answer, but registers by a tracer. The caller gets two descriptors: the
//! helper, close-on-exec, and a sealed file that tells what is held. It is told to make its call again
//! (ERESTARTNOINTR), and is stopped before it does; then its registers say execveat of the first descriptor, with an empty
//! path, which is the end of the path that was asked for. Nothing is written to its memory, which may be its parent's.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use jsshim_engine::hold::handed;
use jsshim_engine::sys;

use super::listener::{Listener, Question};

/// How long a process that was told to stop may take. One that is frozen does not stop.
const STEPS: u32 = 400;
const STEP: Duration = Duration::from_micros(50);

/// What became of it.
pub enum Diverted {
    /// The caller becomes the helper.
    Yes,
    /// Nothing has been changed, and the question is not answered.
    No,
    /// The caller makes its call again, as it was.
    Again,
}

/// An exec that is to be another one.
pub struct Exec<'a> {
    pub question: &'a Question,
    /// The length of the path that was asked for.
    pub length: usize,
    /// The path of the program.
    pub path: &'a CString,
    /// What the helper is told about the job.
    pub word: &'a [u8],
    pub helper: &'a OwnedFd,
    pub magic: u64,
}

impl Exec<'_> {
    /// See the module.
    pub fn divert(&self, listener: &Listener) -> Diverted {
        let (id, pid) = (self.question.id, self.question.pid as i32);
        let Some(text) = self.text() else { return Diverted::No };
        // Seized first: afterwards nothing is to fail.
        if !trace(libc::PTRACE_SEIZE, pid, 0) {
            return Diverted::No;
        }
        let added = listener
            .add(id, self.helper.as_raw_fd(), libc::O_CLOEXEC)
            .and_then(|program| listener.add(id, text.as_raw_fd(), 0).map(|_| program));
        trace(libc::PTRACE_INTERRUPT, pid, 0);
        // Answered, it stops.
        let _ = listener.ask_again(id);
        if !has_stopped(pid) {
            return Diverted::Again;
        }
        let changed = added.is_ok_and(|program| self.change(pid, program));
        trace(libc::PTRACE_DETACH, pid, 0);
        if changed {
            Diverted::Yes
        } else {
            Diverted::Again
        }
    }

    /// The file that the helper reads.
    fn text(&self) -> Option<OwnedFd> {
        let mut text = vec![0u8; handed::PATH];
        text.get_mut(..handed::START.len())?.copy_from_slice(handed::START);
        let place = text.get_mut(handed::WORD..handed::PATH - 1)?;
        place.get_mut(..self.word.len())?.copy_from_slice(self.word);
        text.extend(self.path.as_bytes_with_nul());
        let name: &CStr = c"jsshim";
        // SAFETY: a name that ends in a NUL.
        let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return None;
        }
        // SAFETY: a new descriptor.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        (sys::pwrite(fd.as_raw_fd(), &text, 0) == Ok(text.len())).then_some(fd)
    }

    /// Changes the registers of the stopped process.
    #[cfg(target_arch = "x86_64")]
    fn change(&self, pid: i32, program: i32) -> bool {
        use std::mem::MaybeUninit;

        let mut regs = MaybeUninit::<libc::user_regs_struct>::zeroed();
        if !trace(libc::PTRACE_GETREGS, pid, regs.as_mut_ptr() as usize) {
            return false;
        }
        // SAFETY: numbers, all of which the kernel has written.
        let mut regs = unsafe { regs.assume_init() };
        let restarts = regs.rax as i64 == -513;
        let (argv, envp) = match regs.orig_rax as i64 {
            libc::SYS_execve => (regs.rsi, regs.rdx),
            libc::SYS_execveat => (regs.rdx, regs.r10),
            _ => return false,
        };
        let path = if regs.orig_rax as i64 == libc::SYS_execve { regs.rdi } else { regs.rsi };
        if !restarts {
            return false;
        }
        regs.orig_rax = libc::SYS_execveat as u64;
        regs.rdi = program.unsigned_abs().into();
        regs.rsi = path.wrapping_add(self.length as u64);
        (regs.rdx, regs.r10) = (argv, envp);
        regs.r8 = libc::AT_EMPTY_PATH as u64;
        regs.r9 = self.magic;
        trace(libc::PTRACE_SETREGS, pid, (&raw mut regs) as usize)
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn change(&self, _: i32, _: i32) -> bool {
        false
    }
}

/// Waits until a traced process stops.
fn has_stopped(pid: i32) -> bool {
    for step in 0..STEPS {
        let mut status = 0;
        // SAFETY: room for one number.
        match unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL | libc::WNOHANG) } {
            0 if step < 8 => std::thread::yield_now(),
            0 => std::thread::sleep(STEP),
            child => return child == pid && libc::WIFSTOPPED(status),
        }
    }
    false
}

/// Lets go of processes that have stopped too late.
pub fn release_late() {
    let mut status = 0;
    loop {
        // SAFETY: room for one number.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::WNOHANG) };
        if pid <= 0 {
            return;
        }
        if libc::WIFSTOPPED(status) {
            trace(libc::PTRACE_DETACH, pid, 0);
        }
    }
}

fn trace(what: impl TryInto<u32>, pid: i32, data: usize) -> bool {
    let what: u32 = what.try_into().unwrap_or(u32::MAX);
    // SAFETY: `data` is 0, or the address of registers that live for the call.
    unsafe { libc::ptrace(what as _, pid, 0usize, data) == 0 }
}
