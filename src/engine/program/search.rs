//! Which program does a name mean? It is looked for as execvp(3) of glibc does.

use core::ffi::CStr;

use crate::room::{Room, PATH_ROOM};
use crate::sys::{self, Errno};
use crate::text::Path;

use super::target::{self, foretell, Kind};

/// A program's path.
pub enum Place<'a> {
    /// As it was given.
    Given(&'a CStr),
    /// As it was put together.
    Built(Room),
}

impl Place<'_> {
    /// For the kernel.
    pub fn c(&self) -> &CStr {
        match self {
            Self::Given(path) => path,
            Self::Built(room) => room.c(),
        }
    }
}

/// glibc's default search path (confstr(3), `_CS_PATH`).
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// glibc takes no more of an entry, nor of a name (`__execvpe_common` in its posix/execvpe.c).
const ENTRY_MOST: usize = PATH_ROOM.saturating_sub(1);
const NAME_MOST: usize = 255;
/// For both, the slash and the NUL.
const JOINED_ROOM: usize = PATH_ROOM.saturating_add(NAME_MOST).saturating_add(2);

fn entries(dirs: Option<&[u8]>) -> impl Iterator<Item = &[u8]> {
    dirs.unwrap_or(DEFAULT_PATH).split(|b| *b == b':')
}

/// Writes the path of `name` in an entry of the search path; an empty one is the working directory.
fn join(room: &mut Room, dir: &[u8], name: &[u8]) -> bool {
    room.write(&[dir, slash(dir), name]).is_ok()
}

fn slash(dir: &[u8]) -> &'static [u8] {
    if dir.is_empty() {
        b""
    } else {
        b"/"
    }
}

/// Is this path in the view of /proc that each process has of itself? Another process finds other things there.
pub fn is_own_view(path: &[u8]) -> bool {
    let starts: [&[u8]; 3] = [b"/proc/self/", b"/proc/thread-self/", b"/dev/fd/"];
    starts.iter().any(|start| path.starts_with(start))
}

/// Finds `file` as execvp(3) of glibc does in the search path `dirs` (`PATH`), which knows no bound but the kernel's; a
/// name with a slash is itself. `moves`: in another directory, which is not known: where an entry without a leading
/// slash comes first (or one that is each process' own), the kind is [`Kind::Unknown`].
///
/// # Errors
/// ENOENT or EACCES as execvp(3), or what the kernel says of a program that is found.
pub fn find<'a>(
    file: &'a CStr,
    dirs: Option<&[u8]>,
    moves: bool,
) -> sys::Result<(Place<'a>, Kind)> {
    let name = file.to_bytes();
    let unknown = Ok((Place::Given(file), Kind::Unknown));
    if name.contains(&b'/') {
        let given = |kind| (Place::Given(file), kind);
        return if moves && !name.starts_with(b"/") { unknown } else { foretell(file).map(given) };
    }
    if name.is_empty() {
        return Err(Errno::NOENT);
    }
    let mut room = Room::new(JOINED_ROOM)?;
    let mut last = Errno::NOENT;
    for dir in entries(dirs) {
        // What is longer, glibc replaces by other things.
        let as_said = dir.len() <= ENTRY_MOST && name.len() <= NAME_MOST;
        let leads_elsewhere = moves && (!dir.starts_with(b"/") || is_own_view(dir));
        if !as_said || leads_elsewhere || !join(&mut room, dir, name) {
            return unknown;
        }
        match foretell(room.c()) {
            Ok(kind) => return Ok((Place::Built(room), kind)),
            Err(e @ Errno(libc::EACCES)) => last = e,
            Err(Errno(
                libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT,
            )) => {}
            Err(e) => return Err(e),
        }
    }
    Err(last)
}

/// Is the first program of this name along the search path a [`Kind::Foreign`]?
#[inline(never)]
pub fn is_foreign(file: &CStr, dirs: Option<&[u8]>) -> bool {
    let name = file.to_bytes();
    if name.contains(&b'/') {
        return target::is_foreign(file);
    }
    let look =
        |path: &CStr| sys::access(path, libc::X_OK).is_ok().then(|| target::is_foreign(path));
    // Asked before every exec: mapped memory is for what is long.
    let mut found = entries(dirs).map(|dir| {
        let path = Path::new(dir).with(slash(dir)).with(name);
        if path.fits() {
            return look(path.c());
        }
        let mut room = Room::new(JOINED_ROOM).ok()?;
        join(&mut room, dir, name).then(|| look(room.c()))?
    });
    found.find_map(|kind| kind).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &CStr, dirs: &[u8], moves: bool) -> sys::Result<(Vec<u8>, Kind)> {
        find(file, Some(dirs), moves).map(|(place, kind)| (place.c().to_bytes().to_vec(), kind))
    }

    #[test]
    fn path_is_searched_as_execvp_does() {
        assert!(find(c"true", Some(b"/nonexistent:/bin"), false).is_ok());
        assert!(find(c"sh", None, false).is_ok());
        assert_eq!(find(c"no-such-program", None, false).err(), Some(Errno::NOENT));
        assert_eq!(find(c"", None, false).err(), Some(Errno::NOENT));
        assert_eq!(find(c"passwd", Some(b"/etc"), false).err(), Some(Errno(libc::EACCES)));
        let long = [b'/'; PATH_ROOM];
        let dirs = [&long[..200], b":/bin"].concat();
        assert_eq!(found(c"true", &dirs, false).err(), None);
        // The kernel says ENAMETOOLONG, and glibc stops there; a longer one it treats in a way of its own.
        let dirs = [&long[..PATH_ROOM - 1], b":/bin"].concat();
        assert_eq!(found(c"true", &dirs, false).err(), Some(Errno(libc::ENAMETOOLONG)));
        let dirs = [&long[..], b":/bin"].concat();
        assert_eq!(found(c"true", &dirs, false).map(|(_, kind)| kind), Ok(Kind::Unknown));
    }

    #[test]
    fn an_unknown_directory_is_not_searched() {
        let is = |dirs: &[u8]| found(c"true", dirs, true).map(|(_, kind)| kind);
        assert_eq!(is(b"/nonexistent:/bin:."), Ok(Kind::Dynamic));
        assert_eq!(is(b"bin:/bin"), Ok(Kind::Unknown));
        assert_eq!(is(b":/bin"), Ok(Kind::Unknown));
        assert_eq!(is(b"/nonexistent:"), Ok(Kind::Unknown));
        assert_eq!(is(b"/proc/self/cwd/bin:/bin"), Ok(Kind::Unknown));
        assert_eq!(found(c"./true", b"/bin", true).map(|(_, kind)| kind), Ok(Kind::Unknown));
        assert_eq!(found(c"/bin/true", b"", true).map(|(_, kind)| kind), Ok(Kind::Dynamic));
    }
}
