//! The statistics of those who were killed.

use core::ffi::CStr;
use core::sync::atomic::Ordering::Acquire;

use jsshim_engine::ledger::access::Ledger;
use jsshim_engine::show::lanes::Kind;
use jsshim_engine::show::trace;

/// Tells the statistics of those who were killed, where a file was asked for.
pub(super) fn tell(ledger: &Ledger, file: &CStr) {
    let (h, counts) = (&ledger.header, ledger.header.stats.take());
    if counts.jobs > 0 && !file.is_empty() {
        let slots = h.slots.load(Acquire);
        let block = counts.block(b"all its processes", h.lanes.peak(Kind::Slot), slots);
        let _ = trace::append(file, block.bytes(), true);
    }
}
