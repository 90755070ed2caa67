//! How long a job must have used no CPU time to count as asleep.

/// A short time, in ns: at least two checks.
pub const MOMENT: u64 = 15_000_000;

/// A shorter one, between two checks. It suffices if no process of the pool has used CPU time meanwhile.
const STILL: u64 = 3_000_000;

/// What counts as sleep in this round.
#[derive(Clone, Copy)]
pub struct When {
    /// In ns, as [`sys::now`].
    pub now: u64,
    /// How long a job must have used no CPU time, in ns.
    pub limit: u64,
    /// The same if it waits for other processes, and if it is proven that its client waits for a held job.
    pub least: u64,
    pub proven: u64,
    /// A job has waited for long.
    pub long: bool,
}

impl When {
    /// `parked`: a job is parked. `still`: for how long no process of the pool has used CPU time, while a job is held; 0:
    /// none is.
    pub fn new(now: u64, limit: u64, parked: bool, still: u64, long: bool) -> Self {
        let is_still = still >= STILL;
        let proven = if is_still { STILL } else { MOMENT };
        let least = if is_still || parked { proven.min(limit) } else { limit };
        Self { now, limit, least, proven, long }
    }
}
