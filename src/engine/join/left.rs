//! Processes that a build has left behind, which cannot find their pool by MAKEFLAGS and `JSSHIM_POOL` alone.

use crate::ledger::access::Ledger;
use crate::ledger::rundir;
use crate::makeflags::Auth;
use crate::pool::own_pool;
use crate::pool::pipe::{self, Id};
use crate::program::speaker;
use crate::text::Path;
use crate::{proc, space, sys};

use super::way::Way;
use super::word::Told;
use super::{holders, started};

/// The guard's descriptor of the pool, if a guard keeps it for daemons that have outlived the build.
#[inline(never)]
pub(super) fn by_guard(id: Id, dir: Option<&[u8]>) -> Option<Way<'static>> {
    let space = space::own();
    rundir::search(dir, |dir| {
        let path = rundir::ledger(dir, id, space);
        let way = |ledger: &Ledger| {
            let same = pipe::is_same(ledger.header.id(), id);
            ledger.header.kept_by().filter(|_| same).map(|(guard, fd)| Way::Fd(guard, fd))
        };
        Ledger::inspect(path.c(), way).ok().flatten()
    })
}

/// The descriptor of any process that has this pipe open.
#[inline(never)]
pub(super) fn by_anybody(id: Id) -> Option<Way<'static>> {
    holders::find(id, |_, _| true).map(|(pid, fd)| Way::Fd(pid, fd))
}

/// Returns whether it was a pool of our own whose root has ended.
#[inline(never)]
pub(super) fn is_of_ended_root(told: Told<'_>) -> bool {
    let maker = told.and_then(|(_, path)| own_pool::maker(Path::new(path).name()));
    maker.is_some_and(|(pid, of, _)| of != 0 && of == space::own() && !proc::lives(pid))
}

/// Returns whether the build has ended in which this process was started. If so, the topmost process of those that were
/// told of the pool, from this one upwards, is an orphan. Orphans are reparented to init, or to a session manager (a
/// user's systemd(1)), which leads another session.
#[inline(never)]
pub(super) fn is_by_orphans(auth: Option<Auth<'_>>, told: Told<'_>) -> bool {
    let mut top = sys::getpid();
    let mut all = proc::ancestors().peekable();
    if all.peek().is_none() {
        return sys::getppid() == 1;
    }
    for pid in all {
        if !has_same(pid, auth, told) {
            let leads = sys::getsid(pid) == Ok(pid) && sys::getsid(top) != Ok(pid);
            return pid == 1 || leads && !speaker::file_speaks(pid);
        }
        top = pid;
    }
    false
}

/// Returns whether a process was started with the same MAKEFLAGS or `JSSHIM_POOL` pool.
fn has_same(pid: i32, auth: Option<Auth<'_>>, told: Told<'_>) -> bool {
    let is_it = |id| told.is_some_and(|(told, _)| pipe::is_same(id, told));
    started::with(pid, |other, id| auth.is_some() && other == auth || id.is_some_and(is_it))
        == Some(true)
}
