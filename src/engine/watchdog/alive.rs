//! Which processes of a ledger live: a pidfd for each names a process beyond its number and tells of its
//! end even while nobody reaps it.

use core::sync::atomic::Ordering::{AcqRel, Acquire};

use crate::ledger::handle::{Handle, RECORDS};
use crate::ledger::record::Record;
use crate::proc;
use crate::sys::{self, Errno};

/// The watch of one record. All zeros: it is not watched.
#[derive(Clone, Copy)]
struct Watch {
    /// The process; below zero, a state that should not last ([`Watches::age`]); or 0.
    pid: i32,
    generation: u32,
    /// The pidfd, or -1 where there is none to be had, or none needed any more.
    fd: i32,
    dead: bool,
    /// It must be asked for itself: the last [`Watches::sleep`] could not tell.
    ask: bool,
    /// Since when it is watched (`CLOCK_BOOTTIME`, ns).
    since: u64,
}

/// Descriptors that are not for pidfds.
const RESERVE: u64 = 32;

const NONE: Watch = Watch { pid: 0, generation: 0, fd: 0, dead: false, ask: false, since: 0 };

/// Room for a watch of every record, of zeros at first.
struct Table {
    all: [Watch; RECORDS],
    polls: [libc::pollfd; RECORDS + 1],
}

/// See the module. Its table is in mapped memory: the stack may be small (`ulimit -s`).
pub struct Watches(&'static mut Table);

impl Watches {
    /// Watches nobody yet.
    ///
    /// # Errors
    /// As mmap(2).
    pub fn new() -> sys::Result<Self> {
        // SAFETY: zeros are a table that watches nobody.
        unsafe { sys::map_zeroed() }.map(Self)
    }

    /// Had the process of this record ended, reaped or not, when last [slept](Self::sleep)? Starts to watch it
    /// if it is new.
    pub fn is_dead(&mut self, h: Handle, record: &Record, pid: i32) -> bool {
        let Some(watch) = self.0.all.get_mut(h.index as usize) else { return false };
        // A broken record may have no pid, as a watch of nobody has none.
        if (watch.pid, watch.generation) != (pid, h.generation) || pid == 0 {
            watch.end();
            *watch = Watch::begin(h, record, pid);
        }
        watch.look()
    }

    /// How long this record has been in a state that passes, named by a number below zero; in ns.
    pub fn age(&mut self, h: Handle, state: i32) -> u64 {
        let Some(watch) = self.0.all.get_mut(h.index as usize) else { return 0 };
        if (watch.pid, watch.generation) != (state, h.generation) {
            watch.end();
            let since = sys::now();
            *watch = Watch { pid: state, generation: h.generation, fd: -1, since, ..NONE };
        }
        sys::now().saturating_sub(watch.since)
    }

    /// Watches this record no longer.
    pub fn forget(&mut self, index: u32) {
        if let Some(watch) = self.0.all.get_mut(index as usize) {
            watch.end();
        }
    }

    /// Watches nobody any more. The descriptors are closed already.
    pub fn forget_all(&mut self) {
        self.0.all.iter_mut().filter(|watch| watch.pid != 0).for_each(|watch| *watch = NONE);
    }

    /// Sleeps until a watched process ends, or one of these descriptors is readable, of those that are open; or for so
    /// many ms.
    pub fn sleep(&mut self, others: &[i32], millis: i64) {
        let Table { all, polls } = &mut *self.0;
        let mut n = 0usize;
        let open = others.iter().copied().filter(|fd| *fd >= 0);
        let fds = all.iter().filter_map(Watch::pidfd).chain(open);
        for (p, fd) in polls.iter_mut().zip(fds) {
            *p = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            n = n.saturating_add(1);
        }
        let polled = sys::poll(polls.get_mut(..n).unwrap_or(&mut []), millis).is_ok();
        let mut polls = polls.iter();
        for watch in all.iter_mut().filter(|w| w.pidfd().is_some()) {
            watch.dead = polled && polls.next().is_some_and(|p| p.revents != 0);
            watch.ask = !polled;
        }
        // More than RLIMIT_NOFILE are refused, say.
        if !polled {
            sys::sleep_millis(millis.unsigned_abs() as u32);
        }
    }
}

impl Watch {
    fn pidfd(&self) -> Option<i32> {
        (self.pid != 0 && self.fd >= 0).then_some(self.fd)
    }

    fn begin(h: Handle, record: &Record, pid: i32) -> Self {
        let opened = sys::pidfd_open(pid);
        let dead = opened == Err(Errno::SRCH) || is_stranger(record, pid);
        let mut fd = opened.unwrap_or(-1);
        // Some must be left, to open the pool and to look around.
        if fd >= 0 && sys::open_files_limit() < (fd as u64).saturating_add(RESERVE) {
            sys::close(fd);
            fd = -1;
        }
        Self { pid, generation: h.generation, fd, dead, ask: true, since: sys::now() }
    }

    fn look(&mut self) -> bool {
        if !self.dead && (self.ask || self.fd < 0) {
            self.dead = match self.fd < 0 {
                true => !proc::lives(self.pid),
                false => proc::has_ended_by(self.fd, self.pid),
            };
        }
        if let Some(fd) = self.pidfd().filter(|_| self.dead) {
            // What has ended stays readable: it would let nobody sleep.
            sys::close(fd);
            self.fd = -1;
        }
        self.dead
    }

    fn end(&mut self) {
        if let Some(fd) = self.pidfd() {
            sys::close(fd);
        }
        *self = NONE;
    }
}

/// Is this number that of another process by now? An earlier guard has seen when the first one started.
fn is_stranger(record: &Record, pid: i32) -> bool {
    let Some(stat) = proc::stat(pid) else { return false };
    let born = u64::from(pid.unsigned_abs()) << 32 | u64::from(stat.start as u32);
    let seen = record.born.load(Acquire);
    if seen >> 32 == born >> 32 {
        return seen != born;
    }
    // That was another process, of this job or of one before; or this is a look at one before, and comes late.
    let _ = record.born.compare_exchange(seen, born, AcqRel, Acquire);
    false
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::Ordering::Release;

    use super::*;
    use crate::ledger::access::Ledger;
    use crate::ledger::life::Founding;
    use crate::text::Path;

    #[test]
    fn a_number_that_another_process_has_now_is_dead() {
        let path = std::env::temp_dir().join(format!("jsshim-watch-{}", std::process::id()));
        let file = Path::new(path.as_os_str().as_encoded_bytes());
        let (id, root, slots, load_milli, stats) = ((1, 2, 3), 0, 0, 0, false);
        let (path, trace) = (Path::default(), Path::default());
        let (space, root) = (0.into(), root.into());
        let founding = Founding { id, path, space, root, slots, load_milli, stats, trace };
        let ledger = Ledger::create(file.c(), &founding).unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id() as i32;
        let h = ledger.enter(pid, file.c()).unwrap();
        let record = ledger.get(h).unwrap();
        let mut watches = Watches::new().unwrap();
        assert!(!watches.is_dead(h, record, pid));
        let born = record.born.load(Acquire);
        assert_eq!(born as u32, proc::stat(pid).unwrap().start as u32);
        // Another guard finds the same, unless the process is another one.
        assert!(!Watches::new().unwrap().is_dead(h, record, pid));
        record.born.store(born - 1, Release);
        assert!(Watches::new().unwrap().is_dead(h, record, pid));
        // A look at the job before came so late that it noted the process of that.
        record.born.store((u64::from(std::process::id()) << 32) + 1, Release);
        assert!(!Watches::new().unwrap().is_dead(h, record, pid));
        assert_eq!(record.born.load(Acquire), born);
        // The first one has its pidfd, and goes by that.
        assert!(!watches.is_dead(h, record, pid));
        child.kill().unwrap();
        while !watches.is_dead(h, record, pid) {
            watches.sleep(&[], 10);
        }
        assert_eq!(watches.0.all[h.index as usize].fd, -1, "it would let nobody sleep");
        child.wait().unwrap();
        ledger.free(h);
        assert!(ledger.close_if_idle(file.c()));
    }
}
