//! Doors through which a job is made: posix_spawn, posix_spawnp, fork, vfork and their other names.

use core::ffi::{c_char, c_int, c_void, CStr};

use jsshim_engine::slots::State as Slot;

use super::fail;
use crate::arch::thread_pointer;
use crate::environ::{Scratch, Strings};
use crate::pending;
use crate::real::{self, Real};
use crate::redirect::{self, Exec};
use crate::sites::Site;
use crate::state::STATE;
use crate::ticket::{self, Ticket};

/// posix_spawn(3) and posix_spawnp(3), which differ in the search only.
type SpawnFn = unsafe extern "C" fn(
    *mut c_int,
    *const c_char,
    *const c_void,
    *const c_void,
    Strings,
    Strings,
) -> c_int;

/// Hook of posix_spawn(3).
///
/// # Safety
/// As posix_spawn(3).
#[no_mangle]
pub unsafe extern "C" fn posix_spawn(
    pid: *mut c_int,
    path: *const c_char,
    actions: *const c_void,
    attributes: *const c_void,
    argv: Strings,
    envp: Strings,
) -> c_int {
    let door = Door { real: &real::POSIX_SPAWN, search: false, actions, attributes };
    // SAFETY: the host's arguments.
    unsafe { door.spawn(pid, path, argv, envp) }
}

/// Hook of posix_spawnp(3).
///
/// # Safety
/// As posix_spawnp(3).
#[no_mangle]
pub unsafe extern "C" fn posix_spawnp(
    pid: *mut c_int,
    file: *const c_char,
    actions: *const c_void,
    attributes: *const c_void,
    argv: Strings,
    envp: Strings,
) -> c_int {
    let door = Door { real: &real::POSIX_SPAWNP, search: true, actions, attributes };
    // SAFETY: the host's arguments.
    unsafe { door.spawn(pid, file, argv, envp) }
}

/// One call of posix_spawn, without what may be replaced.
struct Door {
    real: &'static Real,
    search: bool,
    actions: *const c_void,
    attributes: *const c_void,
}

impl Door {
    unsafe fn spawn(
        &self,
        pid: *mut c_int,
        file: *const c_char,
        argv: Strings,
        envp: Strings,
    ) -> c_int {
        let ticket = ticket::begin();
        let mut child = 0;
        // SAFETY: the host's arguments go on as they are, or as copies of the same shape.
        let error = unsafe {
            match self.replace(ticket, file, argv, envp) {
                Some(x) => {
                    let error = self.call(&mut child, x.path, x.argv, x.envp);
                    Scratch::free(x.scratch.into_raw());
                    // The helper could not be exec'ed (too long an argument list, say).
                    match ticket {
                        Ticket::Held(job) if error != 0 => {
                            ticket::overdraw(job);
                            self.call(&mut child, file, argv, envp)
                        }
                        _ => error,
                    }
                }
                None => self.call(&mut child, file, argv, envp),
            }
        };
        ticket::started(ticket, if error == 0 { child } else { -1 });
        if error == 0 && !pid.is_null() {
            // SAFETY: the host's variable.
            unsafe { pid.write(child) };
        }
        error
    }

    /// What to spawn instead, if anything.
    unsafe fn replace(
        &self,
        ticket: Ticket,
        file: *const c_char,
        argv: Strings,
        envp: Strings,
    ) -> Option<Exec> {
        if ticket == Ticket::Pass || file.is_null() {
            return None;
        }
        let client = STATE.client()?;
        // SAFETY: the host's path and arrays.
        unsafe {
            if let Ticket::Held(job) = ticket {
                let name = CStr::from_ptr(file);
                // File actions may change the directory, so that a relative path cannot be looked at.
                let known =
                    self.actions.is_null() || name.to_bytes().first() == Some(&b'/') || self.search;
                let target = redirect::foretell(name, self.search, false).filter(|_| known);
                if let Some(exec) = target.and_then(|t| redirect::held(client, job, &t, argv, envp))
                {
                    return Some(exec);
                }
                ticket::overdraw(job);
            }
            redirect::plain(client, file, argv, envp)
        }
    }

    unsafe fn call(
        &self,
        pid: &mut c_int,
        path: *const c_char,
        argv: Strings,
        envp: Strings,
    ) -> c_int {
        // SAFETY: both functions have this type, and the arguments are the host's.
        unsafe {
            match self.real.get::<SpawnFn>() {
                Some(f) => f(pid, path, self.actions, self.attributes, argv, envp),
                None => libc::ENOSYS,
            }
        }
    }
}

/// The body of `fork` and `__fork`; `site` is where it was called.
///
/// # Safety
/// As fork(2).
pub unsafe extern "C" fn fork_from(site: usize) -> c_int {
    // SAFETY: as fork(2).
    unsafe { fork_by(&real::FORK, site) }
}

/// The body of `_Fork`, which runs no atfork handlers and may be called in a signal handler.
///
/// # Safety
/// As _Fork(3).
pub unsafe extern "C" fn underscore_fork_from(site: usize) -> c_int {
    // SAFETY: as _Fork(3).
    unsafe { fork_by(&real::UNDERSCORE_FORK, site) }
}

unsafe fn fork_by(real: &Real, site: usize) -> c_int {
    // SAFETY: fork(2) and _Fork(3) take nothing and give a pid.
    let Some(fork) = (unsafe { real.get::<unsafe extern "C" fn() -> c_int>() }) else {
        return fail(libc::ENOSYS);
    };
    // SAFETY: as fork(2).
    forked(site, || unsafe { fork() })
}

/// Hook of forkpty(3), whose child has the terminal as its standard descriptors.
///
/// # Safety
/// As forkpty(3).
#[no_mangle]
pub unsafe extern "C" fn forkpty(
    master: *mut c_int,
    name: *mut c_char,
    mode: *const c_void,
    size: *const c_void,
) -> c_int {
    type F = unsafe extern "C" fn(*mut c_int, *mut c_char, *const c_void, *const c_void) -> c_int;
    // SAFETY: the type of forkpty(3).
    let Some(real) = (unsafe { real::FORKPTY.get::<F>() }) else { return fail(libc::ENOSYS) };
    // SAFETY: the host's arguments. Its programs exec, so the call site is of no interest.
    forked(0, || unsafe { real(master, name, mode, size) })
}

/// Every door that forks: `fork` gives a pid, or 0 in the child.
fn forked(site: usize, fork: impl FnOnce() -> c_int) -> c_int {
    real::prepare();
    let ticket = ticket::begin();
    if ticket == Ticket::Pass {
        return passed_fork(fork);
    }
    let site = if site == 0 { None } else { STATE.sites.of(site) };
    let worker = matches!(ticket, Ticket::Held(_)) && site.is_some_and(Site::is_worker);
    let pid = fork();
    match pid {
        0 => in_child(ticket, site, worker),
        _ => {
            if let Some(site) = site.filter(|_| pid > 0) {
                site.forked();
            }
            ticket::started(ticket, pid);
        }
    }
    pid
}

/// A fork of a process that is not gated. Its child may be: it is another process.
fn passed_fork(fork: impl FnOnce() -> c_int) -> c_int {
    let ours = !STATE.foreign();
    let pid = fork();
    if pid == 0 && ours {
        forget_parent();
        STATE.forked(None);
    }
    pid
}

/// What is under way in the threads of the parent is not in its child.
fn forget_parent() {
    pending::clear();
    super::stdio::forget_streams();
}

fn in_child(ticket: Ticket, site: Option<&'static Site>, worker: bool) {
    forget_parent();
    STATE.sites.forked(site);
    match (ticket, STATE.client()) {
        (Ticket::Held(job), Some(client)) if worker => {
            STATE.forked(None);
            ticket::hold_here(client, job);
        }
        (Ticket::Held(job), Some(_)) => STATE.forked(Some(job)),
        _ => STATE.forked(None),
    }
}

/// Before `vfork`: the slot. Gives what [`vfork_after`] needs, or 0.
pub extern "C" fn vfork_before() -> usize {
    if STATE.foreign() {
        return 0;
    }
    real::prepare();
    let Some(number) = pending::enter(thread_pointer()) else {
        return 0;
    };
    if let Some(place) = pending::get(number) {
        place.set(ticket::begin());
    }
    number
}

/// After `vfork`, in the parent only. `ret` is the kernel's answer.
pub extern "C" fn vfork_after(ret: isize, number: usize) -> c_int {
    if let Some(place) = pending::get(number) {
        ticket::started(place.leave(), ret as c_int);
    }
    if ret < 0 {
        return fail(ret.wrapping_neg() as c_int);
    }
    ret as c_int
}

/// The role of a process that is about to exec.
pub enum Role {
    /// A process of ours; held, if it has no slot yet.
    Own(Option<jsshim_engine::record::Handle>),
    /// The child of a `vfork` of ours.
    Vfork(&'static pending::Pending),
    /// None of our business.
    Stranger,
}

/// See [`Role`].
pub fn role() -> Role {
    if !STATE.foreign() {
        return Role::Own(STATE.take_held().filter(|job| still_held(*job)));
    }
    pending::of(thread_pointer()).map_or(Role::Stranger, Role::Vfork)
}

/// A held job may have been granted its slot meanwhile.
pub fn still_held(job: jsshim_engine::record::Handle) -> bool {
    let record = STATE.client().and_then(|c| c.ledger().get(job));
    record.is_some_and(|r| r.state() == Slot::Held)
}
