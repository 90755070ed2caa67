//! `jsshim report`: a page from a trace.

mod columns;
mod draw;
mod format;
mod model;
mod page;
mod path;
mod read;
mod sums;
mod tables;
mod totals;

use std::fs;
use std::path::{Path, PathBuf};

use crate::output::{reason, say};

/// Make a page of a trace: what ran when on which slot, to zoom and search; the use of the slots and of memory, the
/// longest waits, the critical path, the time of each program
#[derive(clap::Args)]
pub struct Args {
    /// The file of JSSHIM_TRACE or --trace, also while it is written, also packed by gzip(1)
    #[arg(value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
    /// Where to write it: a page if the name ends in .html, a picture (for some hundred jobs at most) if in .svg, the
    /// trace itself, complete, if in .json or .json.gz
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

/// What is written.
enum Form {
    Page,
    Picture,
    Trace,
    Packed,
}

impl Form {
    fn of(output: &Path) -> Option<Self> {
        let name = output.file_name()?.to_str()?;
        let forms = [
            (".html", Self::Page),
            (".htm", Self::Page),
            (".svg", Self::Picture),
            (".json", Self::Trace),
            (".json.gz", Self::Packed),
        ];
        forms.into_iter().find_map(|(end, form)| name.ends_with(end).then_some(form))
    }
}

fn write(args: &Args) -> Result<(), String> {
    let (file, output) = (args.file.display(), args.output.display());
    let form = Form::of(&args.output)
        .ok_or_else(|| format!("{output}: neither .html, .svg, .json nor .json.gz"))?;
    let bytes = fs::read(&args.file).map_err(|e| format!("{file}: {}", reason(&e)))?;
    let text = read::unpack(bytes);
    let pools = model::pools(&text);
    if pools.is_empty() {
        return Err(format!("{file}: no job is in this trace"));
    }
    let made = match form {
        Form::Page => page::html(&pools).map(String::into_bytes),
        Form::Picture => Ok(draw::svg(&pools).into_bytes()),
        Form::Trace => Ok(read::complete(&text)),
        Form::Packed => read::pack(&read::complete(&text)),
    };
    let written = made.and_then(|bytes| fs::write(&args.output, bytes));
    written.map_err(|e| format!("{output}: {}", reason(&e)))
}
