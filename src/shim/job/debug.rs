//! The lines of `JSSHIM_DEBUG`.

use core::sync::atomic::Ordering::Relaxed;

use jsshim_engine::client::Client;
use jsshim_engine::ledger::handle::Handle;
use jsshim_engine::slots::State as Slot;
use jsshim_engine::text::Text;

use super::state::STATE;

/// A line for `JSSHIM_DEBUG`: the event, and what the jobs of this process have now.
pub fn event(event: &[u8], state: Slot) {
    if STATE.debug.load(Relaxed) {
        line(event, state);
    }
}

#[inline(never)]
pub fn line(event: &[u8], state: Slot) {
    let on: &[u8] = match state {
        Slot::Implicit => b" the implicit slot",
        Slot::Token => b" a token",
        Slot::Borrowed => b" a lent slot",
        Slot::Overdraft => b" overdraft",
        _ => b" no slot is free",
    };
    let count = |which: fn(Slot) -> bool| {
        let client = STATE.client().and_then(|c| Some((c.me()?, c)));
        client.map_or(0, |(me, c)| c.ledger().jobs_of(me).filter(|(_, s, _)| which(*s)).count())
            as i64
    };
    let mut text: Text<200> = Text::new(event);
    text.put(on).put(b"; slots ").put_num(count(Slot::is_backed));
    text.put(b", held ").put_num(count(Slot::is_held));
    text.put(b", lent ").put_num(count(|s| s == Slot::Borrowed));
    text.put(b", overdraft ").put_num(count(|s| s == Slot::Overdraft));
    jsshim_engine::show::stderr::debug(text.bytes());
}

/// A job that was held goes on, in the process that has waited.
pub fn end_of_wait(client: &Client, job: Handle, state: Slot) {
    if STATE.debug.load(Relaxed) {
        line(client.ledger().start(b"was held, ", job, state).bytes(), state);
    }
}
