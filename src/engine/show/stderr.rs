//! Lines on stderr: one write(2) each, so that lines of parallel processes do not mix.

use crate::sys;
use crate::text::{Path, Text};

/// `jsshim: TEXT`.
pub fn say(text: &[u8]) {
    let line: Text<512> = Text::new(b"jsshim: ").with(text).with(b"\n");
    write(line.bytes());
}

/// `jsshim[PID] PROGRAM: EVENT`, for `JSSHIM_DEBUG`.
pub fn debug(event: &[u8]) {
    let mut buf = [0u8; 32];
    let n = crate::proc::read_file(&Path::new(b"/proc/self/comm"), &mut buf).unwrap_or(0);
    debug_of(buf.get(..n).unwrap_or(b"").trim_ascii(), event);
}

/// The same for a process that is not yet the program of this name.
pub fn debug_of(name: &[u8], event: &[u8]) {
    let line: Text<512> = Text::new(b"jsshim[").num(sys::getpid()).with(b"] ").with(name);
    write(line.with(b": ").with(event).with(b"\n").bytes());
}

/// A line that nobody reads, or that a limit on files does not allow, must not end the host.
fn write(line: &[u8]) {
    let _ = sys::without_signals(|| sys::write(2, line));
}
