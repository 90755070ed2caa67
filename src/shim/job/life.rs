//! The life of a spawn. Every spawning hook calls [`begin`], the real function, then [`started`] in the parent. In
//! between the ticket tells what the job runs on.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use jsshim_engine::client::Client;
use jsshim_engine::ledger::handle::Handle;
use jsshim_engine::ledger::reason::Reason;
use jsshim_engine::ledger::record::OPENED;
use jsshim_engine::slots::State as Slot;
use jsshim_engine::sys::{self, Peek};
use jsshim_engine::{gate, space};

use crate::exec::bounds;
use crate::host::leaving;
use crate::start::settings::{self, Gate};
use crate::start::{join, late};

use super::names::{self, Plan};
use super::state::{NONE, OFF, STATE};
use super::ticket::Ticket;
use super::{debug, first, lent, stats};

/// Finds a slot for a new job, or decides that it is held.
pub fn begin(plan: Plan<'_>) -> Ticket {
    if STATE.phase() == OFF || late::foreign() {
        return Ticket::Pass;
    }
    begin_here(plan)
}

/// [`begin`] in a process that is known not to be a [foreign](crate::job::state::State::foreign) one.
pub fn begin_here(plan: Plan<'_>) -> Ticket {
    if STATE.phase() == OFF {
        return Ticket::Pass;
    }
    wait_own_turn();
    lent::starts();
    if !STATE.asked.load(Relaxed) {
        ask();
    }
    if !STATE.eager.load(Relaxed) && first::claim() {
        return Ticket::First;
    }
    begin_recorded(plan)
}

/// Called before the first job. A subreaper must be in the ledger before its children are, because they must know that
/// its orphans are reparented to it.
#[inline(never)]
fn ask() {
    STATE.asked.store(true, Relaxed);
    if sys::is_subreaper() {
        STATE.eager.store(true, Relaxed);
    }
}

/// A function of its own, so that a process with one job at a time needs little stack.
#[inline(never)]
fn begin_recorded(plan: Plan<'_>) -> Ticket {
    let Some(client) = join() else {
        return Ticket::Pass;
    };
    let Some(job) = client.claim() else {
        let me = client.known();
        if me == 0 {
            STATE.warn(b"the ledger is full; this process is not gated");
            return Ticket::Pass;
        }
        let job = Handle::without_record(me);
        guard(client, job);
        return Ticket::Held(job);
    };
    slot(client, job, settings::gate_mode(), plan)
}

/// Joins the pool. A daemon whose build has ended since it was forked joins anew.
fn join() -> Option<&'static Client> {
    let client = STATE.join(join::find, first::record)?;
    if client.is_left_behind() {
        return STATE.join_anew(client, join::find, first::record);
    }
    Some(client)
}

/// Makes sure that there is a guard for a job that is held, or for a token that is about to be taken.
fn guard(client: &Client, job: Handle) {
    let now_and_then = job.generation.is_multiple_of(16);
    client.guard(STATE.env.load(Relaxed).cast_const(), now_and_then);
}

/// [`guard`] for a token. A killed guard is replaced, so a known one is checked at every fourth job only: the check
/// costs as much as taking the token.
fn guard_token(client: &Client, job: Handle) {
    if client.ledger().header.guard.load(Relaxed) <= 0 || job.generation.is_multiple_of(4) {
        guard(client, job);
    }
}

/// A slot for this process, which is about to become another program while a job runs on its implicit slot. That
/// program knows nothing of the job and uses the implicit slot again, so it is a job itself. Returns None if no job
/// runs, or no process could give the slot back.
#[inline(never)]
pub fn own_slot() -> Option<Ticket> {
    let first = first::seen();
    let busy = match STATE.client() {
        Some(client) => client.is_busy(&STATE.jobs),
        None => STATE.phase() != OFF && first > 0 && sys::peek(first) == Peek::Running,
    };
    if !busy || !bounds::are_as_joined() {
        return None;
    }
    let client = STATE.join(join::find, first::record).filter(|c| bounds::has_helper(c))?;
    let job = client.claim()?;
    client.ledger().get(job)?.pid.store(sys::getpid(), Release);
    let ticket = slot(client, job, Gate::Child, Plan::FORK);
    client.guard(STATE.env.load(Relaxed).cast_const(), true);
    Some(ticket)
}

/// If this process was forked without a slot and has not exec'ed, waits for its slot before its first own job.
pub fn wait_own_turn() {
    match (STATE.take_held(), STATE.client()) {
        (Some(job), Some(client)) if bounds::are_as_joined() => hold_here(client, job),
        // A resource that the wait needs may be forbidden by now.
        (Some(job), Some(_)) => overdraw(job),
        _ => {}
    }
}

/// Waits in this process for the slot of `job`.
#[inline(never)]
pub fn hold_here(client: &Client, job: Handle) {
    let mut inputs = [-1; 8];
    for (at, fd) in inputs.iter_mut().zip(0..) {
        *at = fd;
    }
    let state = leaving::guarded(
        &mut (client, job),
        |(client, job)| {
            client.ledger().overdraw(*job, Reason::Left);
            jsshim_engine::hold::abandon();
            debug::end_of_wait(client, *job, Slot::Overdraft);
        },
        |(client, job)| {
            let guard = || client.guard(STATE.env.load(Relaxed).cast_const(), true);
            jsshim_engine::hold::wait(client.ledger(), *job, &client.pool, &inputs, &guard)
        },
    );
    debug::end_of_wait(client, job, state);
    client.end_if_let_go(job);
    client.pool.close();
}

/// A slot for a claimed job, or the decision that it is held.
#[inline(never)]
pub fn slot(client: &Client, job: Handle, gate: Gate, plan: Plan<'_>) -> Ticket {
    // Called before it waits: the guard may be below a process that ends meanwhile.
    if client.keeper().is_open(client.ledger(), STATE.pid()) {
        guard(client, job);
    }
    let now = client.start_now(job, || guard_token(client, job)).or_else(|| {
        client.sweep(&STATE.jobs);
        client.start_now(job, || ())
    });
    let state = now.or_else(|| match gate {
        Gate::Child => None,
        mode => wait_at_gate(client, job, mode, plan),
    });
    if let Some(state) = state {
        debug::starts(state);
        return Ticket::Runs(job);
    }
    guard(client, job);
    if is_unguarded_elsewhere(client) {
        overdraw(job);
        return Ticket::Runs(job);
    }
    client.ledger().step(job, Slot::Held);
    // Our implicit slot may have become free just before: then no other process would grant it.
    client.settle();
    let ticket = held_or_started(client, job);
    if ticket == Ticket::Held(job) {
        debug::holds();
    }
    ticket
}

/// The job's ticket now: another process may have given it a slot.
fn held_or_started(client: &Client, job: Handle) -> Ticket {
    match client.ledger().get(job).map(|r| r.state()) {
        Some(Slot::Held) => Ticket::Held(job),
        _ => Ticket::Runs(job),
    }
}

/// Called when a child of this process has just ended: the held job may start on its slot.
pub fn try_again(job: Handle) -> Ticket {
    let Some(client) = STATE.client() else { return Ticket::Held(job) };
    client.sweep(&STATE.jobs);
    client.settle();
    held_or_started(client, job)
}

/// Returns whether the job would wait in another PID namespace without anyone to watch over it: it cannot itself, and
/// no guard can be started from here.
fn is_unguarded_elsewhere(client: &Client) -> bool {
    !client.helper.is_empty() && space::moves_children() && !client.ledger().has_guard()
}

#[inline(never)]
fn wait_at_gate(client: &Client, job: Handle, mode: Gate, plan: Plan<'_>) -> Option<Slot> {
    let manner = gate::Manner { eager: mode == Gate::Parent, means: settings::means() };
    names::waits(client.ledger(), job, plan);
    client.ledger().waits(job);
    leaving::guarded(
        &mut (gate::Watch::new(), job),
        |(watch, job)| {
            watch.close();
            started(Ticket::Runs(*job), -1);
        },
        |(watch, job)| watch.wait(client, &STATE.jobs, *job, manner),
    )
}

/// The whole life of a job that libc starts and reaps within one call.
pub fn through<R>(ticket: Ticket, run: impl FnOnce() -> R) -> R {
    let result = leaving::guarded(&mut { ticket }, |ticket| lives_on(*ticket), |_| run());
    started(ticket, -1);
    result
}

/// The host has left such a call by a jump, or libc has left its child to the host. The job may live on: its record
/// tells.
pub fn lives_on(ticket: Ticket) {
    if let (Ticket::Runs(job) | Ticket::Held(job), Some(client)) = (ticket, STATE.client()) {
        let pid = client.ledger().get(job).map_or(0, |r| r.pid.load(Acquire));
        if pid > 0 {
            STATE.jobs.add(pid, job);
            return;
        }
    }
    started(ticket, -1);
}

/// Waits until the process of a job that runs through the helper has stored its pid.
pub fn await_process(ticket: Ticket) {
    let (Ticket::Runs(job) | Ticket::Held(job), Some(client)) = (ticket, STATE.client()) else {
        return;
    };
    let is_unborn = || client.ledger().get(job).is_some_and(|r| r.pid.load(Acquire) == 0);
    for _ in (0..OPEN_MILLIS).take_while(|_| is_unborn()) {
        sys::sleep_millis(1);
    }
}

/// The job of a ticket has a process; or, with `pid` < 0, none was made.
pub fn started(ticket: Ticket, pid: i32) {
    match ticket {
        Ticket::Pass => {}
        Ticket::First => first::started(pid),
        Ticket::Runs(job) | Ticket::Held(job) => {
            let Some(client) = STATE.client() else { return };
            if pid > 0 {
                first::set_process(client, job, pid);
            } else {
                client.end(job);
                client.rest(&STATE.jobs);
            }
        }
    }
}

/// How long the helper of a held job may take to open its program, in ms. A host that believes that its program runs
/// may delete it. It usually takes a tenth of a ms, and more when the CPUs are busy.
const OPEN_MILLIS: u32 = 100;

/// Waits for the helper to open the program. The pid of the job was stored before: a handler of the host may jump out.
pub fn await_opened(ticket: Ticket) {
    let (Ticket::Held(job), Some(client)) = (ticket, STATE.client()) else { return };
    let is_awaited = || {
        let record = client.ledger().get(job)?;
        (record.note.load(Acquire) != OPENED).then_some(&record.note)
    };
    // A signal may end a wait early.
    for _ in 0..4 {
        let Some(word) = is_awaited() else { return };
        if sys::wait_word(word, 0, OPEN_MILLIS) == Err(sys::Errno(libc::ETIMEDOUT)) {
            return;
        }
    }
}

/// A held job starts without a slot: it could not be held.
pub fn overdraw(job: Handle) {
    if let Some(client) = STATE.client() {
        client.ledger().overdraw(job, Reason::Unheld);
        if STATE.debug.load(Relaxed) {
            debug::line(client.ledger().start(b"starts a job, ", job, Slot::Overdraft).bytes());
        }
    }
}

/// This process has made `sibling`, if it is above zero, a child of its parent, and goes on as that sibling. So does
/// the job that this process is.
pub fn hand_on(sibling: i32) -> i32 {
    if sibling <= 0 {
        return sibling;
    }
    let me = sys::getpid();
    // The parent is told before the record is changed: see `set_process`.
    STATE.family.hand_on(me, sibling);
    if let Some((job, client)) = STATE.job().zip(STATE.client()) {
        client.ledger().hand_on(job, me, sibling);
    }
    sibling
}

/// A child has been reaped: its slot is free.
pub fn ended(pid: i32) {
    if STATE.first.load(Relaxed) == pid {
        let next = STATE.family.heir(pid).unwrap_or(NONE);
        if STATE.first.compare_exchange(pid, next, AcqRel, Relaxed).is_ok() {
            return;
        }
    }
    if STATE.foreign() {
        return;
    }
    let Some(client) = STATE.client() else { return };
    if let Some(job) = STATE.jobs.remove(pid) {
        // The record holds the sibling as well; this only removes the entry.
        STATE.family.heir(pid);
        if !client.goes_on(job, pid, &STATE.jobs) {
            client.rest(&STATE.jobs);
        }
    }
}

/// Called before a wait for any child.
#[inline]
pub fn before_wait() {
    if let Some(client) = STATE.client().filter(|c| c.keeper().adopts()) {
        if !STATE.foreign() {
            client.before_wait(STATE.env.load(Relaxed).cast_const());
        }
    }
}

/// Called when the process ends.
pub fn leave() {
    let (client, wanted) = (STATE.client(), stats::WANTED.load(Relaxed));
    // Most processes have nothing to do here, and make no system call: a process that is under a filter by now might be
    // killed for it. A forked child has nothing to do before it has started a job, and is not the root of a pool.
    let concerned = match client {
        Some(client) => client.known() != 0 || !STATE.is_fork(),
        None => stats::is_root() && !STATE.is_fork(),
    };
    if !concerned || STATE.foreign() {
        return;
    }
    if wanted {
        if let Some(client) = client {
            client.sweep(&STATE.jobs);
        }
        stats::write_if_asked(client);
    }
    if let Some(client) = client {
        client.leave(&STATE.jobs, STATE.env.load(Relaxed).cast_const());
    } else if stats::is_root() {
        stats::leave_root();
    }
}

/// Returns whether the job of this ticket runs on a token.
pub fn is_on_token(ticket: Ticket) -> bool {
    let (Ticket::Runs(job), Some(client)) = (ticket, STATE.client()) else { return false };
    client.ledger().get(job).is_some_and(|record| record.state() == Slot::Token)
}
