//! The names of jobs in a trace, and their memory. The hooks that know them report them; without a trace this costs one
//! load.

use core::ffi::CStr;
use core::sync::atomic::Ordering::Relaxed;

use jsshim_engine::ledger::access::Ledger;
use jsshim_engine::ledger::handle::Handle;
use jsshim_engine::proc;
use jsshim_engine::show::name::{self, Name};

use crate::exec::environ::{self, Strings};
use crate::start::program;

use super::state::STATE;
use super::ticket::Ticket;

/// The ledger, if a trace is written or the ends of jobs are reported.
fn traced() -> Option<&'static Ledger> {
    STATE.client().map(|c| c.ledger()).filter(|ledger| is_wanted(ledger))
}

fn is_wanted(ledger: &Ledger) -> bool {
    ledger.header.asked.is_traced() || STATE.debug.load(Relaxed)
}

/// Returns whether names are wanted.
pub fn is_traced() -> bool {
    traced().is_some()
}

/// Reports the peak memory of a child that has been reaped, in kB.
pub fn memory(pid: i32, kb: i64) {
    if let Some(ledger) = traced() {
        ledger.trace_memory(pid, kb);
    }
}

/// What a job is going to run, as far as its door knows before there is a process.
#[derive(Clone, Copy)]
pub struct Plan<'a>(Known<'a>);

#[derive(Clone, Copy)]
enum Known<'a> {
    /// Only that this process is doubled.
    Fork,
    /// A command for the shell.
    Command(&'a CStr),
    Program(Words),
}

impl<'a> Plan<'a> {
    /// A child of which nothing is known yet.
    pub const FORK: Self = Self(Known::Fork);

    /// This command in the shell.
    pub fn command(command: &'a CStr) -> Self {
        Self(Known::Command(command))
    }

    /// A program with these arguments.
    ///
    /// # Safety
    /// `argv` must be NULL or a NULL-terminated array of C strings, for as long as the plan is used.
    pub unsafe fn program(argv: Strings) -> Self {
        Self(Known::Program(Words(argv)))
    }
}

/// Names a job for which this process waits before it makes it, so that it can be shown. Any other job has a process by
/// which it is known, or is named when it is traced.
#[inline(never)]
pub fn waits(ledger: &Ledger, job: Handle, plan: Plan<'_>) {
    match plan.0 {
        Known::Fork => put(ledger, job, &of_fork()),
        Known::Command(command) => put(ledger, job, &name::of_command(command.to_bytes())),
        Known::Program(words) => put_words(ledger, job, words),
    }
}

fn put(ledger: &Ledger, job: Handle, name: &Name) {
    if let Some(record) = ledger.get(job) {
        record.set_name(name);
    }
}

/// Names the job of a ticket, which will run `argv`.
///
/// # Safety
/// `argv` must be NULL or a NULL-terminated array of C strings.
pub unsafe fn ticket(ticket: Ticket, argv: Strings) {
    if let Ticket::Runs(job) | Ticket::Held(job) = ticket {
        // SAFETY: by the contract.
        unsafe { job_runs(job, argv) }
    }
}

/// Names this job, which will run `argv`.
///
/// # Safety
/// As [`ticket`].
pub unsafe fn job_runs(job: Handle, argv: Strings) {
    if let Some(ledger) = traced() {
        // SAFETY: by the contract.
        unsafe { put_argv(ledger, job, argv) }
    }
}

/// By the contract of [`ticket`].
#[inline(never)]
unsafe fn put_argv(ledger: &Ledger, job: Handle, argv: Strings) {
    put_words(ledger, job, Words(argv));
}

fn put_words(ledger: &Ledger, job: Handle, words: Words) {
    let file = words.clone().next().unwrap_or(b"");
    put(ledger, job, &name::of(file, words));
}

/// The strings of an array; can be iterated more than once.
#[derive(Clone, Copy)]
struct Words(Strings);

impl Iterator for Words {
    type Item = &'static [u8];

    fn next(&mut self) -> Option<Self::Item> {
        // SAFETY: made from an array that may be read (`put_argv`, `Plan::program`).
        let word = unsafe { environ::pointers(self.0).next()? };
        self.0 = self.0.wrapping_add(1);
        // SAFETY: as above.
        Some(unsafe { CStr::from_ptr(word) }.to_bytes())
    }
}

/// Names the job of a ticket, which will run this command in the shell.
pub fn command(ticket: Ticket, command: &CStr) {
    if let (Ticket::Runs(job) | Ticket::Held(job), Some(ledger)) = (ticket, traced()) {
        put(ledger, job, &name::of_command(command.to_bytes()));
    }
}

/// Names a forked child until it execs: a fork of its parent's program.
pub fn fork(job: Handle) {
    if let Some(ledger) = traced() {
        put(ledger, job, &of_fork());
    }
}

fn of_fork() -> Name {
    let mut name = Name::new(program::name());
    name.put(b" (fork)");
    name
}

/// Names a job that was started before there was a ledger.
pub fn process(ledger: &Ledger, job: Handle, pid: i32) {
    if is_wanted(ledger) {
        put_process(ledger, job, pid);
    }
}

#[inline(never)]
fn put_process(ledger: &Ledger, job: Handle, pid: i32) {
    let mut buf = [0u8; 1024];
    let mut n = proc::read_file(&proc::of(pid).with(b"/cmdline"), &mut buf).unwrap_or(0);
    if n == 0 {
        // It has ended, but has not been reaped.
        n = proc::read_file(&proc::of(pid).with(b"/comm"), &mut buf).unwrap_or(0);
    }
    let words =
        buf.get(..n).unwrap_or(b"").split(|b| matches!(b, 0 | b'\n')).filter(|w| !w.is_empty());
    put(ledger, job, &name::of(words.clone().next().unwrap_or(b""), words));
}
