//! Which processes of a ledger live. A pidfd refers to a process rather than to its number, and reports the end even if
//! no process reaps it.

use core::sync::atomic::Ordering::{AcqRel, Acquire};

use crate::bits::{self, BITS};
use crate::ledger::access::Ledger;
use crate::ledger::handle::{Handle, RECORDS};
use crate::ledger::record::Record;
use crate::proc;
use crate::sys::{self, Errno};

/// What is watched for one record. All zeros: nothing.
#[derive(Clone, Copy)]
struct Watch {
    /// The pid; below zero, a state that should not last ([`Watches::age`]); 0: nothing.
    pid: i32,
    /// The pidfd, or -1 if none is to be had, or none is needed any more.
    fd: i32,
    generation: u64,
    /// Since when it is watched (`CLOCK_BOOTTIME`, ns).
    since: u64,
    dead: bool,
    /// The process must be asked for directly: no sleep has been able to tell yet.
    ask: bool,
    /// No pidfd was taken for it: it waits, and descriptors are scarce.
    spared: bool,
}

/// Descriptors kept free for other uses than pidfds.
const RESERVE: u64 = 32;
/// Descriptors are scarce below this limit: jobs that wait may have half of them.
const SCARCE: u64 = 4000;

const NONE: Watch =
    Watch { pid: 0, fd: 0, generation: 0, since: 0, dead: false, ask: false, spared: false };

/// A watch for every record, zeroed at first.
struct Table {
    all: [Watch; RECORDS],
    /// The records with a watch.
    used: [u64; RECORDS / BITS],
    /// Of all pidfds; 0: there is none yet; -1: none is to be had.
    epoll: i32,
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
    /// watch a new process. `waits`: it is a job that waits, and has nothing to give back.
    pub fn is_dead(&mut self, h: Handle, record: &Record, pid: i32, waits: bool) -> bool {
        let Table { all, used, epoll } = &mut *self.0;
        let Some(watch) = all.get_mut(h.index as usize) else { return false };
        // In a broken ledger a record may have pid 0, as an unused watch has.
        let is_new = (watch.pid, watch.generation) != (pid, h.generation) || pid == 0;
        if is_new || watch.spared && !waits {
            watch.end(*epoll);
            *watch = Watch::begin(h, record, pid, waits, epoll);
            mark(used, h.index);
        }
        watch.has_ended(*epoll)
    }

    /// How long this record has been in a temporary state, in ns. `state` is a number below zero that names it.
    pub fn age(&mut self, h: Handle, state: i32) -> u64 {
        let Table { all, used, epoll, .. } = &mut *self.0;
        let Some(watch) = all.get_mut(h.index as usize) else { return 0 };
        if (watch.pid, watch.generation) != (state, h.generation) {
            watch.end(*epoll);
            let since = sys::now();
            *watch = Watch { pid: state, generation: h.generation, fd: -1, since, ..NONE };
            mark(used, h.index);
        }
        sys::now().saturating_sub(watch.since)
    }

    /// Stops watching this record.
    pub fn forget(&mut self, index: u32) {
        let epoll = self.0.epoll;
        if let Some(watch) = self.0.all.get_mut(index as usize) {
            watch.end(epoll);
        }
    }

    /// Stops watching the records that are used for something else by now, or for nothing. It looks at one word of
    /// records in `turns`: those with this rest.
    pub fn forget_former(&mut self, ledger: &Ledger, turn: u32, turns: u32) {
        let Table { all, used, epoll } = &mut *self.0;
        let step = (turns as usize).max(1);
        for (at, word) in (0usize..).zip(used.iter_mut()).skip(turn as usize).step_by(step) {
            for index in bits::ones(at, *word) {
                let Some(watch) = all.get_mut(index) else { return };
                let h = Handle { index: index as u32, generation: watch.generation };
                if watch.pid == 0 || ledger.get(h).is_none() {
                    watch.end(*epoll);
                    *word &= !bits::place(index).1;
                }
            }
        }
    }

    /// Stops watching all records. The descriptors are closed already.
    pub fn forget_all(&mut self) {
        self.0.all.iter_mut().filter(|watch| watch.pid != 0).for_each(|watch| *watch = NONE);
        self.0.used.fill(0);
        self.0.epoll = 0;
    }

    /// Sleeps until a watched process ends, one of the open descriptors in `others` is readable, or `millis` ms are
    /// over.
    pub fn sleep(&mut self, others: [i32; 3], millis: i64) {
        let Table { all, epoll, .. } = &mut *self.0;
        let [a, b, c] = others;
        // Numbers below 0 are passed over (poll(2)).
        let ended = if *epoll > 0 { *epoll } else { -1 };
        let mut polls =
            [ended, a, b, c].map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
        if sys::poll(&mut polls, millis).is_err() {
            sys::sleep_millis(millis.unsigned_abs() as u32);
        }
        if ended < 0 {
            return;
        }
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
        loop {
            let ready = sys::epoll_ready(ended, &mut events).unwrap_or(0);
            for event in events.get(..ready).unwrap_or(&[]) {
                let index = event.u64 as usize;
                if let Some(watch) = all.get_mut(index) {
                    watch.dead = true;
                    // It stays readable: no poll would sleep.
                    watch.close(ended);
                }
            }
            if ready < events.len() {
                return;
            }
        }
    }
}

fn mark(used: &mut [u64; RECORDS / BITS], index: u32) {
    let (at, bit) = bits::place(index as usize);
    if let Some(word) = used.get_mut(at) {
        *word |= bit;
    }
}

impl Watch {
    fn begin(h: Handle, record: &Record, pid: i32, waits: bool, epoll: &mut i32) -> Self {
        let opened = sys::pidfd_open(pid);
        let dead = opened == Err(Errno::SRCH) || is_stranger(record, pid);
        let mut this = Self {
            pid,
            fd: opened.unwrap_or(-1),
            generation: h.generation,
            since: sys::now(),
            dead,
            ask: true,
            spared: false,
        };
        let limit = sys::open_files_limit();
        // Some descriptors must be left, to open the pool and to read /proc.
        let is_last = |most: u64| this.fd >= 0 && this.fd as u64 > most;
        if is_last(limit.saturating_sub(RESERVE)) || !this.enlist(h.index, epoll) {
            this.close(-1);
        } else if waits && limit < SCARCE && is_last(limit / 2) {
            this.close(*epoll);
            this.spared = true;
        }
        this
    }

    /// Returns whether [`Watches::sleep`] will see its end.
    fn enlist(&self, index: u32, epoll: &mut i32) -> bool {
        if *epoll == 0 {
            *epoll = sys::epoll_create().unwrap_or(-1);
        }
        self.fd >= 0 && *epoll > 0 && sys::epoll_add(*epoll, self.fd, index.into(), 0).is_ok()
    }

    fn has_ended(&mut self, epoll: i32) -> bool {
        if !self.dead && (self.ask || self.fd < 0) {
            self.dead = match self.fd < 0 {
                true => !proc::lives(self.pid),
                false => proc::has_ended_by(self.fd, self.pid),
            };
            // From now on it is seen by the pidfd.
            self.ask = false;
        }
        if self.dead {
            self.close(epoll);
        }
        self.dead
    }

    /// Closes the pidfd. A copy of it may be open in the double, so that the end of this descriptor alone does not
    /// remove it from the set (epoll(7)).
    fn close(&mut self, epoll: i32) {
        if self.pid != 0 && self.fd >= 0 {
            if epoll > 0 {
                let _ = sys::epoll_remove(epoll, self.fd);
            }
            sys::close(self.fd);
            self.fd = -1;
        }
    }

    fn end(&mut self, epoll: i32) {
        self.close(epoll);
        *self = NONE;
    }
}

/// Returns whether the pid belongs to another process by now. An earlier guard has recorded when the first one started.
fn is_stranger(record: &Record, pid: i32) -> bool {
    let Some(stat) = proc::stat(pid) else { return false };
    let born = u64::from(pid.unsigned_abs()) << 32 | u64::from(stat.start as u32);
    let seen = record.born.load(Acquire);
    if seen >> 32 == born >> 32 {
        return !proc::is_same_start(seen as u32, born as u32);
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
        assert!(!watches.is_dead(h, record, pid, false));
        let born = record.born.load(Acquire);
        assert_eq!(born as u32, proc::stat(pid).unwrap().start as u32);
        // Another guard finds the same, unless the process is another one.
        assert!(!Watches::new().unwrap().is_dead(h, record, pid, false));
        record.born.store(born - 2, Release);
        assert!(Watches::new().unwrap().is_dead(h, record, pid, false));
        // A look at the job before came so late that it noted the process of that.
        record.born.store((u64::from(std::process::id()) << 32) + 1, Release);
        assert!(!Watches::new().unwrap().is_dead(h, record, pid, false));
        assert_eq!(record.born.load(Acquire), born);
        // The first one has its pidfd, and goes by that.
        assert!(!watches.is_dead(h, record, pid, false));
        child.kill().unwrap();
        while !watches.is_dead(h, record, pid, false) {
            watches.sleep([-1; 3], 10);
        }
        assert_eq!(watches.0.all[h.index as usize].fd, -1, "it would let nobody sleep");
        child.wait().unwrap();
        ledger.free(h);
        assert!(ledger.close_if_idle(file.c()));
    }
}
