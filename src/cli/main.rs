//! `jsshim`: runs a command with the library preloaded, on the pool above it or on one of its own.

mod all;
mod brought;
mod completions;
mod doctor;
mod elf;
mod environment;
mod failure;
mod inherited;
mod manual;
mod output;
mod program;
mod progress;
mod report;
mod run;
mod settings;
mod stats;
mod status;
mod variables;

use std::ffi::OsString;

use clap::{CommandFactory, Parser, Subcommand};

const USAGE: &str = "\
jsshim [-j N] [--all] [--trace FILE] [--progress] [--] CMD [ARG]...
       jsshim status [--watch | --json]
       jsshim report FILE -o OUT
       jsshim stats FILE
       jsshim doctor [--json] [CMD [ARG]...]
       jsshim completions SHELL";

/// Run a command whose jobs queue on make's job server
///
/// CMD and everything below it get libjsshim(7): each process that starts several children at once takes a slot of
/// the pool of GNU make(1) for each of them, and gives it back when the child ends.
///
/// Below a make with -j its pool is joined. Where there is none above, one is made, and a make or cargo that is
/// started below joins it, too.
///
/// The words status, report, stats, doctor and completions name tools if they come first. A program of such a name is run
/// by `jsshim -- status`.
#[derive(Parser)]
#[command(name = "jsshim", version, after_help = variables::help(), override_usage = USAGE)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    tool: Option<Tool>,
    /// Slots of the pool that is made if there is none above, 1 to 65536 (default: JSSHIM_JOBS, or else the CPUs that
    /// this process may use, by affinity and by the quota of its cgroup)
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    jobs: Option<u32>,
    /// Gate static programs and those of Go, too, and whatever else the library cannot be loaded into: a supervisor is
    /// asked before each exec of the tree. Without CAP_SYS_ADMIN the tree gets no new privileges (setuid programs below
    /// run without theirs)
    #[arg(long)]
    all: bool,
    /// Write what runs when, and on which slot, to FILE, for `jsshim report`, Perfetto and chrome://tracing
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    trace: Option<std::path::PathBuf>,
    /// Show on standard error how far it is: jobs that have ended, run and are held, how many end in a second, memory. On
    /// a terminal in its last line, else from time to time
    #[arg(long)]
    progress: bool,
    /// Print the page jsshim(1)
    #[arg(long, hide = true, exclusive = true)]
    manual: bool,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    #[arg(value_hint = clap::ValueHint::CommandWithArguments)]
    command: Vec<OsString>,
}

/// What else can be asked for. The first word decides.
#[derive(Subcommand)]
enum Tool {
    Status(status::Args),
    Report(report::Args),
    Stats(stats::Args),
    Doctor(doctor::Args),
    /// Print the completions of a shell
    Completions {
        /// bash, zsh or fish, among others
        shell: clap_complete::Shell,
    },
}

fn main() {
    let cli = Cli::parse();
    let status = match cli.tool {
        Some(Tool::Report(args)) => report::main(&args),
        Some(Tool::Stats(args)) => stats::main(&args),
        Some(Tool::Status(args)) => status::main(&args),
        Some(Tool::Doctor(args)) => doctor::main(&args),
        Some(Tool::Completions { shell }) => {
            output::print(&completions::script(shell, &mut Cli::command()));
            0
        }
        None if cli.manual => {
            output::print(&manual::page(Cli::command()));
            0
        }
        None => {
            let asked = run::Asked { jobs: cli.jobs, trace: cli.trace.as_deref(), all: cli.all };
            let failure = match cli.progress {
                true => match progress::run(asked, &cli.command) {
                    Ok(status) => std::process::exit(status),
                    Err(failure) => failure,
                },
                false => run::run(asked, &cli.command),
            };
            let meant = meant(failure.status, &cli.command);
            output::say(format_args!("{}{}", failure.message, meant.unwrap_or_default()));
            failure.status
        }
    };
    std::process::exit(status);
}

/// Was a tool meant, of which the name is not typed right?
fn meant(status: i32, command: &[OsString]) -> Option<String> {
    let word = command.first()?.to_str().filter(|word| status == 127 && !word.contains('/'))?;
    let is_near = |name: &str| strsim::damerau_levenshtein(word, name) <= 1 + name.len() / 7;
    let tools = Cli::command();
    let names = tools.get_subcommands().map(|tool| tool.get_name());
    let name = match word {
        "help" => "--help",
        "version" => "--version",
        _ => names.into_iter().find(|name| is_near(name))?,
    };
    Some(format!("; did you mean 'jsshim {name}'?"))
}
