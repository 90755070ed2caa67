//! The supervisor and its double: an exec that nobody answers fails, and a supervisor may be killed like any process.
//!
//! The double is the parent, and sleeps until the supervisor ends; if that was killed it forks another one, which first
//! answers what the killed one has received. If the double is killed, the supervisor becomes the double of a new one. One
//! that has failed by itself is replaced by one that lets every call go on.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use jsshim_engine::client::Client;
use jsshim_engine::sys;
use nix::sys::resource::{getrlimit, setrlimit, Resource};

use super::divert;
use super::jobs::Jobs;
use super::listener::Listener;
use super::supervise::Supervisor;
use super::tables::Tables;

/// What the pair shares.
struct Pair {
    listener: Listener,
    tables: &'static Tables,
    client: &'static Client,
    helper: OwnedFd,
    magic: u64,
}

/// The first process of a supervisor. `launcher`: the process that is about to become the command, and the number of its
/// end of the stream.
pub fn begin(
    mut stream: UnixStream,
    launcher: (i32, RawFd),
    magic: u64,
    client: &'static Client,
    helper: OwnedFd,
) -> Option<()> {
    // Nothing in the way of what the terminal sends to the command, and nobody's pipe kept open.
    sys::setsid();
    keep_only(&[stream.as_raw_fd(), helper.as_raw_fd()]);
    sys::name_this(c"jsshim-all");
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
    client.forked();
    // Whether it may be traced is known before its filter is there.
    let errno = can_trace(launcher.0, launcher.1).err().map_or(0, |e| e.0);
    stream.write_all(&errno.to_ne_bytes()).ok()?;
    let mut word = [0; 4];
    stream.read_exact(&mut word).ok()?;
    let pidfd = sys::pidfd_open(launcher.0).ok()?;
    let listener = Listener::new(fetch(pidfd, i32::from_ne_bytes(word)).ok()?).ok()?;
    sys::close(pidfd);
    let pair = Pair { listener, tables: Tables::new().ok()?, client, helper, magic };
    stream.write_all(&0i32.to_ne_bytes()).ok()?;
    drop(stream);
    pair.live()
}

/// Waits until a child ends; nobody else would find out that it is stopped. Returns its status.
fn end_of(child: i32) -> i32 {
    loop {
        match sys::wait_child(child) {
            Ok(status) if libc::WIFSTOPPED(status) => drop(sys::kill(child, libc::SIGCONT)),
            Ok(status) => return status,
            Err(_) => return libc::SIGKILL,
        }
    }
}

/// May this process, of which this descriptor is open, be traced? By its permission a descriptor may be copied, too
/// (pidfd_getfd(2)).
pub fn can_trace(pid: i32, open: RawFd) -> sys::Result<()> {
    let pidfd = sys::pidfd_open(pid)?;
    let copy = fetch(pidfd, open).map(drop);
    sys::close(pidfd);
    copy
}

/// A copy of a descriptor of another process.
fn fetch(pidfd: RawFd, fd: RawFd) -> sys::Result<OwnedFd> {
    // SAFETY: numbers only.
    let copy = unsafe { libc::syscall(libc::SYS_pidfd_getfd, pidfd, fd, 0) };
    if copy < 0 {
        let errno = std::io::Error::last_os_error().raw_os_error();
        return Err(sys::Errno(errno.unwrap_or(libc::EPERM)));
    }
    // SAFETY: a new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(copy as i32) })
}

/// Closes all other descriptors; the standard ones lead nowhere.
fn keep_only(kept: &[RawFd]) {
    if let Ok(null) = sys::open(c"/dev/null", libc::O_RDWR, 0) {
        (0..3).for_each(|fd| {
            let _ = sys::dup_to(null, fd, 0);
        });
    }
    let mut open = Vec::new();
    jsshim_engine::proc::each_fd(0, |fd| open.push(fd));
    open.into_iter().filter(|fd| *fd > 2 && !kept.contains(fd)).for_each(sys::close);
}

impl Pair {
    /// This process is the double from now on.
    fn live(&self) -> ! {
        let mut failures = 0;
        loop {
            // SAFETY: one thread.
            match unsafe { sys::fork(0) } {
                Ok(0) => {
                    let double = sys::getppid();
                    sys::setpgid(0);
                    match failures {
                        0 => self.work(double),
                        _ => self.let_go_on(double),
                    }
                    // The double has ended: this process takes its place.
                    failures = failures.min(1);
                }
                Ok(child) => match end_of(child) {
                    status if libc::WIFEXITED(status) => sys::exit(0),
                    status if libc::WTERMSIG(status) == libc::SIGKILL => {}
                    _ => failures += 1,
                },
                // There is no room for a double.
                Err(_) => {
                    self.work(sys::getppid());
                    sys::sleep_millis(100);
                }
            }
        }
    }

    /// Answers until the tree has ended. Returns if the double has.
    fn work(&self, double: i32) {
        // SAFETY: a number only.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        let jobs = Jobs::new(self.client, self.tables, epoll);
        let mut supervisor = Supervisor::new(&self.listener, &self.helper, self.magic, jobs);
        let watch = |fd: RawFd| {
            let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: fd as u64 };
            // SAFETY: a struct that lives for the call.
            unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &raw mut event) };
        };
        let double_fd = sys::pidfd_open(double).unwrap_or(-1);
        watch(self.listener.fd());
        watch(double_fd);
        if let Some(left) = self.listener.left() {
            supervisor.answer(&left);
        }
        while sys::getppid() == double {
            let mut events = [libc::epoll_event { events: 0, u64: 0 }; 32];
            // SAFETY: room for so many.
            let n = unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), 32, 1000) };
            for event in events.iter().take(usize::try_from(n).unwrap_or(0)) {
                let (events, fd) = (event.events, event.u64 as RawFd);
                if fd == self.listener.fd() {
                    self.serve(&mut supervisor, events);
                } else if fd != double_fd {
                    supervisor.jobs.ended(fd);
                }
            }
            divert::release_late();
        }
        sys::close(double_fd);
        sys::close(epoll);
    }

    fn serve(&self, supervisor: &mut Supervisor<'_>, events: u32) {
        if events & libc::EPOLLIN as u32 != 0 {
            if let Ok(question) = self.listener.receive() {
                supervisor.answer(&question);
            }
        } else if events & (libc::EPOLLHUP | libc::EPOLLERR) as u32 != 0 {
            // Nobody is left who could ask.
            sys::exit(0)
        }
    }

    /// Lets every call go on.
    fn let_go_on(&self, double: i32) {
        if let Some(left) = self.listener.left() {
            self.listener.go_on(left.id);
            self.listener.done();
        }
        while sys::getppid() == double {
            let mut one =
                [libc::pollfd { fd: self.listener.fd(), events: libc::POLLIN, revents: 0 }];
            let _ = sys::poll(&mut one, 1000);
            let [seen] = one;
            if seen.revents & libc::POLLIN != 0 {
                if let Ok(question) = self.listener.receive() {
                    self.listener.go_on(question.id);
                    self.listener.done();
                }
            } else if seen.revents & (libc::POLLHUP | libc::POLLERR) != 0 {
                sys::exit(0)
            }
        }
    }
}
