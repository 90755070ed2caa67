//! `jsshim status`: the pools of this user, who holds their slots and who waits.

pub mod collect;
pub mod model;
mod table;
mod tree;
mod view;
mod watch;
pub mod words;

use std::io::IsTerminal;

use crate::output::{has_colours, painted, print, reason, say, Paint};
use table::{Line, Tone};

/// Show the pools of this user, who holds their slots, and who waits
///
/// Slots in use, free, lent by jobs that sleep, and in all; how many jobs run, are held and have ended; each job with its
/// pid, its state, for how long it has run so or has waited in all, its client, and what it makes: first those that run,
/// then those that are held, the longest at the top; clients whose share is not that of others (JSSHIM_SHARE); and
/// processes that do not queue.
///
/// In the bar of the slots # is in use, ~ lent, and . free.
#[derive(clap::Args)]
pub struct Args {
    /// Show it again every second, until q is pressed; s sorts, r reverses, / filters, arrows scroll
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
        // A file gets all.
        let width = std::io::stdout().is_terminal().then(ratatui::crossterm::terminal::size);
        let width = width.and_then(Result::ok).map(|(columns, _)| usize::from(columns));
        let per_second = |pool: &model::Pool| f64::from(pool.done) / pool.seconds.max(0.1);
        let lines = status.pools.iter().flat_map(|p| table::lines(p, per_second(p), width));
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
