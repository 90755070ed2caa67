//! Where ledgers and pools of our own lie: a directory of the user's that nobody else can enter.

use crate::sys::{self, Errno, Result};
use crate::text::Path;

/// `JSSHIM_DIR` if given, else `/dev/shm/jsshim-UID`, else `/tmp/jsshim-UID`; made if need be.
///
/// # Errors
/// EACCES: it exists but is a link, another user's, or open to others. Others as mkdir(2).
pub fn find(given: Option<&[u8]>) -> Result<Path> {
    let given = given.filter(|dir| !dir.is_empty());
    prepare(candidate(given, 0)).or_else(|e| match given {
        Some(_) => Err(e),
        None => prepare(candidate(None, 1)),
    })
}

/// The first (0) and the second directory of [`find`], whether they are there or not.
#[inline(never)]
pub fn candidate(given: Option<&[u8]>, which: usize) -> Path {
    let dir: &[u8] = match (given, which) {
        (Some(dir), _) => return Path::new(dir),
        (None, 0) => b"/dev/shm/jsshim-",
        (None, _) => b"/tmp/jsshim-",
    };
    Path::new(dir).num(i64::from(sys::geteuid()))
}

#[inline(never)]
fn prepare(dir: Path) -> Result<Path> {
    if !dir.fits() {
        return Err(Errno(libc::ENAMETOOLONG));
    }
    match sys::mkdir(dir.c(), 0o700) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(e),
    }
    let st = sys::stat(dir.c(), false)?;
    let safe = st.st_mode & libc::S_IFMT == libc::S_IFDIR
        && st.st_mode & 0o077 == 0
        && st.st_uid == sys::geteuid();
    if safe {
        Ok(dir)
    } else {
        Err(Errno(libc::EACCES))
    }
}

/// The ledger's file for a pool.
pub fn ledger(dir: &Path, id: crate::pool::Id) -> Path {
    dir.with(b"/").hex(id.1).with(b"-").hex(id.0).with(b".ledger")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

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
