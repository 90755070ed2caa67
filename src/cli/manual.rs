//! jsshim(1), of the same source as `--help`.

use std::io;

use clap::Command;
use clap_mangen::roff::{bold, italic, roman, Roff};
use clap_mangen::Man;

use crate::variables::{STATUS, VARIABLES};

/// Of the last change of what is said here.
const DATE: &str = "2026-11-30";

const EXAMPLES: [(&str, &str); 3] = [
    ("jsshim -j8 -- ./build-everything.sh", "Eight slots for whatever the script starts."),
    (
        "jsshim -j4 -- make -f Top.mk",
        "make joins the pool of four, and so does what its recipes start.",
    ),
    ("jsshim doctor ninja", "Will ninja queue here?"),
];
const OTHERS: [(&str, &str); 3] =
    [("make", " (1),"), ("jsshim-cc", " (1),"), ("libjsshim", " (7)")];

/// The whole page.
pub fn page(command: Command) -> String {
    let mut page = Vec::new();
    match write(&mut page, command) {
        Ok(()) => String::from_utf8_lossy(&page).into_owned(),
        Err(_) => String::new(), // memory does not fail
    }
}

fn write(page: &mut Vec<u8>, mut command: Command) -> io::Result<()> {
    command.build();
    let man = Man::new(command.clone())
        .title("JSSHIM")
        .date(DATE)
        .source(format!("jsshim {}", env!("CARGO_PKG_VERSION")))
        .manual("User Commands");
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    tools(&command).to_writer(page)?;
    environment().to_writer(page)?;
    ending().to_writer(page)
}

/// Each tool with its options.
fn tools(command: &Command) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["TOOLS"]);
    for tool in command.get_subcommands() {
        roff.control("TP", []);
        roff.text([bold(tool.get_name())]);
        let about = tool.get_long_about().or_else(|| tool.get_about());
        for line in about.map(ToString::to_string).unwrap_or_default().lines() {
            if line.is_empty() {
                roff.control("IP", []);
            } else {
                roff.text([roman(line)]);
            }
        }
        let options = tool.get_arguments().filter(|a| a.get_long().is_some_and(|l| l != "help"));
        for option in options {
            roff.control("IP", []);
            let short = option.get_short().map(|s| format!("-{s}, ")).unwrap_or_default();
            let long = format!("{short}--{}", option.get_long().unwrap_or_default());
            let value = option.get_value_names().unwrap_or_default().first();
            let value = value.filter(|_| option.get_action().takes_values());
            let value = value.map(|v| italic(format!(" {v}"))).unwrap_or_else(|| roman(""));
            let help = option.get_help().map(ToString::to_string).unwrap_or_default();
            roff.text([bold(long), value, roman(format!(": {help}."))]);
        }
    }
    roff
}

fn environment() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    roff.text([roman(STATUS)]);
    roff.control("SH", ["ENVIRONMENT"]);
    roff.text([roman("More is said of each in "), bold("libjsshim"), roman("(7).")]);
    for (name, what) in VARIABLES {
        roff.control("TP", []);
        roff.text([bold(*name)]);
        roff.text([roman(*what)]);
    }
    roff
}

fn ending() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]);
    for (line, what) in EXAMPLES {
        roff.control("TP", []);
        roff.text([bold(line)]);
        roff.text([roman(what)]);
    }
    roff.control("SH", ["SEE ALSO"]);
    for (name, section) in OTHERS {
        roff.text([bold(name), roman(section.trim_start())]);
    }
    roff
}
