//! Which pool a process was started with.

use crate::makeflags::{self, Auth};
use crate::pool::pipe::Id;
use crate::proc;

use super::word::{decode, POOL_NAME};

/// Calls `f` with what MAKEFLAGS and `JSSHIM_POOL` named when a process was started. Returns None if that cannot be read.
pub fn with<R>(pid: i32, f: impl FnOnce(Option<Auth<'_>>, Option<Id>) -> R) -> Option<R> {
    proc::with_first_environ(pid, |environ| {
        let value =
            |name: &[u8]| environ.split(|b| *b == 0).find_map(|word| word.strip_prefix(name));
        let auth = value(b"MAKEFLAGS=").and_then(|flags| makeflags::parse(flags).auth);
        f(auth, value(POOL_NAME).and_then(decode).map(|(id, _)| id))
    })
}
