//! The hooks: each records the call, and fails or goes on to the next function of its name.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::ptr::{null, null_mut};

use redhook::{hook, real};

use crate::{collects, starts};

type Strings = *const *const c_char;

/// What a function gives when it fails.
trait Failure {
    fn of(function: &str, errno: c_int) -> Self;
}

impl Failure for c_int {
    fn of(function: &str, errno: c_int) -> Self {
        if function.starts_with("posix_spawn") {
            return errno;
        }
        // SAFETY: this thread's own errno.
        unsafe { *libc::__errno_location() = errno };
        -1
    }
}

impl Failure for *mut c_void {
    fn of(_: &str, errno: c_int) -> Self {
        // SAFETY: as above.
        unsafe { *libc::__errno_location() = errno };
        null_mut()
    }
}

/// A hook for each line: what is noted of the call, and the function.
macro_rules! hooks {
    ($($seen:ident($($what:expr)?) $name:ident ($($arg:ident: $type:ty),*) -> $ret:ty;)*) => {
        $(mod $name {
            use super::*;

            hook! {
                unsafe fn $name($($arg: $type),*) -> $ret => hooked {
                    // SAFETY: the host's arguments, as they are.
                    unsafe {
                        match $seen(stringify!($name) $(, $what)?) {
                            Some(errno) => Failure::of(stringify!($name), errno),
                            None => real!($name)($($arg),*),
                        }
                    }
                }
            }
        })*
    };
}

hooks! {
    starts(null()) fork() -> c_int;
    starts(null()) clone(
        run: *const c_void,
        stack: *mut c_void,
        flags: c_int,
        argument: *mut c_void,
        parent_tid: *mut c_void,
        tls: *mut c_void,
        child_tid: *mut c_void
    ) -> c_int;
    starts(path) posix_spawn(
        pid: *mut c_int,
        path: *const c_char,
        actions: *const c_void,
        attributes: *const c_void,
        argv: Strings,
        envp: Strings
    ) -> c_int;
    starts(file) posix_spawnp(
        pid: *mut c_int,
        file: *const c_char,
        actions: *const c_void,
        attributes: *const c_void,
        argv: Strings,
        envp: Strings
    ) -> c_int;
    starts(command) system(command: *const c_char) -> c_int;
    starts(command) popen(command: *const c_char, mode: *const c_char) -> *mut c_void;
    starts(path) execv(path: *const c_char, argv: Strings) -> c_int;
    starts(path) execve(path: *const c_char, argv: Strings, envp: Strings) -> c_int;
    starts(file) execvp(file: *const c_char, argv: Strings) -> c_int;
    starts(file) execvpe(file: *const c_char, argv: Strings, envp: Strings) -> c_int;
    starts(null()) fexecve(fd: c_int, argv: Strings, envp: Strings) -> c_int;
    starts(path) execveat(
        dir: c_int,
        path: *const c_char,
        argv: Strings,
        envp: Strings,
        flags: c_int
    ) -> c_int;
    collects() waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    collects() waitid(kind: c_uint, id: c_uint, info: *mut c_void, options: c_int) -> c_int;
    collects() wait4(pid: c_int, status: *mut c_int, options: c_int, usage: *mut c_void) -> c_int;
    collects() pclose(stream: *mut c_void) -> c_int;
}
