//! `libjsshim.so`: preloaded into programs that know nothing of make's job server, it makes them take a
//! slot of the pool for every job and give it back when the job ends.
//!
//! A hook asks `job::life` for a slot, calls the function behind it (`doors::behind`) and says what became of
//! it. The first job of a process costs two atomic operations and a getpid; only when a second one is to
//! run beside it, `start::join` looks for the pool. A job for which there is no slot is exec'ed into the
//! helper (`exec::redirect`), or waits inside `fork`.
//!
//! | room | what is in it |
//! |---|---|
//! | `doors` | every function of libc that is hooked, in one table; the hooks, and the functions behind them |
//! | `hooks` | the bodies of the hooks, by kind of door |
//! | `job` | the life of a job: its ticket, its end, what this process knows of all |
//! | `start` | who this process is, its settings, its pool |
//! | `exec` | what a new program is given: its environment, or the helper in its place |
//! | `host` | the C library that the host has: loaded objects, errno, handlers that jump |
//!
//! No std: every exec of a build loads this library, so it needs libc.so.6 alone, has no start-up but
//! one function, and nothing in it allocates, locks or panics.
#![cfg_attr(not(test), no_std)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic
)]

use core::ffi::c_int;

use crate::exec::environ::Strings;

mod doors;
mod exec;
mod hooks;
mod host;
mod job;
mod start;

// The crate `libc` asks for the library only while none of its users in the workspace wants it with std.
#[link(name = "c")]
extern "C" {}

/// Runs in every process of the tree, unless a start of a job has come before.
extern "C" fn constructor(count: c_int, arguments: Strings, environment: Strings) {
    if !start::late::has_begun() {
        start::constructor::run(count, arguments, environment, job::first::record);
    }
}

/// Called by the loader before main. Not by way of a crate, since what glibc hands over is needed: the
/// environment as the kernel laid it out, which no setenv(3) of another constructor has moved. Other C libraries
/// (musl) hand over nothing, and what is in these registers then is anything.
#[used]
#[link_section = ".init_array"]
static CONSTRUCTOR: extern "C" fn(c_int, Strings, Strings) = constructor;

/// Nothing here panics: the lints above and the engine's see to it. If it did after all, the process
/// stays, in this thread, for a debugger; it is not killed.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    jsshim_engine::show::stderr::say(b"internal error; please report it");
    loop {
        jsshim_engine::sys::sleep_millis(1000);
    }
}
