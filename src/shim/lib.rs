//! `libjsshim.so`: preloaded into programs that know nothing of make's job server, it makes them take a slot of the
//! pool for every job and give it back when the job ends.
//!
//! A hook asks `job::life` for a slot, calls the function behind it (`doors::behind`) and reports the result. The first
//! job of a process costs two atomic operations and a getpid; only when a second job is to run beside it, `start::join`
//! looks for the pool. A job without a slot is exec'ed into the helper (`exec::redirect`), or waits inside `fork`.
//!
//! | room | what is in it |
//! |---|---|
//! | `doors` | every hooked function of libc, in one table; the hooks, and the functions behind them |
//! | `hooks` | the bodies of the hooks, by kind of door |
//! | `job` | the life of a job: its ticket, its end; the state of this process |
//! | `start` | which program this process is, its settings, its pool |
//! | `exec` | what a new program is given: its environment, or the helper in its place |
//! | `host` | the host's C library: loaded objects, errno, handlers that jump |
//!
//! No std: every exec of a build loads this library. So it needs libc.so.6 alone, has one function as start-up code,
//! and nothing in it allocates, locks or panics.
#![cfg_attr(not(test), no_std)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::panic
    )
)]

use core::ffi::c_int;

use crate::exec::environ::Strings;

mod doors;
mod exec;
mod hooks;
mod host;
mod job;
mod start;

// The crate `libc` links the library only while no user of it in the workspace enables std.
#[link(name = "c")]
extern "C" {}

/// Runs in every process of the tree, unless a process was started before it.
extern "C" fn constructor(count: c_int, arguments: Strings, environment: Strings) {
    if !start::late::has_begun() {
        start::constructor::run(count, arguments, environment, job::first::record);
    }
}

/// Called by the loader before main. No crate is used for this, because the arguments from glibc are needed: the
/// environment as the kernel laid it out, which no setenv(3) of another constructor has moved. Other C libraries (musl)
/// pass no arguments, and the registers hold any value then: see [`start::kernel`].
#[used]
#[link_section = ".init_array"]
static CONSTRUCTOR: extern "C" fn(c_int, Strings, Strings) = constructor;

/// Nothing here panics: the lints above and the engine's ensure that. If it does after all, this thread of the process
/// stops, for a debugger; the process is not killed.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    jsshim_engine::show::stderr::say(b"internal error; please report it");
    loop {
        jsshim_engine::sys::sleep_millis(1000);
    }
}
