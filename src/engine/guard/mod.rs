//! Starting the guard, the one process of a ledger that does what clients cannot.
//!
//! | module | one idea |
//! |---|---|
//! | [`process`] | starting it so that it is no host's child |
//! | [`keeper`], `keeping`, `memory`, `way` | its parent, where orphans are minded: client's side, keeper's life |
//! | `orphans` | where orphans are reparented to |

use core::sync::atomic::Ordering::Acquire;

use crate::ledger::header::{LIFE, NEXT, START};
use crate::{space, sys};

use keeper::Keeper;
use process::{start, Start};

pub mod keeper;
mod keeping;
mod memory;
mod orphans;
pub mod process;
mod way;

/// Starts the guard unless one lives.
///
/// The host does not see the guard as a child: it is the child of a child that shares our memory, sends no signal at
/// its end and has ended when this returns. Where orphans are minded, it is below a `keeper` of this process.
/// Async-signal-safe. A guard seldom dies: only with `check` this verifies that the known guard's pid does not belong
/// to a stranger by now.
pub fn ensure(new: &Start<'_>, keeper: Option<&Keeper>, check: bool) {
    // A guard would be in this PID namespace, and the pids of the ledger are not.
    if space::is_elsewhere() {
        return;
    }
    let seen = new.ledger.header.guard.load(Acquire);
    let keeper = keeper.filter(|keeper| !keeper.is_needless(new.ledger));
    if new.helper.is_empty() {
        return;
    }
    let mut lives = seen > 0 && !check && sys::kill(seen, 0).is_ok();
    if lives && keeper.is_none() {
        return;
    }
    // Without descriptors or locks to be had a guard is started all the same: it makes sure itself that it is the only
    // one.
    let file = if lives { -1 } else { sys::open(new.path.c(), libc::O_RDWR, 0).unwrap_or(-1) };
    let other = file >= 0 && sys::lock_byte(file, START) == Err(sys::Errno::AGAIN);
    lives |= file >= 0 && has_guard(file);
    let kept = keeper.is_some_and(|keeper| keeper.ensure(new, lives || other));
    // The guard would be in another PID namespace.
    if !kept && !lives && !other && !space::moves_children() {
        start(new, file);
        // A child that another thread has forked may share the description.
        sys::unlock_byte(file, START);
    }
    if file >= 0 {
        sys::close(file);
    }
}

/// Returns whether there is a guard, or will be.
fn has_guard(file: i32) -> bool {
    // Between two guards there is none for a moment, but a keeper waits for its turn: it holds NEXT until it has LIFE.
    [LIFE, NEXT, LIFE].iter().any(|at| sys::is_byte_locked(file, *at) == Ok(true))
}
