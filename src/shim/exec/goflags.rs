//! GOFLAGS for a `go` below a pool: its tools are started through env(1), in which they get their slots (`job::tool`).

use core::ffi::c_char;

use jsshim_engine::program::go;
use jsshim_engine::sys;

use super::bounds;
use super::environ::{self, Scratch, Strings};

/// The GOFLAGS of this environment, if our word must come into it.
///
/// # Safety
/// `envp` must be NULL or a NULL-terminated array of C strings, which stay until the exec.
#[inline(never)]
pub unsafe fn due(envp: Strings) -> Option<&'static [u8]> {
    // SAFETY: by the contract.
    let get = |name: &[u8]| -> Option<&'static [u8]> { unsafe { environ::get(envp, name) } };
    if go::is_supervised(get)
        || !bounds::are_as_above()
        || sys::access(go::ENV, libc::X_OK).is_err()
    {
        return None;
    }
    let flags = get(go::FLAGS);
    if flags.is_none() && go::has_file(get) {
        return None;
    }
    Some(flags.unwrap_or(b"")).filter(|flags| go::parts(flags).is_some())
}

/// The entry with our word in it.
pub fn write(flags: &[u8], scratch: &mut Scratch) -> *const c_char {
    let (before, ours, behind) = go::parts(flags).unwrap_or((flags, b"", b""));
    let at = scratch.text(go::FLAGS);
    [before, ours, behind].iter().for_each(|part| scratch.append(part));
    at
}
