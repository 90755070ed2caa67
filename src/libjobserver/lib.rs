//! `libjobserver.so` and `.a`: the C library of jobserver(7), on the engine's [`serve`](jsshim_engine::serve).
//!
//! What a function does and what its errors are is said once, in the manual pages (`man/`). Here it is only
//! put together: `instance` is the struct of the header and what lies behind it, `heap` the memory of its
//! jobs, `job` the start of one; `join`, `start`, `ends`, `environ` and `print` are the functions.
//!
//! No std and no allocator of Rust's: what fails for want of memory says ENOMEM. Nothing panics. A callback
//! is called with no borrow of an instance alive, so it may use the library, but must return: C++ exceptions
//! and longjmp(3) must not pass through.
#![cfg_attr(not(test), no_std)]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic
)]

mod ends;
mod environ;
mod heap;
mod instance;
mod job;
mod join;
mod print;
mod start;

// As in the preloaded library: the crate `libc` does not ask for it where others want it with std.
#[link(name = "c")]
extern "C" {}

/// Nothing here panics: the lints above and the engine's see to it. If it did after all, the thread stays for
/// a debugger.
#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    jsshim_engine::show::stderr::say(b"libjobserver: internal error; please report it");
    loop {
        jsshim_engine::sys::sleep_millis(1000);
    }
}
