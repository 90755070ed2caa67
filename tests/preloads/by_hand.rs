//! The hooks of examples/spawnlog.rs by hand: what scripts/bench packages compares with that. Compiled by rustc alone,
//! with `--cfg with_std` as a library with std, whatever that is then used for.
//!
//! One thing is left as it must not be in libjsshim.so: dlsym(3), for which ld.so wants GLIBC_2.34 (see its `real.rs`).
#![cfg_attr(not(with_std), no_std)]
#![crate_type = "cdylib"]

use core::ffi::{c_char, c_int, c_void, CStr};
use core::mem::transmute;
use core::sync::atomic::{AtomicI32, AtomicUsize, Ordering::Relaxed};

type Strings = *const *const c_char;

#[link(name = "c")]
extern "C" {
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
    fn close(fd: c_int) -> c_int;
    fn strlen(text: *const c_char) -> usize;
    fn strncmp(a: *const c_char, b: *const c_char, n: usize) -> c_int;
    fn writev(fd: c_int, parts: *const Part, count: c_int) -> isize;
    fn dlsym(handle: *const c_void, name: *const c_char) -> *const c_void;
    fn __errno_location() -> *mut c_int;
}

/// `struct iovec`
#[repr(C)]
struct Part(*const c_char, usize);

const RTLD_NEXT: *const c_void = usize::MAX as *const c_void;
const F_DUPFD_CLOEXEC: c_int = 1030;
/// O_WRONLY, O_CREAT, O_APPEND, O_CLOEXEC
const FLAGS: c_int = 0o2_002_101;

static LOG: AtomicI32 = AtomicI32::new(-1);

/// glibc gives each constructor the arguments and the environment.
#[used]
#[link_section = ".init_array"]
static CONSTRUCTOR: unsafe extern "C" fn(c_int, Strings, Strings) = open_log;

unsafe extern "C" fn open_log(_: c_int, _: Strings, mut environment: Strings) {
    // SAFETY: the kernel's array, which ends in NULL.
    unsafe {
        while !(*environment).is_null() {
            if strncmp(*environment, c"SPAWNLOG=".as_ptr(), 9) == 0 {
                let fd = open((*environment).add(9), FLAGS, 0o666);
                LOG.store(fcntl(fd, F_DUPFD_CLOEXEC, 900), Relaxed);
                close(fd);
            }
            environment = environment.add(1);
        }
    }
}

unsafe fn log(program: *const c_char) {
    // SAFETY: a C string of the host's; this thread's own errno.
    unsafe {
        let errno = *__errno_location();
        let line = [Part(program, strlen(program)), Part(c"\n".as_ptr(), 1)];
        writev(LOG.load(Relaxed), line.as_ptr(), 2);
        *__errno_location() = errno;
    }
}

/// The next function of this name, looked up once.
fn next(at: &AtomicUsize, name: &CStr) -> usize {
    if at.load(Relaxed) == 0 {
        // SAFETY: a C string.
        at.store(unsafe { dlsym(RTLD_NEXT, name.as_ptr()) } as usize, Relaxed);
    }
    at.load(Relaxed)
}

type Spawn = unsafe extern "C" fn(
    *mut c_int,
    *const c_char,
    *const c_void,
    *const c_void,
    Strings,
    Strings,
) -> c_int;
type Exec = unsafe extern "C" fn(*const c_char, Strings, Strings) -> c_int;

/// Hook of posix_spawn(3).
///
/// # Safety
/// As of that function.
#[no_mangle]
pub unsafe extern "C" fn posix_spawn(
    pid: *mut c_int,
    path: *const c_char,
    actions: *const c_void,
    attributes: *const c_void,
    argv: Strings,
    envp: Strings,
) -> c_int {
    static REAL: AtomicUsize = AtomicUsize::new(0);
    // SAFETY: the host's arguments, and libc's function of this name.
    unsafe {
        log(path);
        let real = transmute::<usize, Spawn>(next(&REAL, c"posix_spawn"));
        real(pid, path, actions, attributes, argv, envp)
    }
}

/// Hook of execve(2).
///
/// # Safety
/// As of that function.
#[no_mangle]
pub unsafe extern "C" fn execve(path: *const c_char, argv: Strings, envp: Strings) -> c_int {
    static REAL: AtomicUsize = AtomicUsize::new(0);
    // SAFETY: the host's arguments, and libc's function of this name.
    unsafe {
        log(path);
        transmute::<usize, Exec>(next(&REAL, c"execve"))(path, argv, envp)
    }
}

#[cfg(not(with_std))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
