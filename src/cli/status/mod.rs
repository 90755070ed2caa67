//! `jsshim status`: the pools of this user, who holds their slots and who waits.

mod collect;
mod model;
mod table;
mod watch;

/// Shows the pools of this user, who holds their slots, and who waits: the longest waiters first
#[derive(clap::Args)]
pub struct Args {
    /// Show it again every second, until q is pressed
    #[arg(short, long, conflicts_with = "json")]
    watch: bool,
    /// Print it as JSON (docs/status.schema.json)
    #[arg(long)]
    json: bool,
}

/// Prints what there is; gives the exit status.
pub fn main(args: &Args) -> i32 {
    if args.watch {
        return match watch::run() {
            Ok(()) => 0,
            Err(e) => {
                eprintln!("jsshim: status --watch needs a terminal: {e}");
                2
            }
        };
    }
    let status = collect::status();
    if args.json {
        print(&serde_json::to_string_pretty(&status).expect("plain data"));
    } else if status.pools.is_empty() {
        print("no pool is in use");
    } else {
        let lines = status.pools.iter().flat_map(|pool| table::lines(pool, None));
        print(&lines.map(|line| line.text).collect::<Vec<_>>().join("\n"));
    }
    0
}

/// To stdout; a reader that has gone is no error.
fn print(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}
