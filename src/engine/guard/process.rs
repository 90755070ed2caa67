//! Creating the guard's process.

use core::ffi::{c_char, CStr};
use core::hint::black_box;
use core::mem::MaybeUninit;
use core::ptr::null;
use core::sync::atomic::AtomicI32;
use core::sync::atomic::Ordering::Acquire;

use crate::ledger::access::Ledger;
use crate::ledger::header::LIFE;
use crate::pool::tokens::Pool;
use crate::proc;
use crate::sys::{self, Errno};
use crate::text::Path;

/// The guard's descriptor of the pool, open for writing, in place of its standard input. We open it before the guard
/// starts, so that a make that ends meanwhile does not count the tokens about to be taken as lost.
pub const KEPT: i32 = 0;

/// Tells the guard that its ledger is open as [`FILE`], and locked.
pub const LOCKED: &CStr = c"locked";
/// See [`LOCKED`].
pub const FILE: i32 = 1;

/// What is needed to start a guard.
pub struct Start<'a> {
    /// The guard's ledger, and its path.
    pub ledger: &'a Ledger,
    /// See `ledger`.
    pub path: &'a Path,
    /// The pool.
    pub pool: &'a Pool,
    /// The path of the helper; empty if there is none.
    pub helper: &'a CStr,
    /// The environment of the new process.
    pub envp: *const *const c_char,
}

/// Without close_range(2) and /proc, descriptors above this number are not closed.
pub const MOST: i32 = 65_536;

/// Closes every descriptor from `first` on, in a process of our own.
pub fn close_from(first: i32) {
    let close = |fd| {
        if fd >= first {
            sys::close(fd)
        }
    };
    if sys::close_range(first).is_err() && !proc::each_fd(0, close) {
        (first..sys::open_files_limit().min(MOST as u64) as i32).for_each(sys::close);
    }
}

/// How long a starter waits for the guard to have its lock, in ms: a process that checks in between would start another
/// guard in vain.
const LOCK_MILLIS: u32 = 50;
/// How often it checks for itself, in ms: another guard may have been quicker.
const CHECK_MILLIS: u32 = 5;

/// `before`: the guard's pid as it was. The guard wakes us once it has written its own.
fn await_lock(ledger: &Ledger, file: i32, before: i32) {
    for _ in 0..LOCK_MILLIS / CHECK_MILLIS {
        if sys::is_byte_locked(file, LIFE) != Ok(false) {
            return;
        }
        match sys::wait_pid_word(&ledger.header.guard, before, CHECK_MILLIS) {
            Ok(()) | Err(Errno::INTR | Errno::AGAIN | Errno(libc::ETIMEDOUT)) => {}
            Err(_) => sys::sleep_millis(CHECK_MILLIS),
        }
    }
}

pub(crate) fn start(new: &Start<'_>, file: i32) {
    let before = new.ledger.header.guard.load(Acquire);
    with_plan(new, -1, true, |plan| {
        let Ok(mask) = sys::sigmask(libc::SIG_BLOCK, u64::MAX) else { return };
        // SAFETY: all signals are blocked; both functions only clone, exec and exit.
        let middle =
            unsafe { sys::clone_vm(first, core::ptr::from_ref(plan) as usize, &plan.first) };
        // If the first child has been killed, the second still runs on this memory.
        if middle.is_ok_and(|pid| sys::reap_made(pid) != Ok(0)) {
            sys::await_unshared(&plan.second);
        }
        await_lock(new.ledger, file, before);
        let _ = sys::sigmask(libc::SIG_SETMASK, mask);
    });
}

/// Starts the guard as a child of this process, which has all signals blocked, holds the guard's lock by `file`, and
/// has the pool open as [`KEPT`].
///
/// # Errors
/// As clone(2).
pub fn start_below(new: &Start<'_>, file: i32) -> sys::Result<i32> {
    let started = with_plan(new, file, false, |plan| {
        // SAFETY: as above.
        unsafe { sys::clone_vm(second, core::ptr::from_ref(plan) as usize, &plan.second) }
    });
    sys::close(KEPT);
    started
}

#[inline(always)]
fn with_plan<R>(new: &Start<'_>, file: i32, hands_down: bool, f: impl FnOnce(&Plan<'_>) -> R) -> R {
    let word = if file < 0 { null() } else { LOCKED.as_ptr() };
    let ledger = new.path.c().as_ptr();
    let argv = [c"jsshim-helper".as_ptr(), c"guard".as_ptr(), ledger, word, null()];
    let (pool, path, argv, envp) = (new.pool, new.helper.as_ptr(), argv.as_ptr(), new.envp);
    f(&Plan { pool, file, hands_down, path, argv, envp, first: 0.into(), second: 0.into() })
}

struct Plan<'a> {
    pool: &'a Pool,
    file: i32,
    hands_down: bool,
    path: *const c_char,
    argv: *const *const c_char,
    envp: *const *const c_char,
    /// Whether the first and the second child share this memory: see [`sys::clone_vm`].
    first: AtomicI32,
    second: AtomicI32,
}

/// How far the second child's frames lie below those of `start`, which runs beside it if the first child is killed.
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
    // SAFETY: the plan outlives this child, because `start` waits for it.
    unsafe {
        let plan = &*(plan as *const Plan<'_>);
        if plan.hands_down {
            plan.pool.hand_down(KEPT);
        }
        if plan.file >= 0 {
            let _ = sys::dup_to(plan.file, FILE, 0);
            let _ = sys::fcntl(FILE, libc::F_SETFD, 0);
        }
        sys::execve(plan.path, plan.argv, plan.envp);
    }
    sys::exit(127)
}
