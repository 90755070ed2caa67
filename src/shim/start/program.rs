//! Which program this is, and whether it speaks the protocol.

use core::ffi::{c_char, CStr};
use core::slice::from_raw_parts;

use jsshim_engine::join::{self, word, Settings};
use jsshim_engine::program::speaker;
use jsshim_engine::text::{self, Path};
use jsshim_engine::{makeflags, proc};

use crate::exec::environ;
use crate::host::objects::{self, gnu_hash, Object};
use crate::job::state::STATE;

extern "C" {
    static program_invocation_short_name: *const c_char;
}

/// The name by which this program was called.
pub fn name() -> &'static [u8] {
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

/// Returns whether this program speaks the protocol, by its name.
pub fn is_speaker() -> bool {
    speaker::is_known(name())
}

/// Returns whether this program speaks the protocol itself. It does if the strings are in its read-only data, or
/// libjobserver is among its libraries.
#[inline(never)]
pub(crate) fn speaks() -> bool {
    STATE.family.once(|| in_program(speaker::are_in)) || has_libjobserver()
}

/// Returns whether a library is loaded that starts jobs on slots for its program.
fn has_libjobserver() -> bool {
    const NAME: &CStr = c"jobserver_launch_job";
    let mut found = false;
    objects::each(|info| {
        let defined = Object::of(info).map(|o| o.find(NAME, gnu_hash(NAME)));
        found = defined.is_some_and(|d| d.newest != 0);
        found
    });
    found
}

/// Returns whether this program was told of a pool and has made one of its own since, as programs with libjobserver do.
/// The known speakers do not change their own environment, but we do.
pub(crate) fn has_left_pool() -> bool {
    let auth = |flags: Option<&'static [u8]>| makeflags::parse(flags?).auth;
    let (first, now) = (auth(STATE.first_flags()), auth(STATE.flags()));
    first.is_some() && first != now && !is_speaker()
}

/// Returns whether a program that speaks the protocol obeys it here: it is told of the pool that counts, and not
/// given a number of jobs. A make or ninja with a `-jN` of its own ignores the pool.
#[inline(never)]
pub fn obeys(settings: Settings<'_>) -> bool {
    let flags = makeflags::parse(settings.makeflags.unwrap_or(b""));
    let Some(auth) = flags.auth else { return false };
    let counts = !word::overrides(settings.pool) || join::is_pool_of(&auth, settings.pool);
    counts && !is_told_otherwise() && !has_left_pool()
}

/// Returns whether this word is in the program's read-only data.
pub fn program_says(word: &[u8]) -> bool {
    in_program(|bytes| text::contains(bytes, word))
}

/// Returns whether `are_in` is true of the program's read-only data (of the first object). The code segment is searched
/// only if there is no such data segment.
fn in_program(are_in: impl Fn(&[u8]) -> bool) -> bool {
    let mut found = false;
    objects::each(|info| {
        let has = |flags: u32| {
            let of = move |h: &&libc::Elf64_Phdr| h.p_type == libc::PT_LOAD && h.p_flags == flags;
            objects::headers(info).iter().filter(of).map(|h| {
                let start = (info.dlpi_addr as usize).wrapping_add(h.p_vaddr as usize) as *const u8;
                // SAFETY: a readable segment is mapped for as long as it says.
                are_in(unsafe { from_raw_parts(start, h.p_filesz as usize) })
            })
        };
        let data = has(libc::PF_R).reduce(|a, b| a | b);
        found = data.unwrap_or_else(|| has(libc::PF_R | libc::PF_X).any(|found| found));
        true
    });
    found
}

/// Returns whether this is a make or a ninja with a number of jobs on its command line.
#[inline(never)]
pub fn is_told_otherwise() -> bool {
    if !is_ninja() && !speaker::is_gnu_make(name()) {
        return false;
    }
    // The first word is the program.
    if let Some(arguments) = STATE.arguments() {
        // SAFETY: the kernel's array, and strings that end in a NUL.
        return unsafe { environ::iter(arguments) }
            .skip(1)
            .any(|word| speaker::names_jobs(word.to_bytes()));
    }
    // If the arguments are not known, read those of the start.
    let (mut told, mut first) = (false, true);
    proc::each_part::<64>(&Path::new(b"/proc/self/cmdline"), 0, |word| {
        told |= !first && speaker::names_jobs(word);
        first = false;
    });
    told
}

pub(crate) fn is_ninja() -> bool {
    name().starts_with(b"ninja")
}
