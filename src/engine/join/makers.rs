//! Which ancestor has written the two descriptors into MAKEFLAGS, and which pipe they are there.

use crate::makeflags::Auth;
use crate::pool::pipe::Id;
use crate::proc;
use crate::program::speaker;

use super::holders::pair;
use super::started;

/// The pools of the ancestors that have written these descriptors into MAKEFLAGS, the nearest first. Many programs in
/// between have a pipe of their own as these descriptors: a shell that starts a pipeline, or gcc, which knows the
/// protocol, too. So an ancestor counts only if it was not told of these descriptors itself, its child was, and it
/// speaks the protocol.
pub(super) fn makers(r: i32, w: i32) -> impl Iterator<Item = Id> {
    let mut below = (0, Some(true));
    proc::ancestors().filter_map(move |pid| {
        let told = started::with(pid, |auth, _| auth == Some(Auth::Fds { read: r, write: w }));
        let (child, child_told) = core::mem::replace(&mut below, (pid, told));
        if told != Some(false) || child_told != Some(true) {
            return None;
        }
        // A make that has remade its makefiles was told of them by itself, before it exec'ed itself.
        let again = || Some(child).filter(|child| *child > 0 && is_make(*child));
        made_by(pid, r, w).or_else(|| made_by(again()?, r, w))
    })
}

fn made_by(pid: i32, r: i32, w: i32) -> Option<Id> {
    pair(pid, r, w).filter(|_| speaker::file_speaks(pid))
}

/// Returns whether this process is called make (`comm` of proc(5)).
fn is_make(pid: i32) -> bool {
    let mut buf = [0u8; 16];
    let n = proc::read_file(&proc::of(pid).with(b"/comm"), &mut buf).unwrap_or(0);
    speaker::is_gnu_make(buf.get(..n).unwrap_or(b"").trim_ascii_end())
}
