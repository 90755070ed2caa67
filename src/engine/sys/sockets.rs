//! Other processes' sockets, from the kernel (sock_diag(7)).

use super::call::{Errno, Result};
use super::files::{close, read, write};

/// A request about one AF_UNIX socket: `struct nlmsghdr`, then `struct unix_diag_req`.
#[repr(C)]
struct Request {
    len: u32,
    kind: u16,
    flags: u16,
    sequence: u32,
    pid: u32,
    family: u8,
    protocol: u8,
    pad: u16,
    states: u32,
    inode: u32,
    show: u32,
    cookie: [u32; 2],
}

/// The offset of the attributes in an answer: after `struct nlmsghdr` and `struct unix_diag_msg`.
const ATTRIBUTES: usize = 32;

/// The inode of the socket to which this AF_UNIX socket is connected, which is given by its inode, too; 0 if the
/// connection has not been accepted yet.
///
/// # Errors
/// ENOENT: there is no such socket. Others: the kernel does not tell.
pub fn unix_peer(inode: u64) -> Result<Option<u64>> {
    const SOCK_DIAG_BY_FAMILY: u16 = 20;
    const NETLINK_SOCK_DIAG: usize = 4;
    const SHOW_PEER: u32 = 4;
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: numbers only.
    let fd = unsafe { call!(libc::SYS_socket, libc::AF_NETLINK, kind, NETLINK_SOCK_DIAG)? } as i32;
    let request = Request {
        len: core::mem::size_of::<Request>() as u32,
        kind: SOCK_DIAG_BY_FAMILY,
        flags: libc::NLM_F_REQUEST as u16,
        sequence: 1,
        pid: 0,
        family: libc::AF_UNIX as u8,
        protocol: 0,
        pad: 0,
        states: u32::MAX,
        inode: inode as u32,
        show: SHOW_PEER,
        cookie: [u32::MAX; 2],
    };
    let mut answer = [0u8; 512];
    // SAFETY: integers without padding.
    let bytes = unsafe {
        core::slice::from_raw_parts(
            (&raw const request).cast::<u8>(),
            core::mem::size_of::<Request>(),
        )
    };
    // The kernel has answered when the write returns: the read never waits.
    let n = write(fd, bytes).and_then(|_| read(fd, &mut answer));
    close(fd);
    peer(answer.get(..n?).unwrap_or(&[]), SOCK_DIAG_BY_FAMILY)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(four.try_into().ok()?))
}

/// Parses an answer: the attribute UNIX_DIAG_PEER, if there is one.
fn peer(answer: &[u8], kind: u16) -> Result<Option<u64>> {
    const UNIX_DIAG_PEER: u32 = 2;
    if number(answer, 4).map(|word| word as u16) != Some(kind) {
        let errno = number(answer, 16).map_or(0, |e| (e as i32).wrapping_neg());
        return Err(if errno > 0 { Errno(errno) } else { Errno::INVAL });
    }
    let mut at = ATTRIBUTES;
    while let Some(head) = number(answer, at) {
        let (len, what) = (head as u16, head >> 16);
        if what == UNIX_DIAG_PEER {
            return Ok(number(answer, at.saturating_add(4)).map(u64::from));
        }
        at = at.saturating_add(usize::from(len.max(4).div_ceil(4)).saturating_mul(4));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    fn inode(socket: &impl AsRawFd) -> u64 {
        super::super::fstat(socket.as_raw_fd()).unwrap().st_ino
    }

    #[test]
    fn a_pair_is_told_and_a_listener_has_none() {
        let (a, b) = UnixStream::pair().unwrap();
        assert_eq!(unix_peer(inode(&a)), Ok(Some(inode(&b))));
        assert_eq!(unix_peer(inode(&b)), Ok(Some(inode(&a))));
        let path = std::env::temp_dir().join(format!("peer-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(unix_peer(inode(&listener)), Ok(None));
        let client = UnixStream::connect(&path).unwrap();
        assert_eq!(unix_peer(inode(&client)), Ok(Some(0)));
        let server = listener.accept().unwrap().0;
        assert_eq!(unix_peer(inode(&client)), Ok(Some(inode(&server))));
        std::fs::remove_file(path).unwrap();
        assert_eq!(unix_peer(1), Err(Errno::NOENT));
    }

    #[test]
    fn short_answers_are_survived() {
        for len in 0..200 {
            let _ = peer(&vec![20; len], 20);
            let _ = peer(&vec![0; len], 20);
        }
    }
}
