//! What those who wait, or end, see to themselves: where there is no guard, or one that does not reach the pool.

use core::sync::atomic::Ordering::Acquire;

use super::Shared;
use crate::pool::Pool;
use crate::proc;
use crate::record::Handle;
use crate::slots::State;
use crate::sys::{self, Errno};

impl Shared {
    /// Is there a guard, or one on its way?
    pub fn has_guard(&self) -> bool {
        let guard = self.header.guard.load(Acquire).wrapping_abs();
        guard != 0 && sys::kill(guard, 0) != Err(Errno::SRCH)
    }

    /// Gives back the tokens of a client's jobs that the guard cannot give back, since it does not reach the
    /// pool; and where there is no guard, ends the jobs whose process has ended.
    #[inline(never)]
    pub fn sweep(&self, client: u32, pool: &Pool) {
        let alone = !self.has_guard();
        for (index, record) in self.records() {
            let (state, generation) = record.now();
            let (h, pid) = (Handle { index, generation }, record.pid.load(Acquire));
            if record.client.load(Acquire) != client {
                continue;
            }
            if state == State::Ending {
                self.finish(h, pool);
            } else if alone && state.is_job() && pid > 0 && proc::has_ended(pid) {
                self.end(h, pool);
            }
        }
    }
}
