//! `jsshim doctor`: what would happen here, and why. Nothing is started but the loader and the helper.

mod command;
mod place;
mod pool;
mod system;

use std::ffi::OsString;

use serde::Serialize;

use crate::output::{has_colours, painted, print, Paint};

/// Tell what would happen to CMD here, and why
///
/// The pool that would be joined and the way to it; what CMD is (dynamically linked, static, setuid, Go, a script, a
/// speaker of the protocol); whether the library can be loaded into it; the helper, the run-time directory, /proc and
/// the kernel. Nothing is run.
///
/// The exit status is 0 if all is fine, 1 if something will not work as wished, 2 if it cannot work.
#[derive(clap::Args)]
pub struct Args {
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, value_name = "CMD")]
    #[arg(value_hint = clap::ValueHint::CommandWithArguments)]
    command: Vec<OsString>,
}

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    /// Good to know.
    Note,
    /// Something will not work as wished.
    Warning,
    /// It cannot work.
    Failure,
}

#[derive(Serialize)]
struct Finding {
    level: Level,
    topic: &'static str,
    text: String,
}

/// All that was found, in the order of the search.
#[derive(Default)]
struct Report(Vec<Finding>);

impl Report {
    fn add(&mut self, level: Level, topic: &'static str, text: impl Into<String>) {
        self.0.push(Finding { level, topic, text: text.into() });
    }

    fn ok(&mut self, topic: &'static str, text: impl Into<String>) {
        self.add(Level::Ok, topic, text);
    }

    fn note(&mut self, topic: &'static str, text: impl Into<String>) {
        self.add(Level::Note, topic, text);
    }

    fn warn(&mut self, topic: &'static str, text: impl Into<String>) {
        self.add(Level::Warning, topic, text);
    }

    fn fail(&mut self, topic: &'static str, text: impl Into<String>) {
        self.add(Level::Failure, topic, text);
    }

    fn status(&self) -> i32 {
        match self.0.iter().map(|f| f.level).max() {
            Some(Level::Failure) => 2,
            Some(Level::Warning) => 1,
            _ => 0,
        }
    }

    fn print(&self) {
        let (colours, mut all) = (has_colours(), String::new());
        for Finding { level, topic, text } in &self.0 {
            let (paint, mark) = match level {
                Level::Ok => (Paint::Green, "ok"),
                Level::Note => (Paint::Bold, "note"),
                Level::Warning => (Paint::Yellow, "WARN"),
                Level::Failure => (Paint::Red, "FAIL"),
            };
            let mark = painted(paint, &format!("{mark:<5}"), colours && *level != Level::Note);
            all += &format!("{mark} {topic:<12} {text}\n");
        }
        let (paint, verdict) = match self.status() {
            0 => (Paint::Green, "All is fine."),
            1 => (Paint::Yellow, "Not all will work as wished."),
            _ => (Paint::Red, "It cannot work."),
        };
        print(&format!("{all}{}\n", painted(paint, verdict, colours)));
    }

    fn print_json(&self) {
        let whole = serde_json::json!({ "status": self.status(), "findings": self.0 });
        print(&format!("{whole:#}\n"));
    }
}

/// Looks at everything and tells; gives the exit status.
pub fn main(args: &Args) -> i32 {
    let mut report = Report::default();
    let library = place::library(&mut report);
    place::run_dir(&mut report);
    system::look(&mut report);
    system::preloads(&mut report, library.as_deref());
    pool::look(&mut report);
    if let Some((name, rest)) = args.command.split_first() {
        command::look(&mut report, name, rest, library.as_deref());
    }
    if args.json {
        report.print_json();
    } else {
        report.print();
    }
    report.status()
}

/// A variable that is set and not empty.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|v| !v.is_empty())
}
