//! `--all`: a supervisor that gates what the library cannot be loaded into: static programs, those of Go, and others.
//!
//! The command gets a filter for its system calls (seccomp(2)) by which the kernel asks a *supervisor* before each execve
//! and execveat of the tree. Most answers are "go on" at once: the caller is preloaded, or is no new job. A new child of
//! a process that is not preloaded is a job: the supervisor takes a slot for it, as the library would in that process.
//! Where none is free the exec must not be kept waiting, because a parent that has used vfork(2) sleeps until its child
//! has exec'ed, and nobody would drain its pipes. So the child becomes the helper (`divert`), which waits in its place.
//!
//! The supervisor is a fork of the launcher, and nobody's child. It has a double (`pair`): an exec that nobody answers
//! fails. It ends when no process of the tree is left.
//!
//! | module | one idea |
//! |---|---|
//! | `pair` | the supervisor and its double |
//! | `supervise` | what is asked, and what is answered |
//! | `jobs` | the slots of those jobs |
//! | `caller` | who asks: its parent, its memory, whether it is preloaded |
//! | `divert` | the helper in the place of a program |
//! | `tables` | jobs and clients by pid, for both processes of the pair |
//! | `listener` | the kernel's questions |
//! | `filter` | the filter |

mod caller;
mod divert;
mod filter;
mod jobs;
mod listener;
mod pair;
mod supervise;
mod tables;

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use jsshim_engine::client::Client;
use jsshim_engine::program::go::SUPERVISED;
use jsshim_engine::show::numbers;
use jsshim_engine::sys;
use nix::sys::wait::{waitpid, WaitStatus};
use nix::unistd::{fork, ForkResult};

use crate::output::{reason, say};

/// The variable that asks for it, and that tells the tree of it.
const NAME: &str = "JSSHIM_ALL";

/// Whether a supervisor is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    No,
    Yes,
    /// This process has one already: there is one for a tree.
    Done,
}

/// `asked`: on the command line.
pub fn is_wanted(asked: bool) -> Wanted {
    let value = std::env::var_os(NAME).unwrap_or_default();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let filtered = |line: &str| line.strip_prefix("Seccomp:").is_some_and(|n| n.trim() == "2");
    if value == SUPERVISED && status.lines().any(filtered) {
        Wanted::Done
    } else if asked || value != SUPERVISED && numbers::is_on(value.as_bytes()) {
        Wanted::Yes
    } else {
        Wanted::No
    }
}

/// Puts the command below a supervisor. Returns whether it is; otherwise it says why not.
pub fn cover(command: &mut Command, client: &'static Client) -> bool {
    let mut supervisor = match start(client) {
        Ok(supervisor) => supervisor,
        Err(why) => {
            say(format_args!("--all is not to be had: {why}"));
            command.env_remove(NAME);
            return false;
        }
    };
    command.env(NAME, SUPERVISED);
    // Otherwise the run-time of AddressSanitizer ends a program that something is preloaded into.
    let mut options = std::env::var_os("ASAN_OPTIONS").unwrap_or_default();
    if !options.is_empty() {
        options.push(":");
    }
    options.push("verify_asan_link_order=0");
    command.env("ASAN_OPTIONS", options);
    // SAFETY: it runs in this process, which has one thread.
    unsafe {
        command.pre_exec(move || {
            let entered = supervisor.enter();
            entered
                .inspect_err(|e| say(format_args!("--all is not to be had: {}", reason(e))))
                .or_else(|e| if e.raw_os_error().is_some() { Ok(()) } else { Err(e) })
        });
    }
    true
}

/// A supervisor that waits for its tree.
struct Supervisor {
    stream: UnixStream,
    magic: u64,
}

/// Starts the supervisor.
///
/// # Errors
/// Why there can be none here, for the user.
fn start(client: &'static Client) -> Result<Supervisor, String> {
    let said = |what: &str, e: &io::Error| format!("{what}: {}", reason(e));
    if !cfg!(target_arch = "x86_64") {
        return Err("it is for x86-64 only".to_owned());
    }
    let helper = sys::open(client.helper, libc::O_RDONLY, 0)
        .map_err(|e| said("jsshim-helper", &io::Error::from_raw_os_error(e.0)))?;
    // SAFETY: just opened.
    let helper = unsafe { OwnedFd::from_raw_fd(helper) };
    let (mut ours, theirs) = UnixStream::pair().map_err(|e| said("socketpair", &e))?;
    let magic = random().map_err(|e| said("getrandom", &e))?;
    let (launcher, ours_there) = (sys::getpid(), ours.as_raw_fd());
    // SAFETY: this program has one thread.
    match unsafe { fork() }.map_err(|e| said("fork", &e.into()))? {
        ForkResult::Child => {
            // SAFETY: as above.
            if let Ok(ForkResult::Child) = unsafe { fork() } {
                pair::begin(theirs, (launcher, ours_there), magic, client, helper);
            }
            sys::exit(0)
        }
        ForkResult::Parent { child } => {
            let _ = waitpid(child, None);
        }
    }
    drop(theirs);
    let mut word = [0; 4];
    ours.read_exact(&mut word).map_err(|e| said("the supervisor has ended", &e))?;
    match i32::from_ne_bytes(word) {
        0 => Ok(Supervisor { stream: ours, magic }),
        errno => {
            let why = reason(&io::Error::from_raw_os_error(errno));
            Err(format!("a process may not be traced here: {why}"))
        }
    }
}

impl Supervisor {
    /// Puts this process and its children below the supervisor; before an exec, which the supervisor answers.
    ///
    /// # Errors
    /// As seccomp(2). EBUSY: another supervisor is there.
    fn enter(&mut self) -> io::Result<()> {
        let listener = filter::install(self.magic)?;
        // With the filter alone no exec succeeds: nobody would answer.
        let lost =
            |e: io::Error| io::Error::other(format!("the supervisor has ended: {}", reason(&e)));
        self.stream.write_all(&listener.as_raw_fd().to_ne_bytes()).map_err(lost)?;
        self.stream.read_exact(&mut [0; 4]).map_err(lost)
    }
}

/// What a supervisor would have here.
pub enum Rights {
    /// All of it.
    All,
    /// The tree gets no new privileges.
    NoNew,
}

/// Tries it in a child that ends.
///
/// # Errors
/// Why there can be none here, for the user.
pub fn rights() -> Result<Rights, String> {
    const UNTRACED: i32 = 200;
    const NO_NEW: i32 = 201;
    if !cfg!(target_arch = "x86_64") {
        return Err("it is for x86-64 only".to_owned());
    }
    let parent = sys::getpid();
    let (_, open) = UnixStream::pair().map_err(|e| format!("socketpair: {}", reason(&e)))?;
    let try_it = || {
        if pair::can_trace(parent, open.as_raw_fd()).is_err() {
            return UNTRACED;
        }
        match filter::install(0) {
            Err(e) => e.raw_os_error().unwrap_or(libc::EINVAL),
            Ok(_) if nix::sys::prctl::get_no_new_privs() == Ok(true) => NO_NEW,
            Ok(_) => 0,
        }
    };
    // SAFETY: this program has one thread.
    match unsafe { fork() }.map_err(|e| format!("fork: {e}"))? {
        ForkResult::Child => sys::exit(try_it()),
        ForkResult::Parent { child } => match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, 0)) => Ok(Rights::All),
            Ok(WaitStatus::Exited(_, NO_NEW)) => Ok(Rights::NoNew),
            Ok(WaitStatus::Exited(_, UNTRACED)) => {
                Err("a process may not be traced here (ptrace_scope)".to_owned())
            }
            Ok(WaitStatus::Exited(_, errno)) => {
                Err(format!("seccomp: {}", reason(&io::Error::from_raw_os_error(errno))))
            }
            _ => Err("a filter that asks ends a process here".to_owned()),
        },
    }
}

fn random() -> io::Result<u64> {
    let mut bytes = [0u8; 8];
    // SAFETY: room for eight bytes.
    let n = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), 8, 0) };
    if n == 8 {
        Ok(u64::from_ne_bytes(bytes))
    } else {
        Err(io::Error::last_os_error())
    }
}
