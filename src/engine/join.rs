//! Which pool is ours? Reads what the environment says, and finds a way to the pipe it names.

use crate::makeflags::{self, Auth, RawPath};
use crate::pool::{self, fd_path, Id, Pool};
use crate::proc;
use crate::record::Handle;
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
    match look(flags.auth, env) {
        Ok(Some(hit)) => Found::Pool(hit.pool(), flags.load_milli.unwrap_or(0)),
        // `make -j1` hands down no pool, but means one job.
        Ok(None) if flags.jobs == Some(1) => Found::One,
        Ok(None) => Found::None,
        Err(problem) if is_gone(problem, env.pool.and_then(split).is_some()) => {
            Found::Unusable(Problem::Gone)
        }
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

    /// Does it lead to this pool, and can that be opened for both directions?
    #[inline(never)]
    fn leads_to(&self, id: Id) -> bool {
        pool::open(&self.path(), id, libc::O_RDWR).map(sys::close).is_ok()
    }

    #[inline(never)]
    fn birth(&self) -> u64 {
        sys::birth(self.path().c())
    }
}

impl Hit<'_> {
    #[inline(never)]
    fn pool(&self) -> Pool {
        Pool::new(self.id, self.way.path(), self.inherited)
    }
}

#[inline(never)]
fn look<'a>(auth: Option<Auth<'a>>, env: Settings<'a>) -> Looked<Option<Hit<'a>>> {
    let told = env.pool.and_then(split);
    let outer = told.filter(|_| overrides(env.pool)).and_then(|told| by_word(Some(told)));
    if outer.is_some() {
        return Ok(outer);
    }
    match auth {
        None => return Ok(by_word(told)),
        Some(Auth::Unknown(_)) => Err(Problem::Malformed),
        Some(Auth::Fifo(raw)) => by_fifo(raw).or_else(|problem| by_word(told).ok_or(problem)),
        // make's word for a recipe without `+`; a pool that an ancestor of ours knows serves all the same.
        Some(Auth::Fds { read, write }) if read < 0 || write < 0 => {
            by_word(told).ok_or(Problem::Closed)
        }
        Some(Auth::Fds { read, write }) => by_fds(read, write, told, env.end),
    }
    .map(Some)
}

/// Has this process outlived its make? It is an orphan then, and a way to the pool that was `known` leads
/// nowhere. Orphans go to init, or to a manager of sessions (systemd(1) of a user), the leader of another.
fn is_gone(problem: Problem, known: bool) -> bool {
    let lost = problem == Problem::Closed && known || problem == Problem::Fifo(libc::ENOENT);
    let parent = sys::getppid();
    let manager = || sys::getsid(parent) == Ok(parent) && sys::getsid(0) != Ok(parent);
    lost && (parent == 1 || manager())
}

#[inline(never)]
fn by_fifo(raw: RawPath<'_>) -> Looked<Hit<'_>> {
    let way = Way::Fifo(raw);
    let path = way.path();
    if !path.fits() || path.bytes().is_empty() {
        return Err(Problem::Malformed);
    }
    // It may be an emulated device (make's bug 67726), so its type is not asked for, except that a plain
    // file would give its contents away as tokens.
    let fd =
        sys::open(path.c(), libc::O_RDWR | libc::O_NONBLOCK, 0).map_err(|e| Problem::Fifo(e.0))?;
    let st = sys::fstat(fd);
    let birth = sys::birth(path.c());
    sys::close(fd);
    let st = st.map_err(|e| Problem::Fifo(e.0))?;
    match st.st_mode & libc::S_IFMT {
        libc::S_IFIFO | libc::S_IFCHR => {
            Ok(Hit { id: (st.st_dev, st.st_ino, birth), way, inherited: None })
        }
        _ => Err(Problem::NoPipe),
    }
}

#[inline(never)]
fn by_fds<'a>(r: i32, w: i32, told: Told<'a>, end: End) -> Looked<Hit<'a>> {
    let inherited = inherited(r, w).filter(|id| end.was(*id));
    if let Some(id) = inherited {
        return Ok(Hit { id, way: way_to(r, id, told), inherited: Some((r, w)) });
    }
    let closed = end == End::None || [r, w].iter().all(|fd| sys::fstat(*fd).is_err());
    let problem = if closed { Problem::Closed } else { Problem::NoPipe };
    by_ancestor(r, w).or_else(|| by_word(told)).or_else(|| by_identity(end, r)).ok_or(problem)
}

/// A path to the pool whose descriptors we have: as the word says, else by the farthest ancestor that has
/// it, which is make itself, whose descriptors last as long as the pool.
#[inline(never)]
fn way_to<'a>(r: i32, id: Id, told: Told<'a>) -> Way<'a> {
    told.filter(|(told, path)| *told == id && Way::Told(path).leads_to(id))
        .map(|(_, path)| Way::Told(path))
        .or_else(|| {
            let has = |pid: &i32| holds(*pid, r, id);
            proc::ancestors().filter(has).last().map(|pid| Way::Fd(pid, r))
        })
        .or_else(|| farthest_anywhere(id))
        .unwrap_or_else(|| Way::Fd(sys::getpid(), r))
}

/// The descriptor of the farthest ancestor that has this pipe at any number.
#[inline(never)]
fn farthest_anywhere(id: Id) -> Option<Way<'static>> {
    let has = |pid| holds_anywhere(pid, id).map(|fd| Way::Fd(pid, fd));
    proc::ancestors().filter_map(has).last()
}

/// The pool that the nearest ancestor has under these numbers. Many a program between has a pipe of its own
/// there, such as a shell that starts a pipeline: one that does not make pools by its name is believed
/// only if another one farther up has the same, or if there is nobody else.
#[inline(never)]
fn by_ancestor(r: i32, w: i32) -> Option<Hit<'static>> {
    let with_pair = || proc::ancestors().filter_map(|pid| pair(pid, r, w).map(|id| (pid, id)));
    let above = |pid: i32| with_pair().skip_while(move |(other, _)| *other != pid).skip(1);
    let shared = |pid: i32, id: Id| above(pid).any(|(_, other)| other == id);
    let owner = with_pair().find(|(pid, id)| makes_pools(*pid) || shared(*pid, *id));
    let (_, id) = owner.or_else(|| with_pair().next())?;
    // The one farthest up is make itself: its descriptors last as long as the pool.
    let (pid, _) = with_pair().filter(|(_, other)| *other == id).last()?;
    let way = Way::Fd(pid, r);
    way.leads_to(id).then_some(Hit { id, way, inherited: None })
}

/// Is this process known to make pools, by its name (`comm` of proc(5))?
fn makes_pools(pid: i32) -> bool {
    let mut buf = [0u8; 16];
    let n = proc::read_file(&proc::of(pid).with(b"/comm"), &mut buf).unwrap_or(0);
    let name = buf.get(..n).unwrap_or(b"");
    let known: [&[u8]; 6] = [b"make", b"gmake", b"remake", b"cargo", b"ninja", b"jsshim"];
    known.iter().any(|start| name.starts_with(start))
}

/// The pool that this process had when it started and has lost since, where an ancestor still has it, at
/// any number.
#[inline(never)]
fn by_identity(end: End, r: i32) -> Option<Hit<'static>> {
    let End::Was(dev, ino) = end else { return None };
    if End::of(r) == end {
        return None;
    }
    let way = farthest_anywhere((dev, ino, 0))?;
    let id = (dev, ino, way.birth());
    way.leads_to(id).then_some(Hit { id, way, inherited: None })
}

/// The pool of the private word, if it is there.
#[inline(never)]
fn by_word(told: Told<'_>) -> Option<Hit<'_>> {
    let (id, path) = told?;
    let way = Way::Told(path);
    way.leads_to(id).then_some(Hit { id, way, inherited: None })
}

/// Two open ends of one pipe, in these directions, in this process.
#[inline(never)]
pub fn inherited(r: i32, w: i32) -> Option<Id> {
    let (sr, sw) = (sys::fstat(r).ok()?, sys::fstat(w).ok()?);
    let mode = |fd| sys::fcntl(fd, libc::F_GETFL, 0).map(|f| f & libc::O_ACCMODE).ok();
    let one = (sr.st_dev, sr.st_ino) == (sw.st_dev, sw.st_ino)
        && sr.st_mode & libc::S_IFMT == libc::S_IFIFO;
    let ways = mode(r)? != libc::O_WRONLY && mode(w)? != libc::O_RDONLY;
    (one && ways).then(|| (sr.st_dev, sr.st_ino, Way::Fd(0, r).birth()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn by_word(word: &str) -> Found {
        find(Settings { makeflags: Some(word.as_bytes()), ..Settings::default() })
    }

    #[test]
    fn a_live_pipe_is_joined_through_an_own_description() {
        let [r, w] = sys::pipe2(libc::O_CLOEXEC).unwrap();
        let Found::Pool(pool, load) = by_word(&format!(" -j3 -l2.5 --jobserver-auth={r},{w}"))
        else {
            panic!("not found");
        };
        assert_eq!(load, 2500);
        assert_eq!(pool.pollable().map(|fd| pool::is(fd, pool.id)), Some(true));
        assert_eq!(sys::fcntl(r, libc::F_GETFL, 0).unwrap() & libc::O_NONBLOCK, 0);
        pool.close();
        sys::close(r);
        sys::close(w);
    }

    #[test]
    fn a_pipe_that_came_later_is_not_the_pool() {
        let [r, w] = sys::pipe2(libc::O_CLOEXEC).unwrap();
        let word = format!(" --jobserver-auth={r},{w}");
        let find = |end| find(Settings { makeflags: Some(word.as_bytes()), pool: None, end });
        assert!(matches!(find(End::of(r)), Found::Pool(..)));
        assert!(matches!(find(End::None), Found::Unusable(Problem::Closed)));
        sys::close(r);
        sys::close(w);
    }

    #[test]
    fn what_is_no_pool_is_refused() {
        let file = sys::open(c"/dev/null", libc::O_RDWR, 0).unwrap();
        let problem = |word: &str| match by_word(word) {
            Found::Unusable(p) => p,
            _ => panic!("{word}"),
        };
        assert_eq!(problem(&format!(" --jobserver-auth={file},{file}")), Problem::NoPipe);
        sys::close(file);
        assert_eq!(problem(" --jobserver-auth=-2,-2"), Problem::Closed);
        assert_eq!(problem(" --jobserver-auth=911,912"), Problem::Closed);
        assert_eq!(problem(" --jobserver-auth=what"), Problem::Malformed);
        assert_eq!(problem(" --jobserver-auth=fifo:/nonexistent"), Problem::Fifo(libc::ENOENT));
        assert_eq!(problem(" --jobserver-auth=fifo:/etc/passwd"), Problem::NoPipe);
        assert!(matches!(by_word("k"), Found::None));
    }

    proptest! {
        #[test]
        fn the_private_word_round_trips(dev: u64, ino: u64, birth: u64, path in "/[!-~]{1,200}") {
            let pool = Pool::new((dev, ino, birth), Path::new(path.as_bytes()), None);
            let (id, back) = decode(encode(&pool).bytes()).unwrap();
            prop_assert_eq!(id, pool.id);
            prop_assert_eq!(back.bytes(), path.as_bytes());
        }

        #[test]
        fn any_word_is_survived(word in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = decode(&word);
            let _ = count(&word);
        }
    }
}
