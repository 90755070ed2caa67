//! A pool of our own, if no make above has one: a fifo in the run-time directory.

use crate::sys::{self, Errno, Result};
use crate::text::{hex, number, Path, Text};
use crate::{clock, space};

use super::pipe;
use super::tokens::Pool;

/// The most slots a pool can have: a pipe holds 65,536 bytes (pipe(7)).
pub const MOST: u32 = 65_536;

/// Returns whether this word names a pool that this process has made, perhaps before an exec. Compares the PID
/// namespace, too: in another one another process has the same pid.
pub fn is_made_here(word: &[u8]) -> bool {
    let mut name: Text<64> = Text::new(b"/pool-");
    let has = |name: &Text<64>| word.windows(name.bytes().len()).any(|part| part == name.bytes());
    name.put_num(sys::getpid()).put(b"-");
    // The pid decides in most cases; only then the namespace is asked for.
    has(&name) && has(name.put_hex(space::own()).put(b"-"))
}

/// The maker of the pool with this file name: its pid, its PID namespace (0: unknown), and the time, as [`sys::now`].
pub fn maker(name: &[u8]) -> Option<(i32, u64, u64)> {
    let (pid, rest) = number(name.strip_prefix(b"pool-")?)?;
    let (space, rest) = hex(rest.strip_prefix(b"-")?)?;
    let pid = i32::try_from(pid).ok().filter(|pid| *pid > 0)?;
    // Names of earlier versions have no namespace.
    let (time, _) = rest.strip_prefix(b"-").map_or(Some((space, rest)), hex)?;
    Some((pid, if rest.is_empty() { 0 } else { space }, time))
}

/// Removes a pool that no process has open for reading: it holds nothing. Returns whether it did.
pub fn remove_unused(path: &Path) -> bool {
    let how = libc::O_WRONLY | libc::O_NONBLOCK | libc::O_NOFOLLOW;
    match sys::open(path.c(), how, 0) {
        Ok(fd) => {
            sys::close(fd);
            false
        }
        Err(e) => e == Errno(libc::ENXIO) && sys::unlink(path.c()).is_ok(),
    }
}

/// Returns whether this word names a pool that jsshim made, not a make.
pub fn is_ours(word: &[u8]) -> bool {
    let name = word.rsplit(|b| *b == b'/').next().unwrap_or(b"");
    name.strip_prefix(b"pool-").and_then(number).is_some_and(|(_, rest)| rest.starts_with(b"-"))
}

/// Makes a fifo in `dir` with a `+` for every slot but the implicit slot of its root, and opens it for reading and
/// writing (close-on-exec). It lives while a process has it open.
///
/// # Errors
/// As mkfifo(3) and open(2).
#[inline(never)]
pub fn make(dir: &Path, slots: u32) -> Result<(Pool, i32)> {
    clock::settle();
    let mut path = *dir;
    path.put(b"/pool-").put_num(sys::getpid()).put(b"-").put_hex(space::own());
    path.put(b"-").put_hex(sys::now());
    if !path.fits() {
        return Err(Errno(libc::ENAMETOOLONG));
    }
    sys::mkfifo(path.c(), 0o600)?;
    // The umask may have removed the owner's own rights.
    let made = sys::chmod(path.c(), 0o600).and_then(|()| fill(path, slots));
    made.inspect_err(|_| {
        let _ = sys::unlink(path.c());
    })
}

fn fill(path: Path, slots: u32) -> Result<(Pool, i32)> {
    let fd = sys::open(path.c(), libc::O_RDWR | libc::O_NONBLOCK, 0)?;
    let tokens = [b'+'; 256];
    let mut left = slots.clamp(1, MOST).saturating_sub(1) as usize;
    while left > 0 {
        let part = tokens.get(..left.min(tokens.len())).unwrap_or(&tokens);
        match sys::write(fd, part) {
            Ok(n) => left = left.saturating_sub(n.max(1)),
            Err(e) => {
                sys::close(fd);
                return Err(e);
            }
        }
    }
    let st = sys::fstat(fd).inspect_err(|_| sys::close(fd))?;
    let id = (st.st_dev, st.st_ino, sys::birth_of(fd));
    Ok((Pool::new(id, path, None), fd))
}

/// Two inheritable descriptors of the pool, read and write end, for programs that know only those: make up to 4.3. The
/// read end blocks, as older ones expect. Their numbers are high: tests of shells look at the low numbers, and the next
/// pipe gets them if a program below has closed them.
///
/// # Errors
/// As open(2).
pub fn ends(pool: &Pool) -> Result<(i32, i32)> {
    let end = |how| {
        let fd = pipe::move_high(pool.open(how)?);
        let inheritable = sys::set_blocking(fd).and(sys::fcntl(fd, libc::F_SETFD, 0));
        inheritable.map(|_| fd).inspect_err(|_| sys::close(fd))
    };
    let r = end(libc::O_RDONLY)?;
    let w = end(libc::O_WRONLY).inspect_err(|_| sys::close(r))?;
    Ok((r, w))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_of_ours_is_known_by_its_name() {
        assert!(is_ours(b"1:2:3:/dev/shm/jsshim-0/pool-71-a2f"));
        for other in
            ["", "1:2:3:/tmp/GMfifo71", "1:2:0:/proc/7/fd/3", "1:2:3:/tmp/pool-x", "pool-7"]
        {
            assert!(!is_ours(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn the_ends_are_out_of_the_way() {
        let dir = std::env::temp_dir();
        let (pool, fd) = make(&Path::new(dir.as_os_str().as_encoded_bytes()), 2).unwrap();
        let (r, w) = ends(&pool).unwrap();
        assert!(r >= 32 && w >= 32 && pipe::is(r, pool.id) && pipe::is(w, pool.id));
        [r, w, fd].into_iter().for_each(sys::close);
        sys::unlink(pool.path.c()).unwrap();
    }

    #[test]
    fn the_name_of_a_pool_tells_its_maker() {
        let dir = Path::new(std::env::temp_dir().as_os_str().as_encoded_bytes());
        let (pool, fd) = make(&dir, 2).unwrap();
        let name = pool.path.bytes().rsplit(|b| *b == b'/').next().unwrap();
        let (pid, space, time) = maker(name).unwrap();
        assert_eq!((pid, space), (sys::getpid(), space::own()));
        assert!(time <= sys::now() && is_made_here(pool.path.bytes()));
        assert!(!remove_unused(&pool.path));
        sys::close(fd);
        assert!(remove_unused(&pool.path) && !remove_unused(&pool.path));
        assert_eq!(maker(b"pool-7-2a"), Some((7, 0, 0x2a)));
        for other in ["pool-", "pool-x-1-1", "pool-7", "pool-7-x", "pool--7-1-1", "pool-7-1-x"] {
            assert_eq!(maker(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_pool_holds_one_byte_less_than_slots() {
        let dir = std::env::temp_dir();
        let dir = Path::new(dir.as_os_str().as_encoded_bytes());
        for slots in [1u32, 2, 5000] {
            let (pool, fd) = make(&dir, slots).unwrap();
            let mut buf = vec![0; 70_000];
            let level = sys::read(fd, &mut buf).unwrap_or(0);
            assert_eq!(level, slots as usize - 1);
            sys::close(fd);
            sys::unlink(pool.path.c()).unwrap();
        }
    }
}
