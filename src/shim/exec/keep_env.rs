//! The environment of a child, so that the tree below it stays on the pool: this library in LD_PRELOAD, `JSSHIM_POOL`,
//! and the pool in MAKEFLAGS. Some hosts start their children in an environment of their own making (scons, tup,
//! `env -i`, sudo); the missing words are added again.
//!
//! If some of these words are left, the environment is assumed to be intended: `env -u LD_PRELOAD` and an empty
//! LD_PRELOAD are respected, and so is everything with `JSSHIM_ENV=respect`.
//!
//! The library is removed for 32-bit programs, whose ld.so would complain that it does not fit. It is also removed in a
//! root directory that does not have it (chroot, bwrap), where each ld.so would complain that it cannot be found.

use core::ffi::{c_char, CStr};
use core::sync::atomic::Ordering::Relaxed;

use jsshim_engine::join::end::End;
use jsshim_engine::join::word::{self, POOL_NAME};
use jsshim_engine::join::{self, Found};
use jsshim_engine::makeflags::{self, Auth};
use jsshim_engine::pool::pipe::{self, fd_path};
use jsshim_engine::pool::tokens::Pool;
use jsshim_engine::program::go;
use jsshim_engine::sys::{self, Errno};
use jsshim_engine::text::Text;

use crate::host::objects;
use crate::job::state::STATE;
use crate::start::settings;

use super::bounds;
use super::environ::{self, Scratch, Strings, END};
use super::goflags;
use super::words::{entry, is_fixed, is_us, names_pool, separates, FLAGS, PRELOAD};

/// In place of the pool: MAKEFLAGS names two descriptors that were not those of a pipe when the first program that was
/// told of them started. Descriptors with these numbers further down are something else.
const DOUBTED: &CStr = c"JSSHIM_POOL=?";

/// What was found in an environment.
#[derive(Default)]
struct Seen {
    /// The number of entries.
    count: usize,
    /// Whether `JSSHIM_POOL` names the pool of this process.
    pool: bool,
    /// Whether `JSSHIM_POOL` names a pool at all.
    ours: bool,
    /// Whether it is [`DOUBTED`] instead.
    doubted: bool,
    /// The value of MAKEFLAGS.
    flags: Option<&'static [u8]>,
    preload: Option<&'static [u8]>,
}

/// The entry of `JSSHIM_POOL` that must be added.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    None,
    Is(*const c_char),
    /// Only MAKEFLAGS named the pool, and the child does not get MAKEFLAGS.
    Unknown,
    /// MAKEFLAGS names the pool to the child, too, but by descriptors, which may be another pipe soon. This process had
    /// the pool open as the first of them at its start.
    Numbered(i32, u64, u64),
}

/// The changes that an environment needs.
pub struct Change {
    count: usize,
    word: Word,
    /// None of our words is left.
    scrubbed: bool,
    preload: Option<Preload>,
    /// GOFLAGS as it was, if our word must come into it.
    goflags: Option<&'static [u8]>,
}

/// How LD_PRELOAD must be written.
#[derive(Clone, Copy)]
enum Preload {
    /// This value, followed by this library.
    Behind(&'static [u8]),
    /// This value without the entries of this library that are the same for all kinds of programs; for a 32-bit
    /// program.
    WithoutFixed(&'static [u8]),
    /// This value without this library, however it is written.
    Without(&'static [u8]),
}

/// Reads an environment once.
unsafe fn read(envp: Strings, word: *const c_char) -> Seen {
    let mut seen = Seen::default();
    // SAFETY: by the contract of `change`; `word` is a C string or null.
    unsafe {
        let word = (!word.is_null()).then(|| CStr::from_ptr(word).to_bytes_with_nul());
        for s in environ::pointers(envp) {
            seen.count = seen.count.wrapping_add(1);
            match s.cast::<u8>().read() {
                b'J' if environ::starts_with(s, DOUBTED.to_bytes_with_nul()) => seen.doubted = true,
                b'J' if environ::starts_with(s, POOL_NAME) => {
                    seen.ours = true;
                    seen.pool |= word.is_some_and(|word| environ::starts_with(s, word));
                }
                b'M' if environ::starts_with(s, FLAGS) => {
                    seen.flags = CStr::from_ptr(s).to_bytes().get(FLAGS.len()..);
                }
                b'L' if environ::starts_with(s, PRELOAD) => {
                    let bytes = CStr::from_ptr(s).to_bytes();
                    seen.preload = bytes.get(PRELOAD.len()..);
                }
                _ => {}
            }
        }
    }
    seen
}

/// Returns whether programs that this process execs cannot reach this library: the process has another root directory
/// now, or is another user who may not enter the library's directory. Async-signal-safe; makes only a system call that
/// every filter allows that lets programs start.
#[inline(never)]
pub fn is_lost() -> bool {
    let path = objects::own_path(STATE.is_fork());
    let lost = |e| matches!(e, Errno(libc::ENOENT | libc::ENOTDIR | libc::EACCES));
    path.to_bytes().first() == Some(&b'/') && sys::access(path, libc::R_OK).is_err_and(lost)
}

/// The changes that `envp` needs before a child gets it. `foreign` tells whether the child is a 32-bit program, `lost`
/// whether it cannot reach the library ([`is_lost`]), and `tools` whether it is `go` and starts tools. Returns None if
/// there are none.
///
/// # Safety
/// `envp` must be NULL or a NULL-terminated array of C strings.
pub unsafe fn change(
    envp: Strings,
    lost: bool,
    tools: bool,
    foreign: impl FnOnce() -> bool,
) -> Option<Change> {
    let known = STATE.client().map_or(END, |c| c.pool_word.c().as_ptr());
    // SAFETY: by the contract.
    let seen = unsafe { read(envp, known) };
    let without = |preload| Change {
        count: seen.count,
        word: Word::None,
        scrubbed: false,
        preload: Some(preload),
        goflags: None,
    };
    if lost {
        return Some(without(Preload::Without(seen.preload.filter(|v| entry(v).is_some())?)));
    }
    // Determined late: in most cases it does not matter.
    let preloaded = || STATE.preload().is_some();
    let lacks_us = match seen.preload {
        None => !seen.ours && seen.flags.is_none() && STATE.has_pool(),
        Some(value) => !value.is_empty() && entry(value).is_none(),
    };
    // SAFETY: C strings of the process's first environment.
    let says = |s| unsafe { environ::starts_with(s, b"JSSHIM_ENV=respect\0") };
    let respected = || STATE.settings().any(says);
    let restore = lacks_us && preloaded() && !respected();
    let kept = seen.preload.filter(|value| value.split(separates).any(is_fixed) && preloaded());
    if (restore || kept.is_some()) && foreign() {
        return Some(without(Preload::WithoutFixed(kept?)));
    }
    let scrubbed = restore && seen.preload.is_none();
    // A child without the library has no use for `JSSHIM_POOL`.
    let loaded = restore || seen.preload.is_some() || !preloaded();
    let word = if loaded { pool_word(known, &seen, scrubbed) } else { Word::None };
    let preload = restore.then(|| Preload::Behind(seen.preload.unwrap_or(b"")));
    let told = || STATE.has_pool() || !known.is_null() || seen.flags.is_some_and(names_pool);
    let is_due = tools && loaded && preloaded() && !respected() && told();
    // SAFETY: by the contract.
    let goflags = is_due.then(|| unsafe { goflags::due(envp) }).flatten();
    let any = word != Word::None || restore || goflags.is_some();
    any.then_some(Change { count: seen.count, word, scrubbed, preload, goflags })
}

/// `known`: the entry of this process's client.
fn pool_word(known: *const c_char, seen: &Seen, scrubbed: bool) -> Word {
    if !known.is_null() {
        return if seen.pool { Word::None } else { Word::Is(known) };
    }
    if seen.ours || STATE.top.load(Relaxed) {
        return Word::None;
    }
    // SAFETY: C strings of the process's first environment.
    let starts = |s: *const c_char, name: &[u8]| unsafe { environ::starts_with(s, name) };
    let first = STATE.settings().find(|s| starts(*s, POOL_NAME));
    if let Some(word) = first.filter(|s| !starts(*s, DOUBTED.to_bytes_with_nul())) {
        return Word::Is(word);
    }
    // In a scrubbed environment the pool in MAKEFLAGS is restored as it was.
    let told = if scrubbed { STATE.first_flags() } else { seen.flags };
    match told.filter(|flags| names_pool(flags)) {
        Some(_) if seen.doubted => Word::None,
        // What was doubted above is doubted below.
        Some(told) => first.map(Word::Is).or_else(|| numbered(told)).unwrap_or(Word::None),
        None if !scrubbed && STATE.flags().is_some_and(names_pool) => Word::Unknown,
        None => Word::None,
    }
}

/// What a child is told of the pool besides the descriptors that this process was told of. A host that has made a pool
/// of its own since has written MAKEFLAGS itself.
#[inline(never)]
fn numbered(told: &[u8]) -> Option<Word> {
    let first = STATE.first_flags()?;
    let read = read_end(first).filter(|read| read_end(told) == Some(*read))?;
    let handed_on = told == first;
    match STATE.end() {
        End::Was(dev, ino) if handed_on || End::of(read) == End::Was(dev, ino) => {
            Some(Word::Numbered(read, dev, ino))
        }
        End::None if handed_on => Some(Word::Is(DOUBTED.as_ptr())),
        _ => None,
    }
}

fn read_end(flags: &[u8]) -> Option<i32> {
    match makeflags::parse(flags).auth {
        Some(Auth::Fds { read, .. }) if read >= 0 => Some(read),
        _ => None,
    }
}

impl Change {
    /// Returns whether the child must have this. It can tell its own children whether the descriptors are the pool,
    /// unless this process has opened something else as these.
    pub fn is_due(&self) -> bool {
        let numbered = match self.word {
            Word::Numbered(..) => true,
            Word::Is(word) => word == DOUBTED.as_ptr(),
            _ => false,
        };
        let is_other = |read| !matches!(End::of(read), End::None) && End::of(read) != STATE.end();
        !numbered
            || self.preload.is_some()
            || STATE.first_flags().and_then(read_end).is_some_and(is_other)
    }

    /// The number of pointers and bytes that [`Change::make`] needs.
    pub fn room(&self) -> (usize, usize) {
        let length = |text: Option<&[u8]>| text.map_or(0, <[u8]>::len);
        let preload = match self.preload {
            None => 0,
            Some(Preload::WithoutFixed(old) | Preload::Without(old)) => old.len(),
            Some(Preload::Behind(old)) => old.len().saturating_add(length(STATE.preload())),
        };
        let flags = if self.scrubbed { length(STATE.flags()) } else { 0 };
        let goflags = length(self.goflags);
        let bytes = preload.saturating_add(flags).saturating_add(goflags).saturating_add(1024);
        (self.count.saturating_add(32), bytes)
    }

    /// The changed environment, in scratch memory.
    ///
    /// # Safety
    /// `envp` must be the environment that was passed to [`change`].
    pub unsafe fn make(&self, envp: Strings, scratch: &mut Scratch) -> Strings {
        let preload = match self.preload {
            None => END,
            Some(Preload::Behind(old)) => write_preload(old, scratch),
            Some(Preload::WithoutFixed(old)) => write_others(old, is_fixed, scratch),
            Some(Preload::Without(old)) => write_others(old, is_us, scratch),
        };
        let flags = if self.scrubbed { write_flags(scratch) } else { END };
        let pool = match self.word {
            Word::None => END,
            Word::Is(word) => word,
            // What the search needs may be forbidden, and it is not worth the risk.
            Word::Unknown | Word::Numbered(..) if !bounds::are_as_above() => END,
            Word::Unknown => write_pool(scratch),
            Word::Numbered(read, dev, ino) => write_numbered(read, (dev, ino), scratch),
        };
        let goflags = self.goflags.map_or(END, |flags| goflags::write(flags, scratch));
        // Entries that are written anew, or are among the settings below, are dropped.
        let named = !pool.is_null();
        // SAFETY: by the contract.
        let others = unsafe { environ::pointers(envp) };
        // SAFETY: C strings of the environment.
        let starts = |s: *const c_char, name| unsafe { environ::starts_with(s, name) };
        let others = others.filter(|s| {
            let replaced = named && starts(*s, POOL_NAME);
            let replaced = replaced || self.goflags.is_some() && starts(*s, go::FLAGS);
            !(replaced || self.preload.is_some() && starts(*s, PRELOAD))
        });
        // At most as many as there is room for.
        let settings = STATE.settings().filter(|_| self.scrubbed).take(24).filter(|s| {
            // SAFETY: C strings of the process's first environment, and by the contract.
            unsafe { !(named && environ::starts_with(*s, POOL_NAME) || has(envp, *s)) }
        });
        let words = [preload, flags, pool, goflags].into_iter().filter(|s| !s.is_null());
        scratch.array(others.chain(settings).chain(words).chain([END]))
    }
}

/// The entry of `JSSHIM_POOL` for the pool that MAKEFLAGS names.
fn write_pool(scratch: &mut Scratch) -> *const c_char {
    match join::find(settings::of_pool()) {
        Found::Pool(pool, _) => {
            let at = scratch.text(POOL_NAME);
            scratch.append(word::encode(&pool).bytes());
            at
        }
        _ => END,
    }
}

/// The entry of `JSSHIM_POOL` for the pool that MAKEFLAGS names by descriptors. It names the parent's descriptor: the
/// parent usually has the pool, too, and lives longer than the child. A process that finds it gone looks for the pool
/// in others.
#[inline(never)]
fn write_numbered(read: i32, (dev, ino): (u64, u64), scratch: &mut Scratch) -> *const c_char {
    let path = fd_path(sys::getppid(), read);
    let mut birth = 0;
    if pipe::is_at(&path, (dev, ino, 0)) {
        birth = sys::birth(path.c());
    } else {
        let found = write_pool(scratch);
        if !found.is_null() {
            return found;
        }
        // A process that looks for it knows at least its identity, and that it is gone.
    }
    let at = scratch.text(POOL_NAME);
    let pool = Pool::new((dev, ino, birth), path, None);
    scratch.append(word::encode(&pool).bytes());
    at
}

/// Returns whether a variable of this name is in the environment.
unsafe fn has(envp: Strings, entry: *const c_char) -> bool {
    // SAFETY: by the contract of `make`.
    unsafe {
        let entry = CStr::from_ptr(entry).to_bytes();
        let end = entry.iter().position(|b| *b == b'=').map_or(0, |i| i.wrapping_add(1));
        let name = entry.get(..end).unwrap_or(entry);
        environ::pointers(envp).any(|s| environ::starts_with(s, name))
    }
}

/// `LD_PRELOAD=` with this library after the old entries.
fn write_preload(old: &[u8], scratch: &mut Scratch) -> *const c_char {
    let Some(us) = STATE.preload() else { return END };
    let at = scratch.text(PRELOAD);
    scratch.append(old);
    if !old.is_empty() {
        scratch.append(b":");
    }
    scratch.append(us);
    at
}

/// `LD_PRELOAD=` with the other entries, if there are any.
fn write_others(old: &[u8], is_us: fn(&[u8]) -> bool, scratch: &mut Scratch) -> *const c_char {
    let others = || {
        old.split_inclusive(separates).filter(|part| match part {
            [entry @ .., last] if separates(last) => !is_us(entry),
            entry => !is_us(entry),
        })
    };
    if others().next().is_none() {
        return END;
    }
    let at = scratch.text(PRELOAD);
    others().for_each(|part| scratch.append(part));
    at
}

/// MAKEFLAGS with the pool alone, as this process got it: it held nothing else that could be lost.
fn write_flags(scratch: &mut Scratch) -> *const c_char {
    let Some(flags) = STATE.flags() else { return END };
    let pair: Text<32>;
    let auth: [&[u8]; 2] = match makeflags::parse(flags).auth {
        Some(Auth::Fds { read, write }) if read >= 0 && write >= 0 => {
            pair = Text::default().num(read).with(b",").num(write);
            [pair.bytes(), b""]
        }
        Some(Auth::Fifo(path)) => [b"fifo:", path.escaped()],
        _ => return END,
    };
    let at = scratch.text(FLAGS);
    // The leading blank means that there are no letters.
    scratch.append(b" -j --jobserver-auth=");
    auth.iter().for_each(|part| scratch.append(part));
    at
}
