//! Finding our pool: reads the environment, and finds a way to the pipe that it names.
//!
//! # Identity before numbers
//!
//! A pool is identified by device, inode and birth time. The *number* of a descriptor proves nothing: the first pipe(2)
//! of a program whose descriptors were closed gets just the numbers that make's pool had. So a pipe or fifo is taken
//! for the pool only if
//!
//! 1. `JSSHIM_POOL` names it by its identity (`by_word`). While that pool can be reached nothing else counts;
//! 2. this process had it open at its start, as the descriptors in its own MAKEFLAGS ([`End`]);
//! 3. it is a fifo that MAKEFLAGS names by its path;
//! 4. an ancestor has it open as the descriptors in MAKEFLAGS, and has written them there (`makers`): the ancestor's
//!    first environment does not have them, that of its child does, and its program speaks the protocol
//!    ([`crate::program::speaker::file_speaks`]), whatever it is called.
//!
//! If 1 names a pool that cannot be reached, 2 counts only together with 4: the pool may exist all the same, beyond a
//! PID namespace or another user. The same holds if `JSSHIM_POOL` says that the descriptors were not the pool's when
//! the first program that was told of them started ([`DOUBTED`]). In doubt there is no pool: one slot, and make's
//! warning. Candidates are checked by stat(2); only a file that passes is opened.

pub mod end;
pub mod holders;
mod left;
mod makers;
pub mod started;
mod way;
pub mod word;

use core::ffi::CStr;

use crate::makeflags::{self, Auth, RawPath};
use crate::pool::pipe::{self, Id};
use crate::pool::tokens::Pool;
use crate::room::{Room, PATH_ROOM};
use crate::sys;
use crate::text::{Path, Text};

use self::end::End;
use holders::inherited;
use way::{farthest_anywhere, way_to, Hit, Way};
use word::{decode, split, DOUBTED};

/// The variables of the environment that matter.
#[derive(Clone, Copy, Default)]
pub struct Settings<'a> {
    /// `MAKEFLAGS`.
    pub makeflags: Option<&'a [u8]>,
    /// `JSSHIM_POOL`: the pool that an ancestor found or made ([`word::encode`]).
    pub pool: Option<&'a [u8]>,
    /// The read end as it was when the process started.
    pub end: End,
    /// `JSSHIM_DIR`.
    pub dir: Option<&'a [u8]>,
}

/// Returns whether the pool that MAKEFLAGS names by two descriptors is the pool of `JSSHIM_POOL`.
pub fn is_pool_of(auth: &Auth<'_>, pool: Option<&[u8]>) -> bool {
    let Auth::Fds { read, write } = *auth else { return false };
    let pair = |(dev, ino, _): Id| (dev, ino);
    let told = pool.and_then(decode).map(|(id, _)| pair(id));
    told.is_some() && inherited(read, write).map(pair) == told
}

/// The result of [`find`].
#[allow(clippy::large_enum_variant)] // there is no allocator to box with
pub enum Found {
    /// A pool, and the load limit of `-l` in thousandths (0: none).
    Pool(Pool, u32),
    /// Nothing names a pool.
    None,
    /// A pool of our own is named, and its build has ended.
    Over,
    /// No pool is named, and the make above runs one job at a time.
    One,
    /// A pool is named but cannot be joined: this process has its implicit slot only, as make would.
    Unusable(Problem),
}

/// Why a named pool cannot be joined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Problem {
    /// The descriptors are closed or negative: the recipe had no `+`.
    Closed,
    /// They are open, but are not the ends of a pipe in these directions.
    NoPipe,
    /// The process has outlived its make, and the pool is gone with the make.
    Gone,
    /// The fifo cannot be opened.
    Fifo(i32),
    /// The word has a form that no make is known to write.
    Malformed,
}

impl Problem {
    /// One line for the user, in make's own words where make has some.
    pub fn text(self) -> Text<160> {
        let t = Text::new("warning: jobserver unavailable: using -j1.  ");
        match self {
            Self::Closed => t.with("Add '+' to parent make rule."),
            Self::NoPipe => t.with("MAKEFLAGS names descriptors that are no pipe."),
            Self::Fifo(e) => t.with("Cannot open the fifo in MAKEFLAGS (errno ").num(e).with(")."),
            Self::Malformed => t.with("MAKEFLAGS has a malformed --jobserver-auth."),
            Self::Gone => Text::new(b"the make above has ended; a pool of our own is used"),
        }
    }
}

/// Finds the pool of this process.
pub fn find(env: Settings<'_>) -> Found {
    let flags = makeflags::parse(env.makeflags.unwrap_or(b""));
    let told = env.pool.and_then(split);
    match search(flags.auth, env) {
        Ok(Some(hit)) => Found::Pool(hit.pool(), flags.load_milli.unwrap_or(0)),
        // `make -j1` hands down no pool, but means one job.
        Ok(None) if flags.jobs == Some(1) => Found::One,
        Ok(None) | Err(_) if left::is_of_ended_root(told) => Found::Over,
        Ok(None) => Found::None,
        Err(problem) if is_gone(problem, flags.auth, env) => Found::Unusable(Problem::Gone),
        Err(problem) => Found::Unusable(problem),
    }
}

type Searched<T> = core::result::Result<T, Problem>;

#[inline(never)]
fn search<'a>(auth: Option<Auth<'a>>, env: Settings<'a>) -> Searched<Option<Hit<'a>>> {
    let told = env.pool.and_then(split);
    if let Some(hit) = told.and_then(|told| by_word(told, auth, env)) {
        return Ok(Some(hit));
    }
    match auth {
        None => return Ok(None),
        Some(Auth::Unknown(_)) => Err(Problem::Malformed),
        Some(Auth::Fifo(raw)) => by_fifo(raw),
        // make writes this for a recipe without `+`.
        Some(Auth::Fds { read, write }) if read < 0 || write < 0 => Err(Problem::Closed),
        Some(Auth::Fds { read, write }) => {
            by_fds(read, write, told.is_some() || env.pool == Some(DOUBTED), env.end)
        }
    }
    .map(Some)
}

/// Returns whether this process, or the process that started it, has outlived its make. A way to the pool that was
/// known leads nowhere then.
fn is_gone(problem: Problem, auth: Option<Auth<'_>>, env: Settings<'_>) -> bool {
    let told = env.pool.and_then(split);
    let known = told.is_some() || matches!(env.end, End::Was(..));
    (problem == Problem::Closed && known || problem == Problem::Fifo(libc::ENOENT))
        && left::is_by_orphans(auth, told)
}

#[inline(never)]
fn by_fifo(raw: RawPath<'_>) -> Searched<Hit<'_>> {
    let way = Way::Fifo(raw);
    let path = way.path();
    match path.bytes() {
        _ if !path.fits() => by_long_fifo(raw),
        [] if raw.escaped().len() > Path::ROOM => by_long_fifo(raw),
        [] => Err(Problem::Malformed),
        _ => identify(path.c()).map(|id| Hit { id, way, inherited: None }),
    }
}

/// Returns the identity of this fifo.
#[inline(never)]
fn identify(path: &CStr) -> Searched<Id> {
    // It may be an emulated device (make's bug 67726). Anything else is no pool, and is not opened.
    let kind = |st: libc::stat| st.st_mode & libc::S_IFMT;
    let is_pool = |st| matches!(kind(st), libc::S_IFIFO | libc::S_IFCHR);
    if !is_pool(sys::stat(path, true).map_err(|e| Problem::Fifo(e.0))?) {
        return Err(Problem::NoPipe);
    }
    let fd = sys::open(path, libc::O_RDWR | libc::O_NONBLOCK, 0).map_err(|e| Problem::Fifo(e.0))?;
    let (st, birth) = (sys::fstat(fd), sys::birth_of(fd));
    sys::close(fd);
    let st = st.map_err(|e| Problem::Fifo(e.0))?;
    is_pool(st).then_some((st.st_dev, st.st_ino, birth)).ok_or(Problem::NoPipe)
}

/// The pool that `JSSHIM_POOL` names: reached by the descriptors that MAKEFLAGS names, if they are that pool; by the
/// path in `JSSHIM_POOL`; by the fifo in MAKEFLAGS; or by an ancestor that has it open.
#[inline(never)]
fn by_word<'a>(
    (id, path): (Id, &'a [u8]),
    auth: Option<Auth<'a>>,
    Settings { end, dir, .. }: Settings<'a>,
) -> Option<Hit<'a>> {
    let told = Way::Told(path);
    if let Some(Auth::Fds { read, write }) = auth {
        if inherited(read, write).is_some_and(|seen| pipe::is_same(seen, id) && end.was(id)) {
            let way = Hit::by(told, id).map(|hit| hit.way).unwrap_or_else(|| way_to(read, id));
            return Some(Hit { id, way, inherited: Some((read, write)) });
        }
    }
    let by_fifo = || match auth {
        Some(Auth::Fifo(raw)) => Hit::by(Way::Fifo(raw), id),
        _ => None,
    };
    let found = Hit::by(told, id).or_else(by_fifo);
    let found = found.or_else(|| Hit::by(farthest_anywhere(id)?, id));
    found.or_else(|| Hit::by(left::by_guard(id, dir)?, id))
}

/// A fifo whose path is too long for the ledger: it is reached by a descriptor of the make that made it.
#[inline(never)]
fn by_long_fifo<'a>(raw: RawPath<'_>) -> Searched<Hit<'a>> {
    let long = Problem::Fifo(libc::ENAMETOOLONG);
    let mut room = Room::new(PATH_ROOM).map_err(|e| Problem::Fifo(e.0))?;
    // Room's memory is zeroed, so the text ends in a NUL.
    let text = room.bytes().get_mut(..PATH_ROOM.saturating_sub(1)).unwrap_or_default();
    raw.unescape(text).ok_or(long)?;
    let id = identify(room.c())?;
    farthest_anywhere(id).and_then(|way| Hit::by(way, id)).ok_or(long)
}

/// The pool that MAKEFLAGS names by two descriptors. `doubted`: the descriptors alone do not prove it.
#[inline(never)]
fn by_fds<'a>(r: i32, w: i32, doubted: bool, end: End) -> Searched<Hit<'a>> {
    let inherited = inherited(r, w).filter(|id| end.was(*id));
    let proven = |id: &Id| !doubted || makers::makers(r, w).any(|made| pipe::is_same(made, *id));
    if let Some(id) = inherited.filter(proven) {
        return Ok(Hit { id, way: way_to(r, id), inherited: Some((r, w)) });
    }
    // The descriptor may be a file of the host's by now.
    let lost = matches!(end, End::Was(..)) && End::of(r) != end;
    let closed = end == End::None || lost || [r, w].iter().all(|fd| sys::fstat(*fd).is_err());
    let problem = if closed { Problem::Closed } else { Problem::NoPipe };
    by_identity(end, r).filter(|_| !doubted).or_else(|| by_maker(r, w)).ok_or(problem)
}

/// The pool of the nearest maker, reached by the farthest ancestor that has it open, too.
#[inline(never)]
fn by_maker(r: i32, w: i32) -> Option<Hit<'static>> {
    let id = makers::makers(r, w).next()?;
    Hit::by(way_to(r, id), id)
}

/// The pool that this process had open when it started and has lost since, if an ancestor still has it open, as any
/// descriptor; or any process: a daemon has no ancestors.
#[inline(never)]
fn by_identity(end: End, r: i32) -> Option<Hit<'static>> {
    let End::Was(dev, ino) = end else { return None };
    if End::of(r) == end {
        return None;
    }
    let id = (dev, ino, 0);
    let way = farthest_anywhere(id).or_else(|| left::by_anybody(id))?;
    Hit::by(way, (dev, ino, way.birth()))
}

/// Returns whether these two descriptors are a pool: the one of `JSSHIM_POOL`, if that names one, or that of a make
/// below it.
pub fn has_pool(r: i32, w: i32, env: Settings<'_>) -> bool {
    let told = env.pool.and_then(split).map(|(id, _)| id);
    inherited(r, w).is_some_and(|id| {
        told.is_none_or(|told| pipe::is_same(told, id))
            || makers::makers(r, w).any(|made| pipe::is_same(made, id))
    })
}
