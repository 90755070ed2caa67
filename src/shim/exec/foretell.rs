//! Foretelling what an exec would run, and whether it is a 32-bit program.

use core::ffi::CStr;
use core::sync::atomic::AtomicU64;
use core::sync::atomic::Ordering::Relaxed;

use once_cell::race::OnceBool;

use jsshim_engine::pool::pipe::fd_path;
use jsshim_engine::program::search::{self, Place};
use jsshim_engine::program::target::{self, Kind};
use jsshim_engine::room::{Room, PATH_ROOM};
use jsshim_engine::sys;

use crate::host::kind::is_glibc;

use super::environ;

/// What would run, and how.
pub struct Target<'a> {
    pub(super) path: Place<'a>,
    /// A text, which /bin/sh must run.
    pub(super) shell: bool,
    /// A 32-bit program.
    pub(super) foreign: bool,
}

impl Target<'_> {
    /// Opens the program for the helper that this process becomes, which inherits the descriptor; -1 if that fails.
    pub fn open(&self) -> i32 {
        let opened = sys::open(self.path.c(), libc::O_PATH, 0);
        opened.and_then(|fd| sys::fcntl(fd, libc::F_SETFD, 0).map(|_| fd)).unwrap_or(-1)
    }
}

/// What is known of an exec before it happens.
pub enum Foretold<'a> {
    /// It would fail, or names no program: the real function sets the errno.
    Fails,
    /// It may succeed, but not through the helper.
    Unknown,
    /// This would run.
    Runs(Target<'a>),
}

/// How a program is searched.
#[derive(Clone, Copy)]
pub struct Way {
    /// Along PATH, if the name has no slash.
    pub search: bool,
    /// A text without `#!` runs in /bin/sh: so in execvp(3) of glibc, not in execve(2); posix_spawnp(3) only searches.
    pub shell: bool,
    /// In another directory than this process's, which is not known.
    pub moves: bool,
}

/// Foretells what an exec of `file` would do.
pub fn foretell(file: &CStr, way: Way) -> Foretold<'_> {
    let along = way.search && !file.to_bytes().contains(&b'/');
    let found = if along || way.moves {
        search::find(file, directories(), way.moves)
    } else if file.to_bytes() == b"/proc/self/exe" {
        this_program(file)
    } else {
        target::foretell(file).map(|kind| (Place::Given(file), kind))
    };
    match found {
        // In the helper such a path leads elsewhere, and its exec may close descriptors.
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

/// `PATH`, or the default of this libc. Returns None for that of glibc.
fn directories() -> Option<&'static [u8]> {
    environ::own(b"PATH=").or_else(|| (!is_glibc()).then_some(MUSL_PATH))
}

/// The default of musl (its process/execvp.c).
const MUSL_PATH: &[u8] = b"/usr/local/bin:/bin:/usr/bin";

/// `/proc/self/exe`, as the path by which other processes find it.
#[inline(never)]
fn this_program(link: &CStr) -> sys::Result<(Place<'_>, Kind)> {
    let id = |path: &CStr| sys::stat(path, true).map(|st| (st.st_dev, st.st_ino));
    let mut room = Room::new(PATH_ROOM)?;
    let _ = sys::readlink(link, room.bytes())?;
    // It may have been deleted or replaced.
    if id(room.c()) != id(link) {
        return Ok((Place::Given(link), Kind::Unknown));
    }
    target::foretell(room.c()).map(|kind| (Place::Built(room), kind))
}

/// [`foretell`] for execveat(2). A program is run by its path. A script cannot be: it sees the path with which it was
/// started.
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

/// The path of a descriptor, or of a name in the directory that it refers to.
#[inline(never)]
fn whole_path(dir: i32, name: &[u8]) -> sys::Result<Room> {
    let mut room = Room::new(PATH_ROOM)?;
    let n = sys::readlink(fd_path(sys::getpid(), dir).c(), room.bytes())?.len();
    room.write_at(n, &[if name.is_empty() { b"" } else { b"/" }, name])?;
    Ok(room)
}

/// Returns whether the file behind this descriptor (or its directory) is the file at that path. It may be unlinked, or
/// have no path.
fn same(dir: i32, name: &[u8], whole: &CStr) -> bool {
    let id = |st: libc::stat| (st.st_dev, st.st_ino);
    let by_path = sys::stat(whole, true).map(id);
    let by_fd = if name.is_empty() { sys::file_id(dir) } else { by_path };
    !target::is_script(whole) && by_fd.is_ok() && by_fd == by_path
}

/// Returns whether this system runs 32-bit programs. Determined once: before a fork, so that not every child repeats
/// it.
pub fn has_foreign() -> bool {
    /// Every process finds the same answer, so the child of a vfork may write it.
    static ANY: OnceBool = OnceBool::new();
    ANY.get_or_init(target::has_foreign)
}

/// Returns whether this is a 32-bit program, whose ld.so would complain about our library. With `search`, along PATH.
pub fn is_foreign(file: &CStr, search: bool) -> bool {
    if !has_foreign() {
        return false;
    }
    // A program is not examined again: most hosts start few programs, many times. Of these few, as many as there is
    // room for on the page that a forked child writes in any case.
    static NATIVE: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];
    let hash = hash(file, search);
    let Some(kept) = NATIVE.get((hash & 7) as usize) else { return false };
    // Relaxed: the number alone matters.
    if kept.load(Relaxed) == hash {
        return false;
    }
    let found = match search {
        true => search::is_foreign(file, directories()),
        false => target::is_foreign(file),
    };
    if !found {
        kept.store(hash, Relaxed);
    }
    found
}

/// FNV-1a. A collision of two programs costs a line from ld.so at worst.
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
