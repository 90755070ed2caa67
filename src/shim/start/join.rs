//! Joining the pool, when two jobs run at once for the first time: which program this is, and which pool is ours.

use core::mem::MaybeUninit;
use core::sync::atomic::Ordering::Relaxed;

use jsshim_engine::client::{Client, Setup};
use jsshim_engine::join::{self, word, Found, Problem, Settings};
use jsshim_engine::ledger::rundir;
use jsshim_engine::pool::tokens::Pool;
use jsshim_engine::pool::{cpus, own_pool, pipe};
use jsshim_engine::text::{Path, Text};
use jsshim_engine::{makeflags, sys};

use crate::exec::bounds;
use crate::job::state::STATE;
use crate::job::stats;

use super::helper;
use super::program::{self, has_left_pool, is_ninja, is_told_otherwise, obeys};
use super::settings::{self, given_dir, left_out, load_limit, settle_modes, wanted};

/// The memory for the client of this process.
type Place = MaybeUninit<Client>;

/// Sets up the client of this process. Returns false if it is not gated.
#[inline(never)]
pub fn find(place: &mut Place) -> bool {
    settle_modes();
    if left_out() {
        return false;
    }
    let mut settings = settings::of_pool();
    let speaks = speaks();
    if speaks && obeys(settings) {
        return false;
    }
    if speaks && has_left_pool() {
        settings.makeflags = STATE.first_flags();
    }
    // By reference: the result is large.
    match &join::find(settings) {
        Found::Pool(pool, load) => {
            // A speaker tells its children of a pool of its own making, which is no limit.
            let overrides = word::overrides(settings.pool) || speaks && !is_ninja();
            let slots = if overrides { 0 } else { slots_said(settings) };
            let own = Own { load_milli: load_limit(*load), slots, overrides, root: 0 };
            enter(place, pool, own, None).map_err(|e| refuse(e.0)).is_ok()
        }
        Found::One if !speaks => make(place, 1),
        Found::None if !speaks => make(place, wanted()),
        // The wanted size was for that build.
        Found::Over if !speaks => make(place, cpus::default_slots()),
        // It makes its own pool.
        Found::One | Found::None | Found::Over => false,
        &Found::Unusable(problem) => {
            warn_of(problem);
            make(place, if problem == Problem::Gone { cpus::default_slots() } else { 1 })
        }
    }
}

/// Returns whether this program takes its slots itself: not if it is gated though it speaks the protocol
/// (`JSSHIM_FORCE`).
fn speaks() -> bool {
    !settings::is_forced() && program::speaks()
}

#[inline(never)]
fn warn_of(problem: Problem) {
    STATE.warn(problem.text().bytes());
}

/// The `-j` of MAKEFLAGS, if MAKEFLAGS names the pool: make writes it for information.
fn slots_said(settings: Settings<'_>) -> u32 {
    let flags = makeflags::parse(settings.makeflags.unwrap_or(b""));
    flags.jobs.filter(|_| flags.auth.is_some()).unwrap_or(0)
}

/// Called before main, with `JSSHIM_JOBS`: makes the pool whether or not this program is gated. Returns the value of
/// `JSSHIM_POOL`.
pub fn found(record_first: fn(&Client)) -> Option<Text<320>> {
    let slots = wanted();
    let mut result = None;
    let find = |place: &mut Place| {
        settle_modes();
        if !make(place, slots) {
            return false;
        }
        // SAFETY: `make` has made it.
        let pool = unsafe { &place.assume_init_ref().pool };
        result = Some(word::encode(pool));
        // Its MAKEFLAGS will name the pool.
        let obeys = speaks() && !is_told_otherwise();
        !left_out() && !obeys
    };
    STATE.join(find, record_first);
    result
}

/// Our part of a client's [`Setup`].
#[derive(Default)]
struct Own {
    load_milli: u32,
    root: i32,
    slots: u32,
    overrides: bool,
}

/// `dir`: where the pool has just been made.
#[inline(never)]
fn enter(place: &mut Place, pool: &Pool, own: Own, dir: Option<&Path>) -> sys::Result<()> {
    let Own { load_milli, root, slots, overrides } = own;
    let (me, given, helper) = (&STATE.me, given_dir(), helper::find());
    if given.is_some_and(rundir::is_unfit) {
        STATE.warn(rundir::UNFIT.as_bytes());
    }
    let (stats, trace) = (settings::wants_stats(), &settings::trace_file);
    let share = settings::share();
    let setup = Setup {
        me,
        pool,
        given,
        dir,
        helper,
        load_milli,
        root,
        slots,
        overrides,
        share,
        stats,
        trace,
    };
    bounds::note();
    let made = Client::init(place, &setup).map(call_guard);
    made.inspect(|()| stats::keep_stderr())
}

/// If the ledger has had a guard, there may be a process that needs one.
#[inline(never)]
fn call_guard(client: &Client) {
    client.debug.store(STATE.debug.load(Relaxed), Relaxed);
    if client.ledger().header.guard.load(Relaxed) != 0 {
        client.guard(STATE.env.load(Relaxed).cast_const(), true);
    }
}

#[inline(never)]
fn refuse(errno: i32) {
    // If `JSSHIM_POOL` is set, an ancestor could use the directory: this process is in a sandbox, and so are many
    // others. No warning.
    let bound =
        matches!(errno, libc::EACCES | libc::EPERM | libc::EROFS | libc::ENOENT | libc::ENOSYS);
    if bound && STATE.pool().is_some() && !STATE.debug.load(Relaxed) {
        return;
    }
    let why: &[u8] = match errno {
        libc::EACCES => b", not yours alone",
        libc::ENOSPC => b", no space left",
        libc::EROFS => b", read-only",
        libc::ENOENT => b", no such place",
        libc::EFBIG => b", ulimit -f is too small",
        _ => b"",
    };
    let text: Text<160> = Text::new(b"no run-time directory for the ledger (errno ");
    STATE.warn(text.num(errno).with(why).with(b"); this process is not gated").bytes());
}

/// Makes a pool of our own, and its ledger beside it. The description that filled the pool stays open: the guard opens
/// the pool, too, but without a guard the pool would be lost.
#[inline(never)]
fn make(place: &mut Place, slots: u32) -> bool {
    let load_milli = load_limit(0);
    let made = rundir::make_in(given_dir(), |dir| {
        let (pool, fd) = own_pool::make(dir, slots)?;
        let own = Own { load_milli, root: sys::getpid(), slots, overrides: false };
        let entered = enter(place, &pool, own, Some(dir));
        entered.map(|()| fd).inspect_err(|_| {
            sys::close(fd);
            let _ = sys::unlink(pool.path.c());
        })
    });
    let fd = match made {
        Ok(fd) => fd,
        Err(e) => {
            refuse(e.0);
            return false;
        }
    };
    pipe::move_high(fd);
    // SAFETY: `enter` has initialised it.
    let client = unsafe { place.assume_init_ref() };
    client.guard(STATE.env.load(Relaxed).cast_const(), true);
    true
}
