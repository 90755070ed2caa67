//! One pool, several dialects. ninja from 1.13 on joins `fifo:` only; make before 4.4 and older cargos join two
//! descriptors only; and every speaker of the protocol loses the pool if a program between it and make has closed the
//! descriptors. Before such a program starts, its MAKEFLAGS is rewritten in a form that it understands.
//!
//! A speaker is recognised by its name, since this runs in every process of the tree.

use jsshim_engine::join::end::End;
use jsshim_engine::join::{self, word, Found};
use jsshim_engine::makeflags::{self, Auth, Letters, Names, Out, WriteAuth};
use jsshim_engine::pool::own_pool;
use jsshim_engine::pool::tokens::Pool;
use jsshim_engine::program::speaker::{is_bmake, is_gnu_make, is_lto};
use jsshim_engine::room::Room;
use jsshim_engine::sys;
use jsshim_engine::text::Path;

use crate::exec::environ;
use crate::job::state::STATE;

use super::program::{self, program_says};
use super::settings;

/// The form in which a pool that is a fifo is announced to this program.
#[derive(PartialEq, Eq)]
enum Form {
    Fifo,
    Descriptors,
    /// It knows no form.
    None,
}

fn form() -> Form {
    let name = program::name();
    let knows_fifos = program_says(b"fifo:");
    if is_bmake(program::name()) {
        // It dies of GNU make's form.
        Form::None
    } else if name.starts_with(b"ninja") {
        // In between: Kitware's builds before 1.13.
        match knows_fifos {
            true => Form::Fifo,
            false if program_says(b"--jobserver-auth=") => Form::Descriptors,
            false => Form::None,
        }
    } else if is_gnu_make(name) && program_says(b"jobserver-style") || is_lto(name) && knows_fifos {
        Form::Fifo
    } else {
        Form::Descriptors
    }
}

/// Announces the pool of this process in the form of this program, if the program does not understand the form in
/// MAKEFLAGS, or if MAKEFLAGS names none because the pool is ours, or may have been [hidden](hide) from its parent.
pub fn translate(flags: Option<&[u8]>, auth: Option<&Auth<'_>>, hidden: bool) {
    let (name, settings) = (program::name(), settings::of_pool());
    match auth {
        None if settings.pool.is_some_and(|word| hidden || own_pool::is_ours(word)) => {
            let told = flags.is_some_and(|f| makeflags::parse(f).jobs == Some(1));
            if !told && !program::is_told_otherwise() {
                write(flags, form());
            }
        }
        // gcc itself removes the word if the descriptors were closed.
        None if is_lto(name) => write(flags, Form::Descriptors),
        None => {}
        Some(_) if is_bmake(program::name()) => {}
        Some(&Auth::Fds { read, write: w }) if read >= 0 && w >= 0 => {
            let open = join::has_pool(read, w, settings);
            if name.starts_with(b"ninja") {
                // Some builds know both; then make's own word is best.
                let knows_both = open && program_says(b"'pipe' mode detected");
                if program_says(b"fifo:") && !knows_both {
                    write(flags, Form::Fifo);
                }
            } else if !open {
                write(flags, Form::Descriptors);
            }
        }
        // make writes this for a recipe without `+`; the pool may be known all the same.
        Some(Auth::Fds { .. }) if is_lto(name) => write(flags, Form::Descriptors),
        Some(Auth::Fifo(_)) if form() == Form::Descriptors => write(flags, Form::Descriptors),
        Some(_) => {}
    }
}

/// This program is gated, though it speaks the protocol (`JSSHIM_FORCE`): its own MAKEFLAGS names no pool, and
/// `JSSHIM_POOL` names it to what it starts.
pub fn hide(flags: Option<&[u8]>) {
    let Some(pool) = find() else { return };
    environ::export(c"JSSHIM_POOL", word::encode(&pool).with(b"\0").bytes());
    put(flags, None);
}

fn write(flags: Option<&[u8]>, form: Form) {
    match form {
        Form::Fifo => as_fifo(flags),
        Form::Descriptors => as_descriptors(flags),
        Form::None => {}
    }
}

fn find() -> Option<Pool> {
    match join::find(settings::of_pool()) {
        Found::Pool(pool, _) => Some(pool),
        _ => None,
    }
}

fn as_fifo(flags: Option<&[u8]>) {
    let Some(pool) = find() else { return };
    if let Ok(fd) = pool.open(libc::O_RDWR) {
        sys::close(fd);
        put(flags, Some(&WriteAuth::Fifo(pool.path.bytes())));
    }
}

fn as_descriptors(flags: Option<&[u8]>) {
    if let Some(Ok((read, write))) = find().map(|pool| own_pool::ends(&pool)) {
        // A program that ignores MAKEFLAGS is gated, and finds the pool by these descriptors.
        STATE.set_end(End::of(read));
        put(flags, Some(&WriteAuth::Fds { read, write, names: Names::Both }));
    }
}

/// Writes the pool into MAKEFLAGS in place of the one named there.
fn put(flags: Option<&[u8]>, auth: Option<&WriteAuth<'_>>) {
    // At most one backslash for each byte of a path, and our words.
    let size = flags.map_or(0, <[u8]>::len).saturating_add(2 * Path::ROOM + 256);
    let Ok(mut room) = Room::new(size) else { return };
    let mut out = Out::new(room.bytes());
    let none = Letters::default();
    if makeflags::write(flags, auth, &none, &mut out) && out.push(b"\0") {
        environ::export(c"MAKEFLAGS", out.as_bytes());
    }
}
