//! MAKEFLAGS, read and written.

use core::ffi::{c_int, CStr};

use jsshim_engine::makeflags::{self, Auth, Letters, Names, Out, WriteAuth};
use jsshim_engine::room::PATH_ROOM;
use jsshim_engine::sys::{Errno, Result};
use jsshim_engine::text::LongPath;

use crate::heap;
use crate::instance::{answer, Jobserver};

const NAME: &CStr = c"MAKEFLAGS";

/// What MAKEFLAGS says of a pool.
#[allow(clippy::large_enum_variant)] // it is used at once
pub enum Pool {
    None,
    Fds(c_int, c_int),
    Fifo(LongPath),
}

fn value<'a>() -> Option<&'a CStr> {
    // SAFETY: used before anything changes the environment again.
    unsafe {
        let value = libc::getenv(NAME.as_ptr());
        (!value.is_null()).then(|| CStr::from_ptr(value))
    }
}

/// Reads MAKEFLAGS. The letters are there even if the pool is not.
pub fn read() -> (Letters, Result<Pool>) {
    let flags = makeflags::parse(value().unwrap_or_default().to_bytes());
    let letters =
        Letters { dry_run: flags.dry_run, debug: flags.debug, keep_going: flags.keep_going };
    let proto = Errno(libc::EPROTO);
    let pool = match flags.auth {
        None => Ok(Pool::None),
        Some(Auth::Fds { read, write }) if read < 0 || write < 0 => Err(Errno::BADF),
        Some(Auth::Fds { read, write }) => Ok(Pool::Fds(read, write)),
        Some(Auth::Fifo(raw)) => {
            let mut buf = [0; LongPath::ROOM];
            let path = raw.unescape(&mut buf).filter(|path| !path.is_empty());
            path.map(|path| Pool::Fifo(LongPath::new(path))).ok_or(proto)
        }
        Some(Auth::Unknown(word)) if are_numbers(word) => Err(Errno::BADF),
        Some(Auth::Unknown(_)) => Err(proto),
    };
    (letters, pool)
}

/// Two numbers, of which at least one is too large for a descriptor?
fn are_numbers(word: &[u8]) -> bool {
    let is_number = |word: &[u8]| {
        let digits = word.strip_prefix(b"-").unwrap_or(word);
        !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
    };
    let mut parts = word.splitn(2, |b| *b == b',');
    parts.next().is_some_and(is_number) && parts.next().is_some_and(is_number)
}

/// Writes MAKEFLAGS with this pool, or with none.
pub fn write(auth: Option<&WriteAuth<'_>>, letters: &Letters) -> Result<()> {
    let old = value().map(CStr::to_bytes);
    // At most a `\` is added to each byte of what is there and of a path.
    let size = old.map_or(0, <[u8]>::len).saturating_mul(2).saturating_add(2 * PATH_ROOM);
    // SAFETY: any size will do.
    let buf = unsafe { libc::malloc(size) }.cast::<u8>();
    if buf.is_null() {
        return Err(heap::NONE);
    }
    // SAFETY: fresh memory of that size, which is filled before it is read.
    let text = unsafe {
        buf.write_bytes(0, size);
        core::slice::from_raw_parts_mut(buf, size)
    };
    let mut out = Out::new(text);
    let written = makeflags::write(old, auth, letters, &mut out) && out.push(b"\0");
    let result = match CStr::from_bytes_until_nul(out.as_bytes()) {
        Ok(new) if written => export(old, new),
        _ => Err(heap::NONE),
    };
    // SAFETY: of malloc's; setenv(3) has made a copy.
    unsafe { heap::free(buf) };
    result
}

fn export(old: Option<&[u8]>, new: &CStr) -> Result<()> {
    if old.is_none() && new.is_empty() {
        return Ok(());
    }
    // SAFETY: C strings.
    if unsafe { libc::setenv(NAME.as_ptr(), new.as_ptr(), 1) } == 0 {
        Ok(())
    } else {
        Err(heap::NONE)
    }
}

fn pair(read: c_int, write: c_int) -> Option<WriteAuth<'static>> {
    let names = Names::Both;
    (read >= 0 || write >= 0).then_some(WriteAuth::Fds { read, write, names })
}

fn letters_of(js: &Jobserver) -> Letters {
    Letters { dry_run: js.dry_run != 0, debug: js.debug != 0, keep_going: js.keep_going != 0 }
}

/// Writes MAKEFLAGS for this instance.
pub fn announce(js: &Jobserver) -> Result<()> {
    let [_, token] = js.poll;
    // SAFETY: null, or what lies behind the instance.
    let fifo = unsafe { js.jobs.as_ref() }.and_then(|inner| inner.server.tokens.path);
    let auth = match &fifo {
        Some(path) => Some(WriteAuth::Fifo(path.bytes())),
        None => pair(token.fd, js.write),
    };
    write(auth.as_ref(), &letters_of(js))
}

/// Fills in the flags and, of an instance that is not connected, the descriptors. jobserver_getenv(3).
///
/// # Safety
/// `js` must be valid for writes.
#[no_mangle]
pub unsafe extern "C" fn jobserver_getenv(js: *mut Jobserver) -> c_int {
    // SAFETY: by the contract; each field by itself, since the struct may be unset.
    unsafe {
        let [_, token] = &mut (*js).poll;
        let (dry_run, debug) = (&raw mut (*js).dry_run, &raw mut (*js).debug);
        let keep_going = &raw mut (*js).keep_going;
        jobserver_getenv_(&raw mut token.fd, &raw mut (*js).write, dry_run, debug, keep_going)
    }
}

/// jobserver_getenv_(3).
///
/// # Safety
/// All pointers must be valid for writes.
#[no_mangle]
pub unsafe extern "C" fn jobserver_getenv_(
    read_fd: *mut c_int,
    write_fd: *mut c_int,
    dry_run: *mut u8,
    debug: *mut u8,
    keep_going: *mut u8,
) -> c_int {
    let (letters, pool) = read();
    let fds = match pool {
        Ok(Pool::Fds(read, write)) => (read, write),
        _ => (-1, -1),
    };
    // SAFETY: by the contract.
    unsafe {
        read_fd.write(fds.0);
        write_fd.write(fds.1);
        dry_run.write(u8::from(letters.dry_run));
        debug.write(u8::from(letters.debug));
        keep_going.write(u8::from(letters.keep_going));
    }
    answer(pool.map(|_| 0))
}

/// jobserver_setenv(3).
///
/// # Safety
/// `js` must be an instance that the library has filled in.
#[no_mangle]
pub unsafe extern "C" fn jobserver_setenv(js: *const Jobserver) -> c_int {
    // SAFETY: by the contract.
    answer(announce(unsafe { &*js }).map(|()| 0))
}

/// jobserver_unsetenv(3).
///
/// # Safety
/// `js` must be an instance that the library has filled in.
#[no_mangle]
pub unsafe extern "C" fn jobserver_unsetenv(js: *const Jobserver) -> c_int {
    // SAFETY: by the contract.
    answer(write(None, &letters_of(unsafe { &*js })).map(|()| 0))
}

/// jobserver_setenv_(3).
#[no_mangle]
pub extern "C" fn jobserver_setenv_(
    read_fd: c_int,
    write_fd: c_int,
    dry_run: u8,
    debug: u8,
    keep_going: u8,
) -> c_int {
    let letters = Letters { dry_run: dry_run != 0, debug: debug != 0, keep_going: keep_going != 0 };
    answer(write(pair(read_fd, write_fd).as_ref(), &letters).map(|()| 0))
}
