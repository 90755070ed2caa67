//! Which pool is ours? Reads what the environment says, and finds a way to the pipe it names.
//!
//! # Identity before numbers
//!
//! A pool is what its device, inode and birth say. The *number* of a descriptor proves nothing: the first pipe(2) of a
//! program whose descriptors were closed gets just the numbers that make's pool had. So a pipe or fifo is taken for
//! the pool only if
//!
//! 1. it is the one that `JSSHIM_POOL` names by its identity (`by_word`). While that pool can be reached nothing else
//!    counts;
//! 2. this process had it open at its start, under the numbers in its own MAKEFLAGS ([`End`]);
//! 3. it is a fifo that MAKEFLAGS names by its path;
//! 4. an ancestor has it under the numbers in MAKEFLAGS that has written just these numbers there (`makers`): its own
//!    first environment does not have them, that of its child does, and its program speaks the protocol
//!    ([`speaker::file_speaks`]), whatever it is called.
//!
//! Where 1 names a pool that cannot be reached, 2 counts only together with 4: the pool may be there all the same,
//! beyond a PID namespace or another user. So it does where `JSSHIM_POOL` says that the numbers were nothing of the
//! pool's when the first program that was told of them started ([`DOUBTED`]). In doubt there is no pool: one slot, and
//! make's warning. What is looked at on the way is looked at by stat(2); only what has passed is opened.

mod left;

use core::ffi::CStr;

use crate::makeflags::{self, Auth, RawPath};
use crate::pool::{self, fd_path, Id, Pool};
use crate::proc;
use crate::record::Handle;
use crate::room::{Room, PATH_ROOM};
use crate::speaker;
use crate::sys;
use crate::text::{hex, number, Path, Text};

/// The words of the environment that matter.
#[derive(Clone, Copy, Default)]
pub struct Settings<'a> {
    /// `MAKEFLAGS`.
    pub makeflags: Option<&'a [u8]>,
    /// `JSSHIM_POOL`: the pool that an ancestor found or made ([`encode`]).
    pub pool: Option<&'a [u8]>,
    /// The read end as it was when the process started.
    pub end: End,
    /// `JSSHIM_DIR`.
    pub dir: Option<&'a [u8]>,
}

/// What the descriptor that MAKEFLAGS names for reading was when the process started. Where make has
/// closed it, its number is soon that of another pipe.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum End {
    /// Nobody looked; it is what it is now.
    #[default]
    Now,
    /// Closed, or no pipe.
    None,
    /// This device and inode.
    Was(u64, u64),
}

impl End {
    /// Looks at a descriptor.
    pub fn of(fd: i32) -> Self {
        match sys::fstat(fd) {
            Ok(st) if st.st_mode & libc::S_IFMT == libc::S_IFIFO => Self::Was(st.st_dev, st.st_ino),
            _ => Self::None,
        }
    }

    fn was(self, id: Id) -> bool {
        self == Self::Now || self == Self::Was(id.0, id.1)
    }
}

/// In front of the value of `JSSHIM_POOL`: this pool counts, whatever MAKEFLAGS says. It is written by a
/// client that speaks the protocol and has made a pool of its own for its children.
pub const OVERRIDE: &[u8] = b"!";

/// In place of a pool: the descriptors that MAKEFLAGS names were closed, so that numbers prove nothing here.
pub const DOUBTED: &[u8] = b"?";

/// Does this pool count, whatever MAKEFLAGS says?
pub fn overrides(pool: Option<&[u8]>) -> bool {
    pool.is_some_and(|value| value.starts_with(OVERRIDE))
}

/// Is the pool that MAKEFLAGS names by two descriptors the one of `JSSHIM_POOL`?
pub fn is_told(auth: &Auth<'_>, pool: Option<&[u8]>) -> bool {
    let Auth::Fds { read, write } = *auth else { return false };
    let pair = |(dev, ino, _): Id| (dev, ino);
    let told = pool.and_then(decode).map(|(id, _)| pair(id));
    told.is_some() && inherited(read, write).map(pair) == told
}

/// What was found.
#[allow(clippy::large_enum_variant)] // there is no allocator to box with
pub enum Found {
    /// A pool, and the load limit of `-l` in thousandths (0: none).
    Pool(Pool, u32),
    /// Nothing names a pool.
    None,
    /// One of our own was named, and its build has ended.
    Over,
    /// Nothing names a pool, and the make above runs one job at a time.
    One,
    /// A pool is named but cannot be joined: only the implicit slot is ours, as for make.
    Unusable(Problem),
}

/// Why a pool that is named cannot be joined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Problem {
    /// The descriptors are closed or negative: the recipe had no `+`.
    Closed,
    /// They are open but are no pipe, or not in these directions.
    NoPipe,
    /// The process has outlived its make, and the pool has gone with that.
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
    match look(flags.auth, env) {
        Ok(Some(hit)) => Found::Pool(hit.pool(), flags.load_milli.unwrap_or(0)),
        // `make -j1` hands down no pool, but means one job.
        Ok(None) if flags.jobs == Some(1) => Found::One,
        Ok(None) | Err(_) if left::is_of_ended_root(told) => Found::Over,
        Ok(None) => Found::None,
        Err(problem) if is_gone(problem, flags.auth, env) => Found::Unusable(Problem::Gone),
        Err(problem) => Found::Unusable(problem),
    }
}

/// A pool that was found, and how it is reached. Those who look are deep down on the stack of a host, which
/// may be small: the path is written out when they have returned.
#[derive(Clone, Copy)]
struct Hit<'a> {
    id: Id,
    way: Way<'a>,
    inherited: Option<(i32, i32)>,
}

#[derive(Clone, Copy)]
enum Way<'a> {
    /// A process' descriptor.
    Fd(i32, i32),
    /// The path in the private word.
    Told(&'a [u8]),
    /// The path in MAKEFLAGS.
    Fifo(RawPath<'a>),
}

/// What the private word says.
type Told<'a> = Option<(Id, &'a [u8])>;

type Looked<T> = core::result::Result<T, Problem>;

impl Way<'_> {
    /// Empty if it is too long.
    #[inline(never)]
    fn path(&self) -> Path {
        match *self {
            Self::Fd(pid, fd) => fd_path(pid, fd),
            Self::Told(path) => Path::new(path),
            Self::Fifo(raw) => {
                let mut buf = [0u8; 256];
                Path::new(raw.unescape(&mut buf).unwrap_or(b""))
            }
        }
    }

    /// Does it lead to this pool, and can that be opened for both directions? What is not this pool is not opened.
    #[inline(never)]
    fn leads_to(&self, id: Id) -> bool {
        let path = self.path();
        let opened = pool::is_at(&path, id).then(|| pool::open(&path, id, libc::O_RDWR));
        opened.and_then(sys::Result::ok).is_some_and(|fd| {
            let birth = sys::birth_of(fd);
            sys::close(fd);
            pool::is_same((id.0, id.1, birth), id)
        })
    }

    #[inline(never)]
    fn birth(&self) -> u64 {
        sys::birth(self.path().c())
    }
}

impl<'a> Hit<'a> {
    #[inline(never)]
    fn pool(&self) -> Pool {
        Pool::new(self.id, self.way.path(), self.inherited)
    }

    /// This pool by this way, if that leads there.
    fn by(way: Way<'a>, id: Id) -> Option<Self> {
        way.leads_to(id).then_some(Self { id, way, inherited: None })
    }
}

#[inline(never)]
fn look<'a>(auth: Option<Auth<'a>>, env: Settings<'a>) -> Looked<Option<Hit<'a>>> {
    let told = env.pool.and_then(split);
    if let Some(hit) = told.and_then(|told| by_word(told, auth, env)) {
        return Ok(Some(hit));
    }
    match auth {
        None => return Ok(None),
        Some(Auth::Unknown(_)) => Err(Problem::Malformed),
        Some(Auth::Fifo(raw)) => by_fifo(raw),
        // make's word for a recipe without `+`.
        Some(Auth::Fds { read, write }) if read < 0 || write < 0 => Err(Problem::Closed),
        Some(Auth::Fds { read, write }) => {
            by_fds(read, write, told.is_some() || env.pool == Some(DOUBTED), env.end)
        }
    }
    .map(Some)
}

/// Has this process, or who has started it, outlived their make? A way to the pool that was known leads nowhere then.
fn is_gone(problem: Problem, auth: Option<Auth<'_>>, env: Settings<'_>) -> bool {
    let told = env.pool.and_then(split);
    let known = told.is_some() || matches!(env.end, End::Was(..));
    (problem == Problem::Closed && known || problem == Problem::Fifo(libc::ENOENT))
        && left::is_by_orphans(auth, told)
}

#[inline(never)]
fn by_fifo(raw: RawPath<'_>) -> Looked<Hit<'_>> {
    let way = Way::Fifo(raw);
    let path = way.path();
    match path.bytes() {
        _ if !path.fits() => by_long_fifo(raw),
        [] if raw.escaped().len() > Path::ROOM => by_long_fifo(raw),
        [] => Err(Problem::Malformed),
        _ => identify(path.c()).map(|id| Hit { id, way, inherited: None }),
    }
}

/// Which pool is this fifo?
#[inline(never)]
fn identify(path: &CStr) -> Looked<Id> {
    // It may be an emulated device (make's bug 67726). What is neither is not opened: it is nobody's pool.
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

/// The pool of the private word: by the descriptors that MAKEFLAGS names, if they are just that, by the path in the
/// word, by the fifo in MAKEFLAGS, or by an ancestor that has it open.
#[inline(never)]
fn by_word<'a>(
    (id, path): (Id, &'a [u8]),
    auth: Option<Auth<'a>>,
    Settings { end, dir, .. }: Settings<'a>,
) -> Option<Hit<'a>> {
    let told = Way::Told(path);
    if let Some(Auth::Fds { read, write }) = auth {
        if inherited(read, write).is_some_and(|seen| pool::is_same(seen, id) && end.was(id)) {
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

/// A fifo whose path is too long for the ledger: it is reached by a descriptor of the make that has made it.
#[inline(never)]
fn by_long_fifo<'a>(raw: RawPath<'_>) -> Looked<Hit<'a>> {
    let long = Problem::Fifo(libc::ENAMETOOLONG);
    let mut room = Room::new(PATH_ROOM).map_err(|e| Problem::Fifo(e.0))?;
    // The rest is zeros.
    let text = room.bytes().get_mut(..PATH_ROOM.saturating_sub(1)).unwrap_or_default();
    raw.unescape(text).ok_or(long)?;
    let id = identify(room.c())?;
    farthest_anywhere(id).and_then(|way| Hit::by(way, id)).ok_or(long)
}

/// The pool that MAKEFLAGS names by two numbers. `doubted`: it is to be proven otherwise.
#[inline(never)]
fn by_fds<'a>(r: i32, w: i32, doubted: bool, end: End) -> Looked<Hit<'a>> {
    let inherited = inherited(r, w).filter(|id| end.was(*id));
    let proven = |id: &Id| !doubted || makers(r, w).any(|made| pool::is_same(made, *id));
    if let Some(id) = inherited.filter(proven) {
        return Ok(Hit { id, way: way_to(r, id), inherited: Some((r, w)) });
    }
    // What has the number now may be a file of the host's.
    let lost = matches!(end, End::Was(..)) && End::of(r) != end;
    let closed = end == End::None || lost || [r, w].iter().all(|fd| sys::fstat(*fd).is_err());
    let problem = if closed { Problem::Closed } else { Problem::NoPipe };
    by_identity(end, r).filter(|_| !doubted).or_else(|| by_maker(r, w)).ok_or(problem)
}

/// A path to the pool whose descriptors we have: by the farthest ancestor that has it, which is make itself, whose
/// descriptors last as long as the pool.
#[inline(never)]
fn way_to(r: i32, id: Id) -> Way<'static> {
    let has = |pid: &i32| holds(*pid, r, id);
    let by_number = proc::ancestors().filter(has).last().map(|pid| Way::Fd(pid, r));
    by_number.or_else(|| farthest_anywhere(id)).unwrap_or_else(|| Way::Fd(sys::getpid(), r))
}

/// The descriptor of the farthest ancestor that has this pipe at any number.
#[inline(never)]
fn farthest_anywhere(id: Id) -> Option<Way<'static>> {
    let has = |pid| holds_anywhere(pid, id).map(|fd| Way::Fd(pid, fd));
    proc::ancestors().filter_map(has).last()
}

/// The pools of the ancestors that have written the word with these numbers into MAKEFLAGS; the nearest first. Many a
/// program between has a pipe of its own there: a shell that starts a pipeline, or gcc, which knows the protocol, too.
/// So one is believed that was not told of these numbers itself while its child was, and that speaks the protocol.
fn makers(r: i32, w: i32) -> impl Iterator<Item = Id> {
    let mut below = (0, Some(true));
    proc::ancestors().filter_map(move |pid| {
        let told = was_told(pid, r, w);
        let (child, child_told) = core::mem::replace(&mut below, (pid, told));
        if told != Some(false) || child_told != Some(true) {
            return None;
        }
        // A make that has remade its makefiles has been told by itself, before it exec'ed itself.
        let again = || Some(child).filter(|child| *child > 0 && is_make(*child));
        made_by(pid, r, w).or_else(|| made_by(again()?, r, w))
    })
}

fn made_by(pid: i32, r: i32, w: i32) -> Option<Id> {
    pair(pid, r, w).filter(|_| speaker::file_speaks(pid))
}

/// Was a process started with a MAKEFLAGS that names these two numbers? `None`: it cannot be asked.
fn was_told(pid: i32, r: i32, w: i32) -> Option<bool> {
    proc::with_first_environ(pid, |environ| {
        let mut words = environ.split(|b| *b == 0);
        let flags = words.find_map(|word| word.strip_prefix(b"MAKEFLAGS="));
        let auth = flags.and_then(|flags| makeflags::parse(flags).auth);
        auth == Some(Auth::Fds { read: r, write: w })
    })
}

/// Is this process called make (`comm` of proc(5))?
fn is_make(pid: i32) -> bool {
    let mut buf = [0u8; 16];
    let n = proc::read_file(&proc::of(pid).with(b"/comm"), &mut buf).unwrap_or(0);
    speaker::is_gnu_make(buf.get(..n).unwrap_or(b"").trim_ascii_end())
}

/// The pool of the nearest of them, by the farthest ancestor that has it too.
#[inline(never)]
fn by_maker(r: i32, w: i32) -> Option<Hit<'static>> {
    let id = makers(r, w).next()?;
    Hit::by(way_to(r, id), id)
}

/// The pool that this process had when it started and has lost since, where an ancestor still has it, at
/// any number; or anybody: a daemon has no ancestors.
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

/// Are these two descriptors a pool: the one of `JSSHIM_POOL`, where that names one, or that of a make below it?
pub fn has_pool(r: i32, w: i32, env: Settings<'_>) -> bool {
    let told = env.pool.and_then(split).map(|(id, _)| id);
    inherited(r, w).is_some_and(|id| {
        told.is_none_or(|told| pool::is_same(told, id))
            || makers(r, w).any(|made| pool::is_same(made, id))
    })
}

/// Two open ends of one pipe, in these directions, in this process.
#[inline(never)]
pub fn inherited(r: i32, w: i32) -> Option<Id> {
    let (sr, sw) = (sys::fstat(r).ok()?, sys::fstat(w).ok()?);
    let mode = |fd| sys::fcntl(fd, libc::F_GETFL, 0).map(|f| f & libc::O_ACCMODE).ok();
    let one = (sr.st_dev, sr.st_ino) == (sw.st_dev, sw.st_ino)
        && sr.st_mode & libc::S_IFMT == libc::S_IFIFO;
    let ways = mode(r)? != libc::O_WRONLY && mode(w)? != libc::O_RDONLY;
    (one && ways).then(|| (sr.st_dev, sr.st_ino, sys::birth_of(r)))
}

/// Does `pid` hold this pipe at `fd`?
#[inline(never)]
fn holds(pid: i32, fd: i32, id: Id) -> bool {
    sys::stat(fd_path(pid, fd).c(), true).is_ok_and(|st| (st.st_dev, st.st_ino) == (id.0, id.1))
}

/// The first number at which `pid` holds this pipe.
#[inline(never)]
pub fn holds_anywhere(pid: i32, id: Id) -> Option<i32> {
    let mut found = None;
    proc::each_fd(pid, |fd| found = found.or_else(|| holds(pid, fd, id).then_some(fd)));
    found
}

/// Two open ends of one pipe, in these directions, in another process. The permission bits of the links
/// in /proc/PID/fd tell the directions (proc(5)).
#[inline(never)]
fn pair(pid: i32, r: i32, w: i32) -> Option<Id> {
    let stat = |fd, follow| sys::stat(fd_path(pid, fd).c(), follow).ok();
    let id = |fd| stat(fd, true).filter(|st| st.st_mode & libc::S_IFMT == libc::S_IFIFO);
    let id = |fd| id(fd).map(|st| (st.st_dev, st.st_ino));
    let one = id(r)?;
    let ways = stat(r, false)?.st_mode & 0o400 != 0 && stat(w, false)?.st_mode & 0o200 != 0;
    (id(w)? == one && ways).then(|| (one.0, one.1, Way::Fd(pid, r).birth()))
}

/// The value of `JSSHIM_POOL` for a pool: `dev:ino:birth:path`, the numbers in hexadecimal.
pub fn encode(pool: &Pool) -> Text<320> {
    let mut t = Text::default();
    encode_to(pool, &mut t);
    t
}

/// [`encode`], behind what is in `t`.
pub fn encode_to<const N: usize>(pool: &Pool, t: &mut Text<N>) {
    let (dev, ino, birth) = pool.id;
    t.put_hex(dev).put(b":").put_hex(ino).put(b":").put_hex(birth).put(b":");
    t.put(pool.path.bytes());
}

/// Reads [`encode`]'s form back.
pub fn decode(value: &[u8]) -> Option<(Id, Path)> {
    let (id, path) = split(value)?;
    Some((id, Path::new(path)))
}

fn split(value: &[u8]) -> Told<'_> {
    let mut rest = value.strip_prefix(OVERRIDE).unwrap_or(value);
    let mut part = || {
        let (n, after) = hex(rest)?;
        rest = after.strip_prefix(b":")?;
        Some(n)
    };
    let id = (part()?, part()?, part()?);
    (!rest.is_empty() && rest.len() <= Path::ROOM).then_some((id, rest))
}

/// Reads a job's handle as one hexadecimal number ([`Handle::pack`]).
pub fn handle(value: &[u8]) -> Option<Handle> {
    match hex(value)? {
        (n, []) => Handle::unpack(n),
        _ => None,
    }
}

/// Reads a whole decimal number above zero, as `JSSHIM_JOBS` must be.
pub fn count(value: &[u8]) -> Option<u32> {
    match number(value)? {
        (n, []) => u32::try_from(n).ok().filter(|n| *n > 0),
        _ => None,
    }
}
