//! Our variables, except `JSSHIM_ENV` and `JSSHIM_HELPER`.

use core::sync::atomic::AtomicU8;
use core::sync::atomic::Ordering::{Acquire, Relaxed};

use jsshim_engine::gate::Means;
use jsshim_engine::join::{word, Settings};
use jsshim_engine::pool::cpus;
use jsshim_engine::program::glob;
use jsshim_engine::room::{Room, PATH_ROOM};
use jsshim_engine::share::Share;
use jsshim_engine::show::numbers::{self, Asked};
use jsshim_engine::show::stderr;
use jsshim_engine::text::Path;
use jsshim_engine::{settings as known, sys};

use crate::exec::environ;
use crate::job::state::STATE;

use super::program;

/// `JSSHIM_GATE`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// The parent waits while nothing else needs it, else the child is held.
    Auto,
    /// The parent waits even if it could be needed, at most a second.
    Parent,
    /// The child is held at once.
    Child,
}

static GATE: AtomicU8 = AtomicU8::new(0);
static MEANS: AtomicU8 = AtomicU8::new(0);

/// The mode that was read when the process joined.
pub fn gate_mode() -> Gate {
    match GATE.load(Relaxed) {
        1 => Gate::Parent,
        2 => Gate::Child,
        _ => Gate::Auto,
    }
}

/// The means that `JSSHIM_WAIT` named when the process joined.
pub fn means() -> Means {
    match MEANS.load(Relaxed) {
        1 => Means::Pidfd,
        2 => Means::SelfPipe,
        _ => Means::Any,
    }
}

/// What the environment says about the pool, now or at the start of the process.
pub fn of_pool() -> Settings<'static> {
    let (makeflags, pool, end) = (STATE.flags(), STATE.pool(), STATE.end());
    Settings { makeflags, pool, end, dir: given_dir() }
}

/// The value of `JSSHIM_DIR`.
pub fn given_dir() -> Option<&'static [u8]> {
    environ::own(b"JSSHIM_DIR=")
}

#[inline(never)]
pub(crate) fn settle_modes() {
    let debug = environ::own(b"JSSHIM_DEBUG=").is_some_and(numbers::is_on);
    STATE.debug.store(debug, Relaxed);
    if STATE.pool().is_none() {
        complain();
    }
    let gate = match environ::own(b"JSSHIM_GATE=") {
        Some(b"parent") => 1,
        Some(b"child") => 2,
        _ => 0,
    };
    GATE.store(gate, Relaxed);
    let means = match environ::own(b"JSSHIM_WAIT=") {
        Some(b"pidfd") => 1,
        Some(b"selfpipe") => 2,
        _ => 0,
    };
    MEANS.store(means, Relaxed);
}

/// Warns about invalid values. If the environment names a pool, the process that named it has warned already.
#[inline(never)]
fn complain() {
    check(b"JSSHIM_STALL=", stderr::say);
    check(b"JSSHIM_COUNT=", stderr::say);
    check(b"JSSHIM_GATE=", stderr::say);
    check(b"JSSHIM_WAIT=", stderr::say);
    check(b"JSSHIM_LOAD=", stderr::say);
    check(b"JSSHIM_ENV=", stderr::say);
    check(b"JSSHIM_SHARE=", stderr::say);
    check(b"JSSHIM_TRACE=", stderr::say);
}

/// Warns about one variable, if its value is invalid.
fn check(name: &[u8], say: fn(&[u8])) {
    if let Some(text) = environ::own(name).and_then(|value| known::complaint(name, value)) {
        say(text);
    }
}

/// `JSSHIM_LOAD`, an integer or a decimal, else the `-l` of MAKEFLAGS; thousandths.
#[inline(never)]
pub(crate) fn load_limit(flags: u32) -> u32 {
    let word = environ::own(b"JSSHIM_LOAD=").filter(|v| !v.is_empty());
    word.and_then(known::load).unwrap_or(flags)
}

/// `JSSHIM_SHARE`.
pub(crate) fn share() -> Share {
    environ::own(b"JSSHIM_SHARE=").and_then(Share::parse).unwrap_or_default()
}

/// The value of `JSSHIM_JOBS`, if it is a number above zero.
#[inline(never)]
pub fn jobs_wanted() -> Option<u32> {
    let word = environ::own(b"JSSHIM_JOBS=").filter(|v| !v.is_empty())?;
    check(b"JSSHIM_JOBS=", |text| STATE.warn(text));
    word::count(word)
}

/// The number of slots for a pool of our own.
pub(crate) fn wanted() -> u32 {
    jobs_wanted().unwrap_or_else(cpus::default_slots)
}

/// Returns whether this program is excluded by `JSSHIM_SKIP`, or not included by `JSSHIM_ONLY` (globs for program
/// names).
#[inline(never)]
pub(crate) fn left_out() -> bool {
    let (skip, only) = (environ::own(b"JSSHIM_SKIP="), environ::own(b"JSSHIM_ONLY="));
    if skip.is_none() && only.is_none() {
        return false;
    }
    by_name(|name| {
        skip.is_some_and(|list| glob::any(list, name))
            || only.is_some_and(|list| !list.is_empty() && !glob::any(list, name))
    })
}

/// Returns whether `JSSHIM_FORCE` (globs for program names) names this program: it is gated, though it speaks the
/// protocol.
#[inline(never)]
pub(crate) fn is_forced() -> bool {
    let list = environ::own(b"JSSHIM_FORCE=");
    list.is_some_and(|list| by_name(|name| glob::any(list, name)))
}

/// What `judge` says of the name of this program.
fn by_name(judge: impl FnOnce(&[u8]) -> bool) -> bool {
    let Ok(mut room) = Room::new(PATH_ROOM) else { return false };
    let name = match sys::readlink(c"/proc/self/exe", room.bytes()) {
        Ok(path) => path.rsplit(|b| *b == b'/').next().unwrap_or(path),
        // Without /proc, the name by which it was called.
        Err(_) => program::name(),
    };
    judge(name)
}

/// The current value of a variable, else the value at the start of the process.
fn value(name: &[u8]) -> Option<&'static [u8]> {
    let start = STATE.env.load(Acquire).cast_const();
    // SAFETY: the kernel's array, and strings that end in a NUL.
    let found = environ::own(name).or_else(|| unsafe { environ::get(start, name) });
    found.filter(|v| numbers::is_on(v))
}

/// What `JSSHIM_STATS` asks for.
pub fn stats_asked() -> Asked<'static> {
    value(b"JSSHIM_STATS=").map_or(Asked::Nothing, numbers::asked)
}

/// Returns whether statistics are wanted.
pub fn wants_stats() -> bool {
    stats_asked() != Asked::Nothing
}

/// Writes the file of `JSSHIM_TRACE` to `path`, if it is set. A name without a leading slash is in the working
/// directory.
#[inline(never)]
pub fn trace_file(path: &mut Path) {
    let Asked::File(file) = value(b"JSSHIM_TRACE=").map_or(Asked::Nothing, numbers::asked) else {
        return;
    };
    if file.first() != Some(&b'/') {
        put_directory(path);
    }
    if !path.put(file).fits() {
        STATE.warn(b"the path in JSSHIM_TRACE is too long; no trace is written");
        *path = Path::default();
    }
}

#[inline(never)]
fn put_directory(path: &mut Path) {
    let mut buf = [0u8; 256];
    let dir = match sys::getcwd(&mut buf).map(<[u8]>::len) {
        Ok(n) => buf.get(..n).unwrap_or(b""),
        // Then the whole path does not fit either.
        Err(sys::Errno(libc::ERANGE)) => &buf,
        Err(_) => b".",
    };
    path.put(dir).put(b"/");
}
