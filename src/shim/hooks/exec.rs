//! Doors through which a process becomes another program. A process that must wait for its slot becomes
//! the helper first.

use core::ffi::{c_char, c_int, CStr};

use super::fail;
use super::spawn::{role, still_held, Role};
use crate::environ::{self, Scratch, Strings};
use crate::real;
use crate::redirect;
use crate::state::STATE;
use crate::ticket::{self, Ticket};

type ExecFn = unsafe extern "C" fn(*const c_char, Strings, Strings) -> c_int;

/// Hook of execve(2).
///
/// # Safety
/// As execve(2).
#[no_mangle]
pub unsafe extern "C" fn execve(path: *const c_char, argv: Strings, envp: Strings) -> c_int {
    // SAFETY: the host's arguments.
    unsafe { exec(false, path, argv, envp) }
}

/// Hook of execv(3).
///
/// # Safety
/// As execv(3).
#[no_mangle]
pub unsafe extern "C" fn execv(path: *const c_char, argv: Strings) -> c_int {
    // SAFETY: the host's arguments.
    unsafe { exec(false, path, argv, environ::current()) }
}

/// Hook of execvp(3).
///
/// # Safety
/// As execvp(3).
#[no_mangle]
pub unsafe extern "C" fn execvp(file: *const c_char, argv: Strings) -> c_int {
    // SAFETY: the host's arguments.
    unsafe { exec(true, file, argv, environ::current()) }
}

/// Hook of execvpe(3).
///
/// # Safety
/// As execvpe(3).
#[no_mangle]
pub unsafe extern "C" fn execvpe(file: *const c_char, argv: Strings, envp: Strings) -> c_int {
    // SAFETY: the host's arguments.
    unsafe { exec(true, file, argv, envp) }
}

/// `execl`, its arguments as an array.
///
/// # Safety
/// As execl(3).
pub unsafe extern "C" fn execl_list(path: *const c_char, argv: Strings) -> c_int {
    // SAFETY: the host's arguments.
    unsafe { exec(false, path, argv, environ::current()) }
}

/// `execlp`, its arguments as an array.
///
/// # Safety
/// As execlp(3).
pub unsafe extern "C" fn execlp_list(file: *const c_char, argv: Strings) -> c_int {
    // SAFETY: the host's arguments.
    unsafe { exec(true, file, argv, environ::current()) }
}

/// `execle`, its arguments as an array; the environment follows the NULL.
///
/// # Safety
/// As execle(3).
pub unsafe extern "C" fn execle_list(path: *const c_char, argv: Strings) -> c_int {
    // SAFETY: the host's arguments: a NULL, then the environment.
    unsafe {
        let end = environ::iter(argv).count();
        let envp = argv.wrapping_add(end).wrapping_add(1).read().cast::<*const c_char>();
        exec(false, path, argv, envp)
    }
}

/// Every door of this file: with `search` as execvpe(3), else as execve(2).
unsafe fn exec(search: bool, file: *const c_char, argv: Strings, envp: Strings) -> c_int {
    let role = role();
    // SAFETY: the host's arguments.
    unsafe {
        match role {
            Role::Own(Some(job)) if !file.is_null() => {
                STATE.sites.execs();
                hold(job, None, search, file, argv, envp);
                if still_held(job) {
                    STATE.put_held(job);
                }
            }
            Role::Own(_) => STATE.sites.execs(),
            Role::Vfork(place) => match place.ticket() {
                Ticket::Held(job) if !file.is_null() && still_held(job) => {
                    hold(job, Some(place), search, file, argv, envp);
                }
                Ticket::Pass => return call(search, file, argv, envp),
                _ => {}
            },
            Role::Stranger => return call(search, file, argv, envp),
        }
        named(&role, search, file, argv, envp)
    }
}

type Place = &'static crate::pending::Pending;

/// Becomes the helper. Returns if the target would not exec, or if it cannot be held.
unsafe fn hold(
    job: jsshim_engine::record::Handle,
    place: Option<Place>,
    search: bool,
    file: *const c_char,
    argv: Strings,
    envp: Strings,
) {
    let Some(client) = STATE.client() else { return };
    // SAFETY: the host's arguments.
    unsafe {
        // A target that does not exec gets the real function, and the host its errno.
        let Some(target) = redirect::foretell(CStr::from_ptr(file), search, search) else {
            return;
        };
        if let Some(x) = redirect::held(client, job, &target, argv, envp) {
            call_with(place, false, x);
        }
    }
    ticket::overdraw(job);
}

/// The exec that the host asked for, in an environment that names the pool.
unsafe fn named(
    role: &Role,
    search: bool,
    file: *const c_char,
    argv: Strings,
    envp: Strings,
) -> c_int {
    // SAFETY: the host's arguments.
    unsafe {
        match STATE.client().and_then(|c| redirect::plain(c, file, argv, envp)) {
            Some(x) => {
                let place = if let Role::Vfork(place) = role { Some(*place) } else { None };
                call_with(place, search, x)
            }
            None => call(search, file, argv, envp),
        }
    }
}

/// Execs with arguments in scratch memory. On failure it is freed here; on success the memory goes with
/// the process, except in a `vfork` child, whose parent frees it.
unsafe fn call_with(place: Option<Place>, search: bool, x: redirect::Exec) -> c_int {
    let raw = x.scratch.into_raw();
    if let Some(place) = place {
        place.keep(raw);
    }
    // SAFETY: arrays of the right shape.
    let ret = unsafe { call(search, x.path, x.argv, x.envp) };
    match place {
        Some(place) => place.free_scratch(),
        None => Scratch::free(raw),
    }
    ret
}

unsafe fn call(search: bool, file: *const c_char, argv: Strings, envp: Strings) -> c_int {
    let real = if search { &real::EXECVPE } else { &real::EXECVE };
    // SAFETY: both functions have this type, and the arguments are the host's.
    unsafe {
        match real.get::<ExecFn>() {
            Some(f) => f(file, argv, envp),
            None => fail(libc::ENOSYS),
        }
    }
}
