//! The role `guard`: gives back what dead or sleeping clients cannot, keeps a pool of our own open, and ends when
//! nothing is left to do.
//!
//! New processes in the ledger are noticed at the next tick.

mod budget;
mod daemons;
mod detach;
mod end;
mod life;
mod pool;
mod records;
mod state;
mod statistics;

use core::ffi::CStr;
use core::sync::atomic::Ordering::Acquire;

use crate::double;
use crate::stale::{self, Neighbours};

use budget::Budget;
use detach::{called, detach, SCARCE};
use end::End;
use jsshim_engine::guard::process::{FILE, KEPT};
use jsshim_engine::ledger::access::Ledger;
use jsshim_engine::ledger::header::LIFE;
use jsshim_engine::pool::pipe::maker;
use jsshim_engine::pool::tokens::Pool;
use jsshim_engine::sys::{self, Errno};
use jsshim_engine::text::Path;
use jsshim_engine::watchdog::alive::Watches;
use jsshim_engine::watchdog::settings::Count;
use jsshim_engine::watchdog::Watchdog;
use jsshim_engine::{clock, proc, space};
use state::{Guard, Make};

/// The first descriptor after the standard ones.
const FIRST: i32 = 3;

/// The guard's settings from the environment.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    /// `JSSHIM_COUNT`.
    pub count: Count,
    /// `JSSHIM_STALL`, in ns; 0 is off.
    pub stall: u64,
    /// The file for statistics that no process was left to write; empty: none.
    pub stats: &'a CStr,
}

/// Runs the guard of the ledger at `path` until it is not needed any more.
/// `locked`: the second word of its command line was `engine::guard::LOCKED`.
pub fn run(path: &CStr, locked: bool, told: Told<'_>) -> ! {
    let file = if locked { sys::fcntl(FILE, libc::F_DUPFD_CLOEXEC, FIRST) } else { Ok(-1) };
    serve(Path::new(path.to_bytes()), file.unwrap_or(-1), told, true)
}

/// `file` is the ledger, locked already; or -1. `sweeps`: also cleans up what other builds have left.
fn serve(path: Path, file: i32, told: Told<'_>, sweeps: bool) -> ! {
    let stats = told.stats;
    detach(file);
    let Ok(ledger) = Ledger::open(path.c()) else { sys::exit(1) };
    let opened = if file < 0 { sys::open(path.c(), libc::O_RDWR, 0) } else { Ok(file) };
    let Ok(file) = opened else { sys::exit(1) };
    let header = &ledger.header;
    // Where there are no locks, the guard that comes last stays.
    let other = sys::lock_byte(file, LIFE) == Err(Errno::AGAIN);
    // Nothing in a ledger of another PID namespace can be judged here.
    if other || !header.is_at(sys::fstat(file)) || !space::enter(header.space()) {
        sys::exit(0)
    }
    proc::settle();
    clock::settle();
    let id = header.id();
    let owner = if header.root.load(Acquire) == 0 { maker(&header.path()) } else { 0 };
    let Ok(watches) = Watches::new() else { sys::exit(1) };
    // SAFETY: zeros are false.
    let Ok(needy) = (unsafe { sys::map_zeroed() }) else { sys::exit(1) };
    let mut guard = Guard {
        ledger,
        path,
        file,
        pool: Pool::new(id, Path::default(), Some((-1, KEPT))),
        held: -1,
        kept: None,
        watches,
        watchdog: Watchdog::new(told.count, told.stall),
        needy,
        rounds: 0,
        untaken: 0,
        adopted: !sweeps,
        nameless: false,
        budget: Budget::new(),
        double: 0,
        double_fd: -1,
        calls: if sys::open_files_limit() < SCARCE { -1 } else { called() },
        has_root: false,
        root: -1,
        owner,
        neighbours: Neighbours::new(header.space()),
        counts: 0,
        make: Make::Builds,
        look: 0,
        out: false,
        was_in: false,
        drained: 0,
        end: End::new(),
    };
    if !guard.hold(&header.path()) {
        guard.hold_by_another();
    }
    guard.watch_root();
    guard.split(|| {
        if sweeps && !ledger.is_nameless(file, path.c()) {
            let adopt = |other: &Path| {
                double::apart(|| {
                    // This ledger's pool is not the other ledger's pool.
                    sys::close(KEPT);
                    serve(*other, -1, Told { stats: c"", ..told }, false)
                });
            };
            stale::sweep(&path, header.space(), adopt, &|deserted| {
                statistics::write(deserted, stats)
            });
        }
    });
    guard.watch_over(stats);
    if header.root.load(Acquire) != 0 {
        let _ = sys::unlink(header.path().c());
    }
    statistics::write(ledger, stats);
    guard.watchdog.finish(ledger);
    ledger.close_trace();
    sys::exit(0)
}
