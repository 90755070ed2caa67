//! Lines on stderr: one write(2) each, so that lines of parallel processes do not mix.

use crate::sys;
use crate::text::{Path, Text};

/// `jsshim: TEXT`.
pub fn say(text: &[u8]) {
    let line: Text<512> = Text::new(b"jsshim: ").with(text).with(b"\n");
    write(line.bytes());
}

/// `jsshim[PID] TIME PROGRAM: EVENT`, for `JSSHIM_DEBUG`. The time is in seconds since boot.
pub fn debug(event: &[u8]) {
    let mut buf = [0u8; 32];
    let n = crate::proc::read_file(&Path::new(b"/proc/self/comm"), &mut buf).unwrap_or(0);
    debug_of(buf.get(..n).unwrap_or(b"").trim_ascii(), event);
}

/// [`debug`] for a process that is not yet the program of this name.
pub fn debug_of(name: &[u8], event: &[u8]) {
    let mut line: Text<512> = Text::new(b"jsshim[");
    line.put_num(sys::getpid()).put(b"] ");
    let millis = sys::now() / 1_000_000;
    line.put_num((millis / 1000) as i64).put(b".");
    let rest = millis % 1000;
    line.put(if rest < 100 { &b"0"[..] } else { b"" }).put(if rest < 10 { &b"0"[..] } else { b"" });
    line.put_num(rest as i64).put(b" ").put(name).put(b": ").put(event).put(b"\n");
    write(line.bytes());
}

/// Writes a line. A closed pipe or a file size limit must not end the host.
fn write(line: &[u8]) {
    let _ = sys::without_signals(|| sys::write(2, line));
}
