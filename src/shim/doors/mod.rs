//! The doors: every function of libc through which a process makes or reaps another, becomes another, sleeps, or ends.
//! One table (`table.rs`) makes the hooks and finds the functions behind them. The tests read the same table to know
//! what the library may export, and what the README must name.
//!
//! A hook is: foreign? → before → real → after, in its body in `hooks`.

//! | file | one idea |
//! |---|---|
//! | `table.rs` | every door, one entry each |
//! | `behind` | the functions behind the hooks; the hooks use them |
//! | `exports`, `asm_*` | the hooks themselves; nothing uses them |
//! | `types` | types of arguments and results |

#[cfg(target_arch = "aarch64")]
mod asm_aarch64;
#[cfg(target_arch = "x86_64")]
mod asm_x86_64;
pub mod behind;
mod exports;
pub mod types;
