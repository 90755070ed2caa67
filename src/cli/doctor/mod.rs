//! `jsshim doctor`: what would happen here, and why. Nothing is started but the loader and the helper.

mod command;
mod findings;
mod place;
mod pool;
mod proxy;
mod system;

use std::ffi::OsString;

use crate::settings;
use findings::Report;

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

/// Looks at everything and tells; gives the exit status.
pub fn main(args: &Args) -> i32 {
    let mut report = Report::default();
    let library = place::library(&mut report);
    place::run_dir(&mut report);
    system::check(&mut report);
    system::preloads(&mut report, library.as_deref());
    pool::check(&mut report);
    // Of the number of jobs, the pool tells.
    let complaints = settings::complaints().into_iter().filter(|c| !c.starts_with("JSSHIM_JOBS "));
    complaints.for_each(|text| report.warn("variables", text));
    if let Some((name, rest)) = args.command.split_first() {
        command::check(&mut report, name, rest, library.as_deref());
    }
    if args.json {
        report.print_json();
    } else {
        report.print();
    }
    report.status()
}
