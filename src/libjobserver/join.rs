//! jobserver_connect(3) and its kin: coming and going.

use core::ffi::{c_char, c_int, CStr};

use jsshim_engine::serve::{forget, Masked, Tokens};
use jsshim_engine::sys::{Errno, Result};

use crate::environ::{self, Pool};
use crate::heap;
use crate::instance::{self, answer, count, fail, Jobserver};

/// jobserver_connect(3).
///
/// # Safety
/// `js` must be valid for writes.
#[no_mangle]
pub unsafe extern "C" fn jobserver_connect(js: *mut Jobserver) -> c_int {
    // SAFETY: by the contract.
    let js = unsafe {
        instance::clear(js);
        &mut *js
    };
    let (letters, pool) = environ::read();
    js.dry_run = u8::from(letters.dry_run);
    js.debug = u8::from(letters.debug);
    js.keep_going = u8::from(letters.keep_going);
    let tokens = pool.and_then(|pool| match pool {
        Pool::None => Err(Errno(libc::ENODEV)),
        Pool::Fds(read, write) => Tokens::join(read, write),
        Pool::Fifo(path) => Tokens::join_fifo(&path),
    });
    let joined = tokens.map_err(Some).and_then(|tokens| instance::set(js, tokens));
    match joined {
        Ok(()) => 0,
        Err(e) => fail(e.map_or(0, |e| e.0)),
    }
}

/// jobserver_create(3).
///
/// # Safety
/// `js` must be valid for writes, with its flags set; `tokens` must be a C string.
#[no_mangle]
pub unsafe extern "C" fn jobserver_create(js: *mut Jobserver, tokens: *const c_char) -> c_int {
    // SAFETY: by the contract.
    unsafe { create(js, CStr::from_ptr(tokens).to_bytes()) }
}

/// jobserver_create_n(3).
///
/// # Safety
/// `js` must be valid for writes, with its flags set.
#[no_mangle]
pub unsafe extern "C" fn jobserver_create_n(
    js: *mut Jobserver,
    size: usize,
    token: c_char,
) -> c_int {
    let tokens = [token as u8; libc::PIPE_BUF];
    match tokens.get(..size) {
        // SAFETY: by the contract.
        Some(tokens) => unsafe { create(js, tokens) },
        None => fail(libc::EINVAL),
    }
}

unsafe fn create(js: *mut Jobserver, tokens: &[u8]) -> c_int {
    // SAFETY: by the contract of the callers.
    let js = unsafe {
        instance::clear(js);
        &mut *js
    };
    let created = Tokens::create(tokens).map_err(Some);
    if let Err(e) = created.and_then(|tokens| instance::set(js, tokens)) {
        return fail(e.map_or(0, |e| e.0));
    }
    js.size = tokens.len();
    if environ::announce(js).is_err() {
        instance::unset(js, true);
        return fail(heap::NONE.0);
    }
    count(tokens.len().saturating_add(1))
}

/// jobserver_close(3).
///
/// # Safety
/// `js` must be an instance that the library has filled in.
#[no_mangle]
pub unsafe extern "C" fn jobserver_close(js: *mut Jobserver) -> c_int {
    // SAFETY: by the contract.
    answer(close(unsafe { &mut *js }).map(|()| 0))
}

fn close(js: &mut Jobserver) -> Result<()> {
    // SAFETY: null, or what lies behind the instance.
    let Some(inner) = (unsafe { js.jobs.as_mut() }) else { return Ok(()) };
    let masked = Masked::new();
    inner.server.adopt(&masked)?;
    drop(masked);
    if inner.busy > 0 || !inner.server.jobs.jobs().is_empty() {
        return Err(Errno(libc::EBUSY));
    }
    let mut missing = false;
    if js.size > 0 {
        match inner.server.tokens.level() {
            Ok(0) => return Err(Errno::AGAIN),
            Ok(level) => missing = level < js.size,
            Err(_) => missing = true,
        }
    }
    instance::unset(js, true);
    if missing {
        return Err(Errno(libc::EIDRM));
    }
    Ok(())
}

/// jobserver_close_(3): in a process that was forked from one with this instance.
///
/// # Safety
/// `js` must be an instance that the library has filled in.
#[no_mangle]
pub unsafe extern "C" fn jobserver_close_(js: *mut Jobserver, inherit: u8) {
    // SAFETY: by the contract.
    instance::unset(unsafe { &mut *js }, inherit == 0);
    let masked = Masked::new();
    forget();
    drop(masked);
}
