//! Cleaning up after builds that were killed as a whole, in the run-time directory. A ledger of this PID namespace
//! without a guard gets one, which gives back the tokens of the dead, and removes the ledger with its pool. A ledger of
//! another namespace is settled if [no process uses it any more](jsshim_engine::ledger::deserted::settle_deserted).
//! Other leftovers are removed here.

use jsshim_engine::join::holders;
use jsshim_engine::ledger::access::Ledger;
use jsshim_engine::ledger::deserted::{is_deserted, settle_deserted, Outcome};
use jsshim_engine::ledger::header::LIFE;
use jsshim_engine::ledger::rundir::parse_ledger;
use jsshim_engine::pool::tokens::Pool;
use jsshim_engine::pool::{own_pool, pipe};
use jsshim_engine::proc;
use jsshim_engine::sys::{self, Errno};
use jsshim_engine::text::{number, Path};

/// How often ledgers of other namespaces on the pool are looked for; and how soon again if one without a guard was
/// found, both in ns. A guard that is about to start has not opened its ledger yet, and the process that started it may
/// have ended.
const CHECK_NANOS: u64 = 500_000_000;
const AGAIN_NANOS: u64 = 200_000_000;
/// How long a guard without other work stays for a ledger that it has found without a guard, in ns.
const LAST_NANOS: u64 = 1_000_000_000;
/// The longest time between making and opening a pool, in ns.
const OPENED_NANOS: u64 = 10_000_000_000;
/// How long nothing must have happened in a ledger whose pool cannot be found, in ns.
const FORGOTTEN_NANOS: u64 = 3_600_000_000_000;

/// Called with a ledger that is about to be removed.
type Report<'a> = &'a dyn Fn(&Ledger);

/// Looks through the directory of the ledger `own`, which belongs to the PID namespace `space`. Calls `adopt` with each
/// ledger of that namespace that has no guard.
pub fn sweep(own: &Path, space: u64, mut adopt: impl FnMut(&Path), report: Report<'_>) {
    let mut suspects = Suspects::default();
    each_file(own, |name, path| match parse_ledger(name) {
        Some((_, of, b"")) if of != space => {
            if is_unguarded(path) {
                suspects.add(name);
            }
        }
        Some((_, _, b"")) => {
            if is_unguarded(path) {
                adopt(path);
            }
        }
        Some((_, of, rest)) => remove_half_made(rest, of, space, path),
        None => remove_lost_pool(name, space, path),
    });
    if suspects.any() {
        sys::sleep_millis((AGAIN_NANOS / 1_000_000) as u32);
        each_file(own, |name, path| {
            if suspects.has(name) && is_unguarded(path) {
                settle_deserted(path, &|ledger| find_pool(ledger, path, space), report);
            }
        });
    }
}

/// Calls `f` with the name and path of each other file in the directory of the ledger `own`.
fn each_file(own: &Path, mut f: impl FnMut(&[u8], &Path)) {
    let dir = own.parent();
    proc::each_name(&dir, |name, _| {
        let path = dir.with(b"/").with(name);
        if path.fits() && path.bytes() != own.bytes() {
            f(name, &path);
        }
    });
}

fn is_unguarded(path: &Path) -> bool {
    let how = libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let Ok(fd) = sys::open(path.c(), how, 0) else { return false };
    let locked = sys::is_byte_locked(fd, LIFE);
    sys::close(fd);
    locked == Ok(false)
}

/// Determines where the tokens of a ledger of another namespace belong.
fn find_pool(ledger: &Ledger, file: &Path, space: u64) -> Outcome {
    let (h, id) = (&ledger.header, ledger.header.id());
    let reaches = |path: &Path| pipe::open_same(path, id, libc::O_RDONLY).map(sys::close);
    let mut path = h.path();
    let mut reached = reaches(&path);
    if reached.is_err() && h.is_of_this_boot() {
        let is_way = |pid, fd| reaches(&pipe::fd_path(pid, fd)).is_ok();
        if let Some((pid, fd)) = holders::find(id, is_way) {
            (path, reached) = (pipe::fd_path(pid, fd), Ok(()));
        }
    }
    let beside = path.parent().bytes() == file.parent().bytes();
    match reached {
        Ok(()) => Outcome::Back(Pool::new(id, path, None)),
        Err(e) if beside && e == Errno::NOENT || !h.is_of_this_boot() => Outcome::Gone,
        // A make that cannot be seen from here may still have it open: the pool belongs to the ledger's namespace or to
        // an ancestor of that. If our namespace is older than the ledger's, it may be the ancestor, and the make would
        // be seen.
        Err(_) if space != 0 && space < h.space() => Outcome::Gone,
        Err(_) if sys::now().saturating_sub(ledger.last_used()) > FORGOTTEN_NANOS => Outcome::Gone,
        Err(_) => Outcome::Unknown,
    }
}

/// Removes an unfinished ledger. Its temporary name ends in its maker's pid.
fn remove_half_made(rest: &[u8], of: u64, space: u64, path: &Path) {
    let Some(maker) = rest.strip_prefix(b".").and_then(number) else { return };
    let lost = match is_known(of, space) {
        true => is_dead(i32::try_from(maker.0).unwrap_or(0)),
        false => is_deserted(path),
    };
    if lost {
        let _ = sys::unlink(path.c());
    }
}

/// Removes a pool that no process has open any more: it holds nothing. Between making and opening it its maker lives.
fn remove_lost_pool(name: &[u8], space: u64, path: &Path) {
    let Some((pid, of, made)) = own_pool::maker(name) else { return };
    let lost = match is_known(of, space) {
        true => is_dead(pid),
        false => sys::now().saturating_sub(made) > OPENED_NANOS,
    };
    if lost {
        own_pool::remove_unused(path);
    }
}

/// Returns whether pids of the namespace `of` are valid here. 0: the maker could not tell its namespace, and is assumed
/// to be in ours.
fn is_known(of: u64, space: u64) -> bool {
    of == space || of == 0
}

fn is_dead(pid: i32) -> bool {
    pid > 0 && !proc::lives(pid)
}

/// Files that were seen without a guard, by a hash of the name.
#[derive(Default)]
struct Suspects {
    names: [u64; 16],
    used: usize,
}

impl Suspects {
    fn add(&mut self, name: &[u8]) {
        if let Some(at) = self.names.get_mut(self.used) {
            *at = hash(name);
            self.used = self.used.saturating_add(1);
        }
    }

    fn has(&self, name: &[u8]) -> bool {
        self.names.iter().take(self.used).any(|seen| *seen == hash(name))
    }

    fn any(&self) -> bool {
        self.used > 0
    }
}

/// FNV-1a.
fn hash(name: &[u8]) -> u64 {
    let step = |hash: u64, b: &u8| (hash ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3);
    name.iter().fold(0xcbf2_9ce4_8422_2325u64, step)
}

/// The ledgers of other PID namespaces on a guard's pool.
pub struct Neighbours {
    space: u64,
    /// When to check them next.
    due: u64,
    /// When a name was last given or removed in the directory, and how many checks are due for that: one may come too
    /// soon after a first change to see a second one with the same time.
    changed: (i64, i64),
    rechecks: u32,
    /// Whether there were some at the last check.
    any: bool,
    suspects: Suspects,
    /// Since when the guard has no other work; 0: it has.
    idle: u64,
}

impl Neighbours {
    /// For a guard in the PID namespace `space`.
    pub fn new(space: u64) -> Self {
        let suspects = Suspects::default();
        Self { space, due: 0, changed: (0, 0), rechecks: 0, any: false, suspects, idle: 0 }
    }

    /// Notes whether the guard has other work. If not, the next check is due at once: a host often ends because its
    /// sandbox was killed.
    pub fn note(&mut self, busy: bool) {
        match (busy, self.idle) {
            (true, _) => self.idle = 0,
            (false, 0) => (self.idle, self.due) = (sys::now(), 0),
            _ => {}
        }
    }

    /// Returns whether there is a ledger without a guard for which a guard without other work stays.
    pub fn keep_guard(&self) -> bool {
        self.suspects.any() && sys::now().saturating_sub(self.idle) < LAST_NANOS
    }

    /// Periodically looks for them in the directory of the ledger `own`, and settles those that no process uses any
    /// more.
    pub fn check(&mut self, own: &Path, pool: &Pool, report: Report<'_>) {
        let now = sys::now();
        if now < self.due {
            return;
        }
        self.due = now.saturating_add(CHECK_NANOS);
        let changed = sys::stat(own.parent().c(), false).map(|st| (st.st_mtime, st.st_mtime_nsec));
        if changed != Ok(self.changed) {
            (self.changed, self.rechecks) = (changed.unwrap_or((0, 0)), 2);
        }
        if self.rechecks > 0 || self.any {
            self.rechecks = self.rechecks.saturating_sub(1);
            if self.check_all(own, pool, report) {
                self.due = now.saturating_add(AGAIN_NANOS);
            }
        }
    }

    /// Returns whether there is one without a guard that had a guard at the last check, or did not exist.
    fn check_all(&mut self, own: &Path, pool: &Pool, report: Report<'_>) -> bool {
        let (mut seen, mut any, mut new) = (Suspects::default(), false, false);
        let (dev, ino, _) = pool.id;
        each_file(own, |name, path| {
            let Some((of_pool, of, b"")) = parse_ledger(name) else { return };
            if of_pool != (ino, dev) || of == self.space {
                return;
            }
            any = true;
            if !is_unguarded(path) {
                return;
            }
            let again = self.suspects.has(name);
            new |= !again;
            if !again || !settle_deserted(path, &|ledger| same_pool(ledger, pool), report) {
                seen.add(name);
            }
        });
        (self.suspects, self.any) = (seen, any);
        new
    }
}

/// The tokens of a ledger go back to this pool if they belong to it, not to a former pool with the same inode.
fn same_pool(ledger: &Ledger, pool: &Pool) -> Outcome {
    if ledger.header.id() == pool.id {
        Outcome::Back(Pool::new(pool.id, pool.path, pool.inherited))
    } else {
        Outcome::Gone
    }
}
