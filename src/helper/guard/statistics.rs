//! The statistics of builds that were killed.

use core::ffi::CStr;
use core::sync::atomic::Ordering::Acquire;

use jsshim_engine::ledger::access::Ledger;
use jsshim_engine::show::lanes::Kind;
use jsshim_engine::show::numbers::{self, Origin};
use jsshim_engine::show::trace;

/// Writes the statistics of a killed build, if a file is wanted.
pub(super) fn write(ledger: &Ledger, file: &CStr) {
    let (h, counts) = (&ledger.header, ledger.header.stats.take());
    if counts.jobs > 0 && !file.is_empty() {
        let (peak, slots) = (h.lanes.peak(Kind::Slot), h.slots.load(Acquire));
        let origin = Origin { program: b"all its processes", peak, slots };
        let mut line = numbers::Line::default();
        numbers::put_line(&mut line, h.id(), &counts, origin);
        let _ = trace::append(file, line.bytes(), true);
    }
}
