//! The lines of a trace, as the pools and jobs that they tell of.

use std::collections::BTreeMap;

use jsshim_engine::show::lanes::Kind;
use serde::Deserialize;

/// A pool of a trace.
#[derive(Default)]
pub struct Pool {
    /// Its path.
    pub name: String,
    /// Its slots; 0 if unknown.
    pub slots: u32,
    /// What ran, and what waited, by start.
    pub parts: Vec<Part>,
}

/// A job on one lane: all of its run, or a part of it.
pub struct Part {
    /// What the lane is for.
    pub kind: Kind,
    /// Which lane, from 1.
    pub lane: u32,
    /// From when to when, in ns.
    pub time: (u64, u64),
    /// On what it runs.
    pub state: State,
    /// The program and what it makes.
    pub name: String,
    /// Which job.
    pub job: String,
    /// Its process.
    pub pid: i32,
    /// Of an overdraft: why.
    pub why: String,
}

impl Part {
    /// How long it took, in ns.
    pub fn nanos(&self) -> u64 {
        self.time.1 - self.time.0
    }
}

/// On what a job runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// On its client's own slot.
    Implicit,
    /// On a token.
    Token,
    /// On a slot whose jobs sleep.
    Borrowed,
    /// Without a slot.
    Overdraft,
    /// It waits.
    Wait,
}

/// A line.
#[derive(Deserialize)]
#[serde(tag = "ph")]
enum Line {
    X(Event),
    M(Meta),
}

#[derive(Deserialize)]
struct Event {
    name: String,
    cat: State,
    ts: f64,
    dur: f64,
    pid: u64,
    tid: u32,
    args: JobArgs,
}

#[derive(Deserialize)]
struct JobArgs {
    job: String,
    pid: i32,
    #[serde(default)]
    why: String,
}

#[derive(Deserialize)]
struct Meta {
    pid: u64,
    args: PoolArgs,
}

#[derive(Deserialize)]
struct PoolArgs {
    name: String,
    kind: Option<u16>,
    slots: Option<u32>,
}

/// Reads a trace. A last line that was cut, and those of others, are passed over.
pub fn pools(text: &str) -> Vec<Pool> {
    // The lanes of the three kinds are four numbers apart from those of the next pool.
    let mut pools = BTreeMap::<u64, Pool>::new();
    let lines = text.lines().map(|line| line.trim().trim_end_matches(','));
    for line in lines.filter_map(|line| serde_json::from_str(line).ok()) {
        match line {
            Line::M(Meta { pid, args }) if args.kind == Some(Kind::Slot as u16) => {
                let pool = pools.entry(pid / 4).or_default();
                pool.name = args.name.trim_start_matches("slots of ").to_owned();
                pool.slots = pool.slots.max(args.slots.unwrap_or(0));
            }
            Line::M(_) => {}
            Line::X(e) => pools.entry(e.pid / 4).or_default().parts.push(part(e)),
        }
    }
    let mut pools: Vec<_> = pools.into_values().filter(|p| !p.parts.is_empty()).collect();
    for pool in &mut pools {
        // What contains another comes before it.
        pool.parts.sort_by_key(|p| (p.time.0, std::cmp::Reverse(p.time.1)));
    }
    pools
}

fn part(e: Event) -> Part {
    let nanos = |micros: f64| (micros * 1000.0).round().max(0.0) as u64;
    let start = nanos(e.ts);
    let kinds = [Kind::Slot, Kind::Overdraft, Kind::Wait];
    Part {
        kind: kinds[usize::try_from(e.pid % 4).unwrap_or(0).min(2)],
        lane: e.tid,
        time: (start, start + nanos(e.dur)),
        state: e.cat,
        name: e.name,
        job: e.args.job,
        pid: e.args.pid,
        why: e.args.why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_trace_is_read() {
        let text = "[\n{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":8,\"tid\":0,\"args\":{\"name\":\
                    \"slots of /p\",\"kind\":0,\"slots\":2}},\n\
                    {\"name\":\"cc\",\"cat\":\"token\",\"ph\":\"X\",\"ts\":2.001,\"dur\":1.5,\"pid\":8,\
                    \"tid\":2,\"args\":{\"job\":\"1.0\",\"pid\":5,\"client\":4,\"waited\":0.000}},\n\
                    {\"name\":\"cc\",\"cat\":\"tok";
        let pools = pools(text);
        assert_eq!((pools.len(), pools[0].slots, pools[0].name.as_str()), (1, 2, "/p"));
        let part = &pools[0].parts[0];
        assert_eq!((part.time, part.state, part.lane), ((2001, 3501), State::Token, 2));
    }
}
