//! How much of a processor the guard uses: how soon it looks again after a round.

use jsshim_engine::sys;
use jsshim_engine::watchdog::Pace;

/// How long a new record may go unnoticed, in ms.
const TICK_MILLIS: i64 = 50;
/// The same while a job waits that may have to start.
const SOON_MILLIS: i64 = 10;
/// Of a processor's time, one part of so many is for looking around, but there is a round at least each second
/// tick: where many jobs end, not each end is looked at by itself. Most are seen to by their clients.
const SHARE: u64 = 50;
/// After a round while a job waits to come back no longer than so many times what it took.
const HURRY: u64 = 12;
/// Unused time that carries over, in ns: a share of it is for what comes all at once.
const CREDIT_NANOS: u64 = 1_000_000_000;

/// What is left of it.
pub(super) struct Budget {
    /// When the next round is due even if something happens before; in ns.
    due: u64,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { due: 0 }
    }

    /// Rests after a round that took so many ns of a processor's time, unless one of these descriptors is readable.
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

/// How long to sleep at most, in ms, if nothing happens.
pub(super) fn tick(pace: Pace) -> i64 {
    if pace == Pace::Rest {
        TICK_MILLIS
    } else {
        SOON_MILLIS
    }
}
