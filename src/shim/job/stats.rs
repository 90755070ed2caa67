//! The statistics that `JSSHIM_STATS` asks for: which process writes them, and where to.
//!
//! For a pool of our own, the process with which the pool ends writes them. For make's pool it is the last of the
//! programs that no job of the ledger started. Each number is reported once, so that blocks add up. Hosts close their
//! stderr before the very end, so a process that may have to write keeps a copy of it.

use core::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU64};

use jsshim_engine::client::Client;
use jsshim_engine::guard::keeper::Keeper;
use jsshim_engine::join::word;
use jsshim_engine::ledger::access::Ledger;
use jsshim_engine::ledger::rundir;
use jsshim_engine::ledger::stats::Counts;
use jsshim_engine::pool::pipe::{self, Id};
use jsshim_engine::room::{Room, PATH_ROOM};
use jsshim_engine::show::lanes::Kind;
use jsshim_engine::show::numbers::{self, Asked, Origin};
use jsshim_engine::show::trace;
use jsshim_engine::slots::State as Slot;
use jsshim_engine::text::{Path, Text};
use jsshim_engine::{proc, space, sys};

use crate::start::program;
use crate::start::settings::{self, given_dir};

use super::state::STATE;

/// Statistics are wanted, and this process has not written them.
pub static WANTED: AtomicBool = AtomicBool::new(false);
/// The copy of stderr, or -1; and its device and inode, since a host may close it and reuse the number.
static COPY: AtomicI32 = AtomicI32::new(-1);
static FILE: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// This process, perhaps before an exec, has made the pool that the environment names.
static ROOT: AtomicBool = AtomicBool::new(false);

/// Called by the constructor: statistics are wanted.
pub fn begin(root: bool) {
    WANTED.store(true, Release);
    ROOT.store(root, Release);
    if root {
        keep_stderr();
    }
}

/// Called by the constructor: this process has made the pool for itself and all below it.
pub fn made_pool() {
    ROOT.store(true, Release);
}

/// Returns whether this process has made the pool that the environment names, or was started as the first one on it.
pub fn is_root() -> bool {
    ROOT.load(Relaxed)
}

/// Keeps a copy of stderr if the statistics are written there.
#[inline(never)]
pub fn keep_stderr() {
    let wanted =
        WANTED.load(Relaxed) && settings::stats_asked() == Asked::Block && COPY.load(Relaxed) < 0;
    let (Some((dev, ino)), [d, i]) = (sys::file_id(2).ok().filter(|_| wanted), &FILE) else {
        return;
    };
    if let Ok(fd) = pipe::copy_high(2) {
        d.store(dev, Relaxed);
        i.store(ino, Relaxed);
        COPY.store(fd, Release);
    }
}

/// Closes the copy in a forked child, where it would keep a reader of that pipe waiting.
#[inline]
pub fn forked() {
    // Loaded before it is written: without a store the child copies no page.
    if COPY.load(Relaxed) >= 0 {
        close_copy();
    }
}

#[inline(never)]
fn close_copy() {
    let fd = COPY.swap(-1, AcqRel);
    if fd >= 0 && is_copy(fd) {
        sys::close(fd);
    }
}

fn is_copy(fd: i32) -> bool {
    let [d, i] = &FILE;
    sys::file_id(fd) == Ok((d.load(Relaxed), i.load(Relaxed)))
}

/// Called when the process ends: writes the statistics if that is this process's task, once.
#[inline(never)]
pub fn write_if_asked(client: Option<&Client>) {
    let asked = settings::stats_asked();
    if asked == Asked::Nothing {
        return;
    }
    let is_last = |client: &Client| {
        let ledger = client.ledger();
        ledger.header.root.load(Acquire) == 0 && leaves_last(ledger, client.known())
    };
    let is_made_here = |ledger: &Ledger| ledger.header.root.load(Acquire) == sys::getpid();
    let own = client.filter(|c| is_made_here(c.ledger()) || is_last(c)).map(Client::ledger);
    let made = || is_root().then(named).flatten().filter(|l| is_made_here(l));
    let Some(ledger) = own.or_else(made) else { return };
    if !WANTED.swap(false, AcqRel) {
        return;
    }
    let h = &ledger.header;
    let (counts, root) = (h.stats.take(), h.root.load(Acquire));
    if counts.jobs == 0 && root == 0 {
        return;
    }
    let (peak, slots) = (h.lanes.peak(Kind::Slot), h.slots.load(Relaxed));
    let origin = Origin { program: program::name(), peak, slots };
    match asked {
        Asked::File(file) => append(file, h.id(), &counts, origin),
        _ => print(&counts, origin),
    }
}

/// Writes the block, to the original stderr.
#[inline(never)]
fn print(counts: &Counts, origin: Origin<'_>) {
    let copy = COPY.load(Acquire);
    let to = if copy >= 0 && is_copy(copy) { copy } else { 2 };
    let _ = sys::write(to, numbers::block(counts, origin).bytes());
}

/// Appends the line to the file.
#[inline(never)]
fn append(file: &[u8], id: Id, counts: &Counts, origin: Origin<'_>) {
    let mut line = numbers::Line::default();
    numbers::put_line(&mut line, id, counts, origin);
    let told = Room::new(PATH_ROOM).and_then(|mut room| {
        room.write(&[file])?;
        trace::append(room.c(), line.bytes(), true)
    });
    if let Err(e) = told {
        let text: Text<80> = Text::new(b"the file in JSSHIM_STATS cannot be written (errno ");
        STATE.warn(text.num(e.0).with(b")").bytes());
    }
}

/// Called when the process ends with which its pool ends, and is no client: the guard may be below it.
#[inline(never)]
pub fn leave_root() {
    if let Some((ledger, path)) = named_at() {
        Keeper::new().leave(ledger, &path);
    }
}

/// The ledger of the pool that the environment names.
fn named() -> Option<&'static Ledger> {
    named_at().map(|(ledger, _)| ledger)
}

fn named_at() -> Option<(&'static Ledger, Path)> {
    let (id, _) = word::decode(STATE.pool()?)?;
    rundir::search(given_dir(), |dir| {
        let path = rundir::ledger(dir, id, space::own());
        Ledger::open(path.c()).ok().map(|ledger| (ledger, path))
    })
}

/// Returns whether no other client is left that no job started. Two that leave at once are distinguished by the mark,
/// and by which of them takes the numbers.
fn leaves_last(ledger: &Ledger, me: u32) -> bool {
    if me == 0 || !ledger.is_top(me) {
        return false;
    }
    if let Some(record) = ledger.record(me) {
        record.queued.store(LEAVING, Release);
    }
    let others = |(index, r): (u32, &jsshim_engine::ledger::record::Record)| {
        index != me
            && r.state() == Slot::Client
            && r.queued.load(Acquire) != LEAVING
            && ledger.is_top(index)
            && !proc::has_ended(r.pid.load(Acquire))
    };
    !ledger.records().any(others)
}

/// In `queued` of a client, which never waits: the client is about to end.
const LEAVING: u64 = 1;
