//! Writing the trace of a ledger's jobs, if a client asked for one.

use core::sync::atomic::Ordering::{AcqRel, Relaxed, Release};

use crate::show::closing;
use crate::show::lanes::Lane;
use crate::show::stderr;
use crate::show::trace::{self, Event, Line};
use crate::slots::State;
use crate::sys::Errno;
use crate::text::Text;

use super::access::Ledger;
use super::asked::{LANES, PATH, TRACE};
use super::handle::Handle;
use super::life::Founding;
use super::record::Record;

/// Called once in a ledger: only one process sets up the trace.
#[inline(never)]
fn complain(e: Errno) {
    let text: Text<80> = Text::new(b"the file in JSSHIM_TRACE cannot be written (errno ");
    stderr::say(text.num(e.0).with(b"); no trace is written").bytes());
}

impl Ledger {
    /// Sets up what a client asks for on joining, unless another client has done so.
    #[inline(never)]
    pub fn ask(&self, f: &Founding) {
        let asked = &self.header.asked;
        if f.stats && !asked.has(LANES) {
            asked.what.fetch_or(LANES, AcqRel);
        }
        if f.trace.bytes().is_empty() || asked.what.fetch_or(LANES | PATH, AcqRel) & PATH != 0 {
            return;
        }
        for (at, b) in asked.path.iter().zip(f.trace.c().to_bytes_with_nul()) {
            at.store(*b, Relaxed);
        }
        match trace::create(f.trace.c()).and_then(|()| trace::append(f.trace.c(), b"", false)) {
            Ok(()) => {
                asked.what.fetch_or(TRACE, Release);
                self.write_head();
            }
            Err(e) => complain(e),
        }
    }

    #[inline(never)]
    fn write_head(&self) {
        let slots = self.header.slots.load(Relaxed);
        let mut line = Line::default();
        trace::head(self.header.id(), &self.header.path(), slots, &mut line);
        self.write(line.bytes());
        self.write_about();
    }

    #[inline(never)]
    fn write_about(&self) {
        let line = trace::about(self.header.id());
        // It does not fit if nearly every byte of the words is written as three bytes.
        if line.fits() {
            self.write(line.bytes());
        }
    }

    /// Called when the last process is gone: closes the trace, which is no trace any more then.
    pub fn close_trace(&self) {
        if self.header.asked.what.swap(0, AcqRel) & TRACE != 0 {
            let pool = self.header.path();
            let _ = closing::close(self.header.asked.path().c(), pool.bytes());
        }
    }

    /// Reports how long a job slept while its slot was lent.
    pub fn trace_lent(&self, h: Handle, time: (u64, u64)) {
        let pid = self.get(h).map_or(0, |r| r.pid.load(Relaxed));
        self.write(trace::lent(self.header.id(), (h.index, h.generation), pid, time).bytes());
    }

    /// Reports the peak memory of a child that has been reaped, in kB.
    #[inline(never)]
    pub fn trace_memory(&self, pid: i32, kb: i64) {
        self.write(trace::memory(self.header.id(), pid, kb).bytes());
    }

    /// Returns whether lanes are given out. If so, a client must call [`Ledger::find_home`].
    pub fn is_watched(&self) -> bool {
        self.header.asked.has(LANES)
    }

    #[inline(never)]
    fn write(&self, lines: &[u8]) {
        let _ = trace::append(self.header.asked.path().c(), lines, false);
    }

    #[inline(never)]
    pub(super) fn name_lane(&self, lane: Lane) {
        self.write(trace::lane(self.header.id(), lane).bytes());
    }

    /// Writes an event of a job that was in `state` on `lane`.
    pub(super) fn trace(&self, h: Handle, r: &Record, state: State, lane: Lane, time: (u64, u64)) {
        if self.header.asked.is_traced() {
            self.write_event(h, r, state, lane, time);
        }
    }

    /// A function of its own, because a line needs much stack.
    #[inline(never)]
    fn write_event(&self, h: Handle, r: &Record, state: State, lane: Lane, time: (u64, u64)) {
        let client = self.record(r.client.load(Relaxed));
        let home = client.and_then(|c| Handle::unpack(c.home.load(Relaxed)));
        let client = client.map_or(0, |c| c.pid.load(Relaxed));
        let (state, why) = match state {
            State::Implicit => ("implicit", ""),
            State::Token => ("token", ""),
            State::Overdraft => ("overdraft", r.reason().text()),
            State::Borrowed => ("borrowed", ""),
            _ => ("wait", ""),
        };
        let event = Event {
            name: &r.name(),
            state,
            lane,
            time,
            job: (h.index, h.generation),
            pids: (r.pid.load(Relaxed), client),
            home: home.map(|h| (h.index, h.generation)),
            why,
            waited: r.queued.load(Relaxed),
        };
        self.write(trace::line(self.header.id(), &event).bytes());
    }
}
