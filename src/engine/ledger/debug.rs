//! The text of `JSSHIM_DEBUG` lines about a job.

use core::sync::atomic::Ordering::Relaxed;

use crate::show::numbers::time;
use crate::slots::{State, Word};
use crate::sys;
use crate::text::Text;

use super::access::Ledger;
use super::handle::Handle;

/// Room for one line.
pub type Event = Text<224>;

/// What a job in this state runs on, in words.
pub fn on(state: State) -> &'static [u8] {
    match state {
        State::Implicit => b"the implicit slot",
        State::Token => b"a token",
        State::Borrowed => b"a lent slot",
        State::Overdraft => b"overdraft",
        _ => b"nothing",
    }
}

impl Ledger {
    /// The start of a job: `event`, then what the job runs on. For a job without a slot also the reason, and the number
    /// of overdrafts so far.
    #[inline(never)]
    pub fn start(&self, event: &[u8], h: Handle, state: State) -> Event {
        let mut text = Text::new(event);
        if let Some(record) = self.get(h).filter(|_| state == State::Overdraft) {
            text.put(record.reason().text()).put(b"; overdrafts so far ");
            text.put_num(self.header.stats.overdrafts()).put(b"; ");
        }
        text.put(b"runs on ").put(on(state));
        text
    }

    /// The start of a job that was held, with the time that it was held.
    #[inline(never)]
    pub fn start_of_held(&self, h: Handle, state: State) -> Event {
        let waited = self.get(h).map_or(0, |r| r.queued.load(Relaxed));
        let event: Text<64> = Text::new(b"was held for ").with(time(waited).bytes());
        self.start(event.with(b", ").bytes(), h, state)
    }

    /// The end of a job, as its client sees it. Another process may have freed its record already, and the record may
    /// be in use again.
    #[inline(never)]
    pub fn end_of(&self, h: Handle, pid: i32) -> Event {
        let mut text = Text::new(b"its job ");
        let record = self.record(h.index).filter(|r| is_or_was(r.now(), h.generation));
        if let Some(record) = record {
            text.put(record.name().bytes()).put(b" ");
        }
        text.put(b"(").put_num(pid).put(b") has ended");
        match record {
            Some(record) if record.state().is_held() => drop(text.put(b" before its start")),
            // With a trace, `since` is no longer the start: the trace has replaced it.
            Some(record) if !self.header.asked.is_traced() => {
                let ran = sys::now().saturating_sub(record.since.load(Relaxed));
                text.put(b", after ").put(time(ran).bytes());
            }
            _ => {}
        }
        text
    }
}

/// Returns whether a record is in this use, or was freed and not used again.
fn is_or_was((state, now): (State, u64), generation: u64) -> bool {
    let freed = Word(generation << 8 | State::Ending as u64).to(State::Free);
    now == generation || state == State::Free && freed.map(Word::generation) == Some(now)
}
