//! Starting the guard, the one process of a ledger that looks after what clients cannot.

use core::ffi::c_char;
use core::ptr::null;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};

use crate::ledger::Shared;
use crate::sys;
use crate::text::Path;

/// Starts the guard unless one lives. `header.guard` is its pid, or minus the pid of who starts it.
///
/// The guard is no child that the host could see: it is the child of a child that shares our memory,
/// sends no signal at its end and has ended when this returns. Async-signal-safe. A guard seldom dies:
/// `check` makes sure that a known one lives.
pub fn ensure(
    ledger: &Shared,
    ledger_path: &Path,
    helper: &Path,
    envp: *const *const c_char,
    check: bool,
) {
    let at = &ledger.header.guard;
    let seen = at.load(Acquire);
    let lives = || sys::kill(seen.wrapping_abs(), 0) != Err(sys::Errno::SRCH);
    if seen > 0 && !check || seen != 0 && lives() || helper.bytes().is_empty() {
        return;
    }
    let starter = sys::getpid().wrapping_neg();
    // AcqRel: one process wins and starts it.
    if at.compare_exchange(seen, starter, AcqRel, Relaxed).is_err() {
        return;
    }
    let argv = [c"jsshim-helper".as_ptr(), c"guard".as_ptr(), ledger_path.c().as_ptr(), null()];
    let plan = Plan { path: helper.c().as_ptr(), argv: argv.as_ptr(), envp };
    if let Ok(mask) = sys::sigmask(libc::SIG_BLOCK, u64::MAX) {
        // SAFETY: all signals are blocked; both functions only clone, exec and exit.
        let middle = unsafe { sys::clone_vm(first, &raw const plan as usize) };
        if let Ok(pid) = middle {
            sys::reap_clone(pid);
        }
        let _ = sys::sigmask(libc::SIG_SETMASK, mask);
    }
    // Where it did not come up, the next who needs one may try again.
    let _ = at.compare_exchange(starter, 0, AcqRel, Relaxed);
}

struct Plan {
    path: *const c_char,
    argv: *const *const c_char,
    envp: *const *const c_char,
}

extern "C" fn first(plan: usize) -> ! {
    // SAFETY: as in `ensure`; the plan lives on the stack of the sleeping caller.
    let _ = unsafe { sys::clone_vm(second, plan) };
    sys::exit(0)
}

extern "C" fn second(plan: usize) -> ! {
    // SAFETY: the plan outlives this child, whose creator sleeps until it execs or exits.
    unsafe {
        let plan = &*(plan as *const Plan);
        sys::execve(plan.path, plan.argv, plan.envp);
    }
    sys::exit(127)
}
