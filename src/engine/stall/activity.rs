//! Which running jobs compute? Told by the kernel's processor clock of each of their processes: while none of them has
//! moved, no process can have been added, and all of them are in the waits that they were in before. So a job that
//! sleeps costs a system call for each of its processes, and /proc is read only when one has moved a little.

use core::sync::atomic::Ordering::Acquire;

use crate::ledger::{Shared, RECORDS};
use crate::proc;
use crate::record::{Handle, Record};
use crate::slots::State;
use crate::sys;

use super::tree::{each_child, Tree};
use super::verdict::{Look, Mood};

/// The most processes of one job that are followed; one with more is taken to compute.
const MOST: usize = 16;

/// Who has used no more than this over the last second sleeps, and who has woken up for no longer sleeps on; in ns.
const LITTLE: u64 = 20_000_000;
/// Half of that second, in ns.
const HALF: u64 = 500_000_000;

/// Who has used no more so often in a row each time it woke up will not compute for long the next time either.
const LIGHT: u32 = 8;

/// A moment, in ns: two looks at least.
pub const MOMENT: u64 = 15_000_000;

/// How long it takes until a wait is judged again that was no sleep, at least; in ns.
const PAUSE: u64 = 50_000_000;

/// How many times as long a job must have slept in a wait that cannot be seen.
const UNCLEAR: u64 = 10;

/// The processor time that was used over the last second or a little less.
#[derive(Clone, Copy, Default)]
struct Spent {
    /// When it was begun to be counted, and when the present half second was.
    begun: u64,
    half: u64,
    now: u64,
    before: u64,
}

impl Spent {
    fn from(now: u64) -> Self {
        Self { begun: now, half: now, ..Self::default() }
    }

    fn add(&mut self, nanos: u64, now: u64) {
        let age = now.saturating_sub(self.half);
        if age >= HALF {
            self.before = if age < 2 * HALF { self.now } else { 0 };
            (self.now, self.half) = (0, now);
        }
        self.now = self.now.saturating_add(nanos);
    }

    fn is_little(&self) -> bool {
        self.now.saturating_add(self.before) < LITTLE
    }

    /// Little over a whole second?
    fn is_quiet(&self, now: u64) -> bool {
        now.saturating_sub(self.begun) >= 2 * HALF && self.is_little()
    }
}

/// The own processes of a job: it, and what is below it but for other jobs. All zeros is none.
#[derive(Clone, Copy)]
struct Part {
    /// The job ([`Handle::pack`]), or the client whose process it is.
    job: u64,
    pids: [i32; MOST],
    clocks: [u64; MOST],
    used: usize,
    overflown: bool,
    /// Since when no clock has moved.
    still: u64,
    spent: Spent,
    sleeps: bool,
    /// Its record says that it sleeps, unless it has taken that back.
    told: bool,
    /// What it has used since it woke up, or fell asleep, last; and how often in a row that was little.
    burst: u64,
    light: u32,
    /// The waits have been judged since a clock moved last.
    known: bool,
    /// When to judge them next.
    next: u64,
    /// Of a client: does it run in a job of the ledger?
    inside: bool,
}

impl Part {
    fn begin(&mut self, job: u64, now: u64) {
        // Its processes are written over.
        (self.job, self.used, self.overflown) = (job, 0, false);
        (self.still, self.spent, self.next) = (now, Spent::from(now), 0);
        (self.sleeps, self.known, self.inside) = (false, false, false);
        (self.burst, self.light, self.told) = (0, 0, false);
    }

    fn pids(&self) -> &[i32] {
        self.pids.get(..self.used).unwrap_or(&[])
    }

    fn add(&mut self, pid: i32, clock: u64) {
        if pid <= 0 || self.pids().contains(&pid) {
            return;
        }
        match (self.pids.get_mut(self.used), self.clocks.get_mut(self.used)) {
            (Some(at), Some(of)) => {
                (*at, *of) = (pid, clock);
                self.used = self.used.saturating_add(1);
            }
            _ => self.overflown = true,
        }
    }

    /// Reads the clocks, and forgets who has ended. Returns whether one has moved.
    fn tick(&mut self, now: u64) -> bool {
        let (mut spent, mut moved, mut left) = (0u64, false, 0usize);
        for at in 0..self.used.min(MOST) {
            let (Some(pid), Some(clock)) = (self.pids.get(at), self.clocks.get(at)) else { break };
            let (pid, clock, read) = (*pid, *clock, time_of(*pid));
            moved |= read != Some(clock);
            let Some(read) = read else { continue };
            spent = spent.saturating_add(read.saturating_sub(clock));
            if let (Some(to), Some(of)) = (self.pids.get_mut(left), self.clocks.get_mut(left)) {
                (*to, *of) = (pid, read);
                left = left.saturating_add(1);
            }
        }
        self.used = left;
        self.count(spent, now);
        if moved {
            (self.still, self.known) = (now, false);
        }
        self.sleeps &= self.spent.is_little();
        moved
    }

    fn count(&mut self, spent: u64, now: u64) {
        self.spent.add(spent, now);
        self.burst = self.burst.saturating_add(spent);
    }

    /// It sleeps, or does so again.
    fn falls_asleep(&mut self, now: u64) {
        if !self.sleeps {
            self.spent = Spent::from(now);
        }
        self.light = match self.burst {
            0 => self.light,
            1..LITTLE => self.light.saturating_add(1),
            _ => 0,
        };
        (self.sleeps, self.known, self.burst) = (true, true, 0);
    }

    /// It goes on.
    fn wakes_up(&mut self, now: u64) {
        (self.sleeps, self.known, self.still) = (false, false, now);
        self.spent = Spent::from(now);
    }

    /// Finds its processes anew. Returns whether there is one that was not known; what that has used is counted.
    fn find(&mut self, roots: &Roots<'_>, now: u64) -> bool {
        let old = *self;
        (self.used, self.overflown) = (0, false);
        roots.each(|pid| self.add(pid, 0));
        let mut at = 0usize;
        while let Some(pid) = self.pids().get(at).copied() {
            each_child(pid, |child| {
                if !roots.jobs.has(child) {
                    self.add(child, 0);
                }
            });
            at = at.saturating_add(1);
        }
        let (mut new, mut spent) = (false, 0u64);
        for (pid, clock) in self.pids.iter().zip(&mut self.clocks).take(self.used) {
            let known = old.pids().iter().position(|p| p == pid);
            *clock = match known.and_then(|at| old.clocks.get(at)) {
                Some(clock) => *clock,
                None => {
                    new = true;
                    let used = time_of(*pid).unwrap_or(0);
                    spent = spent.saturating_add(used);
                    used
                }
            };
        }
        self.count(spent, now);
        new
    }
}

/// Of a process that has ended, nothing. Where there are no such clocks, the ticks in /proc are as good as it gets.
fn time_of(pid: i32) -> Option<u64> {
    sys::cpu_time_of(pid).ok().or_else(|| {
        let stat = proc::stat(pid).filter(|s| !matches!(s.state, b'Z' | b'X'))?;
        Some(stat.ticks.saturating_mul(10_000_000))
    })
}

/// Where the processes of a job begin.
struct Roots<'a> {
    /// Its process; 0 is one that libc starts and collects (system): some child of the client.
    pid: i32,
    client: i32,
    /// The processes of all jobs.
    jobs: &'a Tree,
}

impl Roots<'_> {
    fn each(&self, mut f: impl FnMut(i32)) {
        if self.pid > 0 {
            return f(self.pid);
        }
        each_child(self.client, |child| {
            if !self.jobs.has(child) {
                f(child);
            }
        });
    }
}

/// Since when is it a sleep?
#[derive(Clone, Copy)]
pub struct When {
    /// In ns, as [`sys::now`].
    pub now: u64,
    /// So long a job must have used no processor, in ns.
    pub limit: u64,
    /// Somebody waits to come back: where a job waits for others, a moment is enough.
    pub hurry: bool,
}

impl When {
    fn least(&self) -> u64 {
        if self.hurry {
            MOMENT.min(self.limit)
        } else {
            self.limit
        }
    }
}

/// See the module. All zeros knows nothing yet.
pub struct Activity {
    parts: [Part; RECORDS],
    /// The processes of all jobs.
    jobs: Tree,
}

impl Activity {
    /// Looks at all running jobs, and writes down which of them sleep.
    pub fn look(&mut self, ledger: &Shared, look: &mut Look, when: When) {
        self.jobs.clear();
        for (_, r) in ledger.records().filter(|(_, r)| r.state().is_job()) {
            self.jobs.add(r.pid.load(Acquire));
        }
        look.listed = false;
        for (index, record) in ledger.records() {
            let (state, generation) = record.now();
            let h = Handle { index, generation };
            if is_running(state) {
                self.look_at(ledger, look, h, record, when);
            }
        }
    }

    fn look_at(
        &mut self,
        ledger: &Shared,
        look: &mut Look,
        h: Handle,
        record: &Record,
        when: When,
    ) {
        let now = when.now;
        let Some(part) = self.parts.get_mut(h.index as usize) else { return };
        let client = ledger.record(record.client.load(Acquire));
        let client = client.map_or(0, |c| c.pid.load(Acquire));
        let roots = Roots { pid: record.pid.load(Acquire), client, jobs: &self.jobs };
        if part.job != h.pack() {
            part.begin(h.pack(), now);
            part.find(&roots, now);
            // What it has used before it was looked at is no sign of anything.
            (part.spent, part.burst) = (Spent::from(now), 0);
            return;
        }
        part.tick(now);
        if record.is_parked(h.generation) {
            // As it was when it woke up.
            part.sleeps = true;
            return;
        }
        if part.sleeps && part.told && !record.sleeps(h.generation) {
            part.wakes_up(now);
        }
        let rested = now.saturating_sub(part.still);
        let is_long = || rested >= when.least() || part.spent.is_quiet(now);
        let due = if part.sleeps { !part.known } else { is_long() };
        if due && now >= part.next {
            part.judge(ledger, look, &roots, when);
        }
        part.note(record, h.generation);
    }

    /// Of the jobs that wait to come back, the one that does so for longest.
    pub fn first_parked(&self, ledger: &Shared) -> Option<Handle> {
        let parked = ledger.records().filter_map(|(index, r)| {
            let (state, generation) = r.now();
            let is_parked = state.runs() && r.is_parked(generation);
            let since = self.parts.get(index as usize).map_or(0, |part| part.still);
            is_parked.then_some((since, Handle { index, generation }))
        });
        parked.min_by_key(|(since, h)| (*since, h.index)).map(|(_, h)| h)
    }

    /// Lets one come back.
    pub fn unpark(&mut self, ledger: &Shared, h: Handle, now: u64) {
        if let Some(part) = self.parts.get_mut(h.index as usize).filter(|p| p.job == h.pack()) {
            part.wakes_up(now);
        }
        if let Some(record) = ledger.get(h) {
            record.unpark(h.generation);
        }
    }

    /// Has this job, which is said to sleep, used a processor since the look before?
    pub fn is_awake(&self, h: Handle, now: u64) -> bool {
        let part = self.parts.get(h.index as usize).filter(|part| part.job == h.pack());
        part.is_some_and(|part| part.sleeps && part.still == now)
    }

    /// Did this job sleep when it was looked at?
    pub fn sleeps(&self, h: Handle) -> bool {
        let part = self.parts.get(h.index as usize).filter(|part| part.job == h.pack());
        part.is_some_and(|part| part.sleeps)
    }

    /// Is all of the client asleep, and have its running jobs been for so long? Then what it waits for may be one of
    /// its held jobs, and nothing else. Marks its jobs as asleep, and all below them.
    pub fn prove(
        &mut self,
        ledger: &Shared,
        look: &mut Look,
        client: Handle,
        (need, now): (u64, u64),
    ) -> bool {
        let Some(pid) = ledger.get(client).map(|r| r.pid.load(Acquire)) else { return false };
        let Some(host) = self.parts.get_mut(client.index as usize) else { return false };
        if host.job != client.pack() {
            host.begin(client.pack(), now);
            host.add(pid, time_of(pid).unwrap_or(0));
            return false;
        }
        host.tick(now);
        let (mut still, next) = (host.still, host.next);
        for (h, ..) in ledger.jobs_of(client.index).filter(|(_, state, _)| is_running(*state)) {
            let part = self.parts.get(h.index as usize).filter(|part| part.job == h.pack());
            still = still.max(part.map_or(now, |part| part.still));
        }
        let rested = now.saturating_sub(still);
        if rested < need || now < next {
            return false;
        }
        look.find(ledger, client.index);
        let is_asleep = |mood| matches!(mood, Mood::Waits | Mood::Idle);
        let proven =
            look.judge(ledger, client.index) == Mood::Waits && is_asleep(look.host(ledger, pid));
        if !proven {
            // Much has been asked: not again at once.
            if let Some(host) = self.parts.get_mut(client.index as usize) {
                host.next = now.saturating_add(rested.clamp(need, PAUSE));
            }
            return false;
        }
        self.note_asleep(ledger, look, now);
        true
    }

    fn note_asleep(&mut self, ledger: &Shared, look: &Look, now: u64) {
        for (index, record) in ledger.records() {
            let (state, generation) = record.now();
            let pid = record.pid.load(Acquire);
            let part = self.parts.get_mut(index as usize).filter(|_| is_running(state));
            if let Some(part) = part.filter(|_| look.jobs.has(pid)) {
                part.falls_asleep(now);
                part.note(record, generation);
            }
        }
    }

    /// Does this client run in a job of the ledger? Its implicit slot is that job's. `ask`: also if it was asked before.
    pub fn is_inside(&mut self, client: Handle, pid: i32, ask: bool) -> bool {
        let Some(host) = self.parts.get_mut(client.index as usize) else { return true };
        let fresh = host.job != client.pack();
        if fresh {
            let now = sys::now();
            host.begin(client.pack(), now);
            host.add(pid, time_of(pid).unwrap_or(0));
        }
        if fresh || ask {
            host.inside = proc::line_of(pid).any(|above| self.jobs.has(above));
        }
        host.inside
    }
}

/// Does a job in this state run? One that is held but has not come to its wait may be a forked one that does.
pub fn is_running(state: State) -> bool {
    state.runs() || state == State::Held
}

impl Part {
    /// Writes down whether it sleeps. Until it has left its wait the word has another use.
    fn note(&mut self, record: &Record, generation: u32) {
        self.told = self.sleeps && record.state().runs();
        match self.sleeps {
            _ if !record.state().runs() => {}
            true if self.light >= LIGHT => record.set_sleeps_lightly(generation),
            sleeps => record.set_sleeps(generation, sleeps),
        }
    }

    fn judge(&mut self, ledger: &Shared, look: &mut Look, roots: &Roots<'_>, when: When) {
        let When { limit, now, .. } = when;
        let rested = now.saturating_sub(self.still);
        let new = self.find(roots, now);
        if new && !self.sleeps && !self.spent.is_quiet(now) {
            self.still = now;
            return;
        }
        if self.overflown || !self.spent.is_little() && rested < when.least() {
            self.sleeps = false;
            return;
        }
        self.next = now.saturating_add(when.least().min(PAUSE));
        let long = rested >= limit || self.sleeps || self.spent.is_quiet(now);
        match look.rest(self.pids(), ledger) {
            // On a processor this moment, for as long as its clocks will say.
            Mood::Runs => {}
            Mood::Idle | Mood::Waits => self.falls_asleep(now),
            Mood::Timed if long => self.falls_asleep(now),
            Mood::Unclear if rested >= limit.saturating_mul(UNCLEAR) => self.falls_asleep(now),
            Mood::Timed | Mood::Unclear | Mood::Works => self.sleeps = false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn little_is_a_fiftieth_of_the_last_second() {
        let mut spent = Spent::from(0);
        for tick in 1..200u64 {
            spent.add(MS / 10, tick * 10 * MS);
            assert!(spent.is_little(), "a hundredth, at {tick}");
            assert_eq!(spent.is_quiet(tick * 10 * MS), tick >= 100);
        }
        spent.add(19 * MS, 2_000 * MS);
        assert!(!spent.is_little());
        // It counts for half a second at least, and for a second at most.
        spent.add(0, 2_400 * MS);
        assert!(!spent.is_little());
        spent.add(0, 2_600 * MS);
        spent.add(0, 3_200 * MS);
        assert!(spent.is_little());
    }

    fn empty() -> Box<Part> {
        // SAFETY: zeros are none.
        unsafe { Box::new(std::mem::zeroed()) }
    }

    #[test]
    fn clocks_tell_who_computes() {
        let mut child = std::process::Command::new("/bin/sh")
            .args(["-c", "read x; i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; read x"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut part = empty();
        let pid = child.id() as i32;
        part.begin(1, sys::now());
        part.add(pid, 0);
        while part.tick(sys::now()) {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        part.sleeps = true;
        assert!(!part.tick(sys::now()) && part.sleeps);
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), b"go\n").unwrap();
        let woken = part.still;
        while part.sleeps {
            part.tick(sys::now());
        }
        assert!(part.still > woken && !part.known);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(part.tick(sys::now()), "an end is a move");
    }

    #[test]
    fn there_is_room_for_so_many_processes() {
        let mut part = empty();
        (1..=MOST as i32).for_each(|pid| part.add(pid, 0));
        part.add(1, 0);
        assert!(!part.overflown);
        part.add(MOST as i32 + 1, 0);
        assert!(part.overflown);
    }
}
