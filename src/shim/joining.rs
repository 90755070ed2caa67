//! The moment when two jobs run at once for the first time: who are we, and which pool is ours?

use core::ffi::CStr;
use core::mem::MaybeUninit;
use core::slice::from_raw_parts;
use core::sync::atomic::AtomicU8;
use core::sync::atomic::Ordering::Relaxed;

use jsshim_engine::client::{Client, Setup};
use jsshim_engine::join::{self, Found, Problem, Settings};
use jsshim_engine::ledger::rundir;
use jsshim_engine::pool::own_pool;
use jsshim_engine::pool::tokens::Pool;
use jsshim_engine::program::{glob, speaker};
use jsshim_engine::room::{Room, PATH_ROOM};
use jsshim_engine::text::{self, Path, Text};
use jsshim_engine::{makeflags, proc, sys};

use crate::bounds;
use crate::dialect;
use crate::environ;
use crate::objects::{self, gnu_hash, Object};
use crate::state::STATE;
use crate::telling;
use jsshim_engine::join::word;
use jsshim_engine::pool::cpus;
use jsshim_engine::pool::pipe;
use jsshim_engine::watchdog::settings;

/// `JSSHIM_GATE`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// The parent waits while nothing else needs it, else the child is held.
    Auto,
    /// The parent waits even where it could be needed, at most a second.
    Parent,
    /// The child is held at once.
    Child,
}

static GATE: AtomicU8 = AtomicU8::new(0);

/// The mode that was read at joining.
pub fn gate_mode() -> Gate {
    match GATE.load(Relaxed) {
        1 => Gate::Parent,
        2 => Gate::Child,
        _ => Gate::Auto,
    }
}

/// Where the client of this process is made.
type Place = MaybeUninit<Client>;

/// Sets up the client of this process. `false`: it is not gated.
#[inline(never)]
pub fn find(place: &mut Place) -> bool {
    settle_modes();
    if left_out() {
        return false;
    }
    let mut settings = settings();
    let speaks = speaks();
    if speaks && obeys(settings) {
        return false;
    }
    if speaks && has_left_pool() {
        settings.makeflags = STATE.first_flags();
    }
    // By reference: what was found is large.
    match &join::find(settings) {
        Found::Pool(pool, load) => {
            // The children of one that speaks are told of a pool of its own making, which is no limit.
            let overrides = word::overrides(settings.pool) || speaks && !is_ninja();
            let slots = if overrides { 0 } else { slots_said(settings) };
            let own = Own { load_milli: load_limit(*load), slots, overrides, root: 0 };
            enter(place, pool, own, None).map_err(|e| refuse(e.0)).is_ok()
        }
        Found::One if !speaks => make(place, 1),
        Found::None if !speaks => make(place, wanted()),
        // What was wanted was wanted for that build.
        Found::Over if !speaks => make(place, cpus::default_slots()),
        // It sees to it in its own way.
        Found::One | Found::None | Found::Over => false,
        &Found::Unusable(problem) => {
            warn_of(problem);
            make(place, if problem == Problem::Gone { cpus::default_slots() } else { 1 })
        }
    }
}

#[inline(never)]
fn warn_of(problem: Problem) {
    STATE.warn(problem.text().bytes());
}

/// What the environment says of the pool, or has said when the process started.
pub fn settings() -> Settings<'static> {
    let (makeflags, pool, end) = (STATE.flags(), STATE.pool(), STATE.end());
    Settings { makeflags, pool, end, dir: given_dir() }
}

/// The `-j` of MAKEFLAGS, if the pool is named there: make says it for those who look.
fn slots_said(settings: Settings<'_>) -> u32 {
    let flags = makeflags::parse(settings.makeflags.unwrap_or(b""));
    flags.jobs.filter(|_| flags.auth.is_some()).unwrap_or(0)
}

/// Before main, with `JSSHIM_JOBS`: makes the pool whether or not this program is gated. Gives the value of
/// `JSSHIM_POOL`.
pub fn found() -> Option<Text<320>> {
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
        // Its MAKEFLAGS will name it.
        let obeys = speaks() && !is_told_otherwise();
        !left_out() && !obeys
    };
    STATE.join(find, crate::ticket::record_first);
    result
}

#[inline(never)]
fn settle_modes() {
    let debug = environ::own(b"JSSHIM_DEBUG=").is_some_and(|v| !matches!(v, b"" | b"0"));
    STATE.debug.store(debug, Relaxed);
    let limit = environ::own(b"JSSHIM_STALL=").filter(|v| !v.is_empty());
    if limit.is_some_and(|v| settings::limit(v).is_none()) {
        STATE.warn(b"JSSHIM_STALL is neither seconds nor off; it is not used");
    }
    if environ::own(b"JSSHIM_COUNT=").is_some_and(|v| settings::Count::parse(v).is_none()) {
        STATE.warn(b"JSSHIM_COUNT is neither running nor processes; running is used");
    }
    GATE.store(
        match environ::own(b"JSSHIM_GATE=") {
            None | Some(b"" | b"auto") => 0,
            Some(b"parent") => 1,
            Some(b"child") => 2,
            Some(_) => {
                STATE.warn(b"JSSHIM_GATE is not auto, parent or child; auto is used");
                0
            }
        },
        Relaxed,
    );
}

/// `JSSHIM_LOAD` in whole or broken numbers, else the `-l` of MAKEFLAGS; thousandths.
#[inline(never)]
fn load_limit(flags: u32) -> u32 {
    let word = environ::own(b"JSSHIM_LOAD=").filter(|v| !v.is_empty());
    let own = word.and_then(|v| {
        let text: Text<32> = Text::new(b"-l").with(v);
        makeflags::parse(text.bytes()).load_milli
    });
    if word.is_some() && own.is_none() {
        STATE.warn(b"JSSHIM_LOAD is not a number; it is not used");
    }
    own.unwrap_or(flags)
}

/// `JSSHIM_JOBS`, if it is a number above zero.
#[inline(never)]
pub fn jobs_wanted() -> Option<u32> {
    let word = environ::own(b"JSSHIM_JOBS=").filter(|v| !v.is_empty())?;
    let n = word::count(word);
    if n.is_none() {
        STATE.warn(b"JSSHIM_JOBS is not a number above 0; the number of CPUs is used");
    }
    n
}

/// Slots for a pool of our own.
fn wanted() -> u32 {
    jobs_wanted().unwrap_or_else(cpus::default_slots)
}

/// What is ours of a client's [`Setup`].
#[derive(Default)]
struct Own {
    load_milli: u32,
    root: i32,
    slots: u32,
    overrides: bool,
}

/// The value of `JSSHIM_DIR`.
pub fn given_dir() -> Option<&'static [u8]> {
    environ::own(b"JSSHIM_DIR=")
}

/// `dir`: where the pool has just been made.
#[inline(never)]
fn enter(place: &mut Place, pool: &Pool, own: Own, dir: Option<&Path>) -> sys::Result<()> {
    let Own { load_milli, root, slots, overrides } = own;
    let (me, given, helper) = (&STATE.me, given_dir(), helper());
    if given.is_some_and(rundir::is_too_long) {
        STATE.warn(b"the path in JSSHIM_DIR is too long; the usual run-time directory is used");
    }
    let (stats, trace) = (telling::wants_stats(), &telling::trace_file);
    let setup =
        Setup { me, pool, given, dir, helper, load_milli, root, slots, overrides, stats, trace };
    bounds::note();
    let made = Client::init(place, &setup).map(look_after);
    made.inspect(|()| telling::keep_stderr())
}

/// Where the ledger had a guard, there may be somebody who needs one.
#[inline(never)]
fn look_after(client: &Client) {
    if client.ledger().header.guard.load(Relaxed) != 0 {
        client.guard(STATE.env.load(Relaxed).cast_const(), true);
    }
}

#[inline(never)]
fn refuse(errno: i32) {
    // Where somebody above could use it, this process is in a sandbox, and so are many.
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

/// Makes a pool of our own, and its ledger beside it. The description that fills it stays open: the guard takes over,
/// but where there is none the pool would be lost.
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
    // SAFETY: `enter` has made it.
    let client = unsafe { place.assume_init_ref() };
    client.guard(STATE.env.load(Relaxed).cast_const(), true);
    true
}

/// `JSSHIM_HELPER`, or `jsshim-helper` next to this library. Empty, and said so, if there is none.
#[inline(never)]
fn helper() -> &'static CStr {
    let Ok(mut room) = Room::new(PATH_ROOM) else { return c"" };
    if name_helper(&mut room).is_ok() && bounds::is_ours(room.c()) {
        return room.keep();
    }
    STATE.warn(match sys::stat(room.c(), true) {
        Ok(st) if st.st_mode & libc::S_IFMT == libc::S_IFREG => {
            b"jsshim-helper is not the one of this library; jobs cannot be held"
        }
        _ => b"jsshim-helper is not to be found; jobs cannot be held",
    });
    c""
}

#[inline(never)]
fn name_helper(room: &mut Room) -> sys::Result<()> {
    let told = environ::own(b"JSSHIM_HELPER=").filter(|v| !v.is_empty());
    let Some(told) = told else { return beside_library(room) };
    room.write(&[told])?;
    if sys::geteuid() != 0 || is_roots(room) {
        return Ok(());
    }
    STATE.warn(b"JSSHIM_HELPER is in the hands of others, and root does not use it");
    beside_library(room)
}

/// May root run the file of this name, which its environment gives? That may come from an ordinary user (sudo's
/// env_keep). Neither the file nor any directory above it may be his, nor one in which he could put another in its
/// place; links are followed here, once, and the name becomes the one behind them. One that is not there stays as it is.
#[inline(never)]
fn is_roots(room: &mut Room) -> bool {
    let Ok(fd) = sys::open(room.c(), libc::O_PATH, 0) else { return true };
    let whole = sys::readlink(pipe::fd_path(0, fd).c(), room.bytes()).map(<[u8]>::len);
    sys::close(fd);
    // Without /proc the name is taken as it is.
    let written = whole.map_or(Ok(()), |n| room.write_at(n, &[]));
    let (Ok(()), Ok(mut part)) = (written, Room::new(PATH_ROOM)) else { return false };
    let bytes = room.c().to_bytes();
    let ends = bytes.iter().enumerate().skip(1).filter(|(_, b)| **b == b'/').map(|(at, _)| at);
    let mut parts = ends.chain([bytes.len()]).filter_map(|end| bytes.get(..end));
    bytes.first() == Some(&b'/') && parts.all(|path| is_kept(&mut part, path))
}

/// Can nobody but root change this file, or what is in this directory?
#[inline(never)]
fn is_kept(room: &mut Room, path: &[u8]) -> bool {
    // In a user namespace the root above has another number.
    let root = sys::stat(c"/", false).map_or(0, |st| st.st_uid);
    let written = room.write(&[path]);
    written.and_then(|()| sys::stat(room.c(), false)).is_ok_and(|st| {
        let kind = st.st_mode & libc::S_IFMT;
        let closed =
            st.st_mode & 0o022 == 0 || kind == libc::S_IFDIR && st.st_mode & libc::S_ISVTX != 0;
        (st.st_uid == 0 || st.st_uid == root) && closed && kind != libc::S_IFLNK
    })
}

/// Writes `jsshim-helper` in the folder of this library.
#[inline(never)]
fn beside_library(room: &mut Room) -> sys::Result<()> {
    let path = objects::own_path().to_bytes();
    let end = path.iter().rposition(|b| *b == b'/').map_or(0, |at| at.saturating_add(1));
    room.write(&[path.get(..end).unwrap_or(b""), b"jsshim-helper"])
}

/// Left out by `JSSHIM_SKIP`, or not let in by `JSSHIM_ONLY` (globs on the program's name)?
#[inline(never)]
fn left_out() -> bool {
    let (skip, only) = (environ::own(b"JSSHIM_SKIP="), environ::own(b"JSSHIM_ONLY="));
    if skip.is_none() && only.is_none() {
        return false;
    }
    let Ok(mut room) = Room::new(PATH_ROOM) else { return false };
    let name = match sys::readlink(c"/proc/self/exe", room.bytes()) {
        Ok(path) => path.rsplit(|b| *b == b'/').next().unwrap_or(path),
        // Without /proc it is what the program was called by.
        Err(_) => dialect::program(),
    };
    skip.is_some_and(|list| glob::any(list, name))
        || only.is_some_and(|list| !list.is_empty() && !glob::any(list, name))
}

/// Does this program speak the protocol itself? Told by the strings in its read-only memory, or by
/// libjobserver among its libraries.
#[inline(never)]
fn speaks() -> bool {
    speaker::WORDS.into_iter().any(program_says) || has_libjobserver()
}

/// Is a library loaded that starts jobs on slots for its program?
fn has_libjobserver() -> bool {
    const NAME: &CStr = c"jobserver_launch_job";
    let mut found = false;
    objects::each(|info| {
        let defined = Object::of(info).map(|o| o.find(NAME, gnu_hash(NAME)));
        found = defined.is_some_and(|d| d.newest != 0);
        found
    });
    found
}

/// Has this program been told of a pool, and has made one of its own since, as those with libjobserver do? The
/// known speakers do not change their own environment, but we do.
fn has_left_pool() -> bool {
    let auth = |flags: Option<&'static [u8]>| makeflags::parse(flags?).auth;
    let (first, now) = (auth(STATE.first_flags()), auth(STATE.flags()));
    first.is_some() && first != now && !dialect::is_speaker()
}

/// Does a program that speaks the protocol obey it here: it is told of the pool that counts, and not to
/// do otherwise? A make or ninja that is given a `-jN` of its own takes no notice of the pool.
#[inline(never)]
pub fn obeys(settings: Settings<'_>) -> bool {
    let flags = makeflags::parse(settings.makeflags.unwrap_or(b""));
    let Some(auth) = flags.auth else { return false };
    let counts = !word::overrides(settings.pool) || join::is_told(&auth, settings.pool);
    counts && !is_told_otherwise() && !has_left_pool()
}

/// Is this word in the program's read-only memory (the first object)? That of its code is looked at only
/// where there is no other.
pub fn program_says(word: &[u8]) -> bool {
    let mut found = false;
    objects::each(|info| {
        let has = |flags: u32| {
            let of = move |h: &&libc::Elf64_Phdr| h.p_type == libc::PT_LOAD && h.p_flags == flags;
            objects::headers(info).iter().filter(of).map(move |h| {
                let start = (info.dlpi_addr as usize).wrapping_add(h.p_vaddr as usize) as *const u8;
                // SAFETY: a readable segment is mapped for as long as it says.
                text::contains(unsafe { from_raw_parts(start, h.p_filesz as usize) }, word)
            })
        };
        let data = has(libc::PF_R).reduce(|a, b| a | b);
        found = data.unwrap_or_else(|| has(libc::PF_R | libc::PF_X).any(|found| found));
        true
    });
    found
}

/// Is this a make or a ninja whose command line has a number of jobs?
#[inline(never)]
pub fn is_told_otherwise() -> bool {
    if !is_ninja() && !speaker::is_gnu_make(dialect::program()) {
        return false;
    }
    // The first word is the program.
    if let Some(arguments) = STATE.arguments() {
        // SAFETY: the kernel's array, and strings that end in a NUL.
        return unsafe { environ::iter(arguments) }
            .skip(1)
            .any(|word| speaker::names_jobs(word.to_bytes()));
    }
    // Of the others, the start tells.
    let (mut told, mut first) = (false, true);
    proc::each_part::<64>(&Path::new(b"/proc/self/cmdline"), 0, |word| {
        told |= !first && speaker::names_jobs(word);
        first = false;
    });
    told
}

fn is_ninja() -> bool {
    dialect::program().starts_with(b"ninja")
}
