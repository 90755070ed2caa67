//! The line, and where it is shown: the last one of a terminal, below what the command prints; or, where there is no
//! terminal, among that from time to time.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use nix::unistd::{getpgrp, tcgetpgrp};
use ratatui::crossterm::terminal;

use crate::status::model::{Pool, State};
use crate::status::words::{memory, rate, shortened};

/// How often a line is printed where there is no terminal.
const SELDOM: Duration = Duration::from_secs(10);
/// Of a terminal with fewer lines none is taken away.
const LEAST_LINES: u16 = 4;

/// See the module.
#[derive(Default)]
pub struct Display {
    /// The lines of the terminal, while its last one is ours.
    taken: Option<u16>,
    /// When a line was printed last, and which.
    printed: Option<(Instant, String)>,
}

impl Display {
    /// Shows how far it is; of no pool yet, nothing.
    pub fn show(&mut self, pool: Option<&Pool>) {
        let Some(pool) = pool else { return };
        if !is_terminal() {
            return self.print(line(pool));
        }
        let Some((columns, lines)) = terminal::size().ok().filter(|_| is_in_front()) else {
            return;
        };
        if lines < LEAST_LINES {
            return self.end();
        }
        if self.taken != Some(lines) {
            self.end();
            self.take(lines);
        }
        let text = shortened(&line(pool), usize::from(columns));
        // Saves the cursor, goes there, writes, clears the rest, and goes back.
        write(&format!("\x1b7\x1b[{lines};1H{text}\x1b[K\x1b8"));
    }

    /// The terminal has another size, or others have used it meanwhile.
    pub fn resize(&mut self) {
        self.end();
    }

    /// Leaves the terminal as it was.
    pub fn end(&mut self) {
        if let Some(lines) = self.taken.take() {
            // Saves the cursor, lets all lines scroll, clears the last one, and goes back.
            write(&format!("\x1b7\x1b[r\x1b[{lines};1H\x1b[K\x1b8"));
        }
    }

    /// Takes the last line: what scrolls are those above it (DECSTBM), as apt does it.
    fn take(&mut self, lines: u16) {
        let above = lines - 1;
        // Room for the cursor, in case it is in the last line.
        write(&format!("\n\x1b7\x1b[1;{above}r\x1b8\x1b[1A"));
        self.taken = Some(lines);
    }

    fn print(&mut self, line: String) {
        let is_due = |(at, last): &(Instant, String)| at.elapsed() >= SELDOM && *last != line;
        if self.printed.as_ref().is_none_or(is_due) {
            write(&format!("jsshim: {line}\n"));
            self.printed = Some((Instant::now(), line));
        }
    }
}

fn is_terminal() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// A program in the background leaves the terminal alone.
fn is_in_front() -> bool {
    tcgetpgrp(io::stderr()).is_ok_and(|front| front == getpgrp())
}

/// Whoever reads it may have gone.
fn write(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// `[12 done, 2 running on 2/2 slots, 5 held, 1.2/s, 340 MB] cc main.o`: the job that has started last.
fn line(pool: &Pool) -> String {
    let slots = pool.slots.map(|n| format!(" on {}/{n} slots", pool.in_use)).unwrap_or_default();
    let running = pool.jobs.iter().filter(|job| job.state != State::Held);
    let last = running.min_by(|a, b| a.state_seconds.total_cmp(&b.state_seconds));
    let name = last.map(|job| job.name.as_str()).unwrap_or_default();
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    let per_second = f64::from(pool.done) / pool.seconds.max(0.1);
    format!(
        "[{} done, {} running{slots}, {} held, {}, {}] {name}",
        pool.done,
        pool.running,
        pool.held,
        rate(per_second),
        memory(pool.memory_bytes)
    )
}
