//! `jsshim`: runs a command with the library preloaded, on the pool above it or on one of its own.

mod doctor;
mod elf;
mod program;
mod report;
mod run;
mod status;

use clap::{CommandFactory, Parser, Subcommand};

const ENVIRONMENT: &str = "\
Environment:
  JSSHIM_JOBS=N        slots of a pool of our own (default: the CPUs this process may use)
  JSSHIM_DEBUG=1       a line on stderr for each event: pid, program, event, jobs
  JSSHIM_SKIP=GLOBS    programs that are not gated, by name: 'cmake,ld*'
  JSSHIM_ONLY=GLOBS    gate these programs only
  JSSHIM_GATE=MODE     auto: the parent waits for a slot (at most 1 s) while nothing else needs it,
                       else the child is held; parent: it waits even if threads or pipes may need it;
                       child: the child is held at once
  JSSHIM_COUNT=WORD    running: slots are for jobs that compute, and one that sleeps lends its own;
                       processes: for all jobs that have started
  JSSHIM_STALL=SECONDS how long a job must have slept until its slot is lent (default 0.1); off: never
  JSSHIM_STATS=1|FILE  numbers at the end of the program at the top: on stderr, or appended to FILE
  JSSHIM_TRACE=FILE    what runs when and where, appended to FILE (see --trace)
  JSSHIM_LOAD=F        no further start while the load average is above F (as make -l)
  JSSHIM_DIR=DIR       run-time directory (default: /dev/shm/jsshim-UID, else /tmp/jsshim-UID)
  JSSHIM_HELPER=FILE   jsshim-helper, if it is not next to the library
  JSSHIM_ENV=respect   put nothing back into an environment that a tool has scrubbed
  JSSHIM_POOL          set by jsshim itself: the pool of this tree

Exit status: that of CMD; 127 if CMD is not found, 126 if it cannot be run, 2 for wrong usage.";

/// Makes CMD and all below it take a slot of make's job server for each concurrent job.
///
/// A program that has the name of a subcommand is run by `jsshim -- NAME`.
#[derive(Parser)]
#[command(version, after_help = ENVIRONMENT, disable_help_subcommand = true)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    tool: Option<Tool>,
    /// Slots of the pool that is made if there is none above
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    jobs: Option<u32>,
    /// Write what runs when and where to FILE, for `jsshim report`, Perfetto and chrome://tracing
    #[arg(long, value_name = "FILE")]
    trace: Option<std::path::PathBuf>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<std::ffi::OsString>,
}

/// What else can be asked for. The first word decides.
#[derive(Subcommand)]
enum Tool {
    Report(report::Args),
    Status(status::Args),
    Doctor(doctor::Args),
    /// Print the completions of a shell
    Completions {
        /// bash, zsh or fish, among others
        shell: clap_complete::Shell,
    },
}

fn main() {
    let cli = Cli::parse();
    let failure = match cli.tool {
        Some(Tool::Report(args)) => std::process::exit(report::main(&args)),
        Some(Tool::Status(args)) => std::process::exit(status::main(&args)),
        Some(Tool::Doctor(args)) => std::process::exit(doctor::main(&args)),
        Some(Tool::Completions { shell }) => return complete(shell),
        None => run::run(cli.jobs, cli.trace.as_deref(), &cli.command),
    };
    eprintln!("jsshim: {}", failure.message);
    std::process::exit(failure.status);
}

fn complete(shell: clap_complete::Shell) {
    clap_complete::generate(shell, &mut Cli::command(), "jsshim", &mut std::io::stdout());
}
