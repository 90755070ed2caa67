//! `jsshim status`: the pools of this user, who holds their slots and who waits.

mod collect;
mod model;
mod table;
mod watch;

use crate::output::{has_colours, painted, print, reason, say, Paint};
use table::{Line, Tone};

/// Show the pools of this user, who holds their slots, and who waits
///
/// Slots in use, free and in all; each job with its process, program, state and client, the longest waiters first; and
/// processes that do not queue.
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
                say(format_args!("status --watch needs a terminal: {}", reason(&e)));
                2
            }
        };
    }
    let status = collect::status();
    if args.json {
        print(&(serde_json::to_string_pretty(&status).expect("plain data") + "\n"));
    } else if status.pools.is_empty() {
        print("no pool is in use\n");
    } else {
        let colours = has_colours();
        let lines = status.pools.iter().flat_map(|pool| table::lines(pool, None));
        print(&lines.map(|line| in_colour(&line, colours) + "\n").collect::<String>());
    }
    0
}

fn in_colour(line: &Line, colours: bool) -> String {
    let paint = match line.tone {
        Tone::Plain => return line.text.clone(),
        Tone::Head => Paint::Bold,
        Tone::Held => Paint::Yellow,
        Tone::Warning => Paint::Red,
    };
    painted(paint, &line.text, colours)
}
