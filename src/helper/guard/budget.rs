//! The guard's CPU budget: how soon it starts the next round.

use jsshim_engine::sys;
use jsshim_engine::watchdog::Pace;

/// How long a new record may go unnoticed, in ms.
const TICK_MILLIS: i64 = 50;
/// How long at most while a job waits that may have to start, in ms; less while a round takes less than one part in
/// [`CHEAP`] of that, but at least [`LEAST_MILLIS`].
const SOON_MILLIS: i64 = 10;
const LEAST_MILLIS: i64 = 3;
const CHEAP: u64 = 200;
/// The guard may use one part in this many of the CPU time, but makes at least one round in two ticks. If many jobs
/// end, not each end is handled separately; the clients handle most of them.
const SHARE: u64 = 50;
/// While a job is parked: the pause after a round is at most this many times the time of the round.
const HURRY: u64 = 12;
/// Unused CPU budget that carries over, in ns, for events that come all at once.
const CREDIT_NANOS: u64 = 1_000_000_000;

/// The remaining budget.
pub(super) struct Budget {
    /// When the budget is balanced again, and the next round is due even if something happens before; in ns.
    due: u64,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { due: 0 }
    }

    /// Pauses after a round that took this many ns of CPU time, unless one of these descriptors is readable.
    pub(super) fn rest(&mut self, took: u64, pace: Pace, wakes: [i32; 2]) {
        let now = sys::now();
        let earliest = self.due.max(now.saturating_sub(CREDIT_NANOS));
        self.due = earliest.saturating_add(took.saturating_mul(SHARE));
        let hurry = if pace == Pace::Hurry { took.saturating_mul(HURRY) } else { u64::MAX };
        let nanos = self.due.saturating_sub(now).min(hurry);
        let millis = (nanos / 1_000_000).min(TICK_MILLIS.unsigned_abs());
        let mut wakes = wakes.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
        if millis > 0 && sys::poll(&mut wakes, millis as i64).is_err() {
            sys::sleep_millis(millis as u32);
        }
    }
}

/// The longest sleep if nothing happens, in ms, after a round that took this many ns of CPU time.
pub(super) fn tick(pace: Pace, took: u64) -> i64 {
    if pace == Pace::Rest {
        return TICK_MILLIS;
    }
    let millis = took.saturating_mul(CHEAP) / 1_000_000;
    (millis as i64).clamp(LEAST_MILLIS, SOON_MILLIS)
}
