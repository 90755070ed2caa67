//! What tells PID namespaces apart, of which there is one here.

use core::ffi::{c_int, CStr};

use super::{Errno, Result};
use crate::kernel::current;

/// There is one link: to the caller's own folder.
pub fn readlink<'b>(path: &CStr, buf: &'b mut [u8]) -> Result<&'b [u8]> {
    if path.to_bytes() != b"/proc/self" {
        return Err(Errno::NOENT);
    }
    let text = current().to_string();
    let place = buf.get_mut(..text.len()).ok_or(Errno::INVAL)?;
    place.copy_from_slice(text.as_bytes());
    Ok(place)
}

/// There is one PID namespace, and no lease.
pub fn lease(_: c_int, _: bool) -> Result<()> {
    Err(Errno::INVAL)
}

/// There are no pidfds by which it could be asked for.
pub fn pid_namespace(_: c_int) -> Result<c_int> {
    Err(Errno::INVAL)
}

/// Of no type that counts.
pub fn file_system(_: c_int) -> Result<i64> {
    Err(Errno::INVAL)
}
