//! The lines of `JSSHIM_DEBUG`.

use core::sync::atomic::Ordering::Relaxed;

use jsshim_engine::client::Client;
use jsshim_engine::ledger::debug;
use jsshim_engine::ledger::handle::Handle;
use jsshim_engine::slots::State as Slot;
use jsshim_engine::text::Text;

use super::state::STATE;

/// A job starts at once.
pub fn starts(state: Slot) {
    if STATE.debug.load(Relaxed) {
        let text: Text<64> = Text::new(b"starts a job on ").with(debug::on(state));
        line(text.bytes());
    }
}

/// A job is held.
pub fn holds() {
    if STATE.debug.load(Relaxed) {
        line(b"holds a job, no slot is free");
    }
}

/// A line for `JSSHIM_DEBUG`: the event, and how many jobs of this process are in which state.
#[inline(never)]
pub fn line(event: &[u8]) {
    let count = |which: fn(Slot) -> bool| {
        let client = STATE.client().and_then(|c| Some((c.me()?, c)));
        client.map_or(0, |(me, c)| c.ledger().jobs_of(me).filter(|(_, s, _)| which(*s)).count())
            as i64
    };
    let mut text: Text<320> = Text::new(event);
    text.put(b"; slots ").put_num(count(Slot::is_backed));
    text.put(b", held ").put_num(count(Slot::is_held));
    text.put(b", lent ").put_num(count(|s| s == Slot::Borrowed));
    text.put(b", overdraft ").put_num(count(|s| s == Slot::Overdraft));
    jsshim_engine::show::stderr::debug(text.bytes());
}

/// A held job starts, in the process that has waited.
pub fn end_of_wait(client: &Client, job: Handle, state: Slot) {
    if STATE.debug.load(Relaxed) {
        line(client.ledger().start_of_held(job, state).bytes());
    }
}
