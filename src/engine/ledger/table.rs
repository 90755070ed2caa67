//! The records in use: all, those of one client, those that wait. And room for more of them.

use core::ffi::CStr;
use core::sync::atomic::Ordering::{Acquire, Relaxed, SeqCst};

use crate::slots::State;
use crate::{proc, sys};

use super::access::Ledger;
use super::handle::{Handle, RECORDS};
use super::record::Record;
use super::used::{Which, BITS, FIRST_ROOM, WORDS};

/// Records in use, by index.
pub struct Records<'a> {
    ledger: &'a Ledger,
    which: Which,
    /// The word that is looked at, and its bits that are left.
    at: u32,
    left: u64,
    top: u32,
}

impl<'a> Iterator for Records<'a> {
    type Item = (u32, &'a Record);

    #[inline(never)]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            while self.left == 0 {
                self.at = self.at.wrapping_add(1);
                if self.at >= self.top {
                    return None;
                }
                self.left = self.ledger.header.used.word(self.at, self.which);
            }
            let index = self.at.wrapping_mul(BITS).wrapping_add(self.left.trailing_zeros());
            self.left &= self.left.wrapping_sub(1);
            if let Some(record) = self.ledger.record(index) {
                return Some((index, record));
            }
        }
    }
}

impl Ledger {
    fn those(&self, which: Which) -> Records<'_> {
        let top = self.header.used.top.load(SeqCst).min(WORDS as u32);
        Records { ledger: self, which, at: u32::MAX, left: 0, top }
    }

    /// The records in use, and some that have just become free.
    pub fn records(&self) -> Records<'_> {
        self.those(Which::All)
    }

    /// The jobs that wait for a slot, and some that have just got one. One that has just begun to wait may be missed.
    pub fn waiting(&self) -> Records<'_> {
        self.those(Which::Waiting)
    }

    /// The number of jobs that wait for a slot.
    pub fn count_waiting(&self) -> u32 {
        let used = &self.header.used;
        let top = used.top.load(Relaxed).min(WORDS as u32);
        (0..top).map(|at| used.word(at, Which::Waiting).count_ones()).sum()
    }

    /// The records in use but [`Ledger::waiting`]: as many as there are clients, slots, and jobs that are being made.
    /// A job that has just got its slot may be missed.
    pub fn not_waiting(&self) -> Records<'_> {
        self.those(Which::Others)
    }

    /// The jobs of a client, with their states.
    pub fn jobs_of(&self, client: u32) -> impl Iterator<Item = (Handle, State, &Record)> {
        jobs_among(self.records(), client)
    }

    /// The jobs of a client that do not wait, with their states ([`Ledger::not_waiting`]).
    pub fn busy_jobs_of(&self, client: u32) -> impl Iterator<Item = (Handle, State, &Record)> {
        jobs_among(self.not_waiting(), client)
    }

    /// The job of which this is the process; one that waits for a slot is not looked for ([`Ledger::not_waiting`]).
    pub fn job_with(&self, pid: i32) -> Option<(Handle, &Record)> {
        self.not_waiting().find_map(|(index, r)| {
            let (state, generation) = r.now();
            let is_it = state.is_job() && r.pid.load(Acquire) == pid;
            is_it.then_some((Handle { index, generation }, r))
        })
    }

    /// The job that a process is, or in which it runs: that of its nearest ancestor.
    pub fn job_above(&self, pid: i32) -> Option<(Handle, &Record)> {
        proc::line_of(pid).find_map(|pid| self.job_with(pid))
    }

    /// The records that were ever used, in use or not.
    pub fn former_records(&self) -> impl Iterator<Item = (u32, &Record)> {
        let top = self.header.used.top.load(SeqCst).saturating_mul(BITS);
        (1..top).map_while(|index| Some((index, self.record(index)?)))
    }

    /// Repairs what is noted of a record that was found in this state.
    pub fn note_state(&self, index: u32, record: &Record, state: State) {
        let used = &self.header.used;
        used.wait(index, state == State::Waiting);
        // It may have got its slot meanwhile.
        if state == State::Waiting && record.state() != state {
            used.wait(index, false);
        }
    }

    /// Called when a record has become free.
    pub fn vacate(&self, index: u32) {
        let Some(record) = self.record(index) else { return };
        // If another process has reserved it, that one is about to use it, or has just cleared its bit.
        if record.reserve(0).is_some() {
            self.header.used.clear(index);
            record.release(0);
            self.wake_starved();
        }
    }

    /// Makes room for more than `room` records. Returns whether there is. `path` is the ledger's path.
    #[inline(never)]
    pub(super) fn grow(&self, room: u32, path: &CStr) -> bool {
        let more = room.saturating_mul(2).min(RECORDS as u32);
        let used = &self.header.used;
        if used.room.load(SeqCst) > room {
            return true;
        }
        let how = libc::O_RDWR | libc::O_NOFOLLOW | libc::O_NONBLOCK;
        if more <= room {
            return false;
        }
        let Ok(fd) = sys::open(path, how, 0) else { return false };
        let grown =
            self.header.is_at(sys::fstat(fd)) && sys::reserve(fd, Self::size_of(more)).is_ok();
        sys::close(fd);
        if grown {
            used.room.fetch_max(more, SeqCst);
        }
        grown
    }

    /// The size of a ledger's file with room for this many records, in bytes.
    pub(super) fn size_of(room: u32) -> usize {
        let unused = RECORDS.saturating_sub(room as usize);
        size_of::<Self>().saturating_sub(unused.saturating_mul(size_of::<Record>()))
    }

    /// The size of a new ledger's file, in bytes.
    pub fn least_size() -> usize {
        Self::size_of(FIRST_ROOM)
    }

    /// Returns whether the ledger's file, open as `file`, holds the header and all records that have memory. Reads no
    /// part of the ledger that a truncated file does not have.
    pub fn is_whole(&self, file: i32) -> bool {
        let size = || sys::fstat(file).map_or(0, |st| st.st_size);
        let seen = size();
        if seen < Self::least_size() as i64 {
            return false;
        }
        let needed = Self::size_of(self.header.used.room.load(SeqCst)) as i64;
        // The file may have grown since.
        seen >= needed || size() >= needed
    }
}

fn jobs_among(records: Records<'_>, client: u32) -> impl Iterator<Item = (Handle, State, &Record)> {
    records.filter_map(move |(index, r)| {
        let (state, generation) = r.now();
        let ours = state.is_job() && r.client.load(Relaxed) == client;
        ours.then_some((Handle { index, generation }, state, r))
    })
}
