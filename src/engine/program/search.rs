//! The search for a program along PATH, as execvp(3) of glibc does it.

use core::ffi::CStr;

use crate::room::{Room, PATH_ROOM};
use crate::sys::{self, Errno};
use crate::text::Path;

use super::target::{self, foretell, Kind};

/// A program's path.
pub enum Place<'a> {
    /// The path as it was given.
    Given(&'a CStr),
    /// A path that was built.
    Built(Room),
}

impl Place<'_> {
    /// The path for the kernel.
    pub fn c(&self) -> &CStr {
        match self {
            Self::Given(path) => path,
            Self::Built(room) => room.c(),
        }
    }
}

/// glibc's default search path (confstr(3), `_CS_PATH`).
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// The longest entry and the longest name that glibc accepts (`__execvpe_common` in its posix/execvpe.c).
const ENTRY_MOST: usize = PATH_ROOM.saturating_sub(1);
const NAME_MOST: usize = 255;
/// Room for both, the slash and the NUL.
const JOINED_ROOM: usize = PATH_ROOM.saturating_add(NAME_MOST).saturating_add(2);

fn entries(dirs: Option<&[u8]>) -> impl Iterator<Item = &[u8]> {
    dirs.unwrap_or(DEFAULT_PATH).split(|b| *b == b':')
}

/// Writes the path of `name` in an entry of the search path; an empty entry is the working directory.
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

/// Returns whether this path is in a process's own view of /proc, where another process finds other files.
pub fn is_own_view(path: &[u8]) -> bool {
    let starts: [&[u8]; 3] = [b"/proc/self/", b"/proc/thread-self/", b"/dev/fd/"];
    starts.iter().any(|start| path.starts_with(start))
}

/// Finds `file` in the search path `dirs` (`PATH`) as execvp(3) of glibc does, with no limits but the kernel's. A name
/// with a slash is the path itself. `moves`: the program will start in another directory, which is unknown. Then the
/// kind is [`Kind::Unknown`] if an entry without a leading slash, or one in a process's own view of /proc, comes first.
///
/// # Errors
/// ENOENT or EACCES as execvp(3), or the kernel's error for a program that was found.
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
        // glibc treats longer ones in another way.
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

/// Returns whether the first program of this name along the search path is [`Kind::Foreign`].
#[inline(never)]
pub fn is_foreign(file: &CStr, dirs: Option<&[u8]>) -> bool {
    let name = file.to_bytes();
    if name.contains(&b'/') {
        return target::is_foreign(file);
    }
    let judge =
        |path: &CStr| sys::access(path, libc::X_OK).is_ok().then(|| target::is_foreign(path));
    // This runs before every exec: mapped memory is used for long paths only.
    let mut found = entries(dirs).map(|dir| {
        let path = Path::new(dir).with(slash(dir)).with(name);
        if path.fits() {
            return judge(path.c());
        }
        let mut room = Room::new(JOINED_ROOM).ok()?;
        join(&mut room, dir, name).then(|| judge(room.c()))?
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
