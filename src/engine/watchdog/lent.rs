//! Since when each job has slept while its slot was lent; reported to the trace when it stops.

use crate::ledger::access::Ledger;
use crate::ledger::handle::{Handle, RECORDS};
use crate::slots::State;
use crate::sys;

/// The jobs whose slots are lent. All zeros: none.
pub struct Lent {
    /// By record index: the job ([`Handle::pack`]), and since when, in ns.
    since: [(u64, u64); RECORDS],
}

impl Lent {
    /// Determines which jobs sleep now, if any does (`any`), and reports those that sleep no more.
    pub fn note(&mut self, ledger: &Ledger, any: bool) {
        let now = sys::now();
        for (index, record) in ledger.former_records() {
            let Some(since) = self.since.get_mut(index as usize) else { return };
            let (state, generation) = record.now();
            let has_slot = matches!(state, State::Implicit | State::Token);
            let lends = any && has_slot && record.sleeps(generation);
            let job = if lends { Handle { index, generation }.pack() } else { 0 };
            if since.0 == job {
                continue;
            }
            if let Some(h) = Handle::unpack(since.0) {
                ledger.trace_lent(h, (since.1, now));
            }
            *since = (job, now);
        }
    }
}
