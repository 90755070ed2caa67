//! A pool as lines of text.

use super::model::{Job, Pool, Shared, State};
use super::words::{bar, duration, memory, rate, shortened};

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

/// Room for the name and pid of a client.
const CLIENT: usize = 15;

fn line(tone: Tone, text: String) -> Line {
    Line { text, tone }
}

/// A pool and its jobs, each line at most `width` characters long, if one is given. `per_second`: how many jobs end now.
pub fn lines(pool: &Pool, per_second: f64, width: Option<usize>) -> Vec<Line> {
    let mut all = numbers(pool, per_second);
    if !pool.jobs.is_empty() {
        let head = prefix("PID", "STATE", "TIME", "CLIENT") + "JOB";
        all.push(line(Tone::Plain, head));
    }
    all.extend(pool.jobs.iter().map(|j| job(j, width)));
    for e in &pool.escaped {
        let text = format!("  {:>7}  escaped: {} {}", e.pid, e.program, e.why);
        all.push(line(Tone::Warning, text));
    }
    for line in all.iter_mut() {
        line.text.retain(|c| !c.is_control());
        if let Some(width) = width {
            line.text = shortened(&line.text, width);
        }
    }
    all
}

/// What is above the list of jobs.
fn numbers(pool: &Pool, per_second: f64) -> Vec<Line> {
    let mut all = vec![line(Tone::Head, format!("pool {}", pool.path))];
    let number = |n: Option<u32>| n.map_or("?".to_owned(), |n| n.to_string());
    let mut slots = format!(
        "  slots: {} in use, {} free, {} in all",
        pool.in_use,
        number(pool.free),
        number(pool.slots)
    );
    if let Some(all) = pool.slots {
        slots += &format!("  [{}]", bar(all, pool.in_use, pool.lent));
    }
    if pool.lent > 0 {
        slots += &format!(" {} lent", pool.lent);
    }
    all.push(line(Tone::Plain, slots));
    let root = pool.root.as_ref().map(|r| format!(", of {r}"));
    all.push(line(
        Tone::Plain,
        format!(
            "  jobs: {} running, {} held, {} done in {}, {}; {}{}",
            pool.running,
            pool.held,
            pool.done,
            duration(pool.seconds),
            rate(per_second),
            memory(pool.memory_bytes),
            root.unwrap_or_default(),
        ),
    ));
    if !pool.shares.is_empty() {
        let shares: Vec<_> = pool.shares.iter().map(share).collect();
        all.push(line(Tone::Plain, format!("  shares: {}", shares.join(", "))));
    }
    if pool.above > 0 {
        let text = format!("  above the slots: {} more compute, and are next", pool.above);
        all.push(line(Tone::Warning, text));
    }
    if pool.elsewhere {
        let text = "  in another PID namespace: these are its pids".to_owned();
        all.push(line(Tone::Warning, text));
    }
    all
}

fn share(s: &Shared) -> String {
    let share = if s.share == 0 { "idle".to_owned() } else { s.share.to_string() };
    format!("{} {share}", s.client)
}

/// What is left of the name, so short that half of a small terminal is for that.
fn prefix(pid: &str, state: &str, time: &str, client: &str) -> String {
    format!("  {pid:>7}  {state:<9} {time:>6}  {client:<CLIENT$}  ")
}

fn job(j: &Job, width: Option<usize>) -> Line {
    let client = shortened(&j.client.to_string(), CLIENT);
    let why = match (&j.reason, j.pid) {
        (Some(why), _) => format!(" [{why}]"),
        (None, 0) if j.state == State::Held => " (its client waits before it makes it)".to_owned(),
        _ => String::new(),
    };
    let state = match j.state {
        _ if j.returns => "returns",
        State::Implicit | State::Token if j.sleeps => "sleeps",
        state => state.word(),
    };
    let tone = match j.state {
        State::Held => Tone::Held,
        State::Overdraft => Tone::Warning,
        _ => Tone::Plain,
    };
    let text = prefix(&j.pid.to_string(), state, &duration(j.time()), &client);
    let room = width.map(|w| w.saturating_sub(text.chars().count() + why.chars().count()));
    let name: String = j.name.chars().filter(|c| !c.is_control()).collect();
    let name = room.map_or(name.clone(), |room| shortened(&name, room));
    line(tone, text + &name + &why)
}

#[cfg(test)]
mod tests {
    use super::super::model::Process;
    use super::*;

    #[test]
    fn a_job_fits_the_width_and_keeps_both_ends_of_its_name() {
        let job = job(
            &Job {
                pid: 4242,
                program: "cc".into(),
                name: format!("cc {}/object.o", "deep/".repeat(40)),
                command: Vec::new(),
                state: State::Held,
                sleeps: false,
                returns: false,
                reason: None,
                state_seconds: 1.0,
                waited_seconds: 75.0,
                client: Process { pid: 4_194_304, program: "a-long-program".into() },
            },
            Some(80),
        );
        assert_eq!(job.text.chars().count(), 80, "{}", job.text);
        assert!(job.text.contains("  held       1m15s  a-long-…194304)  cc deep"), "{}", job.text);
        assert!(job.text.ends_with("object.o"), "{}", job.text);
    }
}
