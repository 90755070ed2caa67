//! `jsshim report`: a page from a trace.

mod draw;
mod page;
mod read;
mod sums;

use std::fs;
use std::path::PathBuf;

use crate::output::{reason, say};

/// Make a page of a trace: a lane for each slot, how many were in use, the longest waits
#[derive(clap::Args)]
pub struct Args {
    /// The file of JSSHIM_TRACE or --trace
    #[arg(value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
    /// Where to write it: a page if the name ends in .html, a picture if in .svg
    #[arg(short, long, value_name = "OUT", value_hint = clap::ValueHint::FilePath)]
    output: PathBuf,
}

/// Writes the page; gives the exit status.
pub fn main(args: &Args) -> i32 {
    match write(args) {
        Ok(()) => 0,
        Err(why) => {
            say(why);
            2
        }
    }
}

fn write(args: &Args) -> Result<(), String> {
    let (file, output) = (args.file.display(), args.output.display());
    let render = match args.output.extension().and_then(|e| e.to_str()) {
        Some("html" | "htm") => page::html,
        Some("svg") => page::svg,
        _ => return Err(format!("{output}: neither .html nor .svg")),
    };
    let text = fs::read(&args.file).map_err(|e| format!("{file}: {}", reason(&e)))?;
    let pools = read::pools(&String::from_utf8_lossy(&text));
    if pools.iter().all(|pool| pool.parts.is_empty()) {
        return Err(format!("{file}: no job is in this trace"));
    }
    fs::write(&args.output, render(&pools)).map_err(|e| format!("{output}: {}", reason(&e)))
}
