//! One pool, several dialects. ninja from 1.13 on joins a `fifo:` only, make before 4.4 and older cargos
//! two descriptors only, and every speaker of the protocol is lost where something between it and make
//! has closed them. Before such a program starts, its MAKEFLAGS is put into words that it understands.
//!
//! A speaker is known here by its name, since this runs in every process of the tree.

use core::ffi::{c_char, CStr};

use jsshim_engine::join::{self, End, Found};
use jsshim_engine::makeflags::{self, Auth, Letters, Names, Out, WriteAuth};
use jsshim_engine::pool::Pool;
use jsshim_engine::speaker::is_gnu_make;
use jsshim_engine::{own, pool, sys};

use crate::early::export;
use crate::joining::{self, program_says};
use crate::state::STATE;

extern "C" {
    static program_invocation_short_name: *const c_char;
    fn unsetenv(name: *const c_char) -> i32;
}

/// The name that this program was called by.
pub fn program() -> &'static [u8] {
    // SAFETY: set by libc before any constructor; a part of argv.
    unsafe {
        let name = program_invocation_short_name;
        if name.is_null() {
            b""
        } else {
            CStr::from_ptr(name).to_bytes()
        }
    }
}

/// bmake dies of MAKEFLAGS in GNU make's form.
pub fn is_bmake() -> bool {
    matches!(program(), b"bmake" | b"pmake")
}

/// Does this program speak the protocol, by its name?
pub fn is_speaker() -> bool {
    let name = program();
    is_gnu_make(name) || is_cargo(name) || is_bmake() || is_lto(name) || name.starts_with(b"ninja")
}

/// gcc's, which starts a make for `-flto=N`: on the pool if it can reach it, else with a `-jN` and an
/// emptied MAKEFLAGS.
fn is_lto(name: &[u8]) -> bool {
    name == b"lto-wrapper"
}

fn is_cargo(name: &[u8]) -> bool {
    name.starts_with(b"cargo") || name == b"rustc"
}

/// Puts the pool that MAKEFLAGS names into this program's words, if it does not know these.
pub fn translate(flags: Option<&[u8]>, auth: Option<&Auth<'_>>) {
    let name = program();
    let (make, cargo, lto) = (is_gnu_make(name), is_cargo(name), is_lto(name));
    let ninja = name.starts_with(b"ninja");
    let Some(auth) = auth else {
        // gcc itself has taken the word away where the descriptors were closed.
        if lto {
            as_descriptors(flags);
        }
        return;
    };
    match *auth {
        _ if is_bmake() => hide(flags),
        Auth::Fds { read, write } if read >= 0 && write >= 0 => {
            let open = join::inherited(read, write).is_some();
            if ninja {
                // Some builds know both, and then make's own word is the best.
                if program_says(b"fifo:") && !(open && program_says(b"'pipe' mode detected")) {
                    as_fifo(flags);
                }
            } else if !open {
                as_descriptors(flags);
            }
        }
        // make's word for a recipe without `+`: the pool may be known all the same.
        Auth::Fds { .. } if lto => as_descriptors(flags),
        // Before gcc 13.
        Auth::Fifo(_) if lto && !program_says(b"fifo:") => as_descriptors(flags),
        Auth::Fifo(_) if cargo || make && !program_says(b"jobserver-style") => {
            as_descriptors(flags);
        }
        // Kitware's builds before 1.13.
        Auth::Fifo(_) if ninja && program_says(b"--jobserver-auth=") && !program_says(b"fifo:") => {
            as_descriptors(flags);
        }
        _ => {}
    }
}

/// Takes away a MAKEFLAGS that is ours alone: make's own has letters or a blank in front.
fn hide(flags: Option<&[u8]>) {
    if flags.is_some_and(|f| f.starts_with(b"-j --jobserver-")) {
        // SAFETY: a C string, and still one thread.
        unsafe { unsetenv(c"MAKEFLAGS".as_ptr()) };
    }
}

fn find() -> Option<Pool> {
    match join::find(joining::settings()) {
        Found::Pool(pool, _) => Some(pool),
        _ => None,
    }
}

fn as_fifo(flags: Option<&[u8]>) {
    let Some(pool) = find() else { return };
    if let Ok(fd) = pool::open(&pool.path, pool.id, libc::O_RDWR) {
        sys::close(fd);
        announce(flags, &WriteAuth::Fifo(pool.path.bytes()));
    }
}

fn as_descriptors(flags: Option<&[u8]>) {
    if let Some(Ok((read, write))) = find().map(|pool| own::ends(&pool)) {
        // One that takes no notice is gated, and finds the pool by what it is told now.
        STATE.set_end(End::of(read));
        announce(flags, &WriteAuth::Fds { read, write, names: Names::Both });
    }
}

/// Puts the pool into MAKEFLAGS in place of what is there, if that fits.
pub fn announce(flags: Option<&[u8]>, auth: &WriteAuth<'_>) {
    let mut buf = [0u8; 4096];
    let mut out = Out::new(&mut buf);
    let none = Letters::default();
    if makeflags::write(flags, Some(auth), &none, &mut out) && out.push(b"\0") {
        export(c"MAKEFLAGS", out.as_bytes());
    }
}
