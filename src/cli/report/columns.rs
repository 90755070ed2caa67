//! What the page's script reads: a column for each property of the jobs and their parts, packed.
//!
//! Times are in µs. Those that grow from row to row are differences to the row before.

use std::io::Write;

use base64::prelude::{Engine, BASE64_STANDARD};
use flate2::write::ZlibEncoder;
use flate2::Compression;
use serde::Serialize;

use super::model::{Pool, State};
use super::path::Path;
use super::sums::Sums;
use super::totals;

/// A pool.
#[derive(Serialize)]
pub struct Columns<'a> {
    name: &'a str,
    slots: u32,
    wall: u64,
    programs: Vec<String>,
    /// The process of each, and the job in which it runs, or -1.
    clients: Vec<(i32, i64)>,
    reasons: Vec<&'a str>,
    jobs: Jobs<'a>,
    parts: Parts,
    path: &'a [usize],
}

#[derive(Serialize, Default)]
struct Jobs<'a> {
    name: Vec<&'a str>,
    program: Vec<usize>,
    client: Vec<usize>,
    pid: Vec<i32>,
    /// By this they are in order.
    asked: Vec<u64>,
    waits: Vec<u64>,
    runs: Vec<u64>,
    lent: Vec<u64>,
    memory: Vec<u64>,
    reason: Vec<usize>,
    ran: Vec<u8>,
}

#[derive(Serialize, Default)]
struct Parts {
    job: Vec<usize>,
    /// 0 a slot, 1 without one, 2 a wait.
    kind: Vec<u8>,
    lane: Vec<u32>,
    /// As in [`State::ALL`].
    state: Vec<usize>,
    /// By this they are in order.
    start: Vec<u64>,
    runs: Vec<u64>,
}

/// The columns of a pool.
pub fn of<'a>(pool: &'a Pool, sums: &Sums, path: &'a Path) -> Columns<'a> {
    let programs: Vec<_> = totals::programs(pool).into_iter().map(|total| total.name).collect();
    let (clients, client_of) = totals::clients(pool);
    let mut reasons = vec![""];
    let begin = sums.time.0;
    let micros = |at: u64| (at - begin + 500) / 1000;
    let (mut jobs, mut before) = (Jobs::default(), 0);
    let known: std::collections::HashMap<_, _> =
        programs.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
    for (job, client) in pool.jobs.iter().zip(client_of) {
        let (asked, start, end) = (micros(job.asked), micros(job.start), micros(job.end));
        let reason = reasons.iter().position(|r| *r == job.why).unwrap_or(reasons.len());
        if reason == reasons.len() {
            reasons.push(&job.why);
        }
        jobs.name.push(&job.name);
        jobs.program.push(known.get(job.program()).copied().unwrap_or(0));
        jobs.client.push(client);
        jobs.pid.push(job.pid);
        jobs.asked.push(asked - before);
        jobs.waits.push(start - asked);
        jobs.runs.push(end - start);
        jobs.lent.push(job.lent / 1000);
        jobs.memory.push(job.memory);
        jobs.reason.push(reason);
        jobs.ran.push(job.ran.into());
        before = asked;
    }
    Columns {
        name: &pool.name,
        slots: pool.slots,
        wall: micros(sums.time.1),
        jobs,
        parts: parts(pool, micros),
        path: &path.jobs,
        programs,
        clients: clients
            .into_iter()
            .map(|(pid, job)| (pid, job.map_or(-1, |j| j as i64)))
            .collect(),
        reasons,
    }
}

fn parts(pool: &Pool, micros: impl Fn(u64) -> u64) -> Parts {
    let (mut parts, mut before) = (Parts::default(), 0);
    for part in &pool.parts {
        let (start, end) = (micros(part.time.0), micros(part.time.1));
        parts.job.push(part.job);
        parts.kind.push(part.kind as u8);
        parts.lane.push(part.lane);
        parts.state.push(State::ALL.into_iter().position(|s| s == part.state).unwrap_or(0));
        parts.start.push(start - before);
        parts.runs.push(end - start);
        before = start;
    }
    parts
}

/// All of them as JSON, compressed (zlib), in base64.
pub fn pack(pools: &[Columns<'_>]) -> std::io::Result<String> {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::new(8));
    serde_json::to_writer(&mut packed, pools)?;
    packed.flush()?;
    Ok(BASE64_STANDARD.encode(packed.finish()?))
}
