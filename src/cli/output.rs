//! What is printed: a reader that has gone is no error, and colours are for terminals.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// To standard output. Whoever reads it may stop (`| head`, `| grep -q`): the exit status is of what was found. What
/// cannot be written otherwise ends the program.
pub fn print(text: &str) {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            say(format_args!("standard output cannot be written: {}", reason(&e)));
            std::process::exit(2);
        }
        _ => {}
    }
}

/// A line to standard error.
pub fn say(text: impl Display) {
    let _ = writeln!(io::stderr(), "jsshim: {text}");
}

/// Why a call failed, without its number.
pub fn reason(e: &io::Error) -> String {
    let text = e.to_string();
    text.split(" (os error ").next().unwrap_or(&text).to_owned()
}

/// A colour of the terminal.
#[derive(Clone, Copy)]
pub enum Paint {
    /// All is well.
    Green,
    /// To be noticed.
    Yellow,
    /// Something is wrong.
    Red,
    /// A heading.
    Bold,
}

/// A text in a colour, where these are wanted.
pub fn painted(paint: Paint, text: &str, is_wanted: bool) -> String {
    let code = match paint {
        Paint::Green => 32,
        Paint::Yellow => 33,
        Paint::Red => 31,
        Paint::Bold => 1,
    };
    if is_wanted {
        format!("\x1b[{code}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// Does standard output show colours? By <https://no-color.org>, not if NO_COLOR is set and not empty.
pub fn has_colours() -> bool {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    let refused = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    io::stdout().is_terminal() && !is_dumb && !refused
}
