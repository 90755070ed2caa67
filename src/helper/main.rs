//! `jsshim-helper`: holds a job until it has a slot, and gives back the slots of dead processes.
//!
//! Only the preloaded library starts it:
//!
//! - `jsshim-helper hold:… TARGET ARGV…` waits for a slot and execs `TARGET` with `ARGV`;
//! - `jsshim-helper guard LEDGER` is the one guard of a ledger.
//!
//! Started by a descriptor it is in the place of an exec that `jsshim --all` holds ([`handed`]).
//!
//! Static and without libc, so that holding a job costs an exec of a few kB and no loader.
#![cfg_attr(not(test), no_std, no_main)]
#![cfg_attr(test, allow(dead_code))]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic
)]

mod args;
mod double;
mod guard;
mod handed;
mod hold;
mod stale;
mod start;

use core::ffi::CStr;

use jsshim_engine::hold::spec::{self, Note};
use jsshim_engine::room::{Room, PATH_ROOM};
use jsshim_engine::show::numbers::{self, Asked};
use jsshim_engine::show::stderr;
use jsshim_engine::sys;
use jsshim_engine::watchdog::settings::{self, Count};

use args::Args;

/// The library recognises its helper by this note.
#[link_section = ".note.jsshim"]
static NOTE: Note = spec::NOTE;

/// The absolute path in `JSSHIM_STATS`, if that is a file; else empty. The guard changes its directory, so a relative
/// path must become absolute.
fn stats_file(args: &Args) -> &'static CStr {
    let value = args.variable(b"JSSHIM_STATS=").and_then(|v| match numbers::asked(v) {
        Asked::File(file) => Some(file),
        _ => None,
    });
    let absolute = |value: &[u8]| {
        let mut room = Room::new(PATH_ROOM)?;
        let dir = match value.first() {
            Some(b'/') => 0,
            _ => sys::getcwd(room.bytes()).map_or(0, <[u8]>::len),
        };
        room.write_at(dir, &[if dir > 0 { b"/" } else { b"" }, value])?;
        sys::Result::Ok(room.keep())
    };
    value.and_then(|value| absolute(value).ok()).unwrap_or(c"")
}

fn main(args: &Args) -> ! {
    // Without this the note would not be linked. With `#[used]` it would be an exported symbol, in tables that nothing
    // reads.
    core::hint::black_box(&raw const NOTE);
    if let Some(fd) = args.started_as().to_bytes().strip_prefix(b"/dev/fd/") {
        handed::run(args, fd)
    }
    match args.get(1).map(core::ffi::CStr::to_bytes) {
        Some(b"guard") => match args.get(2) {
            Some(ledger) => {
                // The library has already warned about bad values.
                let count = args.variable(b"JSSHIM_COUNT=").and_then(Count::parse);
                let count = count.unwrap_or(Count::Running);
                let limit = args.variable(b"JSSHIM_STALL=").and_then(settings::limit);
                let stall = limit.unwrap_or(count.limit());
                let locked = args.get(3) == Some(jsshim_engine::guard::process::LOCKED);
                guard::run(ledger, locked, guard::Told { count, stall, stats: stats_file(args) })
            }
            None => sys::exit(2),
        },
        Some([b'h', b'o', b'l', b'd', b':', ..]) => hold::run(args),
        _ => {
            stderr::say(b"jsshim-helper is started by libjsshim.so, not by hand");
            sys::exit(2)
        }
    }
}
