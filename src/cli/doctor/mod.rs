//! `jsshim doctor`: what would happen here, and why. Nothing is started but the loader and the helper.

mod command;
mod place;
mod pool;
mod system;

use std::ffi::OsString;

use serde::Serialize;

/// Tell what would happen to CMD here, and why
///
/// Exit status: 0 all is fine, 1 something will not work as wished, 2 it cannot work.
#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, value_name = "CMD")]
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
        for Finding { level, topic, text } in &self.0 {
            let mark = match level {
                Level::Ok => "ok",
                Level::Note => "note",
                Level::Warning => "WARN",
                Level::Failure => "FAIL",
            };
            println!("{mark:<5} {topic:<12} {text}");
        }
        println!(
            "{}",
            ["All is fine.", "Not all will work as wished.", "It cannot work."]
                [self.status() as usize]
        );
    }

    fn print_json(&self) {
        let whole = serde_json::json!({ "status": self.status(), "findings": self.0 });
        println!("{whole:#}");
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
