//! Doors of the C library that run a command with the shell: system(3), wordexp(3), popen(3), pclose(3), and fclose(3)
//! of such a stream. libc's own spawn and wait in them cannot be hooked. So the job is identified by the call or by its
//! stream. If there is a ledger, the command runs through the helper, and so the process stores its own pid.

use core::ffi::{c_char, c_int, c_void, CStr};
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

use jsshim_engine::proc;

use crate::exec::environ::Scratch;
use crate::exec::{bounds, redirect};
use crate::host::kind::is_glibc;
use crate::job::life;
use crate::job::names::{self, Plan};
use crate::job::state::STATE;
use crate::job::ticket::{self, Ticket};

/// The body of system(3).
///
/// # Safety
/// As system(3).
pub unsafe fn system(real: impl Fn(*const c_char) -> c_int, command: *const c_char) -> c_int {
    if command.is_null() {
        // This only asks whether there is a shell.
        return real(command);
    }
    // SAFETY: the host's command, which is not null.
    let words = unsafe { CStr::from_ptr(command) };
    let ticket = life::begin(Plan::command(words));
    names::command(ticket, words);
    if let Ticket::Held(job) = ticket {
        // A process that sleeps in system(3) drains no pipe and reaps no child. Its jobs may wait for it, so this job
        // must not wait for them.
        if proc::stat(0).is_none_or(|s| s.threads == 1) {
            life::overdraw(job);
        }
    }
    // SAFETY: the host's command.
    let through = unsafe { through_helper(ticket, command) };
    let ret = life::through(ticket, || real(through.as_ref().map_or(command, |(c, _)| *c)));
    if let Some((_, scratch)) = through {
        Scratch::free(scratch.into_raw());
    }
    ret
}

/// The body of wordexp(3), whose command substitutions run one after the other while the caller waits. They are parts
/// of other words, so none can be held.
///
/// # Safety
/// As wordexp(3).
pub unsafe fn wordexp(
    real: impl Fn(*const c_char, *mut c_void, c_int) -> c_int,
    words: *const c_char,
    expansion: *mut c_void,
    flags: c_int,
) -> c_int {
    // SAFETY: the host's string.
    let commands = flags & WRDE_NOCMD == 0
        && !words.is_null()
        && unsafe { CStr::from_ptr(words) }.to_bytes().iter().any(|b| matches!(b, b'`' | b'('));
    let ticket = if commands { life::begin(Plan::FORK) } else { Ticket::Pass };
    if let Ticket::Held(job) = ticket {
        life::overdraw(job);
    }
    life::through(ticket, || real(words, expansion, flags))
}

/// From wordexp.h.
const WRDE_NOCMD: c_int = 4;

/// The body of popen(3).
///
/// # Safety
/// As popen(3).
pub unsafe fn popen(
    real: impl Fn(*const c_char, *const c_char) -> *mut c_void,
    command: *const c_char,
    mode: *const c_char,
) -> *mut c_void {
    // SAFETY: the host's command, which is not null.
    let words = (!command.is_null()).then(|| unsafe { CStr::from_ptr(command) });
    let ticket = words.map_or(Ticket::Pass, |words| {
        let ticket = life::begin(Plan::command(words));
        names::command(ticket, words);
        ticket
    });
    // SAFETY: the host's command.
    let through = unsafe { through_helper(ticket, command) };
    let stream = real(through.as_ref().map_or(command, |(c, _)| *c), mode);
    if let Some((_, scratch)) = through {
        Scratch::free(scratch.into_raw());
    }
    let keep = !stream.is_null() && ticket != Ticket::Pass;
    if !keep || !keep_stream(stream, ticket) {
        life::started(ticket, -1);
    }
    stream
}

/// The body of pclose(3).
///
/// # Safety
/// As pclose(3).
pub unsafe fn pclose(real: impl Fn(*mut c_void) -> c_int, stream: *mut c_void) -> c_int {
    match take_stream(stream) {
        Some(ticket) => life::through(ticket, || real(stream)),
        None => real(stream),
    }
}

/// The body of fclose(3). For a stream of popen(3) glibc does the same as in pclose(3), while musl leaves the command
/// to a later wait(2). Other streams are not ours.
///
/// # Safety
/// As fclose(3).
pub unsafe fn fclose(real: impl Fn(*mut c_void) -> c_int, stream: *mut c_void) -> c_int {
    match take_stream(stream) {
        Some(ticket) if is_glibc() => life::through(ticket, || real(stream)),
        Some(ticket) => {
            life::await_process(ticket);
            let result = real(stream);
            life::lives_on(ticket);
            result
        }
        None => real(stream),
    }
}

/// The job of a stream. Called before the stream is closed: then another thread may get the same address.
fn take_stream(stream: *mut c_void) -> Option<Ticket> {
    used().iter().find_map(|s| s.take(stream))
}

/// The command line that runs `command` through the helper, if there is a ledger: then its process is in the ledger,
/// and waits if it is held. Returns None if the command must run as it is.
unsafe fn through_helper(
    ticket: Ticket,
    command: *const c_char,
) -> Option<(*const c_char, Scratch)> {
    if command.is_null() || STATE.foreign() {
        return None;
    }
    // SAFETY: the host's command.
    let command = unsafe { CStr::from_ptr(command) };
    let job = match ticket {
        Ticket::Runs(job) | Ticket::Held(job) => STATE.client().map(|c| (c, job)),
        _ => None,
    };
    let job = job.filter(|(c, _)| bounds::has_helper(c) && bounds::allow_helper_in_shell(c));
    let line = redirect::shell_line(job, command);
    if let (false, Ticket::Held(job)) = (line.is_some() && job.is_some(), ticket) {
        life::overdraw(job);
    }
    line
}

/// A stream of popen(3) and its job.
struct Stream {
    /// 0: free; [`FILLING`]; or the address of the stream.
    address: AtomicUsize,
    ticket: AtomicU64,
}

const FILLING: usize = 1;

/// The most streams at once; the commands of further ones are not gated.
#[link_section = ".bss.z"]
static STREAMS: [Stream; 128] =
    [const { Stream { address: AtomicUsize::new(0), ticket: AtomicU64::new(0) } }; 128];
static ANY_STREAM: AtomicBool = AtomicBool::new(false);

/// The table, if it has been used. An unused table is not read: that would map its page.
fn used() -> &'static [Stream] {
    // Acquire: whoever finds a stream finds this set.
    if ANY_STREAM.load(Acquire) {
        &STREAMS
    } else {
        &[]
    }
}

/// Stores the job of a stream. Returns false if the table is full.
fn keep_stream(stream: *mut c_void, ticket: Ticket) -> bool {
    ANY_STREAM.store(true, Release);
    STREAMS.iter().any(|s| s.keep(stream, ticket))
}

impl Stream {
    /// Takes this entry if it is free.
    fn keep(&self, stream: *mut c_void, ticket: Ticket) -> bool {
        let free = self.address.load(Relaxed) == 0
            && self.address.compare_exchange(0, FILLING, AcqRel, Relaxed).is_ok();
        if free {
            self.ticket.store(ticket::pack(ticket), Relaxed);
            // Release: whoever finds the stream finds its ticket.
            self.address.store(stream as usize, Release);
        }
        free
    }

    fn leave(&self) {
        self.address.store(0, Release);
    }

    fn take(&self, stream: *mut c_void) -> Option<Ticket> {
        if stream.is_null() || self.address.load(Acquire) != stream as usize {
            return None;
        }
        let ticket = ticket::unpack(self.ticket.load(Relaxed));
        let address = stream as usize;
        self.address.compare_exchange(address, 0, AcqRel, Relaxed).is_ok().then_some(ticket)
    }
}

/// Forgets the streams in a forked child: they are its parent's.
pub fn forget_streams() {
    for s in used().iter().filter(|s| s.address.load(Relaxed) != 0) {
        s.leave();
    }
}
