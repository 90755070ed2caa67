//! The moment when two jobs run at once for the first time: who are we, and which pool is ours?

use core::ffi::{c_int, c_void, CStr};
use core::sync::atomic::AtomicU8;
use core::sync::atomic::Ordering::Relaxed;

use jsshim_engine::client::Client;
use jsshim_engine::join::{self, Found, Settings};
use jsshim_engine::pool::Pool;
use jsshim_engine::text::{Path, Text};
use jsshim_engine::{glob, own, proc, rundir, sys, target};

use crate::environ;
use crate::real;
use crate::state::STATE;

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

/// Sets up the client of this process. `None`: it is not gated.
pub fn find() -> Option<Client> {
    settle_modes();
    if left_out() || aware() {
        return None;
    }
    let (makeflags, pool) = (environ::own(b"MAKEFLAGS="), environ::own(b"JSSHIM_POOL="));
    match join::find(Settings { makeflags, pool }) {
        Found::Pool(pool, load) => enter(pool, load_limit(load), (0, 0)),
        Found::One => make(1),
        Found::None => make(jobs_wanted().unwrap_or_else(own::default_slots)),
        Found::Unusable(problem) => {
            STATE.warn(problem.text().bytes());
            make(1)
        }
    }
}

/// Before main, with `JSSHIM_JOBS`: makes the pool whether or not this program is gated. Gives two
/// inheritable ends of it and the value of `JSSHIM_POOL`.
pub fn found() -> Option<(i32, i32, Text<320>)> {
    let slots = jobs_wanted().unwrap_or_else(own::default_slots);
    let mut result = None;
    let find = || {
        settle_modes();
        let client = make(slots)?;
        result = own::ends(&client.pool).ok().map(|(r, w)| (r, w, join::encode(&client.pool)));
        (!left_out() && !aware()).then_some(client)
    };
    STATE.join(find, crate::ticket::record_first);
    result
}

fn settle_modes() {
    let debug = environ::own(b"JSSHIM_DEBUG=").is_some_and(|v| !matches!(v, b"" | b"0"));
    STATE.debug.store(debug, Relaxed);
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
fn load_limit(flags: u32) -> u32 {
    let word = environ::own(b"JSSHIM_LOAD=").filter(|v| !v.is_empty());
    let own = word.and_then(|v| {
        let text: Text<32> = Text::new(b"-l").with(v);
        jsshim_engine::makeflags::parse(text.bytes()).load_milli
    });
    own.unwrap_or(flags)
}

/// `JSSHIM_JOBS`, if it is a number above zero.
pub fn jobs_wanted() -> Option<u32> {
    let word = environ::own(b"JSSHIM_JOBS=").filter(|v| !v.is_empty())?;
    let n = join::count(word);
    if n.is_none() {
        STATE.warn(b"JSSHIM_JOBS is not a number above 0; the number of CPUs is used");
    }
    n
}

fn enter(pool: Pool, load_milli: u32, own: (i32, u32)) -> Option<Client> {
    let client = rundir::find(environ::own(b"JSSHIM_DIR="))
        .and_then(|dir| Client::new(pool, &dir, helper(), load_milli, own));
    client.map_err(|e| refuse(e.0)).ok()
}

fn refuse(errno: i32) {
    let text: Text<160> = Text::new(b"no run-time directory for the ledger (errno ");
    STATE.warn(text.num(errno).with(b"); this process is not gated").bytes());
}

/// Makes a pool of our own. The description that fills it stays open: the guard takes over, but where
/// there is none the pool would be lost.
pub fn make(slots: u32) -> Option<Client> {
    let made = rundir::find(environ::own(b"JSSHIM_DIR=")).and_then(|dir| own::make(&dir, slots));
    match made {
        Ok((pool, fd)) => {
            let path = pool.path;
            let client = enter(pool, load_limit(0), (sys::getpid(), slots));
            match &client {
                Some(client) => {
                    jsshim_engine::pool::move_high(fd);
                    client.guard(STATE.env.load(Relaxed).cast_const(), true);
                }
                None => {
                    sys::close(fd);
                    let _ = sys::unlink(path.c());
                }
            }
            client
        }
        Err(e) => {
            refuse(e.0);
            None
        }
    }
}

/// `JSSHIM_HELPER`, or `jsshim-helper` next to this library. Empty, and said so, if there is none.
fn helper() -> Path {
    let told = environ::own(b"JSSHIM_HELPER=").filter(|v| !v.is_empty()).map(Path::new);
    let path = told.unwrap_or_else(beside_library);
    if path.fits() && target::foretell(path.c()).is_ok() {
        return path;
    }
    STATE.warn(b"jsshim-helper is not to be found; jobs cannot be held");
    Path::default()
}

fn beside_library() -> Path {
    let mut found = Path::default();
    // SAFETY: `visit` has the right type and `found` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut found).cast()) };
    let dir = found.bytes().iter().rposition(|b| *b == b'/');
    let dir = dir.and_then(|at| found.bytes().get(..=at)).unwrap_or(b"");
    Path::new(dir).with(b"jsshim-helper")
}

/// Finds the path of this library.
unsafe extern "C" fn visit(info: *mut libc::dl_phdr_info, _: usize, data: *mut c_void) -> c_int {
    // SAFETY: the loader's description, its C string, and our own text.
    unsafe {
        let ours = real::is_ours(&*info);
        if ours {
            *data.cast::<Path>() = Path::new(CStr::from_ptr((*info).dlpi_name).to_bytes());
        }
        c_int::from(ours)
    }
}

/// Left out by `JSSHIM_SKIP`, or not let in by `JSSHIM_ONLY` (globs on the program's name)?
fn left_out() -> bool {
    let (skip, only) = (environ::own(b"JSSHIM_SKIP="), environ::own(b"JSSHIM_ONLY="));
    if skip.is_none() && only.is_none() {
        return false;
    }
    let mut buf = [0u8; 256];
    let path = sys::readlink(c"/proc/self/exe", &mut buf).unwrap_or(b"");
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or(path);
    skip.is_some_and(|list| glob::any(list, name))
        || only.is_some_and(|list| !list.is_empty() && !glob::any(list, name))
}

/// Does this program speak the protocol itself, and obey it? Told by the strings in its read-only
/// memory. A ninja that knows the protocol ignores it when it is given a `-j`.
fn aware() -> bool {
    let mut speaks = false;
    // SAFETY: `scan` has the right type and `speaks` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(scan), (&raw mut speaks).cast()) };
    speaks && !is_headstrong_ninja()
}

/// Searches the first object, the program itself.
unsafe extern "C" fn scan(info: *mut libc::dl_phdr_info, _: usize, data: *mut c_void) -> c_int {
    // SAFETY: the loader's headers; a readable segment is mapped for as long as it says.
    unsafe {
        let info = &*info;
        for h in real::headers(info).iter().filter(|h| {
            h.p_type == libc::PT_LOAD && h.p_flags & libc::PF_R != 0 && h.p_flags & libc::PF_W == 0
        }) {
            let start = (info.dlpi_addr as usize).wrapping_add(h.p_vaddr as usize) as *const u8;
            *data.cast::<bool>() |= names_job_server(start, h.p_filesz as usize);
        }
    }
    1
}

/// Is `jobserver-auth` or `jobserver-fds` in this memory? Looked for byte by byte: the memmem(3) and
/// memcmp(3) of a program built with AddressSanitizer die of what lies between its variables.
///
/// # Safety
/// `len` bytes from `start` on must be readable.
unsafe fn names_job_server(start: *const u8, len: usize) -> bool {
    let at = |i: usize, word: &[u8]| {
        // SAFETY: `i` stays the longer word's length below the end.
        word.iter().zip(i..).all(|(b, i)| unsafe { start.wrapping_add(i).read() } == *b)
    };
    (0..len.saturating_sub(16))
        .any(|i| at(i, b"jobserver-") && (at(i, b"jobserver-auth") || at(i, b"jobserver-fds")))
}

fn is_headstrong_ninja() -> bool {
    let mut buf = [0u8; 2048];
    let n = proc::read_file(&Path::new(b"/proc/self/cmdline"), &mut buf).unwrap_or(0);
    let mut words = buf.get(..n).unwrap_or(b"").split(|b| *b == 0);
    let program = words.next().unwrap_or(b"");
    let name = program.rsplit(|b| *b == b'/').next().unwrap_or(b"");
    name.starts_with(b"ninja") && words.any(|w| w.starts_with(b"-j"))
}
