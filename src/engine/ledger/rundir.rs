//! The run-time directory, where ledgers and pools of our own lie: it is the user's, and no other user can enter it.

use core::ffi::CStr;

use crate::proc::read_file;
use crate::sys::{self, Errno, Result};
use crate::text::{hex, number, Path};

/// Room for the longest file name in it: the temporary name of a new ledger.
const NAME_ROOM: usize = 55;

/// Said of such a `JSSHIM_DIR`.
pub const UNFIT: &str =
    "JSSHIM_DIR is no absolute path of at most 200 bytes; the usual run-time directory is used";

/// Returns whether this value of `JSSHIM_DIR` is not used: it is too long for the ledger's fields that name a file in
/// it, or relative, so that it would be another directory for each process that has changed its own.
pub fn is_unfit(dir: &[u8]) -> bool {
    let too_long = dir.len().saturating_add(NAME_ROOM) > Path::ROOM;
    too_long || dir.first().is_some_and(|b| *b != b'/')
}

/// The value of `JSSHIM_DIR`, if it is used.
pub fn given(word: Option<&[u8]>) -> Option<&[u8]> {
    word.filter(|dir| !dir.is_empty() && !is_unfit(dir))
}

/// Returns `JSSHIM_DIR` if given and fit, else `/dev/shm/jsshim-UID`, else `/tmp/jsshim-UID`. Makes it if it
/// is missing.
///
/// # Errors
/// EACCES: it is a link, belongs to another user, or is open to others. Others as mkdir(2).
pub fn find(given: Option<&[u8]>) -> Result<Path> {
    make_in(given, |dir| Ok(*dir))
}

/// Calls `make` with the first of these directories in which that works: a directory may be full or read-only.
///
/// # Errors
/// As [`find`] and `make`, from the last directory that was tried.
#[inline(never)]
pub fn make_in<T>(given: Option<&[u8]>, mut make: impl FnMut(&Path) -> Result<T>) -> Result<T> {
    let mut last = Errno::NOENT;
    for which in 0..candidates(given) {
        let dir = candidate(given, which);
        match prepare(&dir).map(|()| make(&dir)) {
            Ok(Err(
                e @ Errno(libc::ENOSPC | libc::EDQUOT | libc::EROFS | libc::EACCES | libc::EPERM),
            ))
            | Err(e) => last = e,
            Ok(made) => return made,
        }
    }
    Err(last)
}

/// Calls `f` with those of the directories that exist, and returns its first answer. Makes no directory: a process
/// that only looks something up may be in a sandbox that is about to end.
#[inline(never)]
pub fn search<T>(given: Option<&[u8]>, mut f: impl FnMut(&Path) -> Option<T>) -> Option<T> {
    (0..candidates(given)).find_map(|which| {
        let dir = candidate(given, which);
        check(&dir).ok().and_then(|()| f(&dir))
    })
}

/// The number of candidate directories.
pub fn candidates(given: Option<&[u8]>) -> usize {
    if self::given(given).is_some() {
        1
    } else {
        2
    }
}

/// The first (0) or the second directory of [`find`], whether it exists or not.
#[inline(never)]
pub fn candidate(given: Option<&[u8]>, which: usize) -> Path {
    let dir: &[u8] = match (self::given(given), which) {
        (Some(dir), _) => return Path::new(dir),
        (None, 0) => b"/dev/shm/jsshim-",
        (None, _) => b"/tmp/jsshim-",
    };
    let mut path = Path::new(dir);
    put_user(&mut path);
    path
}

/// Appends this user's id as others know it: in a user namespace, the id in the parent namespace.
fn put_user(path: &mut Path) {
    let uid = i64::from(sys::geteuid());
    match mapped(uid) {
        Some(outer) => {
            path.put_num(outer);
        }
        // This id occurs in many such namespaces, and root's too: add the namespace.
        None => {
            let space = sys::stat(c"/proc/self/ns/user", true).map_or(0, |st| st.st_ino);
            path.put_num(uid).put(b"-").put_hex(space);
        }
    }
}

/// The id of this user in the parent namespace, from /proc/self/uid_map (user_namespaces(7)). Returns None if it has
/// none, or if it is mapped to root without being the machine's root.
#[inline(never)]
fn mapped(uid: i64) -> Option<i64> {
    let mut buf = [0u8; 512];
    let Some(n) = read_file(&Path::new(b"/proc/self/uid_map"), &mut buf) else { return Some(uid) };
    let text = buf.get(..n).unwrap_or(b"");
    let outer = text.split(|b| *b == b'\n').find_map(|line| map_line(line, uid))?;
    // What belongs to the machine's root appears as ours to root only. A map of the whole range is the identity.
    let is_root = || sys::stat(c"/proc/uptime", true).is_ok_and(|st| i64::from(st.st_uid) == uid);
    (outer != 0 || map_line(text, 1) == Some(1) || is_root()).then_some(outer)
}

/// Parses `INSIDE OUTSIDE COUNT`. Returns what `uid` is outside.
fn map_line(line: &[u8], uid: i64) -> Option<i64> {
    let mut numbers = line.split(|b| *b == b' ').filter_map(|word| Some(number(word)?.0));
    let (inside, outside, count) = (numbers.next()?, numbers.next()?, numbers.next()?);
    let at = uid.checked_sub(inside).filter(|at| (0..count).contains(at))?;
    outside.checked_add(at)
}

#[inline(never)]
fn prepare(dir: &Path) -> Result<()> {
    match sys::mkdir(dir.c(), 0o700) {
        // The umask may have removed the owner's own rights.
        Ok(()) => sys::chmod(dir.c(), 0o700)?,
        Err(Errno::EXIST) => {}
        Err(e) => return Err(e),
    }
    check(dir)
}

/// Checks that the directory exists, is ours, and is closed to others.
#[inline(never)]
fn check(dir: &Path) -> Result<()> {
    let st = sys::stat(dir.c(), false)?;
    let safe = st.st_mode & libc::S_IFMT == libc::S_IFDIR
        && st.st_mode & 0o077 == 0
        && st.st_uid == sys::geteuid();
    match st.st_mode & 0o700 {
        _ if !safe => Err(Errno(libc::EACCES)),
        // Another process is about to set the mode, or was killed before it could.
        0 => sys::chmod(dir.c(), 0o700),
        _ => Ok(()),
    }
}

/// Appends the path of [`ledger`] to `path`, which is empty.
pub fn put_ledger(dir: &Path, id: crate::pool::pipe::Id, space: u64, path: &mut Path) {
    path.put(dir.bytes()).put(b"/").put_hex(id.1).put(b"-").put_hex(id.0);
    if space != 0 {
        path.put(b"-").put_hex(space);
    }
    path.put(b".ledger");
}

/// The ledger's file for a pool and a PID namespace ([`crate::space::own`]).
pub fn ledger(dir: &Path, id: crate::pool::pipe::Id, space: u64) -> Path {
    let mut path = Path::default();
    put_ledger(dir, id, space, &mut path);
    path
}

/// Parses the name of a ledger's file: inode and device of the pool, and the PID namespace (0: unknown). Also returns
/// what follows: nothing, or the rest of a temporary name.
pub fn parse_ledger(name: &[u8]) -> Option<((u64, u64), u64, &[u8])> {
    let (ino, rest) = hex(name)?;
    let (dev, rest) = hex(rest.strip_prefix(b"-")?)?;
    let (space, rest) = match rest.strip_prefix(b"-") {
        Some(rest) => hex(rest)?,
        None => (0, rest),
    };
    Some(((ino, dev), space, rest.strip_prefix(b".ledger")?))
}

/// The right to give a ledger its name and to remove it. One process at a time has it, and loses it even if it is
/// killed (flock(2) on the directory).
///
/// All signals are blocked meanwhile: a handler of the host must neither jump out nor take the lock again.
pub struct Lock {
    dir: i32,
    mask: Option<u64>,
}

impl Lock {
    /// Takes the lock of the directory of `file`. Waits for at most a second.
    ///
    /// # Errors
    /// EAGAIN: another process held it all that time. Others as open(2).
    #[inline(never)]
    pub fn take(file: &CStr) -> Result<Self> {
        let file = file.to_bytes();
        let end = file.iter().rposition(|b| *b == b'/').unwrap_or(0);
        let dir = Path::new(file.get(..end).unwrap_or(b"")).with(b"/");
        let dir = sys::open(dir.c(), libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
        let this = Self { dir, mask: sys::sigmask(libc::SIG_BLOCK, u64::MAX).ok() };
        for _ in 0..1000 {
            match sys::lock(dir) {
                Err(Errno::AGAIN) => sys::sleep_millis(1),
                // Where there are no locks, two processes may do this at once.
                _ => return Ok(this),
            }
        }
        Err(Errno::AGAIN)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        sys::unlock(self.dir);
        sys::close(self.dir);
        if let Some(mask) = self.mask {
            let _ = sys::sigmask(libc::SIG_SETMASK, mask);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn one_that_is_full_is_passed_over() {
        let mut tried = 0;
        let made = make_in(None, |_| {
            tried += 1;
            if tried == 1 {
                Err(Errno(libc::ENOSPC))
            } else {
                Ok(tried)
            }
        });
        assert_eq!(made, Ok(2));
        let refused = make_in(None, |_| Err::<(), _>(Errno(libc::EFBIG)));
        assert_eq!(refused, Err(Errno(libc::EFBIG)));
        let none = std::env::temp_dir().join(format!("jsshim-none-{}", std::process::id()));
        let path = none.as_os_str().as_encoded_bytes();
        assert_eq!(search(Some(path), |_| Some(())), None);
        assert!(!none.exists());
    }

    #[test]
    fn a_user_goes_by_the_number_above() {
        let whole = b"         0          0 4294967295";
        assert_eq!(map_line(whole, 1000), Some(1000));
        assert_eq!(map_line(b"         0       1000          1", 0), Some(1000));
        assert_eq!(map_line(b"         0       1000          1", 1), None);
        assert_eq!(map_line(b"      1000     101000      65536", 1007), Some(101_007));
        assert_eq!(map_line(b"", 0), None);
        assert_eq!(mapped(7).unwrap_or(7), 7);
    }

    #[test]
    fn the_name_of_a_ledger_tells_its_namespace() {
        let dir = Path::new(b"/run");
        for space in [0, 2, 0x1234_5678_9abc] {
            let path = ledger(&dir, (0x1d, 0x2e, 9), space);
            let name = path.bytes().strip_prefix(b"/run/").unwrap();
            assert_eq!(parse_ledger(name), Some(((0x2e, 0x1d), space, &b""[..])));
        }
        assert_eq!(parse_ledger(b"1-2-3.ledger.77"), Some(((1, 2), 3, &b".77"[..])));
        for other in ["", "x.ledger", "1.ledger", "1-2.led", "1-2-.ledger", "1-2-3"] {
            assert_eq!(parse_ledger(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn unsafe_directories_are_refused() {
        let base = std::env::temp_dir().join(format!("jsshim-rundir-{}", std::process::id()));
        let path = |p: &std::path::Path| p.as_os_str().as_encoded_bytes().to_vec();
        assert!(find(Some(&path(&base))).is_ok());
        std::fs::set_permissions(&base, std::fs::Permissions::from_mode(0o750)).unwrap();
        assert!(find(Some(&path(&base))).is_err());
        let link = base.with_extension("link");
        std::os::unix::fs::symlink(&base, &link).unwrap();
        assert!(find(Some(&path(&link))).is_err());
        std::fs::remove_file(&link).unwrap();
        std::fs::remove_dir(&base).unwrap();
        let too_long = vec![b'/'; 201];
        assert!(is_unfit(&too_long) && !is_unfit(&too_long[1..]));
        for unfit in [&too_long[..], b"relative", b"./", b"~/shim"] {
            let usual = find(Some(unfit)).map(|dir| dir.bytes().to_vec());
            assert_eq!(usual, find(None).map(|dir| dir.bytes().to_vec()));
        }
    }
}
