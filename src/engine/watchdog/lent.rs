//! Since when which job has slept while its slot was lent: for the trace, which is told of it at the end.

use crate::ledger::access::Ledger;
use crate::ledger::handle::{Handle, RECORDS};
use crate::slots::State;
use crate::sys;

/// See the module. All zeros is no job.
pub struct Lent {
    /// By record: the job ([`Handle::pack`]), and since when, in ns.
    since: [(u64, u64); RECORDS],
}

impl Lent {
    /// Looks which jobs sleep now, if any does (`any`), and tells of those that do no more.
    pub fn note(&mut self, ledger: &Ledger, any: bool) {
        let now = sys::now();
        for (index, record) in ledger.records() {
            let Some(since) = self.since.get_mut(index as usize) else { return };
            let (state, generation) = record.now();
            let has_slot = matches!(state, State::Implicit | State::Token);
            let lends = any && has_slot && record.sleeps(generation);
            let job = if lends { Handle { index, generation }.pack() } else { 0 };
            if since.0 == job {
                continue;
            }
            if let Some(h) = Handle::unpack(since.0) {
                ledger.tell_lent(h, (since.1, now));
            }
            *since = (job, now);
        }
    }
}
