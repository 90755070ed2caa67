//! What is handed to exec in place of what the host wanted: the helper for a job that is held, and an
//! environment that names the pool.

use core::ffi::{c_char, CStr};
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicU64, AtomicU8};

use jsshim_engine::client::Client;
use jsshim_engine::hold::spec::Spec;
use jsshim_engine::ledger::handle::Handle;
use jsshim_engine::pool::pipe::fd_path;
use jsshim_engine::program::search::{self, Place};
use jsshim_engine::program::target::{self, Kind};
use jsshim_engine::room::{Room, PATH_ROOM};
use jsshim_engine::sys;
use jsshim_engine::text::Text;

use crate::environ::{self, Scratch, Strings, END};
use crate::kept::{self, Change};
use crate::limits::{self, STRING_MOST};
use crate::state::STATE;

/// Arguments for execve(2), and the memory in which they lie.
pub struct Exec {
    pub path: *const c_char,
    pub argv: Strings,
    pub envp: Strings,
    pub scratch: Scratch,
}

impl Exec {
    /// Is it the helper that is exec'ed?
    pub fn is_helper(&self) -> bool {
        STATE.client().is_some_and(|c| c.helper.as_ptr() == self.path)
    }
}

/// What would run, and how.
pub struct Target<'a> {
    path: Place<'a>,
    /// A text, to be run with /bin/sh.
    shell: bool,
    /// Of 32 bits.
    foreign: bool,
}

impl Target<'_> {
    /// Opens the program for a helper that this process becomes, which inherits it; -1 if that cannot be.
    pub fn open(&self) -> i32 {
        let opened = sys::open(self.path.c(), libc::O_PATH, 0);
        opened.and_then(|fd| sys::fcntl(fd, libc::F_SETFD, 0).map(|_| fd)).unwrap_or(-1)
    }
}

/// What can be said of an exec before it is done.
pub enum Foretold<'a> {
    /// It would fail, or it names nothing: the real function says how.
    Fails,
    /// It may succeed, but not through the helper.
    Unknown,
    /// This would run.
    Runs(Target<'a>),
}

/// How a program is looked for.
#[derive(Clone, Copy)]
pub struct Way {
    /// Along PATH, if the name has no slash.
    pub search: bool,
    /// A text without `#!` is run by /bin/sh: as execvp(3), not as execve(2), and posix_spawnp(3) only searches.
    pub shell: bool,
    /// In another directory than this process', which is not known.
    pub moves: bool,
}

/// What would an exec of `file` do?
pub fn foretell(file: &CStr, way: Way) -> Foretold<'_> {
    let along = way.search && !file.to_bytes().contains(&b'/');
    let found = if along || way.moves {
        search::find(file, environ::own(b"PATH="), way.moves)
    } else if file.to_bytes() == b"/proc/self/exe" {
        this_program(file)
    } else {
        target::foretell(file).map(|kind| (Place::Given(file), kind))
    };
    match found {
        // The helper's is another one, and descriptors may be closed by its exec.
        Ok((path, _)) if search::is_own_view(path.c().to_bytes()) => Foretold::Unknown,
        Ok((path, Kind::Text)) if way.shell => {
            Foretold::Runs(Target { path, shell: true, foreign: false })
        }
        Ok((_, Kind::Unknown)) => Foretold::Unknown,
        Ok((_, Kind::Text)) | Err(_) => Foretold::Fails,
        Ok((path, kind)) => {
            Foretold::Runs(Target { path, shell: false, foreign: kind == Kind::Foreign })
        }
    }
}

/// `/proc/self/exe`, by the path that it has for others.
#[inline(never)]
fn this_program(link: &CStr) -> sys::Result<(Place<'_>, Kind)> {
    let id = |path: &CStr| sys::stat(path, true).map(|st| (st.st_dev, st.st_ino));
    let mut room = Room::new(PATH_ROOM)?;
    let _ = sys::readlink(link, room.bytes())?;
    // It may have been deleted, or replaced.
    if id(room.c()) != id(link) {
        return Ok((Place::Given(link), Kind::Unknown));
    }
    target::foretell(room.c()).map(|kind| (Place::Built(room), kind))
}

/// [`foretell`] for execveat(2). A program is run by its path; a script knows itself by what it was
/// started with, so it cannot.
pub fn foretell_at(dir: i32, path: &CStr, flags: i32) -> Foretold<'_> {
    let name = path.to_bytes();
    if name.first() == Some(&b'/') || dir == libc::AT_FDCWD && !name.is_empty() {
        let way = Way { search: false, shell: false, moves: false };
        return if flags == 0 { foretell(path, way) } else { Foretold::Unknown };
    }
    if name.is_empty() && flags & libc::AT_EMPTY_PATH == 0 {
        return Foretold::Fails;
    }
    if sys::fstat(dir).is_err() {
        return Foretold::Fails;
    }
    let Ok(whole) = whole_path(dir, name) else { return Foretold::Unknown };
    let binary = |kind| matches!(kind, Kind::Dynamic | Kind::Static | Kind::Foreign);
    match target::foretell(whole.c()) {
        Ok(kind)
            if flags & !libc::AT_EMPTY_PATH == 0 && binary(kind) && same(dir, name, whole.c()) =>
        {
            let (path, foreign) = (Place::Built(whole), kind == Kind::Foreign);
            Foretold::Runs(Target { path, shell: false, foreign })
        }
        _ => Foretold::Unknown,
    }
}

/// The path of a descriptor, or of a name in the folder that it is.
#[inline(never)]
fn whole_path(dir: i32, name: &[u8]) -> sys::Result<Room> {
    let mut room = Room::new(PATH_ROOM)?;
    let n = sys::readlink(fd_path(sys::getpid(), dir).c(), room.bytes())?.len();
    room.write_at(n, &[if name.is_empty() { b"" } else { b"/" }, name])?;
    Ok(room)
}

/// Is the file behind this descriptor (or its directory) the one at that path? It may be unlinked, or
/// have none.
fn same(dir: i32, name: &[u8], whole: &CStr) -> bool {
    let id = |st: libc::stat| (st.st_dev, st.st_ino);
    let by_path = sys::stat(whole, true).map(id);
    let by_fd = if name.is_empty() { sys::file_id(dir) } else { by_path };
    !target::is_script(whole) && by_fd.is_ok() && by_fd == by_path
}

/// What the helper is told of `job`.
fn spec(c: &Client, job: Handle, shell: bool, program: i32) -> Text<340> {
    let inherited = c.pool.inherited.unwrap_or((-1, -1));
    Spec { job, shell, inherited, program, ledger: *c.ledger_path() }.encode()
}

/// The exec of the helper that holds `job` and then becomes `target`. It [must be allowed](crate::bounds::allow_helper).
/// `program`: see [`Spec::program`]. `None`: the target might not get its arguments through it.
///
/// # Safety
/// `argv` and `envp` must be NULL or NULL-terminated arrays of C strings.
pub unsafe fn held(
    c: &Client,
    job: Handle,
    target: Target<'_>,
    program: i32,
    argv: Strings,
    envp: Strings,
) -> Option<Exec> {
    let path = target.path.c().to_bytes();
    // A script gets its own path as an argument.
    let words = path.len().checked_mul(2)?.checked_add(c.helper.count_bytes())?.checked_add(400)?;
    // SAFETY: by the contract.
    let change = unsafe { kept::change(envp, false, || target.foreign) };
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
    let spec = scratch.text(spec(c, job, target.shell, program).bytes());
    let head = [c"jsshim-helper".as_ptr(), spec, scratch.text(path)];
    // SAFETY: by the contract.
    let tail = unsafe { environ::pointers(argv) };
    let argv = scratch.array(head.into_iter().chain(tail).chain([END]));
    Some(Exec { path: c.helper.as_ptr(), argv, envp, scratch })
}

/// Java's starter of programs: its parent waits for what it says after it has begun, so it cannot be held
/// itself, but what it execs can be.
pub fn is_starter(path: &CStr) -> bool {
    path.to_bytes().ends_with(b"/jspawnhelper")
}

/// The same exec, of a program that is held at its own first exec.
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
    let change = unsafe { kept::change(envp, false, || false) };
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

/// The variable by which a [`deferred`] job is told.
pub const HELD_NAME: &[u8] = b"JSSHIM_HELD=";

/// The command line for a shell that libc starts in the environment of this process: through the helper,
/// if it is for a `job` of the ledger, and in an environment that keeps the tree on the pool. `None`: the
/// command may stay as it is, or has to (no memory, or it would be too long for the kernel).
pub fn shell_line(
    job: Option<(&Client, Handle)>,
    command: &CStr,
) -> Option<(*const c_char, Scratch)> {
    let envp = environ::current();
    // SAFETY: the host's own environment (see `environ::own`).
    let change = unsafe { kept::change(envp, false, || false) }.filter(Change::is_due);
    if job.is_none() && change.is_none() {
        return None;
    }
    write_line(job, change, command)
}

/// Apart from [`shell_line`], which mostly has nothing to do and needs little stack.
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
    // Of what stands in front, a text in quotes may be four times as long.
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
        quote(&mut scratch, spec(c, job, false, -1).bytes());
        scratch.append(b" /bin/sh");
    }
    scratch.append(if job.is_some() { b" sh -c " } else { b" /bin/sh -c " });
    quotes.put(&mut scratch, command.to_bytes());
    // SAFETY: the text that was written just now.
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

/// How a text is quoted for a shell, so that it stays the same in one word.
#[derive(Clone, Copy)]
enum Quotes {
    /// `'`, which only itself ends.
    Single,
    /// `"`, in which four characters need a backslash. For a text with many a `'` that could otherwise be too long.
    Double,
}

impl Quotes {
    fn of(text: &[u8]) -> Self {
        let is_long = Self::Single.len(text) > STRING_MOST / 2;
        // In some character sets a part of a letter looks like a backslash (Shift JIS).
        let double = is_long && core::str::from_utf8(text).is_ok();
        if double && Self::Double.len(text) < Self::Single.len(text) {
            Self::Double
        } else {
            Self::Single
        }
    }

    /// How long the text becomes.
    fn len(self, text: &[u8]) -> usize {
        let of = |b: &u8| match self {
            Self::Single if *b == b'\'' => 4usize,
            Self::Double if Self::needs_backslash(*b) => 2,
            _ => 1,
        };
        text.iter().map(of).fold(2, usize::saturating_add)
    }

    fn needs_backslash(byte: u8) -> bool {
        matches!(byte, b'$' | b'`' | b'"' | b'\\')
    }

    fn put(self, line: &mut Scratch, text: &[u8]) {
        match self {
            Self::Single => line.append_quoted(text),
            Self::Double => {
                line.append(b"\"");
                for piece in text.split_inclusive(|b| Self::needs_backslash(*b)) {
                    match piece.split_last() {
                        Some((last, before)) if Self::needs_backslash(*last) => {
                            line.append(before);
                            line.append(&[b'\\', *last]);
                        }
                        _ => line.append(piece),
                    }
                }
                line.append(b"\"");
            }
        }
    }
}

/// `NAME='VALUE' `, for a shell.
fn assign(line: &mut Scratch, entry: &[u8]) {
    let mut parts = entry.splitn(2, |b| *b == b'=');
    line.append(parts.next().unwrap_or(b""));
    line.append(b"=");
    line.append_quoted(parts.next().unwrap_or(b""));
    line.append(b" ");
}

/// A word for a shell, and the blank before it.
fn quote(line: &mut Scratch, word: &[u8]) {
    line.append(b" ");
    line.append_quoted(word);
}

/// Does this system run programs of 32 bits? Asked once: before a fork, so that not every child asks.
pub fn has_foreign() -> bool {
    const YES: u8 = 1;
    const NO: u8 = 2;
    /// Whoever looks finds the same, so the child of a vfork may write it.
    static ANY: AtomicU8 = AtomicU8::new(0);
    if ANY.load(Relaxed) == 0 {
        ANY.store(if target::has_foreign() { YES } else { NO }, Relaxed);
    }
    ANY.load(Relaxed) == YES
}

/// Is this a program of 32 bits, which says that our library does not fit? With `search` along PATH.
pub fn is_foreign(file: &CStr, search: bool) -> bool {
    if !has_foreign() {
        return false;
    }
    // What was started once is not looked at again: most hosts start few programs, many times.
    static NATIVE: [AtomicU64; 16] = [const { AtomicU64::new(0) }; 16];
    let hash = hash(file, search);
    let Some(kept) = NATIVE.get((hash & 0xf) as usize) else { return false };
    // Relaxed: a number that stands for itself.
    if kept.load(Relaxed) == hash {
        return false;
    }
    let found = match search {
        true => search::is_foreign(file, environ::own(b"PATH=")),
        false => target::is_foreign(file),
    };
    if !found {
        kept.store(hash, Relaxed);
    }
    found
}

/// FNV-1a. Two programs of one hash are taken for one, which costs a line of ld.so's at worst.
fn hash(file: &CStr, search: bool) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325u64 ^ u64::from(search);
    let step = |hash: u64, b: &u8| (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3);
    file.to_bytes().iter().fold(start, step)
}

/// [`is_foreign`] for execveat(2).
pub fn is_foreign_at(dir: i32, path: &CStr) -> bool {
    if dir == libc::AT_FDCWD || path.to_bytes().first() == Some(&b'/') {
        return is_foreign(path, false);
    }
    if !has_foreign() {
        return false;
    }
    let Ok(mut room) = Room::new(PATH_ROOM) else { return false };
    let slash: &[u8] = if path.is_empty() { b"" } else { b"/" };
    let written = room.write(&[fd_path(0, dir).bytes(), slash, path.to_bytes()]);
    written.is_ok() && is_foreign(room.c(), false)
}

/// The same exec in an environment that keeps the tree on the pool, or keeps our library away from a program that
/// `foreign` says is of 32 bits, or that cannot find it (`lost`). `None`: it does already.
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
    let change = unsafe { kept::change(envp, lost, foreign)? };
    let (pointers, bytes) = change.room();
    let mut scratch = Scratch::new(pointers, bytes)?;
    // SAFETY: by the contract.
    let envp = unsafe { change.make(envp, &mut scratch) };
    Some(Exec { path, argv, envp, scratch })
}
