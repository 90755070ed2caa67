//! A parent for the guard where an orphan would become the child of somebody who minds.
//!
//! An orphan goes to the nearest subreaper above, or else to process 1 of its PID namespace. That of the machine is an
//! init, and does not mind one more. A script, make or a build driver as the first process of a container, or a
//! subreaper that waits for all its children, does: it would wait for the guard, which waits for it, or meet a pid in
//! wait(2) that it has never heard of. And whatever is the first of a container, the guard would end with it, and have
//! no time to clean up. There the guard is below a *keeper*, which is a child of the client that starts it, but one that no wait(2)
//! sees: its exit signal is not SIGCHLD (`__WCLONE`, waitpid(2)). An exec would make it SIGCHLD, and so would a new
//! parent. So the keeper is a fork of the client that never becomes another program, and it ends with its client: it
//! lets go of the client's memory and descriptors, is the subreaper of all that is below it, and sleeps.
//!
//! The guard must outlive the client that has started it. Each client that takes a token while the guard is not below
//! one of its own ancestors has a keeper, too. Those that are not needed yet wait for the guard's lock, so that the
//! kernel itself appoints the next one. A client that leaves asks the guard below it to make room, and collects its
//! keeper. Where nobody else could take over, the guard stays, and goes where orphans go.

use core::ffi::CStr;
use core::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use core::sync::atomic::{AtomicBool, AtomicI32};

use crate::guard::{self, Start};
use crate::ledger::{Shared, LIFE, NEXT};
use crate::proc;
use crate::space;
use crate::sync::{AtomicU32, AtomicU64};
use crate::sys::{self, Errno, Peek};
use crate::text::{number, Path};

/// Asks the guard to look around at once. Ignored by default: the pid may be that of another process by now.
pub const CALL: i32 = libc::SIGURG;

/// What a keeper is called.
const NAME: &CStr = c"jsshim-keeper";

/// Asks a keeper to end.
const RETIRE: i32 = libc::SIGUSR1;

/// How long a client waits, at its end or before a wait(2), for the guard to make room, in ms.
const PATIENCE: u32 = 1000;
/// How long a keeper may take to let go of its client's descriptors, in ms.
const READY: u32 = 200;
/// How long a client that leaves waits for another one's keeper, which may be on its way, in ms.
const GRACE: u32 = 100;

/// Where do the orphans of this process go?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Orphans {
    /// Not asked yet.
    Unknown = 0,
    /// To an init, as far as can be told: from inside, a subreaper further up cannot be seen.
    Init = 1,
    /// To another process.
    Above = 2,
    /// To this one: it is a subreaper, or process 1.
    Here = 3,
}

impl Orphans {
    fn look(ledger: &Shared) -> Self {
        if sys::getpid() == 1 || sys::is_subreaper() {
            return Self::Here;
        }
        if ledger.header.space() == space::FIRST {
            Self::Init
        } else {
            Self::Above
        }
    }
}

/// What a client knows of its keeper.
pub struct Keeper {
    orphans: AtomicU32,
    /// The pid of the keeper, or 0 where none is needed; in the lower half that of the process that it is about: a forked
    /// child has none yet.
    known: AtomicU64,
}

impl Default for Keeper {
    fn default() -> Self {
        Self::new()
    }
}

impl Keeper {
    /// None yet.
    pub const fn new() -> Self {
        Self { orphans: AtomicU32::new(0), known: AtomicU64::new(0) }
    }

    /// Does no guard of this process need a keeper? `ledger` has it where another process knows better.
    pub fn is_needless(&self, ledger: &Shared) -> bool {
        let orphans = match self.orphans.load(Acquire) {
            0 => self.look(ledger),
            known => known,
        };
        orphans == Orphans::Init as u32 && ledger.header.minds.load(Acquire) == 0
    }

    /// Has process `me`, this one, yet to find out whether it needs a keeper?
    pub fn is_open(&self, ledger: &Shared, me: i32) -> bool {
        !self.is_needless(ledger) && self.known.load(Acquire) as u32 as i32 != me
    }

    /// Do the orphans of the ledger's processes come to this one?
    pub fn adopts(&self) -> bool {
        self.orphans.load(Acquire) == Orphans::Here as u32
    }

    /// Finds out where orphans go, and tells the others if they come here.
    #[inline(never)]
    pub fn look(&self, ledger: &Shared) -> u32 {
        let orphans = Orphans::look(ledger);
        self.orphans.store(orphans as u32, Release);
        if orphans == Orphans::Here {
            ledger.header.minds.store(1, Release);
        }
        orphans as u32
    }

    /// The keeper of this process, if it has one that lives.
    fn own(&self) -> Option<i32> {
        let (me, known) = (sys::getpid(), self.known.load(Acquire));
        let pid = if known as u32 as i32 == me { known.wrapping_shr(32) as i32 } else { find() };
        if pid <= 0 {
            return None;
        }
        match sys::peek(pid) {
            Peek::Running => {
                self.set(pid);
                Some(pid)
            }
            Peek::Zombie => {
                let _ = sys::reap_clone(pid);
                None
            }
            Peek::Gone => None,
        }
    }

    fn set(&self, pid: i32) {
        let me = sys::getpid();
        self.known.store(u64::from(pid as u32) << 32 | u64::from(me as u32), Release);
    }

    /// Is this process done with the question, while a guard lives?
    fn is_settled(&self) -> bool {
        let known = self.known.load(Acquire);
        known as u32 as i32 == sys::getpid() && known.wrapping_shr(32) == 0
    }

    /// Makes sure of a keeper of this process, if it needs one. `false`: it cannot have one. `lives`: there is a guard.
    #[inline(never)]
    pub fn ensure(&self, start: &Start<'_>, lives: bool) -> bool {
        let header = &start.ledger.header;
        if lives && self.is_settled() || self.own().is_some() {
            return true;
        }
        // Parents outlive their children, as a rule.
        let owner = header.owner.load(Acquire);
        if lives && owner > 0 && proc::ancestors().any(|pid| pid == owner) {
            self.set(0);
            return true;
        }
        match make(start) {
            Some(pid) => {
                self.set(pid);
                true
            }
            None => {
                self.set(0);
                false
            }
        }
    }

    /// The client leaves: its keeper goes, if the guard below it is not needed or another keeper takes over.
    #[inline(never)]
    pub fn leave(&self, ledger: &Shared, path: &Path) {
        let Some(pid) = (if self.is_needless(ledger) { None } else { self.own() }) else { return };
        let header = &ledger.header;
        let (root, me) = (header.root.load(Acquire), sys::getpid());
        if root == me {
            header.leaving.store(me, Release);
        }
        let mut grace = GRACE.saturating_mul(5);
        for _ in 0..PATIENCE.saturating_mul(5) {
            // Again and again: the first time it may not sleep yet.
            let _ = sys::kill(pid, RETIRE);
            if header.keeper.load(Acquire) == pid {
                let guard = header.guard.load(Acquire);
                if !ledger.is_idle() || root != 0 && root != me && proc::lives(root) {
                    if has_next(path) {
                        header.resign.store(guard, Release);
                    } else if grace == 0 {
                        return;
                    }
                    grace = grace.saturating_sub(1);
                }
                call(guard);
            }
            if sys::peek(pid) != Peek::Running {
                let _ = sys::reap_clone(pid);
                return;
            }
            sys::sleep_micros(200);
        }
    }

    /// Before a wait(2) for any child, in a process to which orphans come: a guard that has become its child makes room
    /// for one that no wait sees.
    #[inline(never)]
    pub fn take_in(&self, start: &Start<'_>) {
        let header = &start.ledger.header;
        for top in [&header.keeper, &header.double] {
            let pid = top.load(Acquire);
            if pid <= 0 || !sys::is_visible_child(pid) || !is_ours(start.ledger, pid) {
                continue;
            }
            if self.own().is_none() {
                match make(start) {
                    Some(pid) => self.set(pid),
                    None => return,
                }
            }
            for _ in 0..PATIENCE {
                let guard = header.guard.load(Acquire);
                header.resign.store(guard, Release);
                call(guard);
                if sys::reap(pid, false) != Err(Errno::AGAIN) {
                    break;
                }
                sys::sleep_millis(1);
            }
        }
    }

    /// Is this the keeper of the calling process?
    pub fn is(&self, pid: i32) -> bool {
        let known = self.known.load(Acquire);
        pid > 0 && known.wrapping_shr(32) as i32 == pid && known as u32 as i32 == sys::getpid()
    }

    /// Is the keeper the only child that a wait(2) for those which send no signal can see; or, with `all`, for any?
    pub fn is_alone(&self, all: bool) -> bool {
        if all && sys::has_visible_child() {
            return false;
        }
        let mut others = false;
        proc::each_child(|pid| others |= !self.is(pid) && !sys::is_visible_child(pid));
        !others
    }

    /// Is there a keeper that a wait(2) with `__WALL` would see?
    pub fn is_there(&self) -> bool {
        let known = self.known.load(Acquire);
        known.wrapping_shr(32) != 0 && known as u32 as i32 == sys::getpid()
    }
}

/// Is this a process of the guard, and not one of the host's that has its pid by now? Those have no name of our
/// programs, but for one that is held: that has a record, and as a rule the host's session.
fn is_ours(ledger: &Shared, pid: i32) -> bool {
    let is_job = || ledger.records().any(|(_, r)| r.pid.load(Acquire) == pid && r.state().is_job());
    is_called(pid, b"jsshim-") && sys::getsid(pid) != sys::getsid(0) && !is_job()
}

fn is_called(pid: i32, start: &[u8]) -> bool {
    let mut name = [0u8; 16];
    let n = proc::read_file(&proc::of(pid).with(b"/comm"), &mut name).unwrap_or(0);
    name.get(..n).is_some_and(|name| name.starts_with(start))
}

/// A keeper that this process has from before an exec, or 0.
fn find() -> i32 {
    let mut found = 0;
    proc::each_child(|pid| {
        if is_called(pid, NAME.to_bytes()) {
            found = pid;
        }
    });
    // A child that other waits see may have any name.
    if sys::is_visible_child(found) {
        0
    } else {
        found
    }
}

fn call(guard: i32) {
    if guard > 0 {
        let _ = sys::kill(guard, CALL);
    }
}

/// Does another keeper wait for its turn?
fn has_next(path: &Path) -> bool {
    let Ok(file) = sys::open(path.c(), libc::O_RDWR, 0) else { return false };
    let next = sys::is_byte_locked(file, NEXT) == Ok(true);
    sys::close(file);
    next
}

/// Forks a keeper; gives its pid once it has let go of this process' descriptors.
fn make(start: &Start<'_>) -> Option<i32> {
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
    start.pool.hand_down(guard::KEPT);
    let _ = sys::close_from(guard::KEPT.saturating_add(1));
    // Not where the pool may be.
    let file = sys::open(start.path.c(), libc::O_RDWR, 0).map(|file| match file {
        guard::KEPT => sys::fcntl(file, libc::F_DUPFD_CLOEXEC, guard::FILE).unwrap_or(-1),
        other => other,
    });
    let at_once = file.is_ok_and(|file| sys::lock_byte(file, LIFE).is_ok());
    if !at_once {
        sys::close(guard::KEPT);
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
        let done = guard::start_below(start, file, first).map(sys::collect_all);
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
