//! The wait of a held job: in the helper for a job that execs, inside `fork` for a job that does not.
//!
//! One job of a client reads the pool, the first one that waits ([`crate::ledger::order`]); the others sleep until they
//! are woken. So each client has one place in the pool's queue, however many jobs it has, and a token wakes one process.
//!
//! The reader's wait is a *blocking* read: the kernel queues blocking readers first come first served and wakes one of
//! them, where pollers stampede. It has one other way out: the client (or the guard) makes the job the implicit one and sends
//! [`WAKE`], whose handler closes the descriptor that is read. So a signal just before the read is not lost: the read
//! finds the descriptor closed. The descriptor is published before the state is read, and the state is changed before
//! the signal is sent; one of the two sides always sees the other. A timer sends the signal, too, in case no process
//! does. If there is no signal to be had, or no guard, the job polls instead. So does a job of the background, which
//! leaves a token that has come to others first ([`crate::ledger::background`]).
//!
//! | module | one idea |
//! |---|---|
//! | [`exec_pipe`] | a host's thread waits with its job |
//! | [`inputs`] | the pipeline rule |
//! | [`handed`] | the file that tells the helper of a job of `jsshim --all` |
//! | `reading` | the blocking read, and the ways out of it |
//! | [`spec`] | the arguments of the helper |
//! | [`park`] | a job that has slept, and waits until a slot is free again |

pub mod exec_pipe;
pub mod handed;
pub mod inputs;
pub mod park;
mod reading;
pub mod spec;

use core::sync::atomic::Ordering::Acquire;

use crate::ledger::access::Ledger;
use crate::ledger::background::YIELD_MILLIS;
use crate::ledger::handle::Handle;
use crate::ledger::reason::Reason;
use crate::ledger::record::Record;
use crate::ledger::signals::WAKE;
use crate::pool::tokens::{Pool, Taken};
use crate::slots::State;
use crate::sys::{self, Errno};
use crate::{clock, space};

use inputs::{fed_by_sibling, is_read_by_host, Inputs, SHARED_MILLIS};
use reading::BLIND_MILLIS;

/// How often a start that waits for the load to fall checks again, in ms.
const LOAD_MILLIS: u32 = 500;

/// How often a waiting job checks for itself, in ms: the process that was to wake it may have been killed. In unit
/// tests it is so long that it cannot hide a lost wake-up.
const CHECK_MILLIS: u32 = if cfg!(test) { 600_000 } else { 2000 };
/// How much longer for each waiting job of the ledger, in ms: all together they use the same time, however many they are.
const CHECK_MORE_MILLIS: u32 = 4;
/// The longest such time, in ms.
const CHECK_MOST_MILLIS: u32 = 60_000;

/// How often, and for how many ms each time, it waits for a pool that is gone.
const GONE_CHECKS: u32 = 3;
const GONE_MILLIS: u32 = 25;

/// The host has jumped out of [`wait`]: the job waits no more.
pub fn abandon() {
    reading::close();
    reading::end();
}

/// Waits until the job may run. Returns the state in which it runs. Restores the signal mask and disposition; leaves no
/// descriptor open. Async-signal-safe.
///
/// `inputs` are descriptors for the pipeline rule: a job starts when one of them is a sibling's pipe with data in it.
/// `guard` starts a guard, if there was one and it has been killed.
pub fn wait(ledger: &Ledger, job: Handle, pool: &Pool, inputs: &[i32], guard: &dyn Fn()) -> State {
    space::enter(ledger.header.space());
    let job = match job.lacks_record() {
        Some(client) => ledger.claim_later(client, sys::getpid()),
        None => Some(job),
    };
    let with_record = |job: Handle| Some((job, ledger.get(job)?));
    let Some((job, record)) = job.and_then(with_record) else { return State::Overdraft };
    clock::settle();
    ledger.note_process(job, sys::getpid());
    if !record.state().is_held() {
        // It has a slot already.
        return record.state();
    }
    // A WAKE signal of the host's own, which the host has blocked, must still be pending afterwards.
    reading::begin();
    let kept = sys::pending() & sys::sigset(WAKE) != 0;
    // SAFETY: the handler only swaps an atomic and closes a descriptor.
    let before = unsafe { sys::sigaction(WAKE, &sys::Action::handler(reading::woken)) };
    let mask = sys::sigmask(libc::SIG_BLOCK, sys::sigset(WAKE));
    let mut queue = Queue {
        ledger,
        job,
        record,
        pool,
        inputs: Inputs::new(inputs, pool),
        mask: mask.unwrap_or(0) & !sys::sigset(WAKE),
        reads: false,
        timed: false,
        yields: ledger.is_background(record.client.load(Acquire)),
        deaf: before.is_err() || mask.is_err(),
        patience: GONE_CHECKS,
    };
    let started = ledger.step(job, State::Waiting).is_none();
    if !started {
        ledger.notify_guard();
    }
    let why = if started { Reason::None } else { queue.wait(guard) };
    let start = finish(ledger, job, record, pool, why);
    reading::end();
    let _ = sys::sigmask(libc::SIG_BLOCK, sys::sigset(WAKE));
    sys::discard_pending(sys::sigset(WAKE));
    if let Ok(before) = before {
        // SAFETY: restores the action from before.
        let _ = unsafe { sys::sigaction(WAKE, &before) };
    }
    if kept {
        let _ = sys::kill(sys::getpid(), WAKE);
    }
    if let Ok(mask) = mask {
        let _ = sys::sigmask(libc::SIG_SETMASK, mask);
    }
    start
}

/// Settles what came first: a byte, a grant, both, or a reason to start without a slot.
fn finish(ledger: &Ledger, job: Handle, record: &Record, pool: &Pool, why: Reason) -> State {
    reading::close();
    record.landing.forgo(job.generation);
    let landed = record.landing.is_marked(job.generation);
    let started = landed && ledger.step(job, State::Token).is_some();
    if !landed && why != Reason::None && ledger.overdraw(job, why).is_some() {
        return State::Overdraft;
    }
    // It was granted a slot, or a sibling gave it a byte: a byte that landed as well is not needed.
    if landed && (!started || record.gift.is_full(job.generation)) {
        pool.give_from(&record.landing, job.generation);
        pool.close();
    }
    // The implicit slot may have become free at the same moment, when this job was neither held nor seen to run.
    ledger.settle(record.client.load(Acquire), pool);
    record.state()
}

/// A job in its wait.
struct Queue<'a> {
    ledger: &'a Ledger,
    job: Handle,
    record: &'a Record,
    pool: &'a Pool,
    inputs: Inputs,
    /// The host's signal mask, without [`WAKE`].
    mask: u64,
    /// It reads the pool: it is the first job of its client that waits, or cannot be woken.
    reads: bool,
    /// The timer runs.
    timed: bool,
    /// It is of the background.
    yields: bool,
    /// No signal can end a blocking read.
    deaf: bool,
    /// How often it checks again for a pool that is gone.
    patience: u32,
}

impl Queue<'_> {
    /// Waits until there is a byte or a grant. Otherwise returns the reason to start without a slot.
    fn wait(&mut self, guard: &dyn Fn()) -> Reason {
        let client = self.record.client.load(Acquire);
        let mut looked = false;
        let mut rested = false;
        loop {
            // A killed guard may be a zombie that nobody reaps: then only its lock tells.
            if looked || !self.ledger.has_guard() {
                guard();
            }
            looked = true;
            if !self.takes_turn(client, rested) {
                if !self.ledger.repair_waiting(self.job, client, self.pool) {
                    return self.lost();
                }
                if self.rest() {
                    return Reason::Partner;
                }
                rested = true;
                continue;
            }
            if let Some((guard, fd)) = self.ledger.header.kept_by() {
                self.pool.reach_by(guard, fd);
            }
            let blind = self.deaf || !self.ledger.has_guard();
            let Some(fd) = reading::open(self.pool, self.inputs.any() || blind || self.yields)
            else {
                if self.awaits_pool() {
                    continue;
                }
                return Reason::PoolGone;
            };
            reading::publish(fd);
            if !self.ledger.repair_waiting(self.job, client, self.pool) {
                return self.lost();
            }
            if self.ledger.too_loaded() {
                sys::sleep_millis(LOAD_MILLIS);
            } else if let Some(end) = self.check_once(fd, blind) {
                return end;
            }
            reading::close();
        }
    }

    /// Checks the inputs and the pool once. Returns None if nothing came of it.
    fn check_once(&mut self, fd: i32, blind: bool) -> Option<Reason> {
        let most = if blind { BLIND_MILLIS } else { -1 };
        if let Some(input) = self.inputs.wait(fd, most) {
            if self.is_fed(input) {
                return Some(Reason::Partner);
            }
        }
        let polls = blind || self.yields;
        let taken = if polls {
            self.take_polled(fd, most)
        } else {
            reading::take(fd, self.job, self.record)
        };
        match taken {
            Ok(1) if self.ledger.pass_on(self.job, self.pool) => None,
            Ok(1) => Some(Reason::None),
            Ok(_) => (!self.awaits_pool()).then_some(Reason::PoolGone),
            // The inherited description may be non-blocking.
            Err(Errno::AGAIN) if !self.inputs.any() && !polls => {
                reading::wait_readable(fd, most);
                None
            }
            // A wake-up: by a handler, or because the descriptor has been closed.
            Err(Errno::AGAIN | Errno::INTR | Errno::BADF) => None,
            Err(_) => Some(Reason::PoolGone),
        }
    }

    /// Returns whether this job reads the pool from now on. `rested`: it has slept, and does not know why it was woken.
    fn takes_turn(&mut self, client: u32, rested: bool) -> bool {
        let must = self.deaf || space::is_elsewhere();
        if self.reads && must {
            return true;
        }
        let has_read = self.reads;
        if has_read {
            self.stop_reading();
        }
        self.reads = must || self.ledger.is_turn_of(self.job, client, rested || has_read);
        if self.reads {
            self.begin_reading();
        }
        if self.reads && !has_read {
            self.ledger.relieve_reader(client);
        }
        self.reads
    }

    fn begin_reading(&mut self) {
        // By this the others see that it reads.
        let _ = self.record.landing.announce(self.job.generation);
        if !self.timed {
            self.deaf |= !reading::start_timer(check_millis(self.ledger));
            self.timed = true;
        }
        self.deaf |= sys::sigmask(libc::SIG_UNBLOCK, sys::sigset(WAKE)).is_err();
    }

    /// It began to read before older jobs waited. In this order: a job that leaves calls those that do not read, and
    /// a signal that comes from now on ends the next sleep.
    fn stop_reading(&mut self) {
        let _ = sys::sigmask(libc::SIG_BLOCK, sys::sigset(WAKE));
        self.record.landing.forgo(self.job.generation);
    }

    /// Sleeps until it is woken, or has input. [`WAKE`] is blocked but here: one that came before ends the sleep at once.
    /// Returns whether it is the reading end of a pipeline, with data.
    fn rest(&mut self) -> bool {
        let nanos = u64::from(check_millis(self.ledger)).saturating_mul(1_000_000);
        match self.inputs.rest(nanos, self.mask) {
            Ok(Some(input)) => self.is_fed(input),
            Ok(None) | Err(Errno::INTR) => false,
            // It cannot sleep so: it reads the pool as one that cannot be woken.
            Err(_) => {
                self.deaf = true;
                false
            }
        }
    }

    /// Returns whether this input makes the job the reading end of a pipeline.
    fn is_fed(&mut self, input: i32) -> bool {
        let fed = fed_by_sibling(self.ledger, self.record, input);
        let shared = fed && input != 0 && is_read_by_host(self.ledger, self.record, input);
        if fed && !shared {
            return true;
        }
        if shared && self.inputs.lingers() {
            sys::sleep_millis(SHARED_MILLIS);
        } else {
            self.inputs.drop(input);
        }
        false
    }

    /// Why the wait is over: it was started, or a broken ledger has lost it.
    fn lost(&self) -> Reason {
        let lost = self.record.state() == State::Waiting;
        if lost {
            Reason::Unheld
        } else {
            Reason::None
        }
    }

    /// The pool is gone with its make. Its guard may be about to make a new one for daemons: waits a moment.
    fn awaits_pool(&mut self) -> bool {
        self.patience = self.patience.saturating_sub(1);
        let waits = self.patience > 0 && self.ledger.has_guard();
        if waits {
            sys::sleep_millis(GONE_MILLIS);
        }
        waits
    }

    /// Leaves a token to the clients that want one. Returns whether there are any.
    fn is_wanted(&self) -> bool {
        sys::sleep_millis(YIELD_MILLIS);
        let millis = self.ledger.yields_for();
        if millis > 0 {
            sys::sleep_millis(millis);
        }
        millis > 0
    }

    /// [`reading::take`] that never blocks, after a pause in which a token may arrive.
    fn take_polled(&self, fd: i32, millis: i64) -> sys::Result<usize> {
        if !self.inputs.any() {
            reading::wait_readable(fd, millis);
        }
        if self.yields && self.is_wanted() {
            return Err(Errno::AGAIN);
        }
        match self.pool.take(self.record, self.job.generation) {
            Taken::Yes => Ok(1),
            Taken::Empty => Err(Errno::AGAIN),
            Taken::Gone => Ok(0),
        }
    }
}

/// How long a waiting job sleeps before it checks for itself, in ms.
fn check_millis(ledger: &Ledger) -> u32 {
    let more = ledger.count_waiting().saturating_mul(CHECK_MORE_MILLIS);
    CHECK_MILLIS.saturating_add(more).min(CHECK_MOST_MILLIS.max(CHECK_MILLIS))
}
