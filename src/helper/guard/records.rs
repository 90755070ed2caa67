//! One round over all records: gives back what dead or sleeping clients have left.

use core::sync::atomic::Ordering::{AcqRel, Acquire};

use jsshim_engine::ledger::handle::Handle;
use jsshim_engine::ledger::record::{Record, UNRECORDED};
use jsshim_engine::pool::tokens::Taken;
use jsshim_engine::slots::State;
use jsshim_engine::{proc, sys};

use super::state::Guard;

/// How long a claim may stay unfinished before its claimer is checked, in ns. A living claimer may take any time.
const STUCK_NANOS: u64 = 500_000_000;
/// Deadline for a waiting job to record its pid, in ns.
const BORN_NANOS: u64 = 5_000_000_000;
/// How long a token is kept for a pool that cannot be found, in ns.
const LOST_NANOS: u64 = 2_000_000_000;

/// After so many rounds with tokens that no waiting job takes, the guard looks for stopped readers.
const UNTAKEN: u32 = 4;

/// A waiting job has nothing to give back: each round checks one in so many, and the first one of each client.
const TURNS: u32 = 16;
/// After so many rounds the records that are not in use are checked, too: a process was killed that was about to use one.
const RESERVED: u32 = 64;

/// States in which a record without a process is watched.
const CLAIMED: i32 = -1;
const ENDING: i32 = -2;

impl Guard<'_> {
    /// Checks every record once. Returns whether any is in use.
    pub(super) fn round(&mut self) -> bool {
        let mut busy = false;
        self.out = false;
        self.rounds = self.rounds.wrapping_add(1);
        let turn = self.rounds.wrapping_rem(TURNS);
        self.watches.forget_former(self.ledger, turn, TURNS);
        for (index, record) in self.ledger.not_waiting() {
            busy |= self.check(index, record);
        }
        for (index, record) in self.ledger.waiting() {
            (busy, self.out) = (true, true);
            if index.wrapping_rem(TURNS) == turn {
                self.check(index, record);
            }
        }
        if self.rounds.is_multiple_of(RESERVED) {
            for (index, record) in self.ledger.former_records() {
                if record.state() == State::Free && record.reserved_by().is_some() {
                    self.free(index, record);
                }
            }
        }
        self.see_to_clients();
        busy
    }

    /// Checks one record. Returns whether it is in use.
    fn check(&mut self, index: u32, record: &Record) -> bool {
        let (state, generation) = record.now();
        self.ledger.note_state(index, record, state);
        let handle = Handle { index, generation };
        match state {
            State::Free => self.free(index, record),
            // The process that made this step is slow, was killed, or could not reach the pool.
            State::Ending => self.finish(handle, record),
            State::Client => self.client(handle, record),
            State::Claim if self.watches.age(handle, CLAIMED) < STUCK_NANOS => {}
            _ => self.job(handle, record),
        }
        self.out |= !matches!(record.state(), State::Free | State::Client);
        state != State::Free
    }

    /// Takes tokens from the pool for borrowed jobs that compute. If jobs lack slots, also takes that many for borrowed
    /// jobs that sleep, since jobs below them compute or wait to.
    pub(super) fn pay(&self) {
        while self.ledger.creditor().is_some_and(|h| self.pay_one(h)) {}
        for _ in 0..self.watchdog.missing() {
            if !self.ledger.borrower(|_, _| true).is_some_and(|h| self.pay_one(h)) {
                return;
            }
        }
    }

    /// Returns whether there was a token.
    fn pay_one(&self, h: Handle) -> bool {
        let Some(job) = self.ledger.get(h) else { return false };
        // Not into `landing`, into which the job itself may read.
        if self.pool.take_into(&job.gift, h.generation) != Taken::Yes {
            return false;
        }
        // The job may have got a slot in another way, or ended.
        if !self.ledger.accept_gift(h) {
            self.pool.give_from(&job.gift, h.generation);
        }
        true
    }

    /// A client settles its slot itself, and its jobs wake each other; this is for processes that died before they did.
    fn see_to_clients(&mut self) {
        let mut waits = false;
        for (client, _) in self.ledger.not_waiting().filter(|(_, r)| r.state() == State::Client) {
            let needs = self.needy.get_mut(client as usize).is_some_and(core::mem::take);
            let first = self.ledger.first_waiting(client);
            if needs || first.is_some() {
                self.ledger.settle(client, &self.pool);
            }
            if first.is_some() {
                self.see_to_readers(client);
                waits = true;
            }
        }
        let is_untaken = waits && self.held >= 0 && sys::level(self.held).unwrap_or(0) > 0;
        self.untaken = if is_untaken { self.untaken.saturating_add(1) } else { 0 };
    }

    /// Sees to it that the first waiting jobs of a client read the pool.
    fn see_to_readers(&mut self, client: u32) {
        for reader in self.ledger.readers(client) {
            if let Some(record) = self.ledger.get(reader) {
                self.job(reader, record);
            }
        }
        if self.ledger.too_loaded() {
            return;
        }
        let is_stuck = self.untaken >= UNTAKEN && self.ledger.is_reader_stopped(client);
        self.ledger.call_readers(client, is_stuck);
    }

    fn free(&mut self, index: u32, record: &Record) {
        self.watches.forget(index);
        // A process that was killed before it was a client is not known: its record is lost to this ledger.
        let client = record.reserved_by().filter(|client| *client != 0);
        if let Some(client) = client.filter(|client| self.is_dead_client(*client)) {
            record.release(client);
        }
        self.ledger.vacate(index);
    }

    fn finish(&mut self, h: Handle, record: &Record) {
        self.ledger.finish(h, &self.pool);
        if record.now() != (State::Ending, h.generation) {
            return;
        }
        let lost = self.watches.age(h, ENDING) > LOST_NANOS;
        if lost && !self.hold_by_another() && self.client_is_dead(record) {
            self.ledger.write_off(h, &self.pool);
        }
    }

    fn client(&mut self, h: Handle, record: &Record) {
        let pid = record.pid.load(Acquire);
        if self.watches.is_dead(h, record, pid, false) || self.nameless && !self.has_ledger(pid) {
            let _ = record.implicit.compare_exchange(UNRECORDED, 0, AcqRel, Acquire);
            if !self.has_records(h.index) {
                self.ledger.free(h);
            }
        }
    }

    /// Returns whether this process uses the ledger. A process that has exec'ed since makes a new ledger if this one
    /// has no name; in another PID namespace this pid is another process.
    fn has_ledger(&self, pid: i32) -> bool {
        sys::fstat(self.file).is_ok_and(|st| proc::maps(pid, st.st_ino))
    }

    /// Returns whether the client has any record left, including a claim.
    fn has_records(&self, client: u32) -> bool {
        self.ledger.records().any(|(_, r)| {
            r.client.load(Acquire) == client && !matches!(r.state(), State::Free | State::Client)
        })
    }

    fn client_is_dead(&mut self, job: &Record) -> bool {
        self.is_dead_client(job.client.load(Acquire))
    }

    fn is_dead_client(&mut self, index: u32) -> bool {
        let Some(client) = self.ledger.record(index) else { return true };
        match client.now() {
            (State::Client, generation) => {
                let pid = client.pid.load(Acquire);
                self.watches.is_dead(Handle { index, generation }, client, pid, false)
            }
            _ => true,
        }
    }

    fn job(&mut self, h: Handle, record: &Record) {
        let pid = record.pid.load(Acquire);
        // No pid yet: the process is being made, unless its client died doing so.
        let unborn = pid <= 0;
        let waits = record.state() == State::Waiting;
        let gone = match unborn {
            true => self.client_is_dead(record),
            false => self.watches.is_dead(h, record, pid, waits),
        };
        if gone {
            // The guard also gives back tokens of jobs that a living host has not reaped yet; these are not reported.
            let is_of_dead = record.has_token(h.generation) && self.client_is_dead(record);
            // There may be a process after all, which waits by now and reads the pool. It records its pid, even in a
            // broken ledger.
            let may_wait = unborn && self.watches.age(h, CLAIMED) < BORN_NANOS;
            let not = if may_wait { State::Waiting } else { State::Ending };
            if !self.ledger.end_unless(h, not, &self.pool) {
                return;
            }
            if is_of_dead {
                self.ledger.header.stats.recovered();
            }
            self.watches.forget(h.index);
        } else {
            self.complete(h, record);
        }
    }

    /// Finishes what a killed process left half done.
    fn complete(&mut self, h: Handle, record: &Record) {
        match record.state() {
            State::Implicit if record.has_token(h.generation) => {
                self.ledger.release_lane(h, record);
                self.pool.give(record, h.generation);
            }
            State::Held | State::Waiting | State::Borrowed => drop(self.ledger.accept_gift(h)),
            _ => {}
        }
        let client = record.client.load(Acquire) as usize;
        let may_take = !matches!(record.state(), State::Claim | State::Implicit | State::Ending);
        if let Some(needy) = self.needy.get_mut(client).filter(|_| may_take) {
            *needy = true;
        }
    }
}
