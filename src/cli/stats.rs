//! `jsshim stats`: the lines of a file of `JSSHIM_STATS`, summed up for each build.

use std::fs;
use std::path::{Path, PathBuf};

use jsshim_engine::ledger::stats::Counts;
use jsshim_engine::show::numbers::{block, Origin};
use serde::Deserialize;

use crate::output::{print, reason, say};

/// Sum up a file of JSSHIM_STATS: a block for each build
///
/// Each program at the top of a pool, and each one that leaves the pool of a make last, has appended a line of JSON. Here
/// those of one pool are one build.
#[derive(clap::Args)]
pub struct Args {
    /// The file that JSSHIM_STATS named
    #[arg(value_hint = clap::ValueHint::FilePath)]
    file: PathBuf,
}

/// The form of a line that is understood.
const VERSION: u32 = 1;

/// A line of the file.
#[derive(Deserialize)]
struct Line {
    version: u32,
    pool: String,
    program: String,
    slots: u32,
    peak: u32,
    jobs: u32,
    recovered: u32,
    borrowed: u32,
    lent_ns: u64,
    above_ns: u64,
    held_ns: u64,
    longest_ns: u64,
    /// A kind of overdraft, or a bucket of waits, and how many there were.
    overdrafts: Vec<(usize, u32)>,
    waits: Vec<(usize, u32)>,
}

/// What the lines of a pool make together.
struct Build {
    pool: String,
    programs: Vec<String>,
    slots: u32,
    peak: u32,
    counts: Counts,
}

impl Build {
    fn new(line: &Line) -> Self {
        let (pool, programs) = (line.pool.clone(), Vec::new());
        Self { pool, programs, slots: 0, peak: 0, counts: Counts::default() }
    }

    fn add(&mut self, line: Line) {
        if !self.programs.contains(&line.program) {
            self.programs.push(line.program);
        }
        self.slots = self.slots.max(line.slots);
        self.peak = self.peak.max(line.peak);
        let c = &mut self.counts;
        for (to, from) in [
            (&mut c.jobs, line.jobs),
            (&mut c.recovered, line.recovered),
            (&mut c.borrowed, line.borrowed),
        ] {
            *to = to.saturating_add(from);
        }
        for (to, from) in [
            (&mut c.lent, line.lent_ns),
            (&mut c.debt, line.above_ns),
            (&mut c.total, line.held_ns),
        ] {
            *to = to.saturating_add(from);
        }
        c.longest = c.longest.max(line.longest_ns);
        add_pairs(&mut c.overdrafts, &line.overdrafts);
        add_pairs(&mut c.waits, &line.waits);
    }

    /// The programs that have told, as far as a line has room.
    fn names(&self) -> String {
        const MOST: usize = 4;
        let shown = self.programs.iter().take(MOST).map(String::as_str);
        let shown = shown.collect::<Vec<_>>().join(", ");
        match self.programs.len().saturating_sub(MOST) {
            0 => shown,
            more => format!("{shown} and {more} more"),
        }
    }
}

fn add_pairs(to: &mut [u32], pairs: &[(usize, u32)]) {
    for (index, count) in pairs {
        if let Some(to) = to.get_mut(*index) {
            *to = to.saturating_add(*count);
        }
    }
}

/// Prints the blocks; gives the exit status.
pub fn main(args: &Args) -> i32 {
    match builds(&args.file) {
        Ok(builds) => {
            let text = |build: &Build| {
                let program = build.names();
                let (peak, slots) = (build.peak, build.slots);
                let origin = Origin { program: program.as_bytes(), peak, slots };
                String::from_utf8_lossy(block(&build.counts, origin).bytes()).into_owned()
            };
            print(&builds.iter().map(text).collect::<String>());
            0
        }
        Err(why) => {
            say(why);
            2
        }
    }
}

/// The builds of a file, in the order in which they have told first.
fn builds(file: &Path) -> Result<Vec<Build>, String> {
    let shown = file.display();
    let text = fs::read_to_string(file).map_err(|e| format!("{shown}: {}", reason(&e)))?;
    let mut builds: Vec<Build> = Vec::new();
    for (index, text) in text.lines().enumerate() {
        let line: Line = serde_json::from_str(text)
            .map_err(|e| format!("{shown}:{}: no line of JSSHIM_STATS: {e}", index + 1))?;
        if line.version != VERSION {
            let version = line.version;
            return Err(format!("{shown}:{}: of another version ({version})", index + 1));
        }
        let at = builds.iter().position(|build| build.pool == line.pool);
        let at = at.unwrap_or_else(|| {
            builds.push(Build::new(&line));
            builds.len() - 1
        });
        builds[at].add(line);
    }
    Ok(builds)
}
