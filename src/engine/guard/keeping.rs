//! The keeper's own life.

use core::ffi::CStr;
use core::sync::atomic::AtomicBool;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Release};

use crate::ledger::header::{LIFE, NEXT};
use crate::ledger::signals::CALL;
use crate::sync::AtomicI32;
use crate::sys::{self, Errno, Peek};
use crate::text::{number, Path};
use crate::{proc, space};

use super::process::{self, Start};

/// What a keeper is called.
pub(crate) const NAME: &CStr = c"jsshim-keeper";

/// Asks a keeper to end.
pub(crate) const RETIRE: i32 = libc::SIGUSR1;

/// How long a keeper may take to let go of its client's descriptors, in ms.
pub(crate) const READY: u32 = 200;

/// Forks a keeper; gives its pid once it has let go of this process' descriptors.
pub(super) fn make(start: &Start<'_>) -> Option<i32> {
    const PAGE: usize = 4096;
    // It would be of another PID namespace, and its first process.
    if space::moves_children() {
        return None;
    }
    let page = sys::map_shared_anonymous(PAGE).ok()?;
    // SAFETY: page-aligned zeros, which both processes have until each gives them back.
    let ready = unsafe { &*page.cast::<AtomicI32>() };
    let owner = sys::getpid();
    let mask = sys::sigmask(libc::SIG_BLOCK, u64::MAX).ok()?;
    // SAFETY: the child makes system calls only; it never returns.
    let made = unsafe { sys::fork_unseen() };
    if made == Ok(0) {
        keep(start, owner, ready)
    }
    if let Ok(pid) = made {
        // It is ready after a fraction of that, unless it was killed or stopped.
        for _ in 0..READY.saturating_mul(20) {
            if ready.load(Acquire) != 0 || sys::peek(pid) != Peek::Running {
                break;
            }
            sys::sleep_micros(50);
        }
    }
    let _ = sys::sigmask(libc::SIG_SETMASK, mask);
    // SAFETY: nothing here uses it any more.
    unsafe { sys::unmap(page, PAGE) };
    made.ok()
}

/// Has the keeper been told to end?
static RETIRED: AtomicBool = AtomicBool::new(false);

extern "C" fn told(signal: i32) {
    if signal == RETIRE {
        RETIRED.store(true, Release);
    }
}

/// The keeper's life. It runs on its copy of the client's stack.
#[inline(never)]
fn keep(start: &Start<'_>, owner: i32, ready: &AtomicI32) -> ! {
    sys::setsid();
    let _ = sys::chdir(c"/");
    sys::name_this(NAME);
    sys::become_subreaper();
    RETIRED.store(false, Release);
    for signal in [CALL, RETIRE] {
        // SAFETY: the handler sets an atomic.
        let _ = unsafe { sys::sigaction(signal, &sys::Action::handler(told)) };
    }
    // It looks then whether that was only the end of a thread.
    sys::tell_of_parents_end(CALL);
    // For the first guard: what the client has inherited may be the only way to the pool.
    start.pool.hand_down(process::KEPT);
    let _ = sys::close_from(process::KEPT.saturating_add(1));
    // Not where the pool may be.
    let file = sys::open(start.path.c(), libc::O_RDWR, 0).map(|file| match file {
        process::KEPT => sys::fcntl(file, libc::F_DUPFD_CLOEXEC, process::FILE).unwrap_or(-1),
        other => other,
    });
    let at_once = file.is_ok_and(|file| sys::lock_byte(file, LIFE).is_ok());
    if !at_once {
        sys::close(process::KEPT);
    }
    forget(start);
    // Release: its descriptors are closed before.
    ready.store(1, Release);
    let Ok(file) = file else { sys::exit(1) };
    serve(start, owner, file, at_once)
}

/// The lock is that of the guard, too, which has this description of the file.
fn serve(start: &Start<'_>, owner: i32, file: i32, at_once: bool) -> ! {
    let header = &start.ledger.header;
    let me = sys::getpid();
    let mut first = at_once;
    loop {
        let is_due = first || await_turn(file, owner);
        if !is_due || is_told() || start.ledger.is_closed() {
            sys::exit(0)
        }
        header.owner.store(owner, Release);
        header.keeper.store(me, Release);
        let done = process::start_below(start, file, first).map(sys::collect_all);
        first = false;
        if header.keeper.compare_exchange(me, 0, AcqRel, Acquire).is_ok() {
            let _ = header.owner.compare_exchange(owner, 0, AcqRel, Acquire);
        }
        // Otherwise both processes of the guard were killed, or it has made room for another one.
        let ended = done.map_or(true, |status| libc::WIFEXITED(status));
        if ended && (done != Ok(0) || is_told() || sys::getppid() != owner) {
            sys::exit(0)
        }
    }
}

fn is_told() -> bool {
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

/// Waits until there is no guard. `false`: the client has ended, or wants an end.
fn await_turn(file: i32, owner: i32) -> bool {
    let _ = sys::share_byte(file, NEXT);
    let got = loop {
        if sys::getppid() != owner || is_told() {
            break false;
        }
        match interruptible(|| sys::await_byte(file, LIFE)) {
            Ok(()) => break true,
            Err(Errno::INTR) => {}
            Err(_) => break false,
        }
    };
    sys::unlock_byte(file, NEXT);
    got
}

/// Gives back the client's memory, which would be copied when the client writes it; but for what is needed here.
fn forget(start: &Start<'_>) {
    let here = 0u8;
    let needed = [
        &raw const here as usize,
        core::ptr::from_ref(start) as usize,
        core::ptr::from_ref(start.pool) as usize,
        core::ptr::from_ref(start.path) as usize,
        start.helper.as_ptr() as usize,
        core::ptr::from_ref(start.ledger) as usize,
        start.envp as usize,
        // SAFETY: the environment is an array of at least one pointer.
        unsafe { *start.envp } as usize,
    ];
    proc::each_part::<160>(&Path::new(b"/proc/self/maps"), b'\n', |line| {
        let Some((from, to, rest)) = range(line) else { return };
        let is_needed = needed.iter().any(|at| (from..to).contains(at));
        // What has no file: the words that the loader has written into those are few, and needed.
        let is_plain = rest.starts_with(b"rw-p 00000000 00:00 0 ") && !rest.ends_with(b"[stack]");
        if is_plain && !is_needed {
            sys::drop_pages(from, to);
        }
    });
    retitle(start.path);
}

/// The two ends of a line of /proc/self/maps, and the rest.
fn range(line: &[u8]) -> Option<(usize, usize, &[u8])> {
    let hex = |word: &[u8]| usize::from_str_radix(core::str::from_utf8(word).ok()?, 16).ok();
    let blank = line.iter().position(|b| *b == b' ')?;
    let (ends, rest) = line.split_at_checked(blank)?;
    let dash = ends.iter().position(|b| *b == b'-')?;
    let (from, to) = ends.split_at_checked(dash)?;
    Some((hex(from)?, hex(to.get(1..)?)?, rest.get(1..)?))
}

/// Writes over the copy of the client's arguments who this is, as far as there is room, for those who look at processes.
fn retitle(ledger: &Path) {
    let mut buf = [0u8; 512];
    let n = proc::read_file(&Path::new(b"/proc/self/stat"), &mut buf).unwrap_or(0);
    let stat = buf.get(..n).unwrap_or(b"");
    let after = stat.iter().rposition(|b| *b == b')').unwrap_or(0);
    // Fields 48 and 49 of proc(5); the first one after the name is 3.
    let mut words = stat.get(after..).unwrap_or(b"").split(|b| *b == b' ').skip(1);
    let mut field = |skip| words.nth(skip).and_then(number).map_or(0, |(n, _)| n as usize);
    let (from, to) = (field(45), field(0));
    let title = Path::new(NAME.to_bytes()).with(b" ").with(ledger.bytes());
    let bytes = title.bytes().iter().copied().chain(core::iter::repeat(0));
    for (at, b) in (from..to).zip(bytes).filter(|_| from != 0) {
        // SAFETY: the kernel says that the arguments lie there, on the stack; in this process nobody reads them.
        unsafe { (at as *mut u8).write_volatile(b) };
    }
}
