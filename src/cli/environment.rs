//! The environment of this process, as an exec wants it.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStrExt;

/// Its words.
pub fn words() -> Vec<CString> {
    let word = |(name, value): (OsString, OsString)| {
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
    };
    std::env::vars_os().filter_map(word).collect()
}
