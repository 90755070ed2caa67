//! Which processes have the other end of the pipe or connection that a descriptor leads to.

use crate::pool::pipe;
use crate::{proc, sys};

use super::tree::Tree;
use super::waits::{parse_inode, parse_tcp, Kind, Tcp};

/// The most ends that are recorded.
const MOST: usize = 8192;

/// From where data may come over a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Other {
    /// Nothing, or only from the process itself or the job server.
    Self_,
    /// A timer, a terminal, or a change of a file: it comes by itself, and costs no CPU time.
    Clock,
    /// Another process of the tree has the other end.
    Inside,
    /// It cannot be determined who has the other end.
    Unseen,
    /// A process outside the tree has it: a network peer, another tree.
    Outside,
    /// A file: outside the tree, but always ready, so polling never blocks.
    File,
}

/// A process's end of a pipe, or a socket. All zeros: none.
#[derive(Clone, Copy)]
struct End {
    device: u64,
    inode: u64,
    pid: i32,
    reads: bool,
    writes: bool,
}

/// The pipes and sockets that are open in the tree. All zeros: none.
pub struct Ends {
    all: [End; MOST],
    used: usize,
    /// An end did not fit into the table.
    pub overflown: bool,
    /// The descriptors of a process could not be listed.
    blind: bool,
}

/// What is known of the processes that have an end.
pub struct Known<'a> {
    /// Device and inode of the job server.
    pub pool: (u64, u64),
    /// Whether a pid is one of the judged jobs, a held job, or their host, which may wait for a held job.
    pub is_partner: &'a dyn Fn(i32) -> bool,
    /// Whether any other pid works.
    pub works: &'a dyn Fn(i32) -> bool,
}

/// Where a link in /proc/PID/fd leads.
enum Link {
    /// A pipe, a fifo or a socket.
    Stream(End, Kind),
    /// Anything else.
    Plain(Other),
}

impl Ends {
    /// Lists the ends of all processes of the tree.
    pub fn list(&mut self, tree: &Tree) {
        (self.used, self.overflown, self.blind) = (0, false, false);
        for pid in tree.all() {
            let listed = proc::each_fd(*pid, |fd| {
                if let Some(Link::Stream(end, _)) = link_of(*pid, fd) {
                    self.add(end);
                }
            });
            // A process that has ended meanwhile has none.
            self.blind |= !listed && proc::stat(*pid).is_some_and(|s| s.state != b'Z');
        }
    }

    fn add(&mut self, end: End) {
        match self.all.get_mut(self.used) {
            Some(at) => {
                *at = end;
                self.used = self.used.saturating_add(1);
            }
            None => self.overflown = true,
        }
    }

    /// Returns who has the other end of this descriptor.
    pub fn other(&self, pid: i32, fd: i32, known: &Known<'_>) -> Other {
        match link_of(pid, fd) {
            Some(Link::Stream(end, Kind::Pipe)) => self.of_pipe(&end, fd, known),
            Some(Link::Stream(end, _)) => self.of_socket(&end, known),
            Some(Link::Plain(other)) => other,
            None => Other::Unseen,
        }
    }

    /// Returns whether this descriptor is of this kind.
    pub fn is(pid: i32, fd: i32, kind: Kind) -> bool {
        kind == Kind::Any || matches!(link_of(pid, fd), Some(Link::Stream(_, k)) if k == kind)
    }

    fn of_pipe(&self, mine: &End, fd: i32, known: &Known<'_>) -> Other {
        let id = sys::stat(pipe::fd_path(mine.pid, fd).c(), true).map(|st| (st.st_dev, st.st_ino));
        if id == Ok(known.pool) {
            return Other::Self_;
        }
        let is_other = |e: &&End| mine.reads && e.writes || mine.writes && e.reads;
        self.holders(mine, known, |e| e.device == mine.device && is_other(&e))
    }

    /// Determines who holds the other ends among the ends with this inode.
    fn holders(&self, mine: &End, known: &Known<'_>, is_other: impl Fn(&End) -> bool) -> Other {
        let all = self.all.get(..self.used).unwrap_or(&[]);
        let ends = || all.iter().filter(|e| e.inode == mine.inode && is_other(e)).map(|e| e.pid);
        let others = || ends().filter(|pid| *pid != mine.pid);
        if others().any(known.is_partner) {
            return Other::Inside;
        }
        match (others().next(), ends().next()) {
            (Some(_), _) if others().any(known.works) => Other::Outside,
            (Some(_), _) => Other::Inside,
            (None, Some(_)) => Other::Self_,
            (None, None) if self.blind => Other::Unseen,
            (None, None) => Other::Outside,
        }
    }

    fn of_socket(&self, mine: &End, known: &Known<'_>) -> Other {
        let Some(tcp) = connection(mine.pid, |tcp| tcp.inode == mine.inode) else {
            return self.of_local_socket(mine, known);
        };
        if tcp.listens {
            return Other::Inside;
        }
        match connection(mine.pid, |t| (t.local, t.remote) == (tcp.remote, tcp.local)) {
            // The connection is not accepted yet.
            Some(Tcp { inode: 0, .. }) => Other::Inside,
            Some(peer) => self.holders(&End { inode: peer.inode, ..*mine }, known, |_| true),
            None => Other::Outside,
        }
    }

    fn of_local_socket(&self, mine: &End, known: &Known<'_>) -> Other {
        match sys::unix_peer(mine.inode) {
            // The connection is not accepted yet.
            Ok(Some(0)) => Other::Inside,
            Ok(Some(peer)) => self.holders(&End { inode: peer, ..*mine }, known, |_| true),
            // It listens, or the kernel does not tell.
            Ok(None) | Err(_) => Other::Inside,
        }
    }
}

/// What this descriptor is. Returns None if that cannot be read.
fn link_of(pid: i32, fd: i32) -> Option<Link> {
    let path = pipe::fd_path(pid, fd);
    let mut buf = [0u8; 64];
    let link = sys::readlink(path.c(), &mut buf).ok()?;
    let stream = |device, inode, kind| {
        let mode = sys::stat(path.c(), false).map_or(0, |st| st.st_mode);
        let (reads, writes) = (mode & 0o400 != 0, mode & 0o200 != 0);
        Some(Link::Stream(End { device, inode, pid, reads, writes }, kind))
    };
    if let Some(inode) = parse_inode(link, b"pipe") {
        return stream(0, inode, Kind::Pipe);
    }
    if let Some(inode) = parse_inode(link, b"socket") {
        return stream(0, inode, Kind::Socket);
    }
    if !link.starts_with(b"/") {
        return Some(Link::Plain(of_anonymous(link)));
    }
    match sys::glance(path.c()) {
        Ok((device, inode, libc::S_IFIFO)) => stream(device, inode, Kind::Pipe),
        Ok((_, _, libc::S_IFCHR)) if !is_terminal(link) => Some(Link::Plain(Other::File)),
        Ok((_, _, libc::S_IFCHR)) => Some(Link::Plain(Other::Clock)),
        _ => Some(Link::Plain(Other::File)),
    }
}

fn is_terminal(link: &[u8]) -> bool {
    let name = link.strip_prefix(b"/dev/").unwrap_or(link);
    name.starts_with(b"tty") || name.starts_with(b"pt") || name.starts_with(b"console")
}

/// Events, signals and child processes come from processes that are judged themselves.
fn of_anonymous(link: &[u8]) -> Other {
    match link.strip_prefix(b"anon_inode:").unwrap_or(b"") {
        b"[timerfd]" | b"inotify" | b"[fanotify]" => Other::Clock,
        b"[eventfd]" | b"[signalfd]" | b"[eventpoll]" | b"[pidfd]" | b"[io_uring]" => Other::Self_,
        _ => Other::Outside,
    }
}

/// The TCP connection for which `is` holds, in the network namespace of a process.
fn connection(pid: i32, is: impl Fn(&Tcp) -> bool) -> Option<Tcp> {
    let mut found = None;
    for name in [b"/net/tcp".as_slice(), b"/net/tcp6"] {
        proc::each_part::<256>(&proc::of(pid).with(name), b'\n', |line| {
            found = found.or_else(|| parse_tcp(line).filter(&is));
        });
    }
    found
}
