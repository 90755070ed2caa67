//! Who asks to exec: a process, its parent, its memory. Whatever cannot be read is unknown, and then nothing is gated.

use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use jsshim_engine::makeflags::{self, Auth};
use jsshim_engine::pool::pipe::{self, Id};
use jsshim_engine::proc;
use jsshim_engine::program::speaker;
use jsshim_engine::text::{hex, Path, PATH_ROOM};

/// How far up a client is looked for.
const GENERATIONS: usize = 32;
/// The library's name in the memory of a process that it is loaded into.
const LIBRARY: &[u8] = b"/libjsshim.so";
/// Those whose calls it sees: itself, glibc, musl.
const HOOKED: [&[u8]; 4] = [b"libjsshim.so", b"libc", b"ld-", b"libpthread"];

/// A process, as /proc shows it.
#[derive(Clone, Copy)]
pub struct Process {
    pub pid: i32,
    pub parent: i32,
    /// It has been forked, and has not exec'ed since.
    pub is_fresh: bool,
}

impl Process {
    pub fn of(pid: i32) -> Option<Self> {
        let stat = proc::stat(pid)?;
        Some(Self { pid, parent: stat.parent, is_fresh: stat.is_fork() })
    }

    /// The process whose job this one is: its parent, or the nearest one above that has exec'ed. A subshell is no job of
    /// its own.
    pub fn client(&self) -> Option<i32> {
        let mut above = Self::of(self.parent)?;
        for _ in 0..GENERATIONS {
            if above.pid <= 1 {
                return None;
            }
            if !above.is_fresh {
                return Some(above.pid);
            }
            above = Self::of(above.parent)?;
        }
        None
    }
}

/// Does the library see this call? It is loaded into the process, or into the parent of which it is a copy, and the call
/// was made by libc or by the library, not by the program itself, as one of Go does. `at`: the address of the call.
pub fn is_preloaded(pid: i32, at: u64) -> Option<bool> {
    let maps = fs::read(format!("/proc/{pid}/maps")).ok()?;
    let is_hooked = |line: &[u8]| {
        let name = line.rsplit(|b| *b == b'/').next().unwrap_or(b"");
        HOOKED.iter().any(|front| name.starts_with(front)) && holds(line, at)
    };
    let is_loaded = maps.windows(LIBRARY.len()).any(|w| w == LIBRARY);
    Some(is_loaded && maps.split(|b| *b == b'\n').any(is_hooked))
}

/// Is this address in the mapping of this line, `FROM-TO …`?
fn holds(line: &[u8], at: u64) -> bool {
    let parts = hex(line).and_then(|(from, rest)| Some((from, hex(rest.strip_prefix(b"-")?)?.0)));
    parts.is_some_and(|(from, to)| (from..to).contains(&at))
}

/// Is this process below a filter? Not who only collects the orphans of the tree.
pub fn is_in_tree(pid: i32) -> bool {
    proc::bounds(pid).is_some_and(|bounds| bounds.filters > 0)
}

/// Takes this process its jobs' slots itself, from this pool, which its MAKEFLAGS name? A make that has a pool of its own,
/// and what is below that one, does not.
pub fn obeys(pid: i32, pool: Id) -> bool {
    let names_pool = |environ: &[u8]| {
        let mut words = environ.split(|b| *b == 0);
        words
            .find_map(|w| w.strip_prefix(b"MAKEFLAGS="))
            .is_some_and(|flags| names(flags, pid, pool))
    };
    if !proc::with_first_environ(pid, names_pool).unwrap_or(false) {
        return false;
    }
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    !speaker::is_told_otherwise(line.split(|b| *b == 0)) && speaker::file_speaks(pid)
}

/// Do the MAKEFLAGS of this process name this pool?
fn names(flags: &[u8], pid: i32, pool: Id) -> bool {
    let mut buf = [0u8; PATH_ROOM];
    let path = match makeflags::parse(flags).auth {
        Some(Auth::Fds { read, .. }) => PathBuf::from(format!("/proc/{pid}/fd/{read}")),
        Some(Auth::Fifo(path)) => match path.unescape(&mut buf) {
            Some(path) => PathBuf::from(OsStr::from_bytes(path)),
            None => return false,
        },
        _ => return false,
    };
    fs::metadata(path).is_ok_and(|st| pipe::is_same((st.dev(), st.ino(), 0), pool))
}

/// The program that a process asks for, at this address of its memory.
pub fn path_at(pid: i32, address: u64) -> Option<CString> {
    let mut text = Vec::with_capacity(256);
    while text.len() < PATH_ROOM {
        let at = address.checked_add(text.len() as u64)?;
        // Not across the end of a page: the next one may not be there.
        let len = (4096 - at % 4096).min(256) as usize;
        let mut part = [0u8; 256];
        let ours = libc::iovec { iov_base: part.as_mut_ptr().cast(), iov_len: len };
        let theirs = libc::iovec { iov_base: at as *mut _, iov_len: len };
        // SAFETY: writes to `part` alone, at most its length.
        let n = unsafe { libc::process_vm_readv(pid, &raw const ours, 1, &raw const theirs, 1, 0) };
        let part = part.get(..usize::try_from(n).ok().filter(|n| *n > 0)?)?;
        match part.iter().position(|b| *b == 0) {
            Some(end) => {
                text.extend(part.get(..end)?);
                return CString::new(text).ok();
            }
            None => text.extend(part),
        }
    }
    None
}

/// Whether another process sees the ledger under its path, and the same root: otherwise nothing of ours can run there.
pub fn shares_files(pid: i32, ledger: &Path) -> bool {
    let id = |path: String| fs::metadata(path).ok().map(|st| (st.dev(), st.ino()));
    let ledger = String::from_utf8_lossy(ledger.bytes()).into_owned();
    let root = id(format!("/proc/{pid}/root"));
    root.is_some()
        && root == id("/".to_owned())
        && id(format!("/proc/{pid}/root{ledger}")) == id(ledger)
}

/// The same path for the helper: for `/proc/self/exe`, by which busybox starts its applets, that of the program. `None` if
/// it would lead the helper elsewhere.
pub fn itself(pid: i32, path: CString) -> Option<CString> {
    if path.as_c_str() == c"/proc/self/exe" {
        let link = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        return CString::new(link.into_os_string().into_vec()).ok();
    }
    let bytes = path.as_bytes();
    let own = [&b"/proc/self/"[..], b"/proc/thread-self/", b"/dev/fd/"];
    let leads_elsewhere = own.iter().any(|front| bytes.starts_with(front));
    (!leads_elsewhere).then_some(path)
}

/// This path as we reach it, of the process's directory.
pub fn from_here(pid: i32, path: &CString) -> Option<CString> {
    let bytes = path.as_bytes();
    let front = if bytes.starts_with(b"/") { "root" } else { "cwd/" };
    CString::new([format!("/proc/{pid}/{front}").as_bytes(), bytes].concat()).ok()
}

/// Do two processes share their descriptors (kcmp(2), KCMP_FILES)? What is added to one is added to both.
pub fn share_descriptors(a: i32, b: i32) -> bool {
    const FILES: i32 = 2;
    // SAFETY: numbers only.
    unsafe { libc::syscall(libc::SYS_kcmp, a, b, FILES, 0, 0) == 0 }
}
