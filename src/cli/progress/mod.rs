//! `--progress`: the command below this program, which shows how far it is.
//!
//! Without the option this program becomes the command. Here it stays above: it starts itself anew, without the
//! option, and the child becomes the command; it hands on the signals that are sent to it, and ends as the command
//! does. What the terminal sends (Ctrl-C, Ctrl-\) goes to both anyway. The signals are read from a descriptor, so
//! that nothing is done in a handler, and the child gets the mask that was there before.

mod line;

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use jsshim_engine::sys::{self, Action};
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::resource::{setrlimit, Resource};
use nix::sys::signal::{kill, raise, SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{siginfo, SfdFlags, SignalFd};
use nix::unistd::Pid;

use crate::failure::{failure, Result};
use crate::inherited;
use crate::output::reason;
use crate::run::Asked;
use crate::status::collect;
use line::Display;

/// How often it looks.
const PERIOD: Duration = Duration::from_millis(500);

/// What is handed on to the command, unless the terminal has sent it to both.
const HANDED_ON: [Signal; 6] = [
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
];

/// What concerns this program itself.
const OWN: [Signal; 4] = [Signal::SIGCHLD, Signal::SIGWINCH, Signal::SIGTSTP, Signal::SIGCONT];

/// Runs the command; gives the exit status, if the command has ended with one: a signal that has ended it ends this
/// program, too.
pub fn run(asked: Asked<'_>, command: &[OsString]) -> Result<i32> {
    let cannot = |what: &str, e: io::Error| failure(2, format!("{what}: {}", reason(&e)));
    let mask: SigSet = HANDED_ON.into_iter().chain(OWN).collect();
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(|e| cannot("signalfd", e.into()))?;
    let before =
        mask.thread_swap_mask(SigmaskHow::SIG_BLOCK).map_err(|e| cannot("signals", e.into()))?;
    // Who ignores SIGCHLD does not learn how a child has ended. The command ignores it as before.
    // SAFETY: no handler is installed.
    let _ = unsafe { sys::sigaction(libc::SIGCHLD, &Action::DEFAULT) };
    let child = start(asked, command, before).map_err(|e| cannot("cannot start", e))?;
    let mut watched = Watched { child, signals, display: Display::default() };
    let status = watched.run().map_err(|e| cannot("the command cannot be waited for", e))?;
    Ok(status.code().unwrap_or_else(|| end_as(&status)))
}

fn start(asked: Asked<'_>, words: &[OsString], mask: SigSet) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(asked.jobs.map(|n| format!("--jobs={n}"))).args(asked.all.then_some("--all"));
    if let Some(file) = asked.trace {
        command.arg("--trace").arg(file);
    }
    command.arg("--").args(words);
    inherited::hand_on(&mut command, Some(mask));
    command.spawn()
}

/// Ends as the command did: whoever waits for this program sees the same.
fn end_as(status: &ExitStatus) -> i32 {
    let signal = status.signal().unwrap_or(libc::SIGKILL);
    // One core is enough.
    let _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    let _ = signal_hook::low_level::emulate_default_handler(signal);
    128 + signal
}

/// The command, and what is seen of it.
struct Watched {
    child: Child,
    signals: SignalFd,
    display: Display,
}

impl Watched {
    fn run(&mut self) -> io::Result<ExitStatus> {
        let pid = i32::try_from(self.child.id()).unwrap_or(0);
        let mut next = Instant::now() + PERIOD;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() >= next {
                self.display.show(collect::pool_of(pid).as_ref());
                next = Instant::now() + PERIOD;
            }
            let rest = next.saturating_duration_since(Instant::now());
            let timeout = PollTimeout::try_from(rest).unwrap_or(PollTimeout::ZERO);
            let mut fds = [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            // Whatever it says, the signals and the child are looked at.
            let _ = poll(&mut fds, timeout);
            while let Ok(Some(signal)) = self.signals.read_signal() {
                self.see_to(&signal, pid);
            }
        };
        self.display.end();
        Ok(status)
    }

    fn see_to(&mut self, info: &siginfo, pid: i32) {
        let Ok(signal) = i32::try_from(info.ssi_signo)
            .map_err(drop)
            .and_then(|n| Signal::try_from(n).map_err(drop))
        else {
            return;
        };
        match signal {
            Signal::SIGCHLD => {}
            Signal::SIGWINCH | Signal::SIGCONT => self.display.resize(),
            Signal::SIGTSTP => {
                self.display.end();
                let _ = raise(Signal::SIGSTOP);
            }
            // The terminal's own go to all in front.
            _ if info.ssi_code == libc::SI_KERNEL => {}
            _ => drop(kill(Pid::from_raw(pid), signal)),
        }
    }
}
