//! spawnlog: a preloaded library of your own beside jsshim, in Rust with the crates ctor and redhook. Each program that
//! a process below it starts with posix_spawn(3) or becomes with execve(2) is a line in the file `$SPAWNLOG`.
//!
//!     cargo build --release -p jsshim-preloads --example spawnlog
//!     SPAWNLOG=log LD_PRELOAD="target/release/examples/libspawnlog.so libjsshim.so" ninja
//!
//! The order is yours. Before jsshim it sees what the host asks for; behind it, what is done: a job that waits for its
//! slot is started as `jsshim-helper`, and becomes its program when it has one. Three rules for a library that stands
//! there: call the next function once for each call, return what that returned with its errno, and allocate nothing,
//! for the caller may be the child of a vfork(2).
//!
//! Not for every function can such a hook be written: see tests/preloads. And it costs each exec of a build far more
//! than jsshim does: see the table in docs/ARCHITECTURE.md.
#![cfg(target_env = "gnu")]

use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

use ctor::ctor;

/// The log, open for appending; -1 without one.
static LOG: AtomicI32 = AtomicI32::new(-1);

#[ctor(unsafe)]
fn open_log() {
    let flags = libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | libc::O_CLOEXEC;
    // SAFETY: C strings. The number is high, where no host looks for its own.
    unsafe {
        let file = libc::getenv(c"SPAWNLOG".as_ptr());
        if !file.is_null() {
            let fd = libc::open(file, flags, 0o666);
            LOG.store(libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 900), Relaxed);
            libc::close(fd);
        }
    }
}

/// One line, in one write.
///
/// # Safety
/// `program` must be a C string.
unsafe fn log(program: *const c_char) {
    let part = |from: *const c_void, len| libc::iovec { iov_base: from.cast_mut(), iov_len: len };
    // SAFETY: by the contract; this thread's own errno.
    unsafe {
        let errno = *libc::__errno_location();
        let line = [part(program.cast(), libc::strlen(program)), part(c"\n".as_ptr().cast(), 1)];
        libc::writev(LOG.load(Relaxed), line.as_ptr(), 2);
        *libc::__errno_location() = errno;
    }
}

/// The hooks, in a module of their own for what the macro makes.
mod hooks {
    use super::{c_char, c_int, c_void, log};
    use redhook::{hook, real};

    type Strings = *const *const c_char;

    hook! {
        unsafe fn posix_spawn(
            pid: *mut c_int,
            path: *const c_char,
            actions: *const c_void,
            attributes: *const c_void,
            argv: Strings,
            envp: Strings
        ) -> c_int => logged_spawn {
            // SAFETY: the host's arguments.
            unsafe {
                log(path);
                real!(posix_spawn)(pid, path, actions, attributes, argv, envp)
            }
        }
    }

    hook! {
        unsafe fn execve(path: *const c_char, argv: Strings, envp: Strings) -> c_int => logged_exec {
            // SAFETY: the host's arguments.
            unsafe {
                log(path);
                real!(execve)(path, argv, envp)
            }
        }
    }
}
