//! `struct jobserver`, and what lies behind its pointer.

use core::ffi::{c_int, c_short};
use core::ptr::null_mut;

use jsshim_engine::serve::{Host, Masked, Server, Stop, Tokens};
use jsshim_engine::sys::{Errno, Result};

use crate::heap::{self, List};
use crate::job::Tag;

/// The struct of the header. A `bool` is a byte here, since nobody says that a program has set it.
#[repr(C)]
pub struct Jobserver {
    pub dry_run: u8,
    pub debug: u8,
    pub keep_going: u8,
    pub stopped: libc::pid_t,
    pub status: c_int,
    pub size: usize,
    pub has_free_token: u8,
    pub current_jobs: usize,
    pub max_jobs: usize,
    pub jobs: *mut Inner,
    pub poll: [libc::pollfd; 2],
    pub write: c_int,
}

const _: () = assert!(size_of::<Jobserver>() == 80);

/// Behind the pointer.
pub struct Inner {
    pub server: Server<List>,
    /// Calls that are under way: those of which a callback has called the library.
    pub busy: u32,
}

/// An instance that the program has passed: as [`Host`], it lends out what lies behind it for the time of a
/// step, since callbacks may use the same instance.
pub struct Instance {
    js: *mut Jobserver,
}

impl Instance {
    /// The instance of a call, which is under way until [`Instance::done`].
    ///
    /// # Errors
    /// BADF: it is not connected.
    ///
    /// # Safety
    /// `js` must be one that the library has filled in, and stay so for the time of the call.
    pub unsafe fn begin(js: *mut Jobserver, masked: &Masked) -> Result<Self> {
        // SAFETY: by the contract.
        let js_ref = unsafe { &mut *js };
        // SAFETY: null, or set by `set`.
        let inner = unsafe { js_ref.jobs.as_mut() }.ok_or(Errno::BADF)?;
        js_ref.stopped = -1;
        // What the program has put into the fields counts.
        let [_, token] = js_ref.poll;
        (inner.server.tokens.read, inner.server.tokens.write) = (token.fd, js_ref.write);
        inner.server.adopt(masked)?;
        inner.busy = inner.busy.saturating_add(1);
        let this = Self { js };
        this.show();
        Ok(this)
    }

    /// The call ends: the fields show what is.
    pub fn done(&mut self) {
        let inner = self.inner();
        inner.busy = inner.busy.saturating_sub(1);
        self.show();
    }

    #[allow(clippy::mut_from_ref)] // a step at a time, as the type says
    fn inner(&self) -> &mut Inner {
        // SAFETY: it is freed by jobserver_close alone, and not while a call is under way.
        unsafe { &mut *(*self.js).jobs }
    }

    /// Puts into the fields what is.
    pub fn show(&self) {
        let inner = self.inner();
        // SAFETY: by the contract of `begin`.
        let js = unsafe { &mut *self.js };
        js.has_free_token = u8::from(inner.server.implicit);
        js.current_jobs = inner.server.jobs.jobs().len();
        js.max_jobs = inner.server.jobs.room;
        js.poll = polled(inner.server.wake_fd(), inner.server.tokens.read);
    }

    /// Where the call's failure is told: in the fields, and by the errno that this gives.
    pub fn stopped(&mut self, stop: Stop) -> Errno {
        match stop {
            Stop::Failed(e) => e,
            Stop::Stranger(pid, status) => {
                // SAFETY: by the contract of `begin`.
                let js = unsafe { &mut *self.js };
                (js.stopped, js.status) = (pid, status);
                Errno(libc::ECHILD)
            }
        }
    }
}

impl Host for Instance {
    type Jobs = List;

    fn server(&mut self) -> &mut Server<List> {
        &mut self.inner().server
    }

    fn ended(&mut self, tag: Tag, status: c_int) {
        self.show();
        tag.ended(status);
    }
}

fn polled(child: c_int, token: c_int) -> [libc::pollfd; 2] {
    let watch = |fd| libc::pollfd { fd, events: libc::POLLIN as c_short, revents: 0 };
    [watch(child), watch(token)]
}

/// Fills in an instance that is not connected. The flags stay.
///
/// # Safety
/// `js` must be valid for writes.
pub unsafe fn clear(js: *mut Jobserver) {
    // SAFETY: by the contract; no reference to what may be unset is made.
    unsafe {
        (&raw mut (*js).stopped).write(-1);
        (&raw mut (*js).status).write(0);
        (&raw mut (*js).size).write(0);
        (&raw mut (*js).has_free_token).write(1);
        (&raw mut (*js).current_jobs).write(0);
        (&raw mut (*js).max_jobs).write(0);
        (&raw mut (*js).jobs).write(null_mut());
        (&raw mut (*js).poll).write(polled(-1, -1));
        (&raw mut (*js).write).write(-1);
    }
}

/// Connects a cleared instance to this pool.
///
/// # Errors
/// As [`Server::new`]; `Some(ENOMEM)`.
pub fn set(js: &mut Jobserver, tokens: Tokens) -> core::result::Result<(), Option<Errno>> {
    let (made, read, write) = (tokens.made, tokens.read, tokens.write);
    let server = Server::new(tokens, List::new())?;
    let child = server.wake_fd();
    match heap::put(Inner { server, busy: 0 }) {
        Ok(inner) => js.jobs = inner.as_ptr(),
        Err(mut inner) => {
            inner.server.close(made);
            return Err(Some(heap::NONE));
        }
    }
    js.poll = polled(child, read);
    js.write = write;
    Ok(())
}

/// Disconnects an instance and frees what is behind it; with `ends`, the announced descriptors are closed.
pub fn unset(js: &mut Jobserver, ends: bool) {
    // SAFETY: null, or set by `set`.
    if let Some(inner) = unsafe { js.jobs.as_mut() } {
        inner.server.close(ends);
        inner.server.jobs.free();
        // SAFETY: made by `heap::put`, and not used any more.
        unsafe { heap::free(js.jobs) };
    }
    // SAFETY: a reference.
    unsafe { clear(js) };
}

/// What a function of the header gives: a number that is not negative, or -1 and errno.
pub fn answer(result: Result<c_int>) -> c_int {
    result.unwrap_or_else(|e| fail(e.0))
}

/// -1 and errno.
pub fn fail(errno: c_int) -> c_int {
    // SAFETY: the thread's own errno.
    unsafe { *libc::__errno_location() = errno };
    -1
}

/// A count as the header has it.
pub fn count(n: usize) -> c_int {
    c_int::try_from(n).unwrap_or(c_int::MAX)
}
