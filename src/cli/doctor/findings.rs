//! What is found, and how it is told.

use std::ffi::OsString;

use serde::Serialize;

use crate::output::{has_colours, painted, print, Paint};

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
pub struct Report(Vec<Finding>);

impl Report {
    fn add(&mut self, level: Level, topic: &'static str, text: impl Into<String>) {
        self.0.push(Finding { level, topic, text: text.into() });
    }

    /// All is well.
    pub fn ok(&mut self, topic: &'static str, text: impl Into<String>) {
        self.add(Level::Ok, topic, text);
    }

    /// Good to know.
    pub fn note(&mut self, topic: &'static str, text: impl Into<String>) {
        self.add(Level::Note, topic, text);
    }

    /// Something will not work as wished.
    pub fn warn(&mut self, topic: &'static str, text: impl Into<String>) {
        self.add(Level::Warning, topic, text);
    }

    /// It cannot work.
    pub fn fail(&mut self, topic: &'static str, text: impl Into<String>) {
        self.add(Level::Failure, topic, text);
    }

    /// The exit status that tells of the worst.
    pub fn status(&self) -> i32 {
        match self.0.iter().map(|f| f.level).max() {
            Some(Level::Failure) => 2,
            Some(Level::Warning) => 1,
            _ => 0,
        }
    }

    /// For people.
    pub fn print(&self) {
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

    /// For programs.
    pub fn print_json(&self) {
        let whole =
            serde_json::json!({ "version": 1, "status": self.status(), "findings": self.0 });
        print(&format!("{whole:#}\n"));
    }
}

/// A variable that is set and not empty.
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|v| !v.is_empty())
}
