//! The life of the keeper process.

use core::ffi::CStr;
use core::sync::atomic::AtomicBool;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use crate::ledger::header::{LIFE, NEXT};
use crate::ledger::signals::CALL;
use crate::space;
use crate::sync::AtomicI32;
use crate::sys::{self, Errno, Peek};

use super::memory;
use super::process::{self, Start};
use super::way::Way;

/// The name of a keeper process.
pub(super) const NAME: &CStr = c"jsshim-keeper";

/// Asks a keeper to end.
pub(super) const RETIRE: i32 = libc::SIGUSR1;

/// How long a keeper may take to close its client's descriptors, in ms.
const READY: u32 = 200;

/// Forks a keeper. Returns its pid once it has closed this process's descriptors.
pub(super) fn make(start: &Start<'_>) -> Option<i32> {
    const SIZE: usize = size_of::<AtomicI32>();
    // The keeper would be in another PID namespace, as its first process.
    if space::moves_children() {
        return None;
    }
    let page = sys::map_shared_anonymous(SIZE).ok()?;
    // SAFETY: page-aligned zeros, mapped in both processes until each unmaps them.
    let ready = unsafe { &*page.cast::<AtomicI32>() };
    let owner = sys::getpid();
    let mask = sys::sigmask(libc::SIG_BLOCK, u64::MAX).ok()?;
    // SAFETY: the child makes system calls only; it never returns.
    let made = unsafe { sys::fork_unseen() };
    if made == Ok(0) {
        keep(start, owner, ready)
    }
    let made = made.ok().filter(|pid| await_ready(*pid, ready));
    let _ = sys::sigmask(libc::SIG_SETMASK, mask);
    // SAFETY: not used any more.
    unsafe { sys::unmap(page, SIZE) };
    made
}

/// What a keeper reports once it has closed its client's descriptors.
const KEEPS: i32 = 1;
const FAILED: i32 = 2;

/// Waits for that report. Returns false if the keeper will start no guard.
fn await_ready(keeper: i32, ready: &AtomicI32) -> bool {
    // It takes a fraction of that time, unless the keeper was killed or stopped.
    for _ in 0..READY.saturating_mul(20) {
        let ended = ready.load(Acquire) == FAILED || sys::peek(keeper) != Peek::Running;
        if ended {
            let _ = sys::reap_clone(keeper);
        }
        if ended || ready.load(Acquire) == KEEPS {
            return !ended;
        }
        sys::sleep_micros(50);
    }
    true
}

/// Whether the keeper has been told to end.
static RETIRED: AtomicBool = AtomicBool::new(false);

extern "C" fn on_signal(signal: i32) {
    if signal == RETIRE {
        RETIRED.store(true, Release);
    }
}

/// The main function of the keeper. It runs on its copy of the client's stack.
#[inline(never)]
fn keep(start: &Start<'_>, owner: i32, ready: &AtomicI32) -> ! {
    sys::setsid();
    let _ = sys::chdir(c"/");
    sys::name_this(NAME);
    sys::become_subreaper();
    RETIRED.store(false, Release);
    for signal in [CALL, RETIRE] {
        // SAFETY: the handler sets an atomic.
        let _ = unsafe { sys::sigaction(signal, &sys::Action::handler(on_signal)) };
    }
    // The signal may mean the end of a single thread of the client; the keeper checks then.
    sys::signal_at_parents_end(CALL);
    // The client's inherited descriptor may be the only way to the pool.
    start.pool.hand_down(process::KEPT);
    process::close_from(process::KEPT.saturating_add(1));
    // Descriptor KEPT is reserved for the pool.
    let file = sys::open(start.path.c(), libc::O_RDWR, 0).map(|file| match file {
        process::KEPT => sys::fcntl(file, libc::F_DUPFD_CLOEXEC, process::FILE).unwrap_or(-1),
        other => other,
    });
    let way = Way::find(start.pool, owner);
    // Where there are no locks, the guards make sure that one is left.
    let at_once = file.is_ok_and(|file| sys::lock_byte(file, LIFE) != Err(Errno::AGAIN));
    if !at_once {
        sys::close(process::KEPT);
    }
    memory::forget(start, NAME.to_bytes());
    // Release: the descriptors are closed before this.
    ready.store(if file.is_ok() { KEEPS } else { FAILED }, Release);
    let Ok(file) = file else { sys::exit(1) };
    serve(start, owner, file, way, at_once)
}

/// The lock is the guard's, too: it has the same description of the file.
///
/// While this process holds the lock, all others assume that a guard is about to start: clients take tokens, and other
/// guards end. So the holder starts a guard, even if its client has told it to end, or has ended.
fn serve(start: &Start<'_>, owner: i32, file: i32, mut way: Way<'_>, at_once: bool) -> ! {
    let header = &start.ledger.header;
    let me = sys::getpid();
    let (mut has_lock, mut was_killed) = (at_once, false);
    loop {
        if !has_lock && !await_turn(file, owner, &mut way) || start.ledger.is_closed() {
            sys::exit(0)
        }
        // Another keeper may be able to reach the pool.
        if !way.open() && was_killed {
            sys::exit(0)
        }
        header.owner.store(owner, Release);
        header.keeper.store(me, Release);
        let collect = |pid| interruptible(|| sys::collect_all(pid, || way.close_if_unused()));
        let done = process::start_below(start, file).map(collect);
        if header.keeper.compare_exchange(me, 0, AcqRel, Acquire).is_ok() {
            let _ = header.owner.compare_exchange(owner, 0, AcqRel, Acquire);
        }
        // Otherwise both processes of the guard were killed, or the guard made room for another.
        let ended = done.map_or(true, |status| libc::WIFEXITED(status));
        if ended && (done != Ok(0) || is_retired() || sys::getppid() != owner) {
            sys::exit(0)
        }
        was_killed = !ended;
        has_lock = was_killed && sys::lock_byte(file, LIFE).is_ok();
    }
}

fn is_retired() -> bool {
    interruptible(|| RETIRED.load(Acquire))
}

fn interruptible<R>(f: impl FnOnce() -> R) -> R {
    let mask = sys::sigmask(libc::SIG_UNBLOCK, sys::sigset(CALL) | sys::sigset(RETIRE));
    let result = f();
    if let Ok(mask) = mask {
        let _ = sys::sigmask(libc::SIG_SETMASK, mask);
    }
    result
}

/// Waits until there is no guard. Returns false if there is one and the client has ended or wants the keeper to end.
fn await_turn(file: i32, owner: i32, way: &mut Way<'_>) -> bool {
    let _ = sys::share_byte(file, NEXT);
    let got = loop {
        if sys::getppid() != owner || is_retired() {
            // A process that has just checked may have seen no other keeper than this one, and rely on it.
            break sys::lock_byte(file, LIFE).is_ok();
        }
        match interruptible(|| sys::await_byte(file, LIFE)) {
            Ok(()) => break true,
            Err(Errno::INTR) => way.close_if_unused(),
            Err(_) => break false,
        }
    };
    sys::unlock_byte(file, NEXT);
    got
}
