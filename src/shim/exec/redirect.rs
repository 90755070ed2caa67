//! The arguments of an exec in place of the host's: the helper for a held job, and an environment that names the pool.

use core::ffi::{c_char, CStr};

use jsshim_engine::client::Client;
use jsshim_engine::hold::spec::Spec;
use jsshim_engine::ledger::handle::Handle;
use jsshim_engine::program::go;
use jsshim_engine::sys;
use jsshim_engine::text::Text;

use crate::job::state::STATE;

use super::environ::{self, Scratch, Strings, END};
use super::foretell::Target;
use super::keep_env::{self, Change};
use super::limits::{self, STRING_MOST};
use super::quotes::{assign, quote, Quotes};

/// Arguments for execve(2), and the memory that holds them.
pub struct Exec {
    pub path: *const c_char,
    pub argv: Strings,
    pub envp: Strings,
    pub scratch: Scratch,
}

impl Exec {
    /// Returns whether the helper is exec'ed.
    pub fn is_helper(&self) -> bool {
        STATE.client().is_some_and(|c| c.helper.as_ptr() == self.path)
    }
}

/// Descriptors that the helper inherits, or -1.
#[derive(Clone, Copy)]
pub struct Inherited {
    /// See [`Spec::program`].
    pub program: i32,
    /// See [`Spec::exec_pipe`].
    pub exec_pipe: i32,
}

impl Inherited {
    pub const NOTHING: Self = Self { program: -1, exec_pipe: -1 };

    /// Closes them here.
    pub fn close(self) {
        [self.program, self.exec_pipe].into_iter().filter(|fd| *fd >= 0).for_each(sys::close);
    }
}

/// The helper's word about `job`.
fn spec(
    c: &Client,
    job: Handle,
    shell: bool,
    Inherited { program, exec_pipe }: Inherited,
) -> Text<340> {
    let inherited = c.pool.inherited.unwrap_or((-1, -1));
    Spec { job, shell, inherited, program, exec_pipe, ledger: *c.ledger_path() }.encode()
}

/// The exec of the helper that holds `job` and then becomes `target`. It [must be
/// allowed](crate::exec::bounds::allow_helper). Returns None if the arguments might not fit.
///
/// # Safety
/// `argv` and `envp` must be NULL or NULL-terminated arrays of C strings.
pub unsafe fn held(
    c: &Client,
    job: Handle,
    target: Target<'_>,
    inherited: Inherited,
    argv: Strings,
    envp: Strings,
) -> Option<Exec> {
    let path = target.path.c().to_bytes();
    // A script gets its own path as an argument.
    let words = path.len().checked_mul(2)?.checked_add(c.helper.count_bytes())?.checked_add(400)?;
    // SAFETY: by the contract.
    let change = unsafe { keep_env::change(envp, false, starts_tools(argv), || target.foreign) };
    // SAFETY: by the contract.
    let args = unsafe { environ::pointers(argv).count() };
    let (pointers, bytes) = change.as_ref().map_or((0, 0), Change::room);
    let bytes = bytes.checked_add(words)?;
    // SAFETY: by the contract.
    if !unsafe { limits::take(argv, envp, bytes) } {
        return None;
    }
    let mut scratch = Scratch::new(pointers.checked_add(args)?.checked_add(8)?, bytes)?;
    // SAFETY: by the contract.
    let envp = change.map_or(envp, |c| unsafe { c.make(envp, &mut scratch) });
    let spec = scratch.text(spec(c, job, target.shell, inherited).bytes());
    let head = [c"jsshim-helper".as_ptr(), spec, scratch.text(path)];
    // SAFETY: by the contract.
    let tail = unsafe { environ::pointers(argv) };
    let argv = scratch.array(head.into_iter().chain(tail).chain([END]));
    Some(Exec { path: c.helper.as_ptr(), argv, envp, scratch })
}

/// Returns whether this is `go`, with a command for which it starts tools.
unsafe fn starts_tools(argv: Strings) -> bool {
    // SAFETY: by the contract of the callers.
    go::starts_tools(unsafe { environ::iter(argv) }.map(CStr::to_bytes))
}

/// Returns whether this is Java's starter of programs. Its parent waits for what it writes once it has started, so it
/// cannot be held itself, but the program that it execs can be.
pub fn is_starter(path: &CStr) -> bool {
    path.to_bytes().ends_with(b"/jspawnhelper")
}

/// The host's exec, of a program that is held at its own first exec.
///
/// # Safety
/// As [`held`].
pub unsafe fn deferred(
    path: *const c_char,
    job: Handle,
    argv: Strings,
    envp: Strings,
) -> Option<Exec> {
    // SAFETY: by the contract.
    let change = unsafe { keep_env::change(envp, false, false, || false) };
    // SAFETY: by the contract.
    let count = unsafe { environ::pointers(envp).count() };
    let (pointers, bytes) = change.as_ref().map_or((0, 0), Change::room);
    let mut scratch = Scratch::new(pointers.checked_add(count)?.checked_add(40)?, bytes)?;
    let mut word: Text<64> = Text::new(HELD_NAME);
    let word = scratch.text(word.put_hex(job.pack()).bytes());
    // SAFETY: by the contract.
    let envp = unsafe {
        let envp = change.map_or(envp, |c| c.make(envp, &mut scratch));
        scratch.array(environ::pointers(envp).chain([word, END]))
    };
    Some(Exec { path, argv, envp, scratch })
}

/// The variable that tells a [`deferred`] job its record.
pub const HELD_NAME: &[u8] = b"JSSHIM_HELD=";

/// The command line for a shell that libc starts in the environment of this process. It runs through the helper if it
/// is for a `job` of the ledger, and in an environment that keeps the tree on the pool. Returns None if the command may
/// stay as it is, or must (no memory, or too long for the kernel).
pub fn shell_line(
    job: Option<(&Client, Handle)>,
    command: &CStr,
) -> Option<(*const c_char, Scratch)> {
    let envp = environ::current();
    // SAFETY: the host's own environment (see `environ::own`).
    let change = unsafe { keep_env::change(envp, false, false, || false) }.filter(Change::is_due);
    if job.is_none() && change.is_none() {
        return None;
    }
    write_line(job, change, command)
}

/// A function of its own: [`shell_line`] mostly has nothing to do, and needs little stack.
#[inline(never)]
fn write_line(
    job: Option<(&Client, Handle)>,
    change: Option<Change>,
    command: &CStr,
) -> Option<(*const c_char, Scratch)> {
    let envp = environ::current();
    let (pointers, bytes) = change.as_ref().map_or((0, 0), Change::room);
    let quotes = Quotes::of(command.to_bytes());
    let helper = job.map_or(0, |(c, _)| c.helper.count_bytes());
    // A quoted text in front of the command may be four times as long.
    let front = bytes.checked_mul(5)?.checked_add(helper.checked_mul(4)?)?.checked_add(1600)?;
    let mut scratch = Scratch::new(pointers, front.checked_add(quotes.len(command.to_bytes()))?)?;
    // SAFETY: as above.
    let wanted = change.map(|c| unsafe { c.make(envp, &mut scratch) });
    let line = scratch.text(b"");
    // SAFETY: arrays of C strings.
    unsafe {
        for entry in wanted.into_iter().flat_map(|list| environ::iter(list)) {
            if !environ::iter(envp).any(|old| old == entry) {
                assign(&mut scratch, entry.to_bytes());
            }
        }
    }
    scratch.append(b"exec");
    if let Some((c, job)) = job {
        quote(&mut scratch, c.helper.to_bytes());
        quote(&mut scratch, spec(c, job, false, Inherited::NOTHING).bytes());
        scratch.append(b" /bin/sh");
    }
    scratch.append(if job.is_some() { b" sh -c " } else { b" /bin/sh -c " });
    quotes.put(&mut scratch, command.to_bytes());
    // SAFETY: the text that was just written.
    let len = unsafe { CStr::from_ptr(line) }.count_bytes();
    let more = len.saturating_add(front);
    // SAFETY: the host's own environment.
    let fits = len < STRING_MOST && unsafe { limits::take(core::ptr::null(), envp, more) };
    if !fits {
        Scratch::free(scratch.into_raw());
        return None;
    }
    Some((line, scratch))
}

/// The host's exec, in an environment that keeps the tree on the pool, or without our library for a 32-bit program
/// (`foreign`) or a program that cannot find it (`lost`). Returns None if the environment needs no change.
///
/// # Safety
/// As [`held`].
pub unsafe fn plain(
    path: *const c_char,
    argv: Strings,
    envp: Strings,
    lost: bool,
    foreign: impl FnOnce() -> bool,
) -> Option<Exec> {
    // SAFETY: by the contract.
    let change = unsafe { keep_env::change(envp, lost, starts_tools(argv), foreign)? };
    let (pointers, bytes) = change.room();
    let mut scratch = Scratch::new(pointers, bytes)?;
    // SAFETY: by the contract.
    let envp = unsafe { change.make(envp, &mut scratch) };
    Some(Exec { path, argv, envp, scratch })
}
