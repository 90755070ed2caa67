//! What processes wait for: each other, a time, or work.

use core::cell::Cell;
use core::sync::atomic::Ordering::Acquire;

use crate::ledger::access::Ledger;
use crate::pool::pipe::maker;
use crate::slots::State;
use crate::{proc, sys};

use super::ends::{Ends, Known, Other};
use super::tree::Tree;
use super::waits::{of_call, of_place, parse_call, parse_watched, Kind, Wait};

/// What a thread does. Of several threads, the greatest value counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Mood {
    /// Nothing: it waits for a process that is judged itself, or has ended.
    Idle,
    /// It waits for the clock ([`Other::Clock`]).
    Timed,
    /// It waits for another process of the tree.
    Waits,
    /// It may wait for another process of the tree.
    Unclear,
    /// It waits for a disk, or for a process outside the tree.
    Works,
    /// It is on a CPU, or ready to run.
    Runs,
}

/// Whether a process that waits for the clock works or sleeps.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Timers {
    Work,
    Sleep,
}

/// The working memory of one check. All zeros: empty.
pub struct Snapshot {
    /// The running jobs of a client and all their descendants.
    pub jobs: Tree,
    /// Every process of the ledger, all descendants, and the ancestors that have loaded the library.
    tree: Tree,
    ends: Ends,
    /// Clients and ancestors that have loaded the library, and those that have not; and since when that is known.
    loaded: Tree,
    bare: Tree,
    asked: u64,
    /// `ends` was listed in this round.
    pub listed: bool,
}

impl Snapshot {
    /// Finds the processes of a client's running jobs.
    pub fn find(&mut self, ledger: &Ledger, client: u32) {
        self.jobs.clear();
        for (_, state, job) in ledger.jobs_of(client).filter(|(_, state, _)| state.may_run()) {
            match job.pid.load(Acquire) {
                // A process that libc starts and reaps (system): some child of the client.
                0 if state != State::Held => self.add_unnamed(ledger, client),
                pid => self.jobs.add(pid),
            }
        }
        self.jobs.grow();
    }

    fn add_unnamed(&mut self, ledger: &Ledger, client: u32) {
        let pid = ledger.record(client).map_or(0, |c| c.pid.load(Acquire));
        proc::each_child_of(pid, |child| {
            if !is_held(ledger, child) {
                self.jobs.add(child);
            }
        });
    }

    /// Judges the processes that [`Snapshot::find`] has found for this client. A process that waits for the clock works.
    pub fn judge(&mut self, ledger: &Ledger, client: u32) -> Mood {
        // In most cases the list of who holds which end is not needed.
        let first = self.mood(self.jobs.all(), ledger, Timers::Work, &|_, _| Other::Inside);
        if self.jobs.overflown || first >= Mood::Works {
            return first.max(Mood::Works);
        }
        if !self.list(ledger) {
            return Mood::Works;
        }
        let host = ledger.record(client).map_or(0, |c| c.pid.load(Acquire));
        let is_partner = |pid| self.jobs.has(pid) || is_held(ledger, pid) || is_above(host, pid);
        // If a process is waited for, the processes that it waits for in turn count as waiting.
        let near = Known { pool: pool(ledger), is_partner: &is_partner, works: &|_| false };
        let works = |pid| {
            let mood = of_process(pid, &|p, fd| self.ends.other(p, fd, &near));
            mood == Mood::Timed || mood >= Mood::Works
        };
        let known = Known { works: &works, ..near };
        let other = |pid: i32, fd: i32| self.ends.other(pid, fd, &known);
        self.mood(self.jobs.all(), ledger, Timers::Work, &other)
    }

    /// What the client itself does; called after [`Snapshot::judge`].
    pub fn host(&self, ledger: &Ledger, host: i32) -> Mood {
        let is_partner = |pid| self.jobs.has(pid) || is_held(ledger, pid) || is_above(host, pid);
        let known = Known { pool: pool(ledger), is_partner: &is_partner, works: &|_| false };
        of_process(host, &|p, fd| self.ends.other(p, fd, &known))
    }

    /// What these processes do, which have used no CPU time for a while. A process that waits for the clock, or for any
    /// process of the tree, sleeps.
    pub fn rest(&mut self, pids: &[i32], ledger: &Ledger) -> Mood {
        let asked = Cell::new(false);
        let first = self.mood(pids, ledger, Timers::Sleep, &|_, _| {
            asked.set(true);
            Other::Inside
        });
        if first >= Mood::Works || !asked.get() {
            return first;
        }
        if !self.listed && !self.list(ledger) {
            return Mood::Works;
        }
        let known = Known { pool: pool(ledger), is_partner: &|_| true, works: &|_| false };
        self.mood(pids, ledger, Timers::Sleep, &|pid, fd| self.ends.other(pid, fd, &known))
    }

    /// Lists who holds which end in the tree, which begins at the topmost process that has loaded the library. Returns
    /// false if there are too many.
    fn list(&mut self, ledger: &Ledger) -> bool {
        self.tree.clear();
        let now = sys::now();
        if now.saturating_sub(self.asked) > KNOWN_NANOS {
            // A pid may belong to another process by now.
            self.bare.clear();
            self.loaded.clear();
            self.asked = now;
        }
        for (_, record) in ledger.records().filter(|(_, r)| r.state() != State::Free) {
            let pid = record.pid.load(Acquire);
            if record.state() == State::Client {
                self.add_top(pid, record.parent());
            }
            self.tree.add(pid);
        }
        // If the pool is that of a make or of a launcher, the build begins there.
        self.tree.add(ledger.header.root.load(Acquire));
        self.tree.add(maker(&ledger.header.path()));
        self.tree.grow();
        self.ends.list(&self.tree);
        self.listed = true;
        !self.tree.overflown && !self.ends.overflown
    }

    /// Adds the topmost ancestor of a client that has loaded the library, unless it is known. A client that has ended
    /// has no ancestors any more; then its parent is used.
    fn add_top(&mut self, client: i32, parent: i32) {
        let mut top = client;
        for pid in proc::line_of(client).chain(proc::line_of(parent)) {
            if self.tree.has(pid) {
                return;
            }
            if !self.bare.has(pid) && !self.loaded.has(pid) {
                let has_loaded = proc::maps_named(pid, LIBRARY);
                let set = if has_loaded { &mut self.loaded } else { &mut self.bare };
                set.add(pid);
            }
            if self.loaded.has(pid) {
                top = pid;
            }
        }
        self.tree.add(top);
    }

    fn mood(&self, pids: &[i32], ledger: &Ledger, timers: Timers, other: &Others<'_>) -> Mood {
        let mut all = Mood::Idle;
        for pid in pids.iter().filter(|pid| !is_held(ledger, **pid)) {
            let mood = match of_process(*pid, other) {
                Mood::Timed if timers == Timers::Work => Mood::Works,
                mood => mood,
            };
            all = all.max(mood);
            if all >= Mood::Works {
                break;
            }
        }
        all
    }
}

/// How long it is remembered whether a process has loaded the library, in ns.
const KNOWN_NANOS: u64 = 1_000_000_000;

/// A part of the name of the library's file.
const LIBRARY: &[u8] = b"libjsshim";

/// Device and inode of the job server.
fn pool(ledger: &Ledger) -> (u64, u64) {
    let (device, inode, _) = ledger.header.id();
    (device, inode)
}

/// Returns who has the other end of a process's descriptor.
type Others<'a> = dyn Fn(i32, i32) -> Other + 'a;

fn is_held(ledger: &Ledger, pid: i32) -> bool {
    ledger.records().any(|(_, r)| r.state() == State::Waiting && r.pid.load(Acquire) == pid)
}

/// Returns whether `pid` is this process or one of its ancestors. They may wait for a held job, and poll.
fn is_above(below: i32, pid: i32) -> bool {
    let parent = |pid: &i32| proc::stat(*pid).map(|s| s.parent).filter(|p| *p > 0);
    core::iter::successors(Some(below), parent).take(64).any(|p| p == pid)
}

fn of_process(pid: i32, other: &Others<'_>) -> Mood {
    let mut mood = Mood::Idle;
    let threads = proc::stat(pid).map_or(0, |s| s.threads);
    proc::each_number(&proc::of(pid).with(b"/task"), |tid, _| {
        if mood < Mood::Works {
            mood = mood.max(of_thread(pid, tid, threads == 1, other));
        }
    });
    mood
}

fn of_thread(pid: i32, tid: i32, alone: bool, other: &Others<'_>) -> Mood {
    let folder = proc::of(pid).with(b"/task/").num(tid);
    match proc::stat_at(&folder).map(|s| s.state) {
        Some(b'S') => {}
        None | Some(b'Z' | b'X') => return Mood::Idle,
        Some(b'R') => return Mood::Runs,
        // It waits for a disk, or is stopped.
        Some(_) => return Mood::Works,
    }
    let mut buf = [0u8; 256];
    let call = proc::read_file(&folder.with(b"/syscall"), &mut buf);
    let call = call.and_then(|n| parse_call(buf.get(..n)?));
    let wait = call.map_or(Wait::AskKernel, |(call, arguments)| of_call(call, arguments));
    of_wait(pid, wait, other).unwrap_or_else(|| {
        let n = proc::read_file(&folder.with(b"/wchan"), &mut buf);
        let place = n.and_then(|n| buf.get(..n)).unwrap_or(b"");
        of_wait(pid, of_place(place, alone), other).unwrap_or(Mood::Works)
    })
}

/// Returns None if only the kernel knows.
fn of_wait(pid: i32, wait: Wait, other: &Others<'_>) -> Option<Mood> {
    Some(match wait {
        Wait::Work => Mood::Works,
        Wait::Neutral => Mood::Idle,
        Wait::Timed => Mood::Timed,
        Wait::Ipc => Mood::Waits,
        Wait::Vague => Mood::Unclear,
        Wait::AskKernel => return None,
        Wait::On(fds) => {
            let fds = fds.iter().filter(|fd| **fd >= 0);
            fds.map(|fd| of_other(other(pid, *fd))).max().unwrap_or(Mood::Works)
        }
        Wait::Any(kind) => of_any(pid, kind, other),
        Wait::Poll(at, count, timed) => {
            let mut set = Set::new(pid, timed, other);
            set.poll(at, count)?;
            set.mood
        }
        Wait::Select(count, sets, timed) => {
            let mut set = Set::new(pid, timed, other);
            for at in sets.iter().filter(|at| **at != 0) {
                set.select(*at, count)?;
            }
            set.mood
        }
        Wait::Epoll(fd, timed) => {
            let mut set = Set::new(pid, timed, other);
            let info = proc::of(pid).with(b"/fdinfo/").num(fd);
            let read = proc::each_part::<64>(&info, b'\n', |line| {
                if let Some(fd) = parse_watched(line) {
                    set.add(fd);
                }
            });
            read.then_some(set.mood)?
        }
    })
}

fn of_other(other: Other) -> Mood {
    match other {
        Other::Self_ => Mood::Idle,
        Other::Clock => Mood::Timed,
        Other::Inside => Mood::Waits,
        Other::Unseen => Mood::Unclear,
        Other::Outside | Other::File => Mood::Works,
    }
}

/// It waits on one descriptor of this kind, or on several. The others may be open for nothing.
fn of_any(pid: i32, kind: Kind, other: &Others<'_>) -> Mood {
    let mut inside = false;
    proc::each_fd(pid, |fd| {
        inside |= Ends::is(pid, fd, kind) && other(pid, fd) == Other::Inside;
    });
    if inside {
        Mood::Waits
    } else {
        Mood::Works
    }
}

/// A set of descriptors that a thread waits on at once.
struct Set<'a> {
    pid: i32,
    other: &'a Others<'a>,
    mood: Mood,
}

impl<'a> Set<'a> {
    fn new(pid: i32, timed: bool, other: &'a Others<'a>) -> Self {
        Self { pid, other, mood: if timed { Mood::Timed } else { Mood::Idle } }
    }

    fn add(&mut self, fd: i32) {
        let mood = match (self.other)(self.pid, fd) {
            Other::File => Mood::Idle,
            other => of_other(other),
        };
        self.mood = self.mood.max(mood);
    }

    /// Reads the process's memory in words of 8 bytes.
    fn memory(
        &mut self,
        at: u64,
        len: u64,
        mut f: impl FnMut(&mut Self, u64, &[u8; 8]),
    ) -> Option<()> {
        const MOST: u64 = 8192;
        if len == 0 {
            return Some(());
        }
        let fd = sys::open(proc::of(self.pid).with(b"/mem").c(), libc::O_RDONLY, 0).ok()?;
        let mut done = 0;
        while done < len.min(MOST) {
            let mut word = [0u8; 8];
            if sys::pread(fd, &mut word, at.wrapping_add(done)) != Ok(8) {
                break;
            }
            f(self, done, &word);
            done = done.saturating_add(8);
        }
        sys::close(fd);
        (done >= len).then_some(())
    }

    /// An array of `struct pollfd`.
    fn poll(&mut self, at: u64, count: u64) -> Option<()> {
        self.memory(at, count.saturating_mul(8), |this, _, [a, b, c, d, ..]| {
            let fd = i32::from_ne_bytes([*a, *b, *c, *d]);
            if fd >= 0 {
                this.add(fd);
            }
        })
    }

    /// An `fd_set` of `count` bits.
    fn select(&mut self, at: u64, count: u64) -> Option<()> {
        self.memory(at, count.div_ceil(64).saturating_mul(8), |this, done, word| {
            let bits = u64::from_ne_bytes(*word);
            let fds = (0..64u64).filter(|bit| bits >> bit & 1 != 0);
            let fds = fds.map(|bit| done.saturating_mul(8).saturating_add(bit));
            fds.filter(|fd| *fd < count).for_each(|fd| this.add(fd as i32));
        })
    }
}
