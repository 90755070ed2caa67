//! Which processes of a ledger live. A pidfd refers to a process rather than to its number, and reports the end even if
//! no process reaps it.

use core::sync::atomic::Ordering::{AcqRel, Acquire};

use crate::ledger::handle::{Handle, RECORDS};
use crate::ledger::record::Record;
use crate::proc;
use crate::sys::{self, Errno};

/// What is watched for one record. All zeros: nothing.
#[derive(Clone, Copy)]
struct Watch {
    /// The pid; below zero, a state that should not last ([`Watches::age`]); 0: nothing.
    pid: i32,
    generation: u32,
    /// The pidfd, or -1 if none is to be had, or none is needed any more.
    fd: i32,
    dead: bool,
    /// The process must be asked for directly: the last [`Watches::sleep`] could not tell.
    ask: bool,
    /// Since when it is watched (`CLOCK_BOOTTIME`, ns).
    since: u64,
}

/// Descriptors kept free for other uses than pidfds.
const RESERVE: u64 = 32;

const NONE: Watch = Watch { pid: 0, generation: 0, fd: 0, dead: false, ask: false, since: 0 };

/// A watch for every record, zeroed at first.
struct Table {
    all: [Watch; RECORDS],
    polls: [libc::pollfd; RECORDS + 1],
}

/// The watches of all records. The table is in mapped memory: the stack may be small (`ulimit -s`).
pub struct Watches(&'static mut Table);

impl Watches {
    /// A table that watches nothing yet.
    ///
    /// # Errors
    /// As mmap(2).
    pub fn new() -> sys::Result<Self> {
        // SAFETY: zeros are a table that watches nothing.
        unsafe { sys::map_zeroed() }.map(Self)
    }

    /// Returns whether the process of this record had ended, reaped or not, at the last [sleep](Self::sleep). Starts to
    /// watch a new process.
    pub fn is_dead(&mut self, h: Handle, record: &Record, pid: i32) -> bool {
        let Some(watch) = self.0.all.get_mut(h.index as usize) else { return false };
        // In a broken ledger a record may have pid 0, as an unused watch has.
        if (watch.pid, watch.generation) != (pid, h.generation) || pid == 0 {
            watch.end();
            *watch = Watch::begin(h, record, pid);
        }
        watch.look()
    }

    /// How long this record has been in a temporary state, in ns. `state` is a number below zero that names it.
    pub fn age(&mut self, h: Handle, state: i32) -> u64 {
        let Some(watch) = self.0.all.get_mut(h.index as usize) else { return 0 };
        if (watch.pid, watch.generation) != (state, h.generation) {
            watch.end();
            let since = sys::now();
            *watch = Watch { pid: state, generation: h.generation, fd: -1, since, ..NONE };
        }
        sys::now().saturating_sub(watch.since)
    }

    /// Stops watching this record.
    pub fn forget(&mut self, index: u32) {
        if let Some(watch) = self.0.all.get_mut(index as usize) {
            watch.end();
        }
    }

    /// Stops watching all records. The descriptors are closed already.
    pub fn forget_all(&mut self) {
        self.0.all.iter_mut().filter(|watch| watch.pid != 0).for_each(|watch| *watch = NONE);
    }

    /// Sleeps until a watched process ends, one of the open descriptors in `others` is readable, or `millis` ms are
    /// over.
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
        // For example more than RLIMIT_NOFILE descriptors, which poll(2) refuses.
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
        // Some descriptors must be left, to open the pool and to read /proc.
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
            // The pidfd of an ended process stays readable: no poll would sleep.
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

/// Returns whether the pid belongs to another process by now. An earlier guard has recorded when the first one started.
fn is_stranger(record: &Record, pid: i32) -> bool {
    let Some(stat) = proc::stat(pid) else { return false };
    let born = u64::from(pid.unsigned_abs()) << 32 | u64::from(stat.start as u32);
    let seen = record.born.load(Acquire);
    if seen >> 32 == born >> 32 {
        return seen != born;
    }
    // The recorded process was another one, of this job or an earlier one; or this check itself is for an earlier job,
    // and comes late.
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
