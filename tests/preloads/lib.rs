//! Libraries that are preloaded beside jsshim's in the tests. They are built as most preloads in Rust are: constructors
//! by [ctor](https://crates.io/crates/ctor), hooks by [redhook](https://crates.io/crates/redhook).
//!
//! - `neighbour` records every process creation that passes it, lets calls fail, and does in its constructor what
//!   others do there;
//! - `spawnlog` is the example for readers, `examples/spawnlog.rs`.
//!
//! # What the two crates do not give
//!
//! A constructor of `ctor` has no arguments, while glibc hands argc, argv and envp to each:
//!
//! ```
//! #[ctor::ctor(unsafe)]
//! fn start() {}
//! ```
//! ```compile_fail
//! #[ctor::ctor(unsafe)]
//! fn start(argc: i32, argv: *const *const u8, envp: *const *const u8) {}
//! ```
//!
//! So it must ask `environ`, which the `setenv` of an earlier constructor has moved by then: the auxiliary vector does
//! not follow it any more.
//!
//! redhook hooks no variadic function (execl and its relatives):
//!
#![cfg_attr(
    target_env = "gnu",
    doc = "
```
redhook::hook! {
    unsafe fn execv(path: *const u8, argv: *const *const u8) -> i32 => hooked { -1 }
}
# fn main() {}
```
```compile_fail
redhook::hook! {
    unsafe fn execl(path: *const u8, argument: *const u8, ...) -> i32 => hooked { -1 }
}
# fn main() {}
```
"
)]
//! Nor vfork, though that compiles: the hook is a Rust function, and when the child returns from it, it overwrites the
//! frame that the parent is still to return through. `neighbour` stands before these by a few instructions
//! that jump to the next function (`neighbour/jumps.rs`).
//!
//! Where no function of the name comes next, redhook panics in the host's call; with `panic = "abort"` that is the end
//! of the host.
