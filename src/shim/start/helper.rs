//! Finding the helper.

use core::ffi::CStr;

use jsshim_engine::pool::pipe;
use jsshim_engine::room::{Room, PATH_ROOM};
use jsshim_engine::sys;

use crate::exec::{bounds, environ};
use crate::host::objects;
use crate::job::state::STATE;

/// Returns `JSSHIM_HELPER`, or `jsshim-helper` next to this library. Returns an empty path, and warns, if there is no
/// such file.
#[inline(never)]
pub fn find() -> &'static CStr {
    let Ok(mut room) = Room::new(PATH_ROOM) else { return c"" };
    if name_helper(&mut room).is_ok() && bounds::is_ours(room.c()) {
        return room.keep();
    }
    STATE.warn(match sys::stat(room.c(), true) {
        Ok(st) if st.st_mode & libc::S_IFMT == libc::S_IFREG => {
            b"jsshim-helper is not the one of this library; jobs cannot be held"
        }
        _ => b"jsshim-helper is not to be found; jobs cannot be held",
    });
    c""
}

#[inline(never)]
fn name_helper(room: &mut Room) -> sys::Result<()> {
    let told = environ::own(b"JSSHIM_HELPER=").filter(|v| !v.is_empty());
    let Some(told) = told else { return beside_library(room) };
    room.write(&[told])?;
    if sys::geteuid() != 0 || is_roots(room) {
        return Ok(());
    }
    STATE.warn(b"JSSHIM_HELPER is in the hands of others, and root does not use it");
    beside_library(room)
}

/// Returns whether root may run the file that its environment names. The environment may come from an ordinary user
/// (sudo's env_keep). The file and all directories above it must belong to root, and no user may be able to replace the
/// file. Links are followed here, once, and the name is replaced by the one behind them. A missing file keeps its name.
#[inline(never)]
fn is_roots(room: &mut Room) -> bool {
    let Ok(fd) = sys::open(room.c(), libc::O_PATH, 0) else { return true };
    let whole = sys::readlink(pipe::fd_path(0, fd).c(), room.bytes()).map(<[u8]>::len);
    sys::close(fd);
    // Without /proc the name is used as it is.
    let written = whole.map_or(Ok(()), |n| room.write_at(n, &[]));
    let (Ok(()), Ok(mut part)) = (written, Room::new(PATH_ROOM)) else { return false };
    let bytes = room.c().to_bytes();
    let ends = bytes.iter().enumerate().skip(1).filter(|(_, b)| **b == b'/').map(|(at, _)| at);
    let mut parts = ends.chain([bytes.len()]).filter_map(|end| bytes.get(..end));
    bytes.first() == Some(&b'/') && parts.all(|path| is_kept(&mut part, path))
}

/// Returns whether only root can change this file or the contents of this directory.
#[inline(never)]
fn is_kept(room: &mut Room, path: &[u8]) -> bool {
    // In a user namespace the parent's root has another uid.
    let root = sys::stat(c"/", false).map_or(0, |st| st.st_uid);
    let written = room.write(&[path]);
    written.and_then(|()| sys::stat(room.c(), false)).is_ok_and(|st| {
        let kind = st.st_mode & libc::S_IFMT;
        let closed =
            st.st_mode & 0o022 == 0 || kind == libc::S_IFDIR && st.st_mode & libc::S_ISVTX != 0;
        (st.st_uid == 0 || st.st_uid == root) && closed && kind != libc::S_IFLNK
    })
}

/// Writes the path of `jsshim-helper` in this library's directory.
#[inline(never)]
fn beside_library(room: &mut Room) -> sys::Result<()> {
    let path = objects::own_path(STATE.is_fork()).to_bytes();
    let end = path.iter().rposition(|b| *b == b'/').map_or(0, |at| at.saturating_add(1));
    room.write(&[path.get(..end).unwrap_or(b""), b"jsshim-helper"])
}
