//! One job: what the program knows it by, and its start.

use core::ffi::{c_int, c_void};

use jsshim_engine::serve::{forget, Masked};
use jsshim_engine::sys::{self, Errno, Result};

/// `jobserver_callback_t`
pub type Func = Option<unsafe extern "C" fn(*mut c_void) -> c_int>;
/// `jobserver_callback_return_t`
pub type Done = Option<unsafe extern "C" fn(*mut c_void, c_int)>;

extern "C" {
    static stdout: *mut libc::FILE;
    static stderr: *mut libc::FILE;
    fn __fpurge(stream: *mut libc::FILE);
}

/// What the program is told of a job's end with.
#[derive(Clone, Copy)]
pub struct Tag {
    pub done: Done,
    pub data: *mut c_void,
}

impl Tag {
    /// Tells the program.
    pub fn ended(&self, status: c_int) {
        if let Some(done) = self.done {
            // SAFETY: what the program has asked for.
            unsafe { done(self.data, status) };
        }
    }
}

/// Forks a process that runs `func` and has closed `ends`.
///
/// # Errors
/// As fork(2).
pub fn fork(func: Func, data: *mut c_void, ends: [c_int; 4]) -> Result<c_int> {
    // A signal that came before the child has let go of the handlers would be lost to it.
    let masked = Masked::new();
    // SAFETY: libc's own, so that the handlers of pthread_atfork(3) run.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        forget();
        ends.into_iter().filter(|fd| *fd >= 0).for_each(sys::close);
        let _ = sys::sigmask(libc::SIG_SETMASK, masked.old);
        run(func, data);
    }
    if pid < 0 {
        // SAFETY: the thread's own errno.
        return Err(Errno(unsafe { *libc::__errno_location() }));
    }
    Ok(pid)
}

/// In the child. What the parent has not yet written is the parent's to write, and its atexit(3) handlers are
/// the parent's to run; what `func` has printed must not be lost.
fn run(func: Func, data: *mut c_void) -> ! {
    // SAFETY: the streams of libc; what the program has asked for.
    unsafe {
        __fpurge(stdout);
        __fpurge(stderr);
        let status = func.map_or(0, |func| func(data));
        libc::fflush(stdout);
        libc::fflush(stderr);
        libc::_exit(status)
    }
}
