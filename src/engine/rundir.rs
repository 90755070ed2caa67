//! Where ledgers and pools of our own lie: a directory of the user's that nobody else can enter.

use core::ffi::CStr;

use crate::sys::{self, Errno, Result};
use crate::text::Path;

/// `JSSHIM_DIR` if given, else `/dev/shm/jsshim-UID`, else `/tmp/jsshim-UID`; made if need be.
///
/// # Errors
/// EACCES: it exists but is a link, another user's, or open to others. Others as mkdir(2).
pub fn find(given: Option<&[u8]>) -> Result<Path> {
    make_in(given, |dir| Ok(*dir))
}

/// Makes something in the first of these directories in which that can be done: one may be full, or read-only.
///
/// # Errors
/// As [`find`] and `make`, of the last one that was tried.
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

/// Gives the first answer that one of those directories has that are there. Makes nothing: who only looks something up
/// may be in a sandbox, at its end.
#[inline(never)]
pub fn search<T>(given: Option<&[u8]>, mut look: impl FnMut(&Path) -> Option<T>) -> Option<T> {
    (0..candidates(given)).find_map(|which| {
        let dir = candidate(given, which);
        check(&dir).ok().and_then(|()| look(&dir))
    })
}

/// How many directories come into question.
pub fn candidates(given: Option<&[u8]>) -> usize {
    if is_given(given).is_some() {
        1
    } else {
        2
    }
}

fn is_given(dir: Option<&[u8]>) -> Option<&[u8]> {
    dir.filter(|dir| !dir.is_empty())
}

/// The first (0) and the second directory of [`find`], whether they are there or not.
#[inline(never)]
pub fn candidate(given: Option<&[u8]>, which: usize) -> Path {
    let dir: &[u8] = match (is_given(given), which) {
        (Some(dir), _) => return Path::new(dir),
        (None, 0) => b"/dev/shm/jsshim-",
        (None, _) => b"/tmp/jsshim-",
    };
    Path::new(dir).num(i64::from(sys::geteuid()))
}

#[inline(never)]
fn prepare(dir: &Path) -> Result<()> {
    if !dir.fits() {
        return Err(Errno(libc::ENAMETOOLONG));
    }
    match sys::mkdir(dir.c(), 0o700) {
        // An umask may have taken the owner's own rights away.
        Ok(()) => sys::chmod(dir.c(), 0o700)?,
        Err(Errno::EXIST) => {}
        Err(e) => return Err(e),
    }
    check(dir)
}

/// Is it there, ours, and nobody else's?
#[inline(never)]
fn check(dir: &Path) -> Result<()> {
    let st = sys::stat(dir.c(), false)?;
    let safe = st.st_mode & libc::S_IFMT == libc::S_IFDIR
        && st.st_mode & 0o077 == 0
        && st.st_uid == sys::geteuid();
    match st.st_mode & 0o700 {
        _ if !safe => Err(Errno(libc::EACCES)),
        // Another one is about to give it its rights, or was killed before that.
        0 => sys::chmod(dir.c(), 0o700),
        _ => Ok(()),
    }
}

/// [`ledger`], into `path`, which is empty.
pub fn put_ledger(dir: &Path, id: crate::pool::Id, path: &mut Path) {
    path.put(dir.bytes()).put(b"/").put_hex(id.1).put(b"-").put_hex(id.0).put(b".ledger");
}

/// The ledger's file for a pool.
pub fn ledger(dir: &Path, id: crate::pool::Id) -> Path {
    let mut path = Path::default();
    put_ledger(dir, id, &mut path);
    path
}

/// The right to give a ledger its name and to take it away. One process has it, and lets go of it even when
/// it is killed (flock(2) on the directory).
///
/// All signals are blocked meanwhile: a handler of the host must neither jump out nor ask for it again.
pub struct Lock {
    dir: i32,
    mask: Option<u64>,
}

impl Lock {
    /// For the directory of this file. Waits for at most a second.
    ///
    /// # Errors
    /// EAGAIN: another process has it for so long. Others as open(2).
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
                // Where there are no locks, two may be at it at once.
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
        assert!(find(Some(&[b'/'; 600])).is_err());
    }
}
