//! Which threads of a host may wait until their held job starts ([`jsshim_engine::hold::exec_pipe`]).
//!
//! While such a thread waits, it must not be needed:
//! - It is not the first thread of its process: that goes on, and serves who needs the process.
//! - It has no other child: there is no clock, pipe or status of a job that it would look after.
//! - No descriptor of the process is an epoll(7) one: it could be the loop that serves the whole process.
//! - It waits for its exec without a lock of its interpreter. That is known of Python's `subprocess` only: it reads the
//!   pipe with `os.read`, which lets the other threads run. In Ruby no thread would run meanwhile.
//!
//! A job that waits for what the thread does next sleeps, and lends its slot ([`jsshim_engine::lending`]). What is left
//! is a lock of the host's own, which a watcher of an endless job may want: the helper lets go after a minute.

use core::sync::atomic::Ordering::{Acquire, Release};

use jsshim_engine::client::Client;
use jsshim_engine::ledger::handle::Handle;
use jsshim_engine::ledger::record::AWAITED;
use jsshim_engine::pool::pipe;
use jsshim_engine::text::{self, Path};
use jsshim_engine::{proc, sys};

use crate::start::program;
use crate::start::settings::{self, Gate};

/// Called before the fork of a job that is held: notes in its record whether this thread may wait for it.
pub fn offer(client: &Client, job: Handle) {
    let tid = sys::gettid();
    if tid != sys::getpid() && program::name().starts_with(b"python") {
        offer_by(tid, client, job);
    }
}

#[inline(never)]
fn offer_by(tid: i32, client: &Client, job: Handle) {
    let free = settings::gate_mode() != Gate::Child && !has_child(tid) && !has_loop();
    if let Some(record) = client.ledger().get(job).filter(|_| free) {
        record.note.store(AWAITED, Release);
    }
}

/// Returns whether this thread has a child that is not reaped yet. Returns true also if the kernel does not tell.
fn has_child(tid: i32) -> bool {
    let path = Path::new(b"/proc/self/task/").num(tid).with(b"/children");
    let mut any = false;
    !proc::each_part::<16>(&path, b' ', |_| any = true) || any
}

fn has_loop() -> bool {
    let mut found = false;
    let listed = proc::each_fd(0, |fd| {
        let mut name = [0u8; 32];
        let link = Path::new(b"/proc/self/fd/").num(fd);
        found |= sys::readlink(link.c(), &mut name).is_ok_and(|n| text::contains(n, b"eventpoll"));
    });
    found || !listed
}

/// Called in the child before it becomes the helper: a copy of the end of the exec pipe that the helper inherits; -1 if
/// the host's thread does not wait, or if it is not clear which pipe that is.
pub fn copy(client: &Client, job: Handle) -> i32 {
    let is_awaited = client.ledger().get(job).is_some_and(|r| r.note.load(Acquire) == AWAITED);
    let end = if is_awaited { only_end() } else { None };
    let copy = end.and_then(|fd| pipe::copy_high(fd).ok()).unwrap_or(-1);
    if copy >= 0 {
        let _ = sys::fcntl(copy, libc::F_SETFD, 0);
    }
    copy
}

/// The only writing end of a pipe that is close-on-exec.
fn only_end() -> Option<i32> {
    let (mut end, mut many) = (None, false);
    let listed = proc::each_fd(0, |fd| {
        if is_end(fd) {
            many |= end.is_some();
            end = Some(fd);
        }
    });
    end.filter(|_| listed && !many)
}

fn is_end(fd: i32) -> bool {
    sys::fcntl(fd, libc::F_GETFD, 0).is_ok_and(|flags| flags & libc::FD_CLOEXEC != 0)
        && pipe::access(fd) == Ok(libc::O_WRONLY)
        && sys::fstat(fd).is_ok_and(|st| st.st_mode & libc::S_IFMT == libc::S_IFIFO)
}
