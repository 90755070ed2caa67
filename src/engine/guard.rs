//! Starting the guard, the one process of a ledger that looks after what clients cannot.

use core::ffi::c_char;
use core::hint::black_box;
use core::mem::MaybeUninit;
use core::ptr::null;
use core::sync::atomic::AtomicI32;
use core::sync::atomic::Ordering::Acquire;

use crate::ledger::{Shared, LIFE, START};
use crate::pool::Pool;
use crate::sys;
use crate::text::Path;

/// Where the guard has the pool open for writing, in place of its standard input: from its start on, by us, so that
/// no make that ends meanwhile takes what is about to be taken for lost.
pub const KEPT: i32 = 0;

/// Starts the guard unless one lives.
///
/// The guard is no child that the host could see: it is the child of a child that shares our memory,
/// sends no signal at its end and has ended when this returns. Async-signal-safe. A guard seldom dies:
/// only with `check` it is made sure that the one that is known has not been followed by a stranger of its
/// number.
pub fn ensure(
    ledger: &Shared,
    pool: &Pool,
    ledger_path: &Path,
    helper: &Path,
    envp: *const *const c_char,
    check: bool,
) {
    let seen = ledger.header.guard.load(Acquire);
    if helper.bytes().is_empty() || seen > 0 && !check && sys::kill(seen, 0).is_ok() {
        return;
    }
    // Without descriptors or locks to be had it is started all the same: it makes sure of its own that it
    // is the only one.
    let Ok(file) = sys::open(ledger_path.c(), libc::O_RDWR, 0) else {
        return start(pool, ledger_path, helper, envp);
    };
    let other = sys::lock_byte(file, START) == Err(sys::Errno::AGAIN);
    if !other && sys::is_byte_locked(file, LIFE) != Ok(true) {
        start(pool, ledger_path, helper, envp);
    }
    sys::close(file);
}

fn start(pool: &Pool, ledger_path: &Path, helper: &Path, envp: *const *const c_char) {
    let argv = [c"jsshim-helper".as_ptr(), c"guard".as_ptr(), ledger_path.c().as_ptr(), null()];
    let (path, argv) = (helper.c().as_ptr(), argv.as_ptr());
    let plan = Plan { pool, path, argv, envp, first: 0.into(), second: 0.into() };
    if let Ok(mask) = sys::sigmask(libc::SIG_BLOCK, u64::MAX) {
        // SAFETY: all signals are blocked; both functions only clone, exec and exit.
        let middle = unsafe { sys::clone_vm(first, &raw const plan as usize, &plan.first) };
        // If the first has been killed the second is on this memory still.
        if middle.is_ok_and(|pid| sys::reap_clone(pid) != Ok(0)) {
            sys::await_unshared(&plan.second);
        }
        let _ = sys::sigmask(libc::SIG_SETMASK, mask);
    }
}

struct Plan<'a> {
    pool: &'a Pool,
    path: *const c_char,
    argv: *const *const c_char,
    envp: *const *const c_char,
    /// Who shares this memory: see [`sys::clone_vm`].
    first: AtomicI32,
    second: AtomicI32,
}

/// How far the second child's frames lie below those of `start`, which runs beside it if the first is killed.
const APART: usize = 1024;

extern "C" fn first(plan: usize) -> ! {
    let apart = MaybeUninit::<[u8; APART]>::uninit();
    black_box(&raw const apart);
    // SAFETY: as in `start`, which keeps the plan until neither child needs it.
    unsafe {
        let shares = &(*(plan as *const Plan<'_>)).second;
        let _ = sys::clone_vm(second, plan, shares);
    }
    black_box(&raw const apart);
    sys::exit(0)
}

extern "C" fn second(plan: usize) -> ! {
    // SAFETY: the plan outlives this child, for which `start` waits.
    unsafe {
        let plan = &*(plan as *const Plan<'_>);
        plan.pool.hand_down(KEPT);
        sys::execve(plan.path, plan.argv, plan.envp);
    }
    sys::exit(127)
}
