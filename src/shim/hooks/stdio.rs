//! Doors of the C library that run a command with the shell: system(3), popen(3), pclose(3), and
//! fclose(3) of such a stream. libc's own spawn and wait in them cannot be seen, so the job is known by
//! the call or by its stream, and its process makes itself known: where there is a ledger, the command
//! is run through the helper.

use core::ffi::{c_char, c_int, c_void, CStr};
use core::ptr::null_mut;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicU64, AtomicUsize};

use jsshim_engine::proc;

use super::fail;
use crate::environ::Scratch;
use crate::real::{self, Real};
use crate::redirect;
use crate::state::STATE;
use crate::ticket::{self, Ticket};

/// Hook of system(3).
///
/// # Safety
/// As system(3).
#[no_mangle]
pub unsafe extern "C" fn system(command: *const c_char) -> c_int {
    // SAFETY: the type of system(3).
    let Some(real) =
        (unsafe { real::SYSTEM.get::<unsafe extern "C" fn(*const c_char) -> c_int>() })
    else {
        return fail(libc::ENOSYS);
    };
    if command.is_null() {
        // SAFETY: only asks whether there is a shell.
        return unsafe { real(command) };
    }
    let ticket = ticket::begin();
    if let Ticket::Held(job) = ticket {
        // A process that sleeps in system(3) drains no pipe and reaps nobody: its jobs may wait for it,
        // so this one must not wait for them.
        if proc::stat(0).is_none_or(|s| s.threads == 1) {
            ticket::overdraw(job);
        }
    }
    // SAFETY: the host's command.
    let through = unsafe { through_helper(ticket, command) };
    // SAFETY: the host's command, or the same through the helper.
    let ret = unsafe { real(through.as_ref().map_or(command, |(c, _)| *c)) };
    if let Some((_, scratch)) = through {
        Scratch::free(scratch.into_raw());
    }
    ticket::started(ticket, -1);
    ret
}

/// Hook of popen(3).
///
/// # Safety
/// As popen(3).
#[no_mangle]
pub unsafe extern "C" fn popen(command: *const c_char, mode: *const c_char) -> *mut c_void {
    type F = unsafe extern "C" fn(*const c_char, *const c_char) -> *mut c_void;
    // SAFETY: the type of popen(3).
    let Some(real) = (unsafe { real::POPEN.get::<F>() }) else {
        fail(libc::ENOSYS);
        return null_mut();
    };
    let place = STREAMS.iter().find(|s| s.enter());
    let ticket = place.filter(|_| !command.is_null()).map_or(Ticket::Pass, |_| ticket::begin());
    // SAFETY: the host's arguments, or the same command through the helper.
    let stream = unsafe {
        let through = through_helper(ticket, command);
        let stream = real(through.as_ref().map_or(command, |(c, _)| *c), mode);
        if let Some((_, scratch)) = through {
            Scratch::free(scratch.into_raw());
        }
        stream
    };
    match place {
        Some(place) if !stream.is_null() && ticket != Ticket::Pass => place.keep(stream, ticket),
        Some(place) => {
            place.leave();
            ticket::started(ticket, -1);
        }
        None => {}
    }
    stream
}

/// Hook of pclose(3).
///
/// # Safety
/// As pclose(3).
#[no_mangle]
pub unsafe extern "C" fn pclose(stream: *mut c_void) -> c_int {
    // SAFETY: the host's stream.
    unsafe { close_by(&real::PCLOSE, stream) }
}

/// Hook of fclose(3): of a stream of popen(3) it is pclose(3), of any other nothing of ours.
///
/// # Safety
/// As fclose(3).
#[no_mangle]
pub unsafe extern "C" fn fclose(stream: *mut c_void) -> c_int {
    // SAFETY: the host's stream.
    unsafe { close_by(&real::FCLOSE, stream) }
}

unsafe fn close_by(real: &Real, stream: *mut c_void) -> c_int {
    // Taken out first: once closed, another thread may be given the same address.
    let ticket = STREAMS.iter().find_map(|s| s.take(stream));
    // SAFETY: both functions have this type; the host's stream.
    let ret = unsafe {
        match real.get::<unsafe extern "C" fn(*mut c_void) -> c_int>() {
            Some(f) => f(stream),
            None => fail(libc::ENOSYS),
        }
    };
    if let Some(ticket) = ticket {
        ticket::started(ticket, -1);
    }
    ret
}

/// The command line that runs `command` through the helper, so that its process is in the ledger and
/// waits there if it is held. `None`: there is no ledger yet, or no helper.
unsafe fn through_helper(
    ticket: Ticket,
    command: *const c_char,
) -> Option<(*const c_char, Scratch)> {
    let (Ticket::Runs(job) | Ticket::Held(job)) = ticket else { return None };
    let client = STATE.client()?;
    // SAFETY: the host's command.
    let command = unsafe { CStr::from_ptr(command) };
    let line = redirect::shell_line(client, job, command);
    if let (None, Ticket::Held(job)) = (&line, ticket) {
        ticket::overdraw(job);
    }
    line
}

/// A stream of popen(3) and its job.
struct Stream {
    /// 0: free; [`OPENING`]; or the address of the stream.
    address: AtomicUsize,
    ticket: AtomicU64,
}

const OPENING: usize = 1;

/// Streams at once; the commands of further ones are not gated.
static STREAMS: [Stream; 128] =
    [const { Stream { address: AtomicUsize::new(0), ticket: AtomicU64::new(0) } }; 128];

impl Stream {
    fn enter(&self) -> bool {
        self.address.load(Relaxed) == 0
            && self.address.compare_exchange(0, OPENING, AcqRel, Relaxed).is_ok()
    }

    fn keep(&self, stream: *mut c_void, ticket: Ticket) {
        self.ticket.store(ticket::pack(ticket), Relaxed);
        // Release: who finds the stream finds its ticket.
        self.address.store(stream as usize, Release);
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

/// In a forked child the streams are its parent's.
pub fn forget_streams() {
    for s in STREAMS.iter().filter(|s| s.address.load(Relaxed) != 0) {
        s.leave();
    }
}
