//! A kernel in memory: processes, descriptors, one kind of pipe, files, one signal, a clock.
//!
//! It keeps the books of the pool, too: how many bytes the engine has read from it and how many it has
//! written.

use std::alloc::{alloc_zeroed, Layout};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use crate::ledger::access::Ledger;
use crate::ledger::header::Header;
use crate::ledger::record::Record;
use crate::sync::Ordering::AcqRel;
#[cfg(not(feature = "loom"))]
use crate::sync::Ordering::Relaxed;
use crate::sync::{per_thread, wait_until, with_kernel, Flag};
use crate::sys::{Errno, Result};

/// More calls than any run that comes to an end makes.
const MOST_CALLS: u64 = 300_000;

/// As [`MOST_CALLS`], for atomics.
const MOST_STEPS: u32 = 30_000_000;

/// What a process is unwound with when it is killed, or ends by itself.
pub struct Ended(pub i32);

pub type Handler = extern "C" fn(i32);

/// What a descriptor or a name stands for.
#[derive(Clone)]
pub enum Node {
    Pipe(usize),
    Data(Arc<[u8]>),
    Memory(Arc<Memory>),
    /// A pidfd.
    Process(i32),
    /// /proc/PID/stat and the like, as they are when they are read.
    Folder(Arc<[u8]>),
}

/// The memory of a ledger's file.
pub struct Memory {
    at: *mut u8,
    /// The inode.
    pub number: u64,
}

// SAFETY: only atomics are made of it.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

/// What was memory of a ledger: to give it back to the system, and to get it anew, costs more than a run.
static UNUSED: Mutex<Vec<Memory>> = Mutex::new(Vec::new());

/// No ledger grows here: so much of it is used.
const USED: usize = size_of::<Header>() + 1024 * size_of::<Record>();

impl Memory {
    fn layout() -> Layout {
        Layout::new::<Ledger>()
    }

    fn new(number: u64) -> Self {
        if let Some(mut memory) = UNUSED.lock().ok().and_then(|mut unused| unused.pop()) {
            // SAFETY: it was allocated with this layout, and nobody else has it.
            unsafe { memory.at.write_bytes(0, USED) };
            memory.number = number;
            return memory;
        }
        // SAFETY: the size is not zero.
        Self { at: unsafe { alloc_zeroed(Self::layout()) }, number }
    }

    pub fn address(&self) -> *mut u8 {
        self.at
    }

    pub fn range(&self) -> std::ops::Range<usize> {
        self.at.addr()..self.at.addr() + Self::layout().size()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Whoever had it mapped is gone with the kernel.
        UNUSED.lock().expect("nobody panics").push(Self { ..*self });
    }
}

#[derive(Clone)]
pub struct Open {
    pub node: Node,
    pub flags: i32,
    pub at: usize,
    /// Which description it is: copies of a descriptor share it.
    description: u64,
}

/// The folder of which the lock is, or the file and the byte of it; and the description that has it.
struct Lock {
    file: u64,
    byte: Option<i64>,
    owner: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    Running,
    Zombie,
}

/// A handler that is installed, and whether its signal has been sent.
#[derive(Clone)]
pub struct Signal {
    pub handler: Handler,
    pub sent: Arc<Flag>,
}

pub struct Process {
    pub parent: i32,
    pub life: Life,
    pub signal: Option<Signal>,
    pub blocked: bool,
    /// It sends the signal now and then.
    pub timer: bool,
    pub fds: BTreeMap<i32, Open>,
}

#[derive(Default)]
pub struct Kernel {
    pub clock: u64,
    pub load_milli: u32,
    pub processes: BTreeMap<i32, Process>,
    pub files: BTreeMap<Vec<u8>, Node>,
    /// What has ever been mapped stays.
    pub mapped: Vec<Arc<Memory>>,
    pub pipes: Vec<VecDeque<u8>>,
    /// Bytes that the engine has read from a pipe.
    pub taken: u64,
    /// Bytes that it has written to one.
    pub given: u64,
    /// Bytes that lay in a ledger from the start.
    pub owed: u64,
    /// Signals to no process in particular.
    pub broadcasts: u64,
    locks: Vec<Lock>,
    calls: u64,
    numbers: u64,
    next_pid: i32,
    next_fd: i32,
}

/// Which process makes the calls of this thread.
#[derive(Default)]
struct Current {
    pid: i32,
    signal: Option<Signal>,
    blocked: bool,
}

per_thread! {
    static CURRENT: RefCell<Current> = RefCell::new(Current::default());
}

/// Looks into the kernel, alone.
pub fn kernel<R>(f: impl FnOnce(&mut Kernel) -> R) -> R {
    with_kernel(f)
}

/// Waits until `ready` gives something, or for a signal.
pub fn wait_for<R>(mut ready: impl FnMut(&mut Kernel) -> Option<R>) -> Result<R> {
    let (mut done, mut signal) = (None, None);
    wait_until(&mut || {
        done = kernel(&mut ready);
        if done.is_none() {
            signal = sent();
        }
        done.is_some() || signal.is_some()
    });
    if let Some(signal) = signal {
        (signal.handler)(crate::ledger::signals::WAKE);
    }
    done.ok_or(Errno::INTR)
}

/// A new kernel, with this process as the first one.
pub fn boot() {
    kernel(|k| {
        *k = Kernel { next_pid: 100, next_fd: 2, clock: 1, ..Kernel::default() };
    });
    become_process(0);
    crate::sync::boot();
}

/// The calls of this thread are those of `pid` now; gives whose they were.
pub fn become_process(pid: i32) -> i32 {
    let known = kernel(|k| k.processes.get(&pid).map(|p| (p.signal.clone(), p.blocked)));
    let (signal, blocked) = known.unwrap_or_default();
    CURRENT.with(|c| {
        let mut c = c.borrow_mut();
        (c.signal, c.blocked) = (signal, blocked);
        std::mem::replace(&mut c.pid, pid)
    })
}

/// Runs `f` as a process. `None`: it was killed meanwhile, or has ended.
pub fn run_as<R>(pid: i32, f: impl FnOnce() -> R) -> Option<R> {
    let before = become_process(pid);
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
    become_process(before);
    match result {
        Ok(r) => Some(r),
        Err(ended) if ended.is::<Ended>() => None,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

pub fn current() -> i32 {
    CURRENT.with(|c| c.borrow().pid)
}

/// Leaves the process as a SIGKILL or _exit(2) does.
pub fn end_current(status: i32) -> ! {
    let pid = current();
    kernel(|k| k.kill(pid));
    std::panic::resume_unwind(Box::new(Ended(status)))
}

/// Every system call comes through here: the signal that has been sent comes first.
pub fn enter() {
    live();
    deliver();
}

/// Lets a process be killed at one of its next steps; or none, with 0. A step is an atomic of the ledger
/// that was mapped first: what a process does to its own memory, nobody sees.
#[cfg(not(feature = "loom"))]
pub fn doom(pid: i32, steps: u32) {
    let ledger = kernel(|k| k.mapped.first().map_or(0, |m| m.address().addr()));
    crate::turns::with_doom(|d| {
        d.pid.store(pid, Relaxed);
        d.steps.store(steps, Relaxed);
        d.ledger.store(ledger, Relaxed);
        d.total.store(0, Relaxed);
    });
}

/// Is it still to be killed?
#[cfg(not(feature = "loom"))]
pub fn is_doomed() -> bool {
    crate::turns::with_doom(|d| d.pid.load(Relaxed) != 0)
}

/// Before each atomic of the engine.
#[cfg(not(feature = "loom"))]
pub fn step(address: usize) {
    let killed = crate::turns::with_doom(|d| {
        assert!(d.total.fetch_add(1, Relaxed) < MOST_STEPS, "it does not come to an end");
        let (pid, ledger) = (d.pid.load(Relaxed), d.ledger.load(Relaxed));
        let counts = pid != 0
            && (ledger..ledger + size_of::<Ledger>()).contains(&address)
            && pid == current();
        let killed = counts && d.steps.fetch_sub(1, Relaxed) <= 1;
        if killed {
            d.pid.store(0, Relaxed);
        }
        killed
    });
    if killed {
        end_current(-1);
    }
}

/// A process that was killed meanwhile goes no further.
pub fn live() {
    let pid = current();
    let gone = kernel(|k| {
        k.calls += 1;
        assert!(k.calls < MOST_CALLS, "it does not come to an end");
        pid != 0 && !k.runs(pid)
    });
    // What it had locked is given up as it unwinds.
    if gone && !std::thread::panicking() {
        std::panic::resume_unwind(Box::new(Ended(-1)));
    }
}

pub fn set_signal(signal: Option<Signal>) {
    let pid = current();
    CURRENT.with(|c| c.borrow_mut().signal.clone_from(&signal));
    kernel(|k| {
        if let Some(p) = k.processes.get_mut(&pid) {
            p.signal = signal;
        }
    });
}

/// Is the signal blocked in the current process?
pub fn is_blocked() -> bool {
    CURRENT.with(|c| c.borrow().blocked)
}

pub fn block(blocked: bool) {
    let pid = current();
    CURRENT.with(|c| c.borrow_mut().blocked = blocked);
    kernel(|k| {
        if let Some(p) = k.processes.get_mut(&pid) {
            p.blocked = blocked;
        }
    });
}

fn sent() -> Option<Signal> {
    if is_blocked() {
        return None;
    }
    // A clone first: the handler makes calls itself.
    let signal = CURRENT.with(|c| c.borrow().signal.clone())?;
    signal.sent.swap(false, AcqRel).then_some(signal)
}

/// Runs the handler of a signal that has been sent to this process.
pub fn deliver() -> bool {
    let Some(signal) = sent() else { return false };
    (signal.handler)(crate::ledger::signals::WAKE);
    true
}

impl Kernel {
    pub fn spawn(&mut self, parent: i32) -> i32 {
        self.next_pid += 1;
        let process = Process {
            parent,
            life: Life::Running,
            signal: None,
            blocked: false,
            timer: false,
            fds: BTreeMap::new(),
        };
        self.processes.insert(self.next_pid, process);
        self.next_pid
    }

    pub fn runs(&self, pid: i32) -> bool {
        self.processes.get(&pid).is_some_and(|p| p.life == Life::Running)
    }

    /// It ends; its parent has not collected it.
    pub fn kill(&mut self, pid: i32) {
        if let Some(p) = self.processes.get_mut(&pid) {
            p.life = Life::Zombie;
            p.fds.clear();
        }
    }

    pub fn reap(&mut self, pid: i32) {
        self.processes.remove(&pid);
    }

    /// What a signal to `pid` is sent by, if that has a handler.
    pub fn signal(&mut self, pid: i32, signal: i32) -> Result<Option<Signal>> {
        if pid <= 0 {
            self.broadcasts += u64::from(signal != 0);
            return Ok(None);
        }
        let process = self.processes.get(&pid).ok_or(Errno::SRCH)?;
        Ok(process.signal.clone().filter(|_| signal != 0))
    }

    /// Time passes: every timer sends its signal.
    pub fn tick(&mut self) {
        let timers = self.processes.values().filter(|p| p.timer);
        let signals = timers.filter_map(|p| p.signal.as_ref());
        signals.for_each(|s| s.sent.store(true, crate::sync::Ordering::Release));
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub fn create_memory(&mut self) -> Node {
        Node::Memory(Arc::new(Memory::new(self.number())))
    }

    /// A new description of what is open then in the current process.
    pub fn open(&mut self, node: Node, flags: i32) -> Result<i32> {
        let description = self.number();
        self.install(Open { node, flags, at: 0, description })
    }

    /// Which lock is meant, of how many there are one for each; and by which description.
    fn lock_of(&mut self, fd: i32, byte: Option<i64>) -> Result<Lock> {
        let open = self.fd(fd)?;
        let file = if let Node::Memory(memory) = &open.node { memory.number } else { 0 };
        Ok(Lock { file, byte, owner: open.description })
    }

    /// Has another description of the file this lock? It goes with the last descriptor.
    pub fn is_locked(&mut self, fd: i32, byte: Option<i64>) -> Result<bool> {
        let wanted = self.lock_of(fd, byte)?;
        let open = self.processes.values().flat_map(|p| p.fds.values());
        let open: Vec<_> = open.map(|open| open.description).collect();
        self.locks.retain(|lock| open.contains(&lock.owner));
        let same = |lock: &Lock| (lock.file, lock.byte) == (wanted.file, wanted.byte);
        Ok(self.locks.iter().any(|lock| same(lock) && lock.owner != wanted.owner))
    }

    /// EAGAIN: another description has it.
    pub fn lock(&mut self, fd: i32, byte: Option<i64>) -> Result<()> {
        if self.is_locked(fd, byte)? {
            return Err(Errno::AGAIN);
        }
        let lock = self.lock_of(fd, byte)?;
        self.locks.push(lock);
        Ok(())
    }

    /// Gives up the lock on the whole file.
    pub fn unlock(&mut self, fd: i32) {
        if let Ok(wanted) = self.lock_of(fd, None) {
            self.locks.retain(|lock| lock.owner != wanted.owner || lock.byte.is_some());
        }
    }

    /// The open file behind a descriptor of the current process.
    pub fn fd(&mut self, fd: i32) -> Result<&mut Open> {
        let process = self.processes.get_mut(&current()).ok_or(Errno::SRCH)?;
        process.fds.get_mut(&fd).ok_or(Errno::BADF)
    }

    /// No number is used twice, in no process: all of them share the static variables of the engine.
    pub fn install(&mut self, open: Open) -> Result<i32> {
        let process = self.processes.get_mut(&current()).ok_or(Errno::SRCH)?;
        self.next_fd += 1;
        process.fds.insert(self.next_fd, open);
        Ok(self.next_fd)
    }

    /// What a path leads to.
    pub fn find(&mut self, path: &[u8]) -> Result<Node> {
        // Slashes one after the other are one.
        let words: Vec<_> = path.split(|b| *b == b'/').filter(|word| !word.is_empty()).collect();
        let path: Vec<u8> = words.iter().flat_map(|word| [b"/", *word].concat()).collect();
        if let Some(node) = self.files.get(&path) {
            return Ok(node.clone());
        }
        let [b"proc", pid, what, rest @ ..] = &words[..] else { return Err(Errno::NOENT) };
        let number = |s: &[u8]| std::str::from_utf8(s).ok()?.parse().ok();
        let pid = if *pid == b"self" { current() } else { number(pid).ok_or(Errno::NOENT)? };
        let process = self.processes.get(&pid).ok_or(Errno::NOENT)?;
        match (*what, rest) {
            (b"fd", [fd]) => {
                let open = number(fd).and_then(|fd| process.fds.get(&fd));
                open.map(|open| open.node.clone()).ok_or(Errno::NOENT)
            }
            (b"stat", []) => {
                let state = if process.life == Life::Running { 'S' } else { 'Z' };
                let zeros = " 0".repeat(15);
                let line = format!("{pid} (x) {state} {}{zeros} 1 0 0 0\n", process.parent);
                Ok(Node::Data(line.into_bytes().into()))
            }
            _ => Err(Errno::NOENT),
        }
    }
}
