//! Doors through which a process becomes another program. A process that must wait for its slot becomes the helper
//! first.

use core::ffi::{c_char, c_int, CStr};

use jsshim_engine::ledger::handle::Handle;

use crate::doors::behind;
use crate::exec::environ::{self, Scratch, Strings};
use crate::exec::foretell::{self, Foretold, Way};
use crate::exec::redirect::{self, Exec, Inherited};
use crate::exec::{bounds, exec_pipe, keep_env};
use crate::host::errno::{errno, fail};
use crate::host::kind::is_glibc;
use crate::host::next::Next;
use crate::job;
use crate::job::state::STATE;
use crate::job::ticket::Ticket;
use crate::job::vforks::Pending;
use crate::job::{life, names};

use super::fork::{role, still_held, Role};

type ExecFn = unsafe extern "C" fn(*const c_char, Strings, Strings) -> c_int;

/// The body of execve(2).
///
/// # Safety
/// As execve(2).
pub unsafe fn execve(
    real: impl Fn(*const c_char, Strings, Strings) -> c_int,
    path: *const c_char,
    argv: Strings,
    envp: Strings,
) -> c_int {
    // SAFETY: the host's arguments.
    unsafe {
        let foreign = || is_foreign(path, false);
        exec(|| by_path(path, false), foreign, argv, envp, |envp| real(path, argv, envp))
    }
}

/// The body of execvpe(3).
///
/// # Safety
/// As execvpe(3).
pub unsafe fn execvpe(
    real: impl Fn(*const c_char, Strings, Strings) -> c_int,
    file: *const c_char,
    argv: Strings,
    envp: Strings,
) -> c_int {
    // SAFETY: the host's arguments.
    unsafe {
        let foreign = || is_foreign(file, true);
        exec(|| by_path(file, true), foreign, argv, envp, |envp| real(file, argv, envp))
    }
}

/// The body of execv(3).
///
/// # Safety
/// As execv(3).
pub unsafe fn execv(path: *const c_char, argv: Strings) -> c_int {
    // SAFETY: the host's arguments.
    unsafe { execve(call, path, argv, environ::current()) }
}

/// The body of execvp(3).
///
/// # Safety
/// As execvp(3).
pub unsafe fn execvp(file: *const c_char, argv: Strings) -> c_int {
    let real = |file, argv, envp| by(&behind::execvpe, file, argv, envp);
    // SAFETY: the host's arguments.
    unsafe { execvpe(real, file, argv, environ::current()) }
}

/// `execl` with its arguments as an array.
///
/// # Safety
/// As execl(3).
pub unsafe extern "C" fn execl_list(path: *const c_char, argv: Strings) -> c_int {
    // SAFETY: the host's arguments.
    unsafe { execv(path, argv) }
}

/// `execlp` with its arguments as an array.
///
/// # Safety
/// As execlp(3).
pub unsafe extern "C" fn execlp_list(file: *const c_char, argv: Strings) -> c_int {
    // SAFETY: the host's arguments.
    unsafe { execvp(file, argv) }
}

/// `execle` with its arguments as an array; the environment follows the NULL.
///
/// # Safety
/// As execle(3).
pub unsafe extern "C" fn execle_list(path: *const c_char, argv: Strings) -> c_int {
    // SAFETY: the host's arguments: a NULL, then the environment.
    unsafe {
        let end = environ::pointers(argv).count();
        let envp = argv.wrapping_add(end).wrapping_add(1).read().cast::<*const c_char>();
        execve(call, path, argv, envp)
    }
}

/// The body of execveat(2).
///
/// # Safety
/// As execveat(2).
pub unsafe fn execveat(
    real: impl Fn(c_int, *const c_char, Strings, Strings, c_int) -> c_int,
    dir: c_int,
    path: *const c_char,
    argv: Strings,
    envp: Strings,
    flags: c_int,
) -> c_int {
    // SAFETY: the host's arguments.
    unsafe {
        let target = || match path.is_null() {
            true => Foretold::Fails,
            false => foretell::foretell_at(dir, CStr::from_ptr(path), flags),
        };
        let foreign = || !path.is_null() && foretell::is_foreign_at(dir, CStr::from_ptr(path));
        exec(target, foreign, argv, envp, |envp| real(dir, path, argv, envp, flags))
    }
}

/// The body of fexecve(3).
///
/// # Safety
/// As fexecve(3).
pub unsafe fn fexecve(
    real: impl Fn(c_int, Strings, Strings) -> c_int,
    fd: c_int,
    argv: Strings,
    envp: Strings,
) -> c_int {
    if argv.is_null() || envp.is_null() {
        // It refuses NULL, which execve(2) accepts.
        return real(fd, argv, envp);
    }
    let target = || foretell::foretell_at(fd, c"", libc::AT_EMPTY_PATH);
    let foreign = || foretell::is_foreign_at(fd, c"");
    // SAFETY: the host's arguments.
    unsafe { exec(target, foreign, argv, envp, |envp| real(fd, argv, envp)) }
}

/// What would run. With `search`, the program is searched along PATH, as in execvp(3).
unsafe fn by_path<'a>(file: *const c_char, search: bool) -> Foretold<'a> {
    if file.is_null() {
        return Foretold::Fails;
    }
    let way = Way { search, shell: search && is_glibc(), moves: false };
    // SAFETY: the host's string.
    foretell::foretell(unsafe { CStr::from_ptr(file) }, way)
}

/// Returns whether this is a program into which our library does not fit.
unsafe fn is_foreign(file: *const c_char, search: bool) -> bool {
    // SAFETY: the host's string.
    !file.is_null() && foretell::is_foreign(unsafe { CStr::from_ptr(file) }, search)
}

/// The common part of this file's doors. `target` foretells what would run, `foreign` tells whether it is a 32-bit
/// program, and `run` is the host's exec in an environment of our choice.
unsafe fn exec<'a>(
    target: impl FnOnce() -> Foretold<'a>,
    foreign: impl FnOnce() -> bool,
    argv: Strings,
    envp: Strings,
    run: impl Fn(Strings) -> c_int,
) -> c_int {
    let (mut own, mut tool) = (None, None);
    let place = match role() {
        Role::Own(Some(job)) => {
            STATE.site.execs();
            // SAFETY: the host's arguments.
            unsafe {
                names::job_runs(job, argv);
                hold(job, None, target, argv, envp);
            }
            if still_held(job) {
                STATE.put_held(job);
            }
            None
        }
        Role::Own(None) => {
            STATE.site.execs();
            // SAFETY: the host's arguments.
            tool = unsafe { job::tool::slot(argv) };
            own = tool.or_else(life::own_slot);
            // SAFETY: the host's arguments.
            unsafe {
                if let Some(job) = STATE.named_job() {
                    names::job_runs(job, argv);
                }
                names::ticket(own.unwrap_or(Ticket::Pass), argv);
                if let Some(Ticket::Held(job)) = own {
                    hold(job, None, target, argv, envp);
                }
            }
            None
        }
        Role::Vfork(place) => {
            // SAFETY: the host's arguments.
            unsafe { names::ticket(place.ticket(), argv) };
            if let Ticket::Held(job) = place.ticket() {
                if still_held(job) {
                    // SAFETY: the host's arguments.
                    unsafe { hold(job, Some(place), target, argv, envp) };
                }
            }
            Some(place)
        }
        // Before the constructor, or inert.
        Role::Stranger if STATE.pid() == 0 => return run(envp),
        // The child of a raw clone, such as bwrap's: nothing here is about it, but its environment is.
        Role::Stranger => None,
    };
    // SAFETY: the host's arguments.
    let changed =
        unsafe { redirect::plain(core::ptr::null(), argv, envp, keep_env::is_lost(), foreign) };
    let failed = changed.map(|x| with_scratch(place, x, |x| run(x.envp)));
    // If the arguments are too long with our words, exec with the host's own.
    let failed = failed.filter(|_| errno() != libc::E2BIG).unwrap_or_else(|| run(envp));
    match (tool, own) {
        (Some(ticket), _) => job::tool::failed(ticket),
        (None, Some(ticket)) => life::started(ticket, -1),
        (None, None) => {}
    }
    failed
}

type Place = &'static Pending;

/// Becomes the helper. Returns if the target would fail to exec, or if the job cannot be held.
unsafe fn hold<'a>(
    job: Handle,
    place: Option<Place>,
    target: impl FnOnce() -> Foretold<'a>,
    argv: Strings,
    envp: Strings,
) {
    let Some(client) = STATE.client() else { return };
    // First: examining the target may be forbidden.
    if !bounds::allow_helper(client) {
        return life::overdraw(job);
    }
    match target() {
        // The real function sets the errno for the host.
        Foretold::Fails => return,
        Foretold::Unknown => {}
        Foretold::Runs(target) => {
            // The program may be deleted from now on. The helper inherits the descriptors.
            let inherited =
                Inherited { program: target.open(), exec_pipe: exec_pipe::copy(client, job) };
            // It may have been replaced since the fork: another program would run in place of the job.
            let is_ours = bounds::is_still_ours(client.helper);
            // SAFETY: the host's arguments.
            let held = || unsafe { redirect::held(client, job, target, inherited, argv, envp) };
            if let Some(x) = is_ours.then(held).flatten() {
                with_scratch(place, x, |x| call(x.path, x.argv, x.envp));
            }
            inherited.close();
        }
    }
    life::overdraw(job);
}

/// Execs with arguments in scratch memory. If it fails, the memory is freed here; if it succeeds, the memory goes with
/// the process, except in a `vfork` child, whose parent frees it.
fn with_scratch(place: Option<Place>, x: Exec, run: impl FnOnce(&Exec) -> c_int) -> c_int {
    let raw = x.scratch.raw();
    if let Some(place) = place {
        place.keep(raw);
    }
    let ret = run(&x);
    match place {
        Some(place) => place.free_scratch(),
        None => Scratch::free(raw),
    }
    ret
}

fn call(path: *const c_char, argv: Strings, envp: Strings) -> c_int {
    by(&behind::execve, path, argv, envp)
}

fn by(real: &Next<ExecFn>, file: *const c_char, argv: Strings, envp: Strings) -> c_int {
    match real.get() {
        // SAFETY: the host's arguments, or copies of the same shape.
        Some(f) => unsafe { f(file, argv, envp) },
        None => fail(libc::ENOSYS),
    }
}
