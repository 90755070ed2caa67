//! Processes that a build has left behind: the pool that they were told of is not to be found by their words.

use crate::ledger::access::Ledger;
use crate::ledger::rundir;
use crate::makeflags::{self, Auth};
use crate::pool::own_pool;
use crate::pool::pipe::{self, Id};
use crate::program::speaker;
use crate::text::Path;
use crate::{proc, space, sys};

use super::holders::holds_anywhere;
use super::way::Way;
use super::word::{decode, Told};

/// The pool's descriptor of a guard that keeps it for the daemons which have outlived the build.
#[inline(never)]
pub(super) fn by_guard(id: Id, dir: Option<&[u8]>) -> Option<Way<'static>> {
    let space = space::own();
    rundir::search(dir, |dir| {
        let path = rundir::ledger(dir, id, space);
        let way = |ledger: &Ledger| {
            let same = pipe::is_same(ledger.header.id(), id);
            ledger.header.kept_by().filter(|_| same).map(|(guard, fd)| Way::Fd(guard, fd))
        };
        Ledger::look(path.c(), way).ok().flatten()
    })
}

/// The descriptor of any process that has this pipe.
#[inline(never)]
pub(super) fn by_anybody(id: Id) -> Option<Way<'static>> {
    let mut found = None;
    proc::each_process(|pid| {
        found = found.or_else(|| holds_anywhere(pid, id).map(|fd| Way::Fd(pid, fd)));
    });
    found
}

/// Was it a pool of our own, of a root that has ended?
#[inline(never)]
pub(super) fn is_of_ended_root(told: Told<'_>) -> bool {
    let maker = told.and_then(|(_, path)| own_pool::maker(Path::new(path).name()));
    maker.is_some_and(|(pid, of, _)| of != 0 && of == space::own() && !proc::lives(pid))
}

/// Has the build ended in which this process was started? The topmost of those above it, and of itself, that were told
/// of the pool is an orphan then. Orphans go to init, or to a manager of sessions (systemd(1) of a user), the leader of
/// another.
#[inline(never)]
pub(super) fn is_by_orphans(auth: Option<Auth<'_>>, told: Told<'_>) -> bool {
    let mut top = sys::getpid();
    let mut all = proc::ancestors().peekable();
    if all.peek().is_none() {
        return sys::getppid() == 1;
    }
    for pid in all {
        if !was_told(pid, auth, told) {
            let leads = sys::getsid(pid) == Ok(pid) && sys::getsid(top) != Ok(pid);
            return pid == 1 || leads && !speaker::file_speaks(pid);
        }
        top = pid;
    }
    false
}

/// Was a process started with the same words of the pool?
fn was_told(pid: i32, auth: Option<Auth<'_>>, told: Told<'_>) -> bool {
    let names = |word: &[u8]| {
        let flags = word.strip_prefix(b"MAKEFLAGS=").map(makeflags::parse);
        let ours = word.strip_prefix(b"JSSHIM_POOL=").and_then(decode);
        auth.is_some() && flags.is_some_and(|flags| flags.auth == auth)
            || ours.zip(told).is_some_and(|((id, _), (told, _))| pipe::is_same(id, told))
    };
    proc::with_first_environ(pid, |words| words.split(|b| *b == 0).any(names)) == Some(true)
}
