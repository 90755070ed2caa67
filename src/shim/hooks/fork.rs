//! The doors through which a process doubles: fork(2), vfork(2), clone(2) and their other names.

use core::ffi::{c_char, c_int, c_void};

use jsshim_engine::client::Client;
use jsshim_engine::ledger::handle::Handle;
use jsshim_engine::slots::State as Slot;
use jsshim_engine::space;
use jsshim_engine::sys::{self, Peek};

use crate::doors::behind;
use crate::doors::types::Run;
use crate::exec::{bounds, exec_pipe, foretell};
use crate::host::errno::fail;
use crate::host::next::{self, Next};
use crate::host::thread::thread_pointer;
use crate::job::fork_sites::{Shown, Site};
use crate::job::names::{self, Plan};
use crate::job::state::STATE;
use crate::job::ticket::Ticket;
use crate::job::vforks::{self, Pending};
use crate::job::{first, lent, life, stats};
use crate::start::{join, late};

/// The body of `fork` and `__fork`; `site` is the return address.
///
/// # Safety
/// As fork(2).
pub unsafe extern "C" fn fork_from(site: usize) -> c_int {
    // SAFETY: as fork(2).
    unsafe { fork_by(&behind::fork, site) }
}

/// The body of `_Fork`, which runs no atfork handlers and may be called in a signal handler.
///
/// # Safety
/// As _Fork(3).
pub unsafe extern "C" fn underscore_fork_from(site: usize) -> c_int {
    // SAFETY: as _Fork(3).
    unsafe { fork_by(&behind::_Fork, site) }
}

unsafe fn fork_by(real: &Next<unsafe extern "C" fn() -> c_int>, site: usize) -> c_int {
    next::prepare();
    let Some(fork) = real.get() else { return fail(libc::ENOSYS) };
    let fork_off = Forking::begin(site);
    // SAFETY: as fork(2).
    let pid = unsafe { fork() };
    fork_off.returned(pid);
    pid
}

/// The body of forkpty(3), whose child has the terminal as its standard descriptors.
///
/// # Safety
/// As forkpty(3).
pub unsafe fn forkpty(
    real: impl Fn(*mut c_int, *mut c_char, *const c_void, *const c_void) -> c_int,
    master: *mut c_int,
    name: *mut c_char,
    mode: *const c_void,
    size: *const c_void,
) -> c_int {
    next::prepare();
    // Its programs exec, so the call site does not matter.
    let forking = Forking::begin(0);
    let pid = real(master, name, mode, size);
    forking.returned(pid);
    pid
}

/// The body of daemon(3): the process goes on as its own child, and the parent has ended with its slot.
///
/// # Safety
/// As daemon(3).
pub unsafe fn daemon(
    real: impl Fn(c_int, c_int) -> c_int,
    nochdir: c_int,
    noclose: c_int,
) -> c_int {
    next::prepare();
    let child = Forking::of(Ticket::Pass, 0);
    let ret = real(nochdir, noclose);
    if STATE.foreign() {
        child.in_child();
    }
    ret
}

/// A fork in progress, in both of its processes.
struct Forking {
    ticket: Ticket,
    site: Option<&'static Site>,
    /// Children of the site are known to exec: this child need not note it.
    is_known: bool,
    /// The slot is a token, which must be kept even if the client is killed before it can store the child's pid.
    on_token: bool,
    /// A trace is written. Read before the fork, since the ledger is not mapped in a child until the child reads it.
    traced: bool,
    /// What the children of the site have done so far.
    shown: Shown,
    /// This is not a process of ours, but runs on the memory of one.
    foreign: bool,
}

impl Forking {
    fn begin(site: usize) -> Self {
        Self::of(life::begin(Plan::FORK), site)
    }

    fn of(ticket: Ticket, site: usize) -> Self {
        let (site, foreign) = match ticket {
            Ticket::Pass => (None, STATE.foreign()),
            _ => ((site != 0).then(|| STATE.family.site(site)).flatten(), false),
        };
        let (ticket, shown) = ask(ticket, site);
        let is_known = site.is_some_and(Site::is_known);
        if shown != Shown::Stays {
            needs_helper(ticket);
        }
        foretell::has_foreign();
        let (on_token, traced) = (life::is_on_token(ticket), names::is_traced());
        Self { ticket, site, is_known, on_token, traced, shown, foreign }
    }

    /// Called when the fork has returned `pid`: 0 in the child.
    fn returned(&self, pid: c_int) {
        if pid == 0 {
            return self.in_child();
        }
        if let Some(site) = self.site.filter(|_| pid > 0) {
            site.forked(pid);
        }
        life::started(self.ticket, pid);
    }

    fn in_child(&self) {
        if self.foreign {
            return;
        }
        // The child has none of its parent's threads, nor what they were doing.
        vforks::clear();
        super::stdio::forget_streams();
        if self.ticket != Ticket::Pass {
            STATE.site.forked(self.site.filter(|_| !self.is_known));
        }
        match (self.ticket, STATE.client()) {
            (Ticket::Runs(job), Some(client)) if self.on_token => {
                // If the parent has moved its children into a new PID namespace, the child has another pid there.
                if sys::getppid() != STATE.pid() {
                    space::enter(client.ledger().header.space());
                }
                client.ledger().note_process(job, sys::getpid());
                forked();
            }
            (Ticket::Held(job), Some(client)) => self.held(client, job),
            // The child may be gated even if its parent is not: it is another process.
            _ => forked(),
        }
        stats::forked();
        // In another PID namespace only the parent knows the pid by which the job is known here.
        if let (Ticket::Runs(job) | Ticket::Held(job), false) = (self.ticket, space::is_elsewhere())
        {
            STATE.set_job(job, self.traced);
            lent::is_job(job);
            if self.traced {
                names::fork(job);
            }
        }
    }

    /// The child of a held job: waits here, inside the fork, unless it is going to exec and can be held there.
    fn held(&self, client: &Client, job: Handle) {
        let parent = STATE.pid();
        forked();
        let execs = match (self.shown, self.site) {
            (Shown::Execs, _) | (_, None) => true,
            (Shown::Stays, _) => false,
            // In a new PID namespace the earlier child has another pid, or none.
            (Shown::Nothing(_), _) if sys::getppid() != parent => true,
            (Shown::Nothing(last), Some(site)) => site.execs_soon(last, || !still_held(job)),
        };
        if execs {
            STATE.put_held(job);
        } else {
            life::hold_here(client, job);
        }
    }
}

/// What is known of the children of a held job's site. Also returns the ticket: the job starts at once if nothing is
/// known since the last child has just ended, and its slot is free.
fn ask(ticket: Ticket, site: Option<&Site>) -> (Ticket, Shown) {
    let (Ticket::Held(job), Some(site)) = (ticket, site) else { return (ticket, Shown::Execs) };
    let shown = site.shown();
    match shown {
        Shown::Nothing(last) if sys::peek(last) != Peek::Running => (life::try_again(job), shown),
        _ => (ticket, shown),
    }
}

/// Called in a forked child: forgets what belongs to its parent.
fn forked() {
    STATE.forked();
    lent::forked();
}

/// The child of a held job becomes the helper at its exec. If the helper is missing, warns here and starts the job
/// without a slot.
fn needs_helper(ticket: Ticket) {
    let Ticket::Held(job) = ticket else { return };
    let client = STATE.client().filter(|c| !c.helper.is_empty());
    if client.is_some_and(|c| !bounds::has_helper(c)) {
        return life::overdraw(job);
    }
    if let Some(client) = client {
        exec_pipe::offer(client, job);
    }
}

/// The start of a cloned process with its own memory.
struct Start {
    forking: Forking,
    run: unsafe extern "C" fn(*mut c_void) -> c_int,
    argument: *mut c_void,
}

unsafe extern "C" fn start(data: *mut c_void) -> c_int {
    // SAFETY: the struct of `clone_process`, in the child's copy of it.
    let start = unsafe { &*data.cast::<Start>() };
    start.forking.returned(0);
    // SAFETY: the host's function and argument.
    unsafe { (start.run)(start.argument) }
}

/// The body of clone(3). A thread is not gated.
///
/// # Safety
/// As clone(3).
#[allow(clippy::too_many_arguments)] // they are clone's
pub unsafe fn clone(
    real: impl Fn(Run, *mut c_void, c_int, *mut c_void, *mut c_void, *mut c_void, *mut c_void) -> c_int,
    run: Run,
    stack: *mut c_void,
    flags: c_int,
    argument: *mut c_void,
    parent_tid: *mut c_void,
    tls: *mut c_void,
    child_tid: *mut c_void,
) -> c_int {
    let by = |run: Run, argument| real(run, stack, flags, argument, parent_tid, tls, child_tid);
    let ours = flags & libc::CLONE_THREAD == 0 && !late::foreign();
    let Some(run) = run.filter(|_| ours && !stack.is_null()) else { return by(run, argument) };
    next::prepare();
    if flags & libc::CLONE_PARENT != 0 {
        return clone_sibling(flags, run, argument, by);
    }
    if flags & libc::CLONE_VM == 0 {
        // The function that it runs stands for the call site.
        let start_data = Start { forking: Forking::begin(run as usize), run, argument };
        not_held(start_data.forking.ticket, flags);
        let pid = by(Some(start), (&raw const start_data).cast_mut().cast());
        start_data.forking.returned(if pid > 0 { pid } else { -1 });
        return pid;
    }
    if flags & libc::CLONE_VFORK != 0 {
        let number = vfork_before();
        not_held(vforks::get(number).map_or(Ticket::Pass, Pending::ticket), flags);
        let pid = by(Some(run), argument);
        vfork_left(number, pid);
        return pid;
    }
    // It runs on this memory beside us: it cannot wait for a slot.
    let ticket = life::begin(Plan::FORK);
    if let Ticket::Held(job) = ticket {
        life::overdraw(job);
    }
    let pid = by(Some(run), argument);
    life::started(ticket, pid);
    pid
}

/// A process that makes a sibling goes on as that sibling, as the sandboxes of nix-build and of containers do: the
/// sibling has its slot, and is where the parent finds the job.
fn clone_sibling(
    flags: c_int,
    run: unsafe extern "C" fn(*mut c_void) -> c_int,
    argument: *mut c_void,
    by: impl Fn(Run, *mut c_void) -> c_int,
) -> c_int {
    life::wait_own_turn();
    if flags & libc::CLONE_VM != 0 {
        return life::hand_on(by(Some(run), argument));
    }
    let start_data = Start { forking: Forking::of(Ticket::Pass, 0), run, argument };
    life::hand_on(by(Some(start), (&raw const start_data).cast_mut().cast()))
}

/// A child that shares our descriptors cannot be held: a descriptor that it opens for the helper would stay open here.
fn not_held(ticket: Ticket, flags: c_int) {
    if let (Ticket::Held(job), true) = (ticket, flags & libc::CLONE_FILES != 0) {
        life::overdraw(job);
    }
}

/// Called before `vfork`: gets the slot. Returns the argument of [`vfork_after`], or 0.
pub extern "C" fn vfork_before() -> usize {
    if late::foreign() {
        return 0;
    }
    next::prepare();
    let ticket = life::begin_here(Plan::FORK);
    needs_helper(ticket);
    // Only now: a handler of the host may have run meanwhile, with a vfork of its own.
    let number = vforks::enter(thread_pointer(), ticket);
    if number.is_none() {
        life::started(ticket, -1);
    }
    number.unwrap_or(0)
}

/// Called after `vfork`, in the parent only. `ret` is the result of the system call.
pub extern "C" fn vfork_after(ret: isize, number: usize) -> c_int {
    vfork_left(number, ret as c_int);
    if ret < 0 {
        return fail(ret.wrapping_neg() as c_int);
    }
    ret as c_int
}

/// The child of entry `number` has exec'ed or ended; `pid` < 0: there is none.
fn vfork_left(number: usize, pid: c_int) {
    if let Some(place) = vforks::get(number) {
        life::started(place.leave(), pid);
    }
}

/// The role of a process that is about to exec.
pub enum Role {
    /// A process of ours; held, if it has no slot yet.
    Own(Option<Handle>),
    /// The child of a `vfork` of ours.
    Vfork(&'static Pending),
    /// Not gated.
    Stranger,
}

/// The [`Role`] of this process.
pub fn role() -> Role {
    if !STATE.foreign() {
        let held = STATE.take_held().inspect(|_| {
            STATE.join(join::find, first::record);
        });
        return Role::Own(held.filter(|job| still_held(*job)));
    }
    vforks::of(thread_pointer()).map_or(Role::Stranger, Role::Vfork)
}

/// Returns whether the job is still held: it may have been granted its slot meanwhile.
pub fn still_held(job: Handle) -> bool {
    let record = STATE.client().and_then(|c| c.ledger().get(job));
    record.is_some_and(|r| r.state() == Slot::Held)
}
