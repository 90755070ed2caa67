//! What must hold in a world of which nothing was broken.

use super::{Host, Stage, World, HOSTS};
use crate::kernel::kernel;
use crate::ledger::handle::Handle;
use crate::show::lanes::Kind;

impl World {
    pub(super) fn check_end(&self) {
        let (taken, given, mut left) = kernel(|k| {
            let left: Vec<u8> = k.pipes[0].iter().copied().collect();
            (k.taken, k.given, left)
        });
        assert_eq!(taken, given, "bytes taken and given back:\n{}", self.describe());
        let mut wanted = self.tokens.clone();
        left.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(left, wanted, "the values of the bytes");
        self.check_lanes();
    }

    /// There were never more than slots; each has been given up, or its owner is known to have gone.
    pub(super) fn check_lanes(&self) {
        const ME: u64 = u64::MAX;
        let ledger = self.hosts[0].client().ledger();
        let (lanes, peak) = (&ledger.header.lanes, ledger.header.lanes.peak(Kind::Slot));
        assert!(peak as usize <= HOSTS + self.tokens.len(), "{peak} lanes");
        let gone = |owner| Handle::unpack(owner).is_none_or(|h| ledger.get(h).is_none());
        for _ in 0..peak {
            let claimed = lanes.claim(Kind::Slot, ME, |owner| owner != ME && gone(owner));
            assert!(claimed.is_some_and(|(_, fresh)| !fresh), "a lane is nobody's");
        }
    }

    /// A line for each record in use.
    pub(super) fn describe(&self) -> String {
        let mut text = String::new();
        for (index, r) in self.hosts[0].client().ledger().records() {
            let relaxed = crate::sync::Ordering::Relaxed;
            let (state, generation) = r.now();
            let (pid, client) = (r.pid.load(relaxed), r.client.load(relaxed));
            let (runs, token) = (kernel(|k| k.runs(pid)), r.has_token(generation));
            let implicit = r.implicit.load(relaxed);
            text += &format!("{index}.{generation} {state:?} of {client}, pid {pid} runs: {runs}, token: {token}, implicit {implicit:x}\n");
        }
        text
    }

    pub(super) fn check_running(&self) {
        let running: usize = self.hosts.iter().map(|h| Self::running(h)).sum();
        let tokens = kernel(|k| (k.taken - k.given) as usize);
        let slots = HOSTS + tokens;
        assert!(running <= slots, "{running} jobs on {slots} slots");
    }

    fn running(host: &Host) -> usize {
        host.jobs.borrow().iter().filter(|j| j.stage == Stage::Runs).count()
    }
}
