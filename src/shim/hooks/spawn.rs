//! posix_spawn(3) and its relatives: one call makes a child and execs its program.

use core::ffi::{c_char, c_int, c_void, CStr};
use core::sync::atomic::AtomicUsize;

use jsshim_engine::proc;

use crate::doors::behind;
use crate::doors::types::ErrorNumber;
use crate::exec::bounds;
use crate::exec::environ::{Scratch, Strings};
use crate::exec::foretell::{self, Foretold, Way};
use crate::exec::redirect::{self, Exec, Inherited};
use crate::host::next::Next;
use crate::job::life;
use crate::job::names::{self, Plan};
use crate::job::state::STATE;
use crate::job::ticket::Ticket;
use crate::start::late;

type SpawnFn = unsafe extern "C" fn(
    *mut c_int,
    *const c_char,
    *const c_void,
    *const c_void,
    Strings,
    Strings,
) -> c_int;

/// The version of posix_spawn(3) that runs a text without `#!` with the shell, as execvp(3) does. Programs linked
/// before glibc 2.15 use it.
const OLD: &CStr = c"GLIBC_2.2.5";

/// What the host wants to run. A held job's helper may take its place.
#[derive(Clone, Copy)]
struct Wanted {
    file: *const c_char,
    argv: Strings,
    envp: Strings,
}

/// What else posix_spawn(3) is given; only libc reads the last two.
struct Given {
    pid: *mut c_int,
    actions: *const c_void,
    attributes: *const c_void,
}

/// One call, without the arguments that may be replaced.
struct Door {
    /// Searches along PATH.
    search: bool,
    actions: *const c_void,
    /// Whether a text runs in the shell.
    shell: bool,
    /// Whether the caller is a process of ours, not another one on its memory.
    ours: bool,
}

/// The body of posix_spawn(3); `caller` is the return address.
///
/// # Safety
/// As posix_spawn(3).
pub unsafe extern "C" fn posix_spawn_from(
    pid: *mut c_int,
    path: *const c_char,
    actions: *const c_void,
    attributes: *const c_void,
    argv: Strings,
    envp: Strings,
    caller: usize,
) -> c_int {
    let (given, wanted) = (Given { pid, actions, attributes }, Wanted { file: path, argv, envp });
    // SAFETY: the host's arguments.
    unsafe { spawn_by(&behind::posix_spawn, false, &given, wanted, caller) }
}

/// The body of posix_spawnp(3); `caller` is the return address.
///
/// # Safety
/// As posix_spawnp(3).
pub unsafe extern "C" fn posix_spawnp_from(
    pid: *mut c_int,
    file: *const c_char,
    actions: *const c_void,
    attributes: *const c_void,
    argv: Strings,
    envp: Strings,
    caller: usize,
) -> c_int {
    let (given, wanted) = (Given { pid, actions, attributes }, Wanted { file, argv, envp });
    // SAFETY: the host's arguments.
    unsafe { spawn_by(&behind::posix_spawnp, true, &given, wanted, caller) }
}

unsafe fn spawn_by(
    real: &Next<SpawnFn>,
    search: bool,
    &Given { pid, actions, attributes }: &Given,
    wanted: Wanted,
    caller: usize,
) -> c_int {
    // Determined beforehand: a failed attempt would be visible by the SIGCHLD of its child.
    let [plain, searching] = &CALLERS;
    let kept = if search { searching } else { plain };
    let ours = !late::foreign();
    let old = ours && real.is_bound_to(OLD, caller, kept, STATE.is_fork());
    // musl takes no notice of versions.
    let old = if old { real.old() } else { None };
    let door = Door { search, actions, shell: old.is_some(), ours };
    let function = old.or_else(|| real.get());
    // SAFETY: the host's arguments go on as they are, or as copies of the same shape.
    unsafe {
        spawn(&door, wanted, |Wanted { file, argv, envp }| {
            let mut child = 0;
            let error = function
                .map_or(libc::ENOSYS, |f| f(&mut child, file, actions, attributes, argv, envp));
            if error == 0 && !pid.is_null() {
                pid.write(child);
            }
            (error, child)
        })
    }
}

/// See [`Next::is_bound_to`].
static CALLERS: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// The body of pidfd_spawn(3).
///
/// # Safety
/// As pidfd_spawn(3).
pub unsafe fn pidfd_spawn(
    real: impl Fn(
        *mut c_int,
        *const c_char,
        *const c_void,
        *const c_void,
        Strings,
        Strings,
    ) -> ErrorNumber,
    pidfd: *mut c_int,
    path: *const c_char,
    actions: *const c_void,
    attributes: *const c_void,
    argv: Strings,
    envp: Strings,
) -> ErrorNumber {
    let door = Door { search: false, actions, shell: false, ours: !late::foreign() };
    // SAFETY: the host's arguments.
    ErrorNumber(unsafe {
        spawn(&door, Wanted { file: path, argv, envp }, |Wanted { file, argv, envp }| {
            by_pidfd(pidfd, real(pidfd, file, actions, attributes, argv, envp))
        })
    })
}

/// The body of pidfd_spawnp(3).
///
/// # Safety
/// As pidfd_spawnp(3).
pub unsafe fn pidfd_spawnp(
    real: impl Fn(
        *mut c_int,
        *const c_char,
        *const c_void,
        *const c_void,
        Strings,
        Strings,
    ) -> ErrorNumber,
    pidfd: *mut c_int,
    file: *const c_char,
    actions: *const c_void,
    attributes: *const c_void,
    argv: Strings,
    envp: Strings,
) -> ErrorNumber {
    let door = Door { search: true, actions, shell: false, ours: !late::foreign() };
    // SAFETY: the host's arguments.
    ErrorNumber(unsafe {
        spawn(&door, Wanted { file, argv, envp }, |Wanted { file, argv, envp }| {
            by_pidfd(pidfd, real(pidfd, file, actions, attributes, argv, envp))
        })
    })
}

/// The pid of a child of which the host gets the pidfd only.
unsafe fn by_pidfd(pidfd: *const c_int, error: ErrorNumber) -> (c_int, c_int) {
    if error.0 != 0 || pidfd.is_null() {
        return (error.0, -1);
    }
    // SAFETY: the host's variable, which a successful call has filled in.
    (0, proc::pid_of(unsafe { pidfd.read() }).unwrap_or(-1))
}

/// The life of a spawn. `call` makes the child and returns an error number and the pid.
unsafe fn spawn(door: &Door, wanted: Wanted, call: impl Fn(Wanted) -> (c_int, c_int)) -> c_int {
    // SAFETY: the host's arguments.
    let plan = unsafe { Plan::program(wanted.argv) };
    let ticket = if door.ours { life::begin_here(plan) } else { Ticket::Pass };
    // SAFETY: the host's arguments.
    unsafe { names::ticket(ticket, wanted.argv) };
    // SAFETY: the host's arguments.
    let held = unsafe { door.held(ticket, wanted) };
    // An error of the host's file actions would occur again. But the helper may be gone by now, or be forbidden to this
    // process (landlock(7)), which cannot be determined beforehand.
    let lost = || STATE.client().is_none_or(|c| !bounds::has_helper(c));
    let again = |error| matches!(error, libc::E2BIG | libc::EACCES) || error != 0 && lost();
    let by_helper = held.as_ref().is_some_and(Exec::is_helper);
    let held = held.map(|x| with(x, &call)).filter(|(error, _)| !again(*error));
    let (error, child) = held.unwrap_or_else(|| {
        // Not held, or the helper could not be exec'ed, for example because the argument list is too long with its
        // words.
        if let Ticket::Held(job) = ticket {
            life::overdraw(job);
        }
        // SAFETY: the host's arguments.
        let changed = unsafe { door.plain(wanted) }.map(|x| with(x, &call));
        let fits = changed.filter(|(error, _)| *error != libc::E2BIG);
        fits.unwrap_or_else(|| call(wanted))
    });
    life::started(ticket, if error == 0 { child } else { -1 });
    if by_helper && held.is_some() && error == 0 {
        life::await_opened(ticket);
    }
    error
}

/// Makes the call with arguments in scratch memory.
fn with(x: Exec, call: &impl Fn(Wanted) -> (c_int, c_int)) -> (c_int, c_int) {
    let result = call(Wanted { file: x.path, argv: x.argv, envp: x.envp });
    Scratch::free(x.scratch.into_raw());
    result
}

impl Door {
    /// The arguments that spawn a held job through the helper. Returns None if the job is not held, or cannot be.
    unsafe fn held(&self, ticket: Ticket, Wanted { file, argv, envp }: Wanted) -> Option<Exec> {
        let (Ticket::Held(job), Some(client)) = (ticket, STATE.client()) else { return None };
        if file.is_null() || !bounds::has_helper(client) || !bounds::allow_helper(client) {
            return None;
        }
        // SAFETY: the host's path and arrays.
        unsafe {
            let name = CStr::from_ptr(file);
            if redirect::is_starter(name) {
                return redirect::deferred(file, job, argv, envp);
            }
            match self.target(name) {
                Foretold::Runs(target) => {
                    redirect::held(client, job, target, Inherited::NOTHING, argv, envp)
                }
                _ => None,
            }
        }
    }

    /// The arguments of any other spawn, if they differ from the host's.
    unsafe fn plain(&self, Wanted { file, argv, envp }: Wanted) -> Option<Exec> {
        if file.is_null() || !self.ours {
            return None;
        }
        // SAFETY: the host's path and arrays.
        unsafe {
            let foreign = || foretell::is_foreign(CStr::from_ptr(file), self.search);
            redirect::plain(file, argv, envp, false, foreign)
        }
    }

    fn target<'a>(&self, file: &'a CStr) -> Foretold<'a> {
        let along = self.search && !file.to_bytes().contains(&b'/');
        foretell::foretell(
            file,
            Way {
                search: self.search,
                // Along PATH, the old version passes the bare name of a text to the shell.
                shell: self.shell && !along,
                // The file actions may change the directory; only libc knows their contents.
                moves: !self.actions.is_null(),
            },
        )
    }
}
