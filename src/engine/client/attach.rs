//! Which ledger is that of a pool: one that is there and was made for it, or a new one.

use crate::ledger::access::Ledger;
use crate::ledger::header::Header;
use crate::ledger::life::Founding;
use crate::ledger::rundir::Lock;
use crate::pool::pipe;
use crate::sys::{self, Errno, Result};
use crate::text::Path;

/// Opens the ledger of a pool, or makes it.
#[inline(never)]
pub(super) fn attach(path: &Path, founding: &Founding) -> Result<&'static Ledger> {
    let ledger = open_or_create(path, founding)?;
    ask(ledger, founding);
    Ok(ledger)
}

pub(super) fn ask(ledger: &Ledger, founding: &Founding) {
    if founding.stats || !founding.trace.bytes().is_empty() {
        ledger.ask(founding);
    }
}

fn open_or_create(path: &Path, founding: &Founding) -> Result<&'static Ledger> {
    if let Ok(ledger) = Ledger::open(path.c()) {
        if is_of(ledger, founding) {
            return Ok(ledger);
        }
    }
    let _lock = Lock::take(path.c())?;
    match Ledger::open(path.c()) {
        Ok(ledger) if is_of(ledger, founding) => return Ok(ledger),
        Ok(ledger) => ledger.give_up(),
        Err(_) => {}
    }
    // Of another pool that is gone (numbers are used again), a closed or a broken one.
    let _ = sys::unlink(path.c());
    // Without locks another may have been faster.
    Ledger::create(path.c(), founding).or_else(|e| Ledger::open(path.c()).map_err(|_| e))
}

/// Is this the ledger of this pool, and not of one that had the same number and has gone?
pub(super) fn is_of(ledger: &Ledger, founding: &Founding) -> bool {
    ledger.header.id() == founding.id && (ledger.is_inhabited() || !is_stale(ledger))
}

/// A pipe outlives the process in which it was found, and until the machine is started again no other one has its
/// number while it is there.
fn is_pipe(h: &Header) -> bool {
    h.path().bytes().starts_with(b"/proc/") && h.is_of_this_boot()
}

/// Has the pool that this ledger was made for gone? Where a guard lives, or /proc is not there to look into, a
/// pool that cannot be found may still be in use.
#[inline(never)]
fn is_stale(ledger: &Ledger) -> bool {
    let h = &ledger.header;
    match pipe::open(&h.reach(), h.id(), libc::O_RDONLY) {
        Ok(fd) => {
            sys::close(fd);
            false
        }
        Err(e) => {
            let gone = e == Errno::NOENT && !ledger.has_guard() && !is_pipe(h);
            gone && sys::stat(c"/proc/self", false).is_ok()
        }
    }
}
