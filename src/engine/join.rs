//! Which pool is ours? Reads what the environment says, and finds a way to the pipe it names.

use crate::makeflags::{self, Auth};
use crate::pool::{self, fd_path, holder, holds, Id, Pool};
use crate::proc;
use crate::record::Handle;
use crate::sys::{self, Result};
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
        }
    }
}

/// Finds the pool of this process.
pub fn find(env: Settings<'_>) -> Found {
    let flags = makeflags::parse(env.makeflags.unwrap_or(b""));
    let told = env.pool.and_then(decode);
    let outer = told.filter(|_| overrides(env.pool)).and_then(|told| by_word(Some(told)));
    if let Some(pool) = outer {
        return Found::Pool(pool, flags.load_milli.unwrap_or(0));
    }
    let found = match flags.auth {
        None => match by_word(told) {
            Some(pool) => Ok(pool),
            // `make -j1` hands down no pool, but means one job.
            None if flags.jobs == Some(1) => return Found::One,
            None => return Found::None,
        },
        Some(Auth::Unknown(_)) => Err(Problem::Malformed),
        Some(Auth::Fifo(raw)) => {
            let mut buf = [0u8; 256];
            let found = raw.unescape(&mut buf).map_or(Err(Problem::Malformed), by_fifo);
            found.or_else(|problem| by_word(told).ok_or(problem))
        }
        // make's word for a recipe without `+`; a pool that an ancestor of ours knows serves all the same.
        Some(Auth::Fds { read, write }) if read < 0 || write < 0 => {
            by_word(told).ok_or(Problem::Closed)
        }
        Some(Auth::Fds { read, write }) => by_fds(read, write, told, env.end),
    };
    match found {
        Ok(pool) => Found::Pool(pool, flags.load_milli.unwrap_or(0)),
        Err(problem) => Found::Unusable(problem),
    }
}

/// The identity of what is at `path`, if it opens for both directions.
#[inline(never)]
fn opens(path: &Path, id: Id) -> Result<()> {
    pool::open(path, id, libc::O_RDWR).map(sys::close)
}

#[inline(never)]
fn by_fifo(path: &[u8]) -> core::result::Result<Pool, Problem> {
    let path = Path::new(path);
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
        libc::S_IFIFO | libc::S_IFCHR => Ok(Pool::new((st.st_dev, st.st_ino, birth), path, None)),
        _ => Err(Problem::NoPipe),
    }
}

#[inline(never)]
fn by_fds(
    r: i32,
    w: i32,
    told: Option<(Id, Path)>,
    end: End,
) -> core::result::Result<Pool, Problem> {
    let inherited = inherited(r, w).filter(|id| end.was(*id));
    if let Some(id) = inherited {
        return Ok(Pool::new(id, path_to(r, id, told), Some((r, w))));
    }
    let closed = end == End::None || [r, w].iter().all(|fd| sys::fstat(*fd).is_err());
    let problem = if closed { Problem::Closed } else { Problem::NoPipe };
    by_ancestor(r, w).or_else(|| by_word(told)).or_else(|| by_identity(end, r)).ok_or(problem)
}

/// A path to the pool whose descriptors we have: as the word says, else by the farthest ancestor that has
/// it, which is make itself, whose descriptors last as long as the pool.
#[inline(never)]
fn path_to(r: i32, id: Id, told: Option<(Id, Path)>) -> Path {
    told.filter(|(told, path)| *told == id && opens(path, id).is_ok())
        .map(|(_, path)| path)
        .or_else(|| proc::ancestors().filter_map(|pid| holds(pid, r, id)).last())
        .or_else(|| proc::ancestors().filter_map(|pid| holder(pid, id)).last())
        .unwrap_or_else(|| fd_path(sys::getpid(), r))
}

/// The pool that the nearest ancestor has under these numbers.
#[inline(never)]
fn by_ancestor(r: i32, w: i32) -> Option<Pool> {
    let mut nearest = proc::ancestors().filter_map(|pid| pair(pid, r, w));
    let (id, path) = nearest.next()?;
    // The one farthest up is make itself: its descriptors last as long as the pool.
    let far = nearest.filter(|(other, _)| *other == id).last();
    let path = far.map_or(path, |(_, path)| path);
    opens(&path, id).is_ok().then(|| Pool::new(id, path, None))
}

/// The pool that this process had when it started and has lost since, where an ancestor still has it, at
/// any number.
#[inline(never)]
fn by_identity(end: End, r: i32) -> Option<Pool> {
    let End::Was(dev, ino) = end else { return None };
    if End::of(r) == end {
        return None;
    }
    let path = proc::ancestors().filter_map(|pid| holder(pid, (dev, ino, 0))).last()?;
    let id = (dev, ino, sys::birth(path.c()));
    opens(&path, id).is_ok().then(|| Pool::new(id, path, None))
}

/// The pool of the private word, if it is there.
#[inline(never)]
fn by_word(told: Option<(Id, Path)>) -> Option<Pool> {
    let (id, path) = told.filter(|(id, path)| opens(path, *id).is_ok())?;
    Some(Pool::new(id, path, None))
}

/// Two open ends of one pipe, in these directions, in this process.
pub fn inherited(r: i32, w: i32) -> Option<Id> {
    let (sr, sw) = (sys::fstat(r).ok()?, sys::fstat(w).ok()?);
    let mode = |fd| sys::fcntl(fd, libc::F_GETFL, 0).map(|f| f & libc::O_ACCMODE).ok();
    let one = (sr.st_dev, sr.st_ino) == (sw.st_dev, sw.st_ino)
        && sr.st_mode & libc::S_IFMT == libc::S_IFIFO;
    let ways = mode(r)? != libc::O_WRONLY && mode(w)? != libc::O_RDONLY;
    (one && ways).then(|| (sr.st_dev, sr.st_ino, sys::birth(fd_path(0, r).c())))
}

/// Two open ends of one pipe, in these directions, in another process. The permission bits of the links
/// in /proc/PID/fd tell the directions (proc(5)).
#[inline(never)]
fn pair(pid: i32, r: i32, w: i32) -> Option<(Id, Path)> {
    let (pr, pw) = (fd_path(pid, r), fd_path(pid, w));
    let (sr, sw) = (sys::stat(pr.c(), true).ok()?, sys::stat(pw.c(), true).ok()?);
    let (lr, lw) = (sys::stat(pr.c(), false).ok()?, sys::stat(pw.c(), false).ok()?);
    let one = (sr.st_dev, sr.st_ino) == (sw.st_dev, sw.st_ino)
        && sr.st_mode & libc::S_IFMT == libc::S_IFIFO;
    let ways = lr.st_mode & 0o400 != 0 && lw.st_mode & 0o200 != 0;
    (one && ways).then(|| ((sr.st_dev, sr.st_ino, sys::birth(pr.c())), pr))
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
    let mut rest = value.strip_prefix(OVERRIDE).unwrap_or(value);
    let mut part = || {
        let (n, after) = hex(rest)?;
        rest = after.strip_prefix(b":")?;
        Some(n)
    };
    let id = (part()?, part()?, part()?);
    let path = Path::new(rest);
    (path.fits() && !rest.is_empty()).then_some((id, path))
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
