//! Reading other processes' data from /proc. Where /proc is not mounted, every function here finds nothing.

mod stat;

use core::sync::atomic::AtomicU8;
use core::sync::atomic::Ordering::Relaxed;

use crate::room::Room;
use crate::sys::{self, Errno};
use crate::text::{self, number, Path, Text};

pub use stat::{is_same_start, parse_stat, Stat};

/// Reads /proc/PID/stat of a process of this PID namespace; of the caller for `pid` 0. Returns None also if /proc
/// [shows](is_ours) the pids of another namespace.
pub fn stat(pid: i32) -> Option<Stat> {
    if pid != 0 && !is_ours() {
        return None;
    }
    shown(pid)
}

/// [`stat`] of the process that /proc shows under this number.
fn shown(pid: i32) -> Option<Stat> {
    let mut path = Path::default();
    put_folder(pid, &mut path);
    // For a path with one slash qemu's user mode makes the caller's own up: no session, no threads, a later start.
    path.put(b"//stat");
    read_stat(&path)
}

/// The caller's pid as /proc shows it; 0 if it does not show the caller.
fn shown_self() -> i32 {
    let mut buf = [0u8; 16];
    let link = sys::readlink(c"/proc/self", &mut buf).ok().and_then(number);
    link.and_then(|(pid, _)| i32::try_from(pid).ok()).unwrap_or(0)
}

/// The cached answer of [`is_ours`], in a process that never changes its root; 0: not known yet.
static SHOWS: AtomicU8 = AtomicU8::new(0);
const OURS: u8 = 1;
const OTHERS: u8 = 2;

/// Returns whether the numbers in /proc are pids of the caller's PID namespace. In a namespace without its own /proc
/// they are pids of the parent namespace: there the caller has another pid, as a rule a greater one.
pub fn is_ours() -> bool {
    // Relaxed: the number alone matters.
    match SHOWS.load(Relaxed) {
        0 => shown_self() == sys::getpid(),
        seen => seen == OURS,
    }
}

/// Caches the answer of [`is_ours`]; for processes of our own.
pub fn settle() {
    SHOWS.store(if is_ours() { OURS } else { OTHERS }, Relaxed);
}

/// Reads the `stat` file in this directory, of a process or a thread.
pub fn stat_at(folder: &Path) -> Option<Stat> {
    read_stat(&folder.with(b"/stat"))
}

#[inline(never)]
fn read_stat(path: &Path) -> Option<Stat> {
    let mut buf = [0u8; 512];
    let n = read_file(path, &mut buf)?;
    let mut stat = parse_stat(buf.get(..n)?)?;
    // The kernel has rounded the sum: where the offset is no multiple of a tick, others may find the tick beside it.
    let ticks = sys::clock_offset().wrapping_div(stat::TICK_NANOS);
    stat.start = stat.start.wrapping_add_signed(ticks.wrapping_neg());
    Some(stat)
}

/// `/proc/PID`, or `/proc/self` for 0.
pub fn of(pid: i32) -> Path {
    let mut path = Path::default();
    put_folder(pid, &mut path);
    path
}

/// [`of`], appended to `path`.
pub fn put_folder<const N: usize>(pid: i32, path: &mut Text<N>) {
    path.put(b"/proc/");
    if pid == 0 {
        path.put(b"self");
    } else {
        path.put_num(pid);
    }
}

/// Reads the start of a file.
pub fn read_file<const N: usize>(path: &Text<N>, buf: &mut [u8]) -> Option<usize> {
    let fd = sys::open(path.c(), libc::O_RDONLY, 0).ok()?;
    let n = sys::read(fd, buf).ok();
    sys::close(fd);
    n
}

/// Identifies the time since boot, in which the kernel gives no two existing pipes the same inode: the start of boot_id
/// (random(4)); 0 if that cannot be read.
pub fn boot() -> u64 {
    let mut id = [0u8; 8];
    let path: Text<40> = Text::new(b"/proc/sys/kernel/random/boot_id");
    match read_file(&path, &mut id) {
        Some(8) => u64::from_le_bytes(id),
        _ => 0,
    }
}

/// The restrictions of a process, from its `status` (proc(5)).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Bounds {
    /// The parent's pid.
    pub parent: i32,
    /// How many seccomp filters it has; before Linux 5.9, 1 if it has any.
    pub filters: u32,
    /// The pid of its tracer; 0: none.
    pub tracer: i32,
    /// Whether it has renounced new privileges by an exec (PR_SET_NO_NEW_PRIVS), as a process does before it restricts
    /// itself.
    pub no_new_privs: bool,
}

/// Reads the restrictions of a process; 0: of the caller. Returns None if they cannot be read. Async-signal-safe; calls
/// open(2), read(2) and close(2) only.
pub fn bounds(pid: i32) -> Option<Bounds> {
    let mut bounds = Bounds::default();
    let read = each_part::<32>(&of(pid).with(b"/status"), b'\n', |line| {
        put_bound(line, &mut bounds);
    });
    read.then_some(bounds)
}

fn put_bound(line: &[u8], bounds: &mut Bounds) {
    let value = |name: &[u8]| {
        let rest = line.strip_prefix(name)?.trim_ascii_start();
        i32::try_from(number(rest)?.0).ok()
    };
    if let Some(parent) = value(b"PPid:") {
        bounds.parent = parent;
    }
    if let Some(tracer) = value(b"TracerPid:") {
        bounds.tracer = tracer;
    }
    if let Some(given_up) = value(b"NoNewPrivs:") {
        bounds.no_new_privs = given_up != 0;
    }
    if let Some(mode) = value(b"Seccomp:") {
        bounds.filters = bounds.filters.max(u32::from(mode != 0));
    }
    if let Some(count) = value(b"Seccomp_filters:") {
        bounds.filters = bounds.filters.max(count.unsigned_abs());
    }
}

/// Returns whether a process has the file with this inode mapped (`/proc/PID/maps`). Returns false also if that cannot
/// be read.
pub fn maps(pid: i32, inode: u64) -> bool {
    let mut found = false;
    // Lines are "FROM-TO MODE OFFSET DEVICE INODE NAME"; on some file systems the device differs from that of stat(2).
    each_part::<96>(&of(pid).with(b"/maps"), b'\n', |line| {
        let word = line.split(|b| *b == b' ').nth(4).and_then(number);
        found |= word.is_some_and(|(n, _)| n.unsigned_abs() == inode);
    });
    found
}

/// Returns whether a process has a file mapped whose name contains this word. As [`maps`].
pub fn maps_named(pid: i32, word: &[u8]) -> bool {
    let mut found = false;
    each_part::<512>(&of(pid).with(b"/maps"), b'\n', |line| {
        let name = line.rsplit(|b| *b == b'/').next().unwrap_or(b"");
        found |= text::contains(name, word);
    });
    found
}

/// Returns whether a process runs, as far as can be told without a pidfd: the pid may have been reused.
pub fn lives(pid: i32) -> bool {
    if pid <= 0 || sys::kill(pid, 0) == Err(Errno::SRCH) {
        return false;
    }
    stat(pid).is_none_or(|s| !matches!(s.state, b'Z' | b'X'))
}

/// Returns whether a process has ended, reaped or not. A pidfd tells that even if the process is hidden in /proc.
pub fn has_ended(pid: i32) -> bool {
    match sys::pidfd_open(pid) {
        Ok(fd) => {
            let ended = has_ended_by(fd, pid);
            sys::close(fd);
            ended
        }
        Err(e) => e == Errno::SRCH || !lives(pid),
    }
}

/// [`has_ended`], with an existing pidfd.
pub fn has_ended_by(pidfd: i32, pid: i32) -> bool {
    let mut one = [libc::pollfd { fd: pidfd, events: libc::POLLIN, revents: 0 }];
    sys::poll(&mut one, 0).map_or_else(|_| !lives(pid), |n| n > 0)
}

/// The pid behind a pidfd of the caller (the `Pid:` line of its fdinfo, pidfd_open(2)).
pub fn pid_of(pidfd: i32) -> Option<i32> {
    let mut buf = [0u8; 512];
    let n = read_file(&Path::new(b"/proc/self/fdinfo/").num(pidfd), &mut buf)?;
    let mut lines = buf.get(..n)?.split(|b| *b == b'\n');
    let (pid, _) = number(lines.find_map(|l| l.strip_prefix(b"Pid:"))?.trim_ascii_start())?;
    i32::try_from(pid).ok().filter(|pid| *pid > 0)
}

/// Calls `f` with the number of each open descriptor of a process (0: the caller). Returns false if they cannot be
/// listed.
pub fn each_fd(pid: i32, mut f: impl FnMut(i32)) -> bool {
    let mut folder = Path::default();
    put_folder(pid, &mut folder);
    folder.put(b"/fd");
    each_number(&folder, |fd, dir| {
        if pid != 0 || fd != dir {
            f(fd);
        }
    })
}

/// Calls `f` with each pid.
pub fn each_process(mut f: impl FnMut(i32)) {
    each_number(&Path::new(b"/proc"), |pid, _| f(pid));
}

/// Calls `f` with each child of each thread of the caller, if the kernel tells them (`CONFIG_PROC_CHILDREN`, proc(5)).
pub fn each_child(f: impl FnMut(i32)) {
    children_in(&Path::new(b"/proc/self/task"), f);
}

/// Calls `f` with each child of a process. Returns false if the kernel does not tell them.
pub fn each_child_of(pid: i32, f: impl FnMut(i32)) -> bool {
    children_in(&of(pid).with(b"/task"), f)
}

fn children_in(tasks: &Path, mut f: impl FnMut(i32)) -> bool {
    let mut told = true;
    each_number(tasks, |tid, _| {
        let task = tasks.with(b"/").num(tid);
        let read = each_part::<16>(&task.with(b"/children"), b' ', |word| {
            if let Some(pid) = number(word).and_then(|(n, _)| i32::try_from(n).ok()) {
                f(pid);
            }
        });
        // A thread that has just ended has none.
        told &= read || stat_at(&task).is_none();
    });
    told
}

/// Calls `f` with each file name in a directory that is a number, and with the descriptor of the directory. Returns
/// false if it cannot be listed.
pub fn each_number(folder: &Path, mut f: impl FnMut(i32, i32)) -> bool {
    each_name(folder, |name, dir| {
        if let Some(number) = number(name).and_then(|(n, _)| i32::try_from(n).ok()) {
            f(number, dir);
        }
    })
}

/// Calls `f` with each file name in a directory, and with the descriptor of the directory. Returns false if it cannot
/// be listed.
pub fn each_name(folder: &Path, mut f: impl FnMut(&[u8], i32)) -> bool {
    names(folder, &mut f)
}

#[inline(never)]
fn names(folder: &Path, f: &mut dyn FnMut(&[u8], i32)) -> bool {
    let Ok(dir) = sys::open(folder.c(), libc::O_RDONLY | libc::O_DIRECTORY, 0) else {
        return false;
    };
    // Enough for the longest name, and little stack.
    let mut buf = [0u8; 320];
    let listed = loop {
        match sys::getdents(dir, &mut buf) {
            Ok(0) => break true,
            Ok(n) => entries(buf.get(..n).unwrap_or(&[])).for_each(|name| f(name, dir)),
            // The process may have ended meanwhile.
            Err(_) => break false,
        }
    };
    sys::close(dir);
    listed
}

/// The names in a getdents64(2) buffer.
fn entries(mut buf: &[u8]) -> impl Iterator<Item = &[u8]> + '_ {
    core::iter::from_fn(move || {
        // struct linux_dirent64: inode 8, offset 8, length 2, type 1, name.
        let len = u16::from_ne_bytes([*buf.get(16)?, *buf.get(17)?]) as usize;
        let (this, rest) = buf.split_at_checked(len.max(1))?;
        buf = rest;
        Some(this)
    })
    .filter_map(|record| record.get(19..)?.split(|b| *b == 0).next())
}

/// The largest environment that [`with_first_environ`] reads.
const ENVIRON: usize = 1 << 18;

/// Calls `f` with the environment with which a process was started, each variable ended by a NUL. Returns None if it
/// cannot be read, or is larger than 256 KiB.
#[inline(never)]
pub fn with_first_environ<R>(pid: i32, f: impl FnOnce(&[u8]) -> R) -> Option<R> {
    let path = of(pid).with(b"/environ");
    let mut room = Room::new(ENVIRON).ok()?;
    let n = read_file(&path, room.bytes()).filter(|n| *n < ENVIRON)?;
    room.bytes().get(..n).map(f)
}

/// Calls `f` with each NUL-terminated word of a file like /proc/PID/environ; a long word is cut off.
pub fn each_word(path: &Path, f: impl FnMut(&[u8])) {
    each_part::<4096>(path, 0, f);
}

/// Calls `f` with each part of a file that ends in the byte `end`; a part of more than `N` bytes is cut off. Returns
/// false if the file cannot be opened.
pub fn each_part<const N: usize>(path: &Path, end: u8, mut f: impl FnMut(&[u8])) -> bool {
    parts::<N>(path, end, &mut f)
}

#[inline(never)]
fn parts<const N: usize>(path: &Path, end: u8, f: &mut dyn FnMut(&[u8])) -> bool {
    let Ok(fd) = sys::open(path.c(), libc::O_RDONLY, 0) else { return false };
    let (mut word, mut buf): (Text<N>, _) = (Text::default(), [0u8; 512]);
    while let Ok(n @ 1..) = sys::read(fd, &mut buf) {
        for byte in buf.get(..n).unwrap_or(&[]) {
            if *byte == end {
                f(word.bytes());
                word = Text::default();
            } else {
                word.push([*byte]);
            }
        }
    }
    sys::close(fd);
    true
}

/// The pids of the caller's parent, its parent, and so on, at most 64, as /proc shows them.
pub fn ancestors() -> impl Iterator<Item = i32> {
    shown_line(shown(0).map_or(0, |s| s.parent))
}

/// The pid of a process of this PID namespace, of its parent, and so on, at most 64. Empty if /proc shows another
/// namespace.
pub fn line_of(pid: i32) -> impl Iterator<Item = i32> {
    shown_line(if is_ours() { pid } else { 0 })
}

fn shown_line(pid: i32) -> impl Iterator<Item = i32> {
    let first = Some(pid).filter(|p| *p > 0);
    let parent = |pid: &i32| shown(*pid).map(|s| s.parent).filter(|p| *p > 0);
    core::iter::successors(first, parent).take(64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_own_line_is_read() {
        let own = stat(0).unwrap();
        assert_eq!(own.parent, sys::getppid());
        assert_eq!(stat(sys::getpid()).unwrap().start, own.start);
        assert!(ancestors().any(|p| p == own.parent));
    }

    #[test]
    fn bounds_are_read() {
        let mut bounds = Bounds::default();
        for line in [
            "Name:\tTracerPid: 9",
            "PPid:\t12",
            "TracerPid:\t17",
            "NoNewPrivs:\t1",
            "Seccomp:\t2",
            "Seccomp_filters:\t3",
        ] {
            put_bound(line.as_bytes(), &mut bounds);
        }
        assert_eq!(bounds, Bounds { parent: 12, filters: 3, tracer: 17, no_new_privs: true });
        let mut old = Bounds::default();
        put_bound(b"Seccomp:\t2", &mut old);
        assert_eq!(old.filters, 1);
        assert!(super::bounds(0).is_some());
    }

    #[test]
    fn a_pidfd_tells_its_process() {
        let me = sys::getpid();
        let fd = sys::pidfd_open(me).unwrap();
        assert_eq!(pid_of(fd), Some(me));
        sys::close(fd);
        assert_eq!(pid_of(fd), None);
    }

    #[test]
    fn what_is_mapped_is_seen() {
        let exe = std::fs::metadata("/proc/self/exe").unwrap();
        let inode = std::os::unix::fs::MetadataExt::ino(&exe);
        assert!(maps(sys::getpid(), inode));
        assert!(!maps(sys::getpid(), u64::MAX) && !maps(i32::MAX, inode));
    }

    #[test]
    fn descriptors_are_listed() {
        let mut seen = vec![];
        assert!(each_fd(0, |fd| seen.push(fd)));
        assert!([0, 1, 2].iter().all(|fd| seen.contains(fd)));
        assert!(!each_fd(i32::MAX, |_| ()));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(line in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse_stat(&line);
        }
    }
}
