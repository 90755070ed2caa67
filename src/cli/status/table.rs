//! A pool as lines of text.

use super::model::{Job, Pool, State};

/// A line, and how much it matters.
pub struct Line {
    /// What it says.
    pub text: String,
    /// What it is about.
    pub tone: Tone,
}

/// What a line is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// A pool.
    Head,
    /// A running job, or an explanation.
    Plain,
    /// A job that waits.
    Held,
    /// A job without a slot, a process out of reach.
    Warning,
}

fn line(tone: Tone, text: String) -> Line {
    Line { text, tone }
}

/// A pool and its jobs; each line at most `width` characters long, if one is given.
pub fn lines(pool: &Pool, width: Option<usize>) -> Vec<Line> {
    let mut all = vec![line(Tone::Head, format!("pool {}", pool.path))];
    let number = |n: Option<u32>| n.map_or("?".to_owned(), |n| n.to_string());
    let held = pool.jobs.iter().filter(|j| j.state == State::Held).count();
    let root = pool.root.as_ref().map(|r| format!(", of {} ({})", r.program, r.pid));
    all.push(line(
        Tone::Plain,
        format!(
            "  slots: {} in use, {} free, {} in all{}; waiting: {held}",
            pool.in_use,
            number(pool.free),
            number(pool.slots),
            root.unwrap_or_default(),
        ),
    ));
    if pool.elsewhere {
        let text = "  in another PID namespace: these are its pids".to_owned();
        all.push(line(Tone::Warning, text));
    }
    if !pool.jobs.is_empty() {
        let head = format!("  {:>7}  {:<9}  {:>8}  {:<20}  JOB", "PID", "STATE", "SINCE", "CLIENT");
        all.push(line(Tone::Plain, head));
    }
    all.extend(pool.jobs.iter().map(job));
    for e in &pool.escaped {
        let text = format!("  {:>7}  escaped: {} {}", e.pid, e.program, e.why);
        all.push(line(Tone::Warning, text));
    }
    for line in all.iter_mut() {
        line.text.retain(|c| !c.is_control());
        if let Some((at, _)) = width.and_then(|width| line.text.char_indices().nth(width)) {
            line.text.truncate(at);
        }
    }
    all
}

fn job(j: &Job) -> Line {
    let client = format!("{} ({})", j.client.program, j.client.pid);
    let why = match (&j.reason, j.pid) {
        (Some(why), _) => format!(" [{why}]"),
        (None, 0) => "(its client waits before it makes it)".to_owned(),
        _ => String::new(),
    };
    let (state, since) = (j.state.word(), since(j.seconds));
    let tone = match j.state {
        State::Held => Tone::Held,
        State::Overdraft => Tone::Warning,
        _ => Tone::Plain,
    };
    line(tone, format!("  {:>7}  {state:<9}  {since:>8}  {client:<20}  {}{why}", j.pid, j.name))
}

/// `0.4s`, `12.0s`, `3m05s`, `2h07m`.
fn since(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..60 => format!("{seconds:.1}s"),
        60..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        _ => format!("{}h{:02}m", whole / 3600, whole / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!(since(0.44), "0.4s");
        assert_eq!(since(185.9), "3m05s");
        assert_eq!(since(7620.0), "2h07m");
    }
}
