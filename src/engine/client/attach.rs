//! Opening the ledger of a pool, if it was made for that pool; or making a new one.

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
    // It belongs to a pool that is gone (inode numbers are reused), is closed, or is broken.
    let _ = sys::unlink(path.c());
    // Without locks another process may have been faster.
    Ledger::create(path.c(), founding).or_else(|e| Ledger::open(path.c()).map_err(|_| e))
}

/// Returns whether this is the ledger of this pool, not of a former pool with the same inode number.
pub(super) fn is_of(ledger: &Ledger, founding: &Founding) -> bool {
    ledger.header.id() == founding.id && (ledger.is_inhabited() || !is_stale(ledger))
}

/// Returns whether the pool is a pipe. A pipe outlives the process in which it was found, and while it exists no other
/// pipe has its inode number until the machine reboots.
fn is_pipe(h: &Header) -> bool {
    h.path().bytes().starts_with(b"/proc/") && h.is_of_this_boot()
}

/// Returns whether the pool for which this ledger was made is gone. While a guard lives, or where /proc is missing, a
/// pool that is not found may still be in use.
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
