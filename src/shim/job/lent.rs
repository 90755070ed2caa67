//! Whether the slot of this process's job is lent: the job that it is, or that contains it.

use core::ptr::null_mut;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU32, AtomicU64};

use jsshim_engine::client::Client;
use jsshim_engine::hold::park;
use jsshim_engine::join::{self, word, Found};
use jsshim_engine::ledger::access::Ledger;
use jsshim_engine::ledger::handle::Handle;
use jsshim_engine::ledger::record::is_lent;
use jsshim_engine::ledger::rundir;
use jsshim_engine::pool::pipe::Id;
use jsshim_engine::watchdog::settings::Count;
use jsshim_engine::{space, sys};

use crate::exec::environ;
use crate::host::next::Next;
use crate::start::settings;

use super::state::{ACTIVE, STATE};

/// The word in the job's record that tells ([`is_lent`]), or [`NEVER`]; null: the job is not known.
#[link_section = ".bss._lent"]
static WORD: AtomicPtr<AtomicU32> = AtomicPtr::new(null_mut());
/// The word will not change: this process is the job, or is in no job of a pool. A process of the job of an ancestor may
/// become a job of its own, since a host's first child gets a record only when there is a second one.
#[link_section = ".bss._lent"]
static SETTLED: AtomicBool = AtomicBool::new(false);
/// The job.
#[link_section = ".bss._lent"]
static JOB: AtomicU64 = AtomicU64::new(0);
/// Its ledger.
#[link_section = ".bss._lent"]
static LEDGER: AtomicPtr<Ledger> = AtomicPtr::new(null_mut());
/// When this process was last seen in such a call, in ms; 0: never. Not kept if [`SETTLED`].
#[link_section = ".bss._lent"]
static SEEN: AtomicU64 = AtomicU64::new(0);
/// The thread that goes on by the grace, which it gives back when it sleeps; 0: none.
#[link_section = ".bss._lent"]
static GRACED: AtomicI32 = AtomicI32::new(0);
/// This process has slept while its slot was lent, and goes on: when it sleeps again it passes the slot on.
#[link_section = ".bss._lent"]
static WOKEN: AtomicBool = AtomicBool::new(false);
/// It has been searched for the job of this process because it is a client, and slots are lent.
#[link_section = ".bss._lent"]
static SEARCHED: AtomicBool = AtomicBool::new(false);
/// For a process that is in no job of a pool.
static NEVER: AtomicU32 = AtomicU32::new(0);

/// A slot is lent only after a sleep longer than this, in ms ([`jsshim_engine::watchdog`]). The clock used here
/// advances in steps of up to 10 ms.
const LONG: u64 = 8;
/// As [`LONG`], for waits for a child, which are frequent in shells.
const LONGER: u64 = 20;

#[link_section = "jsshim_doors"]
static CLOCK: Next<unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> libc::c_int> =
    Next::new("clock_gettime\0");

/// Called in a forked child: it is this job. Its own forks are part of the job unless this is called in them, too. Does
/// not read the record: that would map its page.
pub fn is_job(job: Handle) {
    if let Some(ledger) = STATE.client().map(|client| client.ledger()) {
        set(ledger, job, true);
    }
}

/// `own`: this process is the job itself.
fn set(ledger: &Ledger, job: Handle, own: bool) {
    let Some(record) = ledger.own_record(job) else { return };
    JOB.store(job.pack(), Relaxed);
    LEDGER.store(core::ptr::from_ref(ledger).cast_mut(), Relaxed);
    // Release: whoever sees the word sees the rest.
    WORD.store((&raw const record.note).cast_mut(), Release);
    SETTLED.store(own, Relaxed);
}

/// Makes a call in which this process may sleep. `sleeps_now` tells whether it would; it is asked only while other jobs
/// wait for the slot of a job that sleeps.
#[inline]
pub fn across<R>(sleeps_now: impl FnOnce() -> bool, call: impl FnOnce() -> R) -> R {
    sleeps();
    if passes() && sleeps_now() {
        pass();
    }
    let ret = call();
    woken_after(LONG);
    ret
}

/// Makes a call that waits for a child, as these options tell, and ends the child's job.
#[inline]
pub fn across_wait<R>(options: libc::c_int, call: impl FnOnce() -> R) -> R {
    sleeps();
    if options & libc::WNOHANG == 0 && passes() && sys::peek_any().is_none() {
        pass();
    }
    let ret = call();
    woken_after(LONGER);
    ret
}

/// Makes a read(2), the most frequent call. The clock is read only in a process that was forked and has not exec'ed.
#[inline]
pub fn across_read<R>(sleeps_now: impl FnOnce() -> bool, call: impl FnOnce() -> R) -> R {
    if STATE.is_fork() {
        return across(sleeps_now, call);
    }
    if passes() && sleeps_now() {
        pass();
    }
    let ret = call();
    woken_with(false);
    ret
}

/// Returns whether slots may be lent, as far as this process knows.
#[cold]
fn may_be_lent() -> bool {
    known_ledger().is_none_or(Ledger::lends)
}

/// Returns whether this process has to pass its slot on when it falls asleep, if it is in a job. Almost always it is in
/// none that is known, and has started none.
#[inline]
fn passes() -> bool {
    (!LEDGER.load(Relaxed).is_null() || STATE.phase() == ACTIVE) && has_reason_to_pass()
}

/// Others wait for slots often, or it has just woken up, or it is in a job, as far as is known, and has a held one.
#[cold]
#[inline(never)]
fn has_reason_to_pass() -> bool {
    let may_be = || JOB.load(Relaxed) != 0 || !SEARCHED.load(Relaxed);
    let has_held = || {
        let client = STATE.client();
        client.is_some_and(|c| c.ledger().lends() && may_be() && c.has_held())
    };
    known_ledger().is_some_and(|ledger| WOKEN.load(Relaxed) || ledger.passes()) || has_held()
}

/// The ledger of this process's pool, as far as it is known.
#[inline]
fn known_ledger() -> Option<&'static Ledger> {
    // SAFETY: null, or a mapping that is never unmapped. Relaxed: the header was complete before this process knew it.
    unsafe { LEDGER.load(Relaxed).cast_const().as_ref() }
}

/// Passes the slot on, if this process is the job.
#[cold]
#[inline(never)]
fn pass() {
    if STATE.foreign() {
        return;
    }
    if known().is_none() {
        search();
    }
    WOKEN.store(false, Relaxed);
    if let Some((ledger, job)) = known() {
        let own = STATE.client().map_or(0, Client::known);
        park::pass(ledger, job, own);
    }
}

/// Called before a call in which this process may sleep for long.
#[inline]
fn sleeps() {
    // Relaxed: only the thread that has stored it takes it.
    if GRACED.load(Relaxed) != 0 {
        gives_back();
    }
    if !SETTLED.load(Relaxed) && SEEN.load(Relaxed) == 0 {
        SEEN.store(millis(), Relaxed);
    }
}

/// Called after such a call: a process that has slept for longer than this may be in a job whose slot is lent.
#[inline]
fn woken_after(long: u64) {
    if !SETTLED.load(Relaxed) {
        let now = millis();
        if now.saturating_sub(SEEN.swap(now, Relaxed)) > long && may_be_lent() {
            find();
        }
    }
    woken_with(false);
}

#[inline]
fn woken_with(starts: bool) {
    if is_lent_now() {
        wait(starts);
    }
}

/// Returns whether the slot of this process's job is lent, as far as is known.
#[inline]
fn is_lent_now() -> bool {
    // SAFETY: null, or in the ledger's mapping, which is never unmapped. Relaxed: a record's word does not move, and its
    // value is checked again.
    unsafe { WORD.load(Relaxed).as_ref() }.is_some_and(|word| is_lent(word.load(Relaxed)))
}

/// Called before a child is made: a process that starts another computes, whatever it did before.
#[inline]
pub fn starts() {
    // It may have woken up after a sleep that was too short for a search, with its slot lent.
    let lends = || STATE.client().is_some_and(|client| client.ledger().lends());
    if JOB.load(Relaxed) == 0 && !SETTLED.load(Relaxed) && lends() {
        search();
    }
    woken_with(true);
}

/// Finds the job of this process, once.
#[cold]
#[inline(never)]
fn search() {
    if !STATE.foreign() && !SEARCHED.swap(true, Relaxed) {
        find();
    }
}

/// A clock that costs a few ns to read, and advances once per tick of the kernel.
fn millis() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    if let Some(read) = CLOCK.get() {
        // SAFETY: room for one timespec.
        unsafe { read(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    }
    (time.tv_sec as u64).wrapping_mul(1000).wrapping_add(time.tv_nsec as u64 / 1_000_000)
}

#[cold]
#[inline(never)]
fn wait(starts: bool) {
    // A vfork child has its parent's word.
    if STATE.foreign() {
        return;
    }
    if !SETTLED.load(Relaxed) {
        find();
    }
    if let Some((ledger, job)) = known().filter(|_| is_lent_now()) {
        match park::wait(ledger, job, starts) {
            park::On::Grace => GRACED.store(sys::gettid(), Relaxed),
            park::On::Slot => WOKEN.store(ledger.lends(), Relaxed),
        }
    }
}

/// The job of this process, and its ledger.
fn known() -> Option<(&'static Ledger, Handle)> {
    known_ledger().zip(Handle::unpack(JOB.load(Acquire)))
}

/// Gives the grace back, if this is the thread that has taken it. In a forked child it is another one.
#[cold]
#[inline(never)]
fn gives_back() {
    let me = sys::gettid();
    if GRACED.compare_exchange(me, 0, Relaxed, Relaxed).is_ok() {
        if let Some((ledger, job)) = known() {
            park::give_back(ledger, job);
        }
    }
}

/// Finds the job of this process. Called after a long sleep only, because the search costs more than many jobs use. A
/// first job has no record before there is a second one, and its pool may have no ledger: until then the job of an
/// ancestor counts, if there is one, and this is called again after the next sleep.
#[cold]
#[inline(never)]
fn find() {
    if STATE.foreign() {
        return;
    }
    let all = environ::own(b"JSSHIM_COUNT=").and_then(Count::parse) == Some(Count::Processes);
    let id = (!all && !space::is_elsewhere()).then(pool).flatten();
    if let Some(ledger) = id.and_then(ledger) {
        LEDGER.store(core::ptr::from_ref(ledger).cast_mut(), Relaxed);
        if let Some((job, own)) = job_of(ledger) {
            set(ledger, job, own);
        }
    } else if all || id.is_none() && !STATE.is_fork() {
        WORD.store((&raw const NEVER).cast_mut(), Release);
        SETTLED.store(true, Relaxed);
    }
}

/// Called in a forked child: it may be a job, whatever its parent is. Writes only where something changes: the page may
/// be its parent's still.
pub fn forked() {
    if core::ptr::eq(WORD.load(Relaxed), &NEVER) {
        WORD.store(null_mut(), Relaxed);
    }
    if SETTLED.load(Relaxed) {
        SETTLED.store(false, Relaxed);
    }
    if SEEN.load(Relaxed) != 0 {
        SEEN.store(0, Relaxed);
    }
    for flag in [&WOKEN, &SEARCHED] {
        if flag.load(Relaxed) {
            flag.store(false, Relaxed);
        }
    }
}

/// The pool that the environment names.
fn pool() -> Option<Id> {
    if let Some(client) = STATE.client() {
        return Some(client.pool.id);
    }
    let told = STATE.pool().and_then(word::decode).map(|(id, _)| id);
    told.or_else(|| match &join::find(settings::of_pool()) {
        Found::Pool(pool, _) => Some(pool.id),
        _ => None,
    })
}

fn ledger(id: Id) -> Option<&'static Ledger> {
    if let Some(client) = STATE.client() {
        return Some(client.ledger());
    }
    if let Some(ledger) = known_ledger() {
        return Some(ledger);
    }
    let space = space::own();
    rundir::search(settings::given_dir(), |dir| {
        let ledger = Ledger::open(rundir::ledger(dir, id, space).c()).ok()?;
        (ledger.header.id() == id).then_some(ledger)
    })
}

/// The job that this process is, or that of its nearest ancestor; and whether it is the first.
fn job_of(ledger: &Ledger) -> Option<(Handle, bool)> {
    let own = sys::getpid();
    ledger.job_above(own).map(|(job, record)| (job, record.pid.load(Acquire) == own))
}
