//! What `--watch` shows of the pools: in which order, which of the jobs, and what was a moment ago.

use std::collections::{HashMap, VecDeque};
use std::time::Instant;

use ratatui::symbols::bar;

use super::model::{Job, Pool, Status};
use super::table::{self, Line, Tone};

/// Moments of the history that are kept: as many as a wide terminal shows.
const MOMENTS: usize = 300;
/// Seconds over which the rate is taken.
const RATE_SECONDS: f64 = 10.0;

/// By what the jobs are ordered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Those that run first, and the longest at the top.
    State,
    /// By how long they have run or waited.
    Time,
    /// By what they make.
    Name,
    /// By who started them.
    Client,
}

impl Order {
    /// The next one, round and round.
    pub fn next(self) -> Self {
        match self {
            Self::State => Self::Time,
            Self::Time => Self::Name,
            Self::Name => Self::Client,
            Self::Client => Self::State,
        }
    }

    /// What it is called.
    pub fn word(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Time => "time",
            Self::Name => "name",
            Self::Client => "client",
        }
    }

    fn sort(self, jobs: &mut [Job]) {
        match self {
            // So they come.
            Self::State => {}
            Self::Time => jobs.sort_by(|a, b| b.time().total_cmp(&a.time())),
            Self::Name => jobs.sort_by(|a, b| a.name.cmp(&b.name)),
            Self::Client => jobs.sort_by(|a, b| {
                (&a.client.program, a.client.pid).cmp(&(&b.client.program, b.client.pid))
            }),
        }
    }
}

/// What is asked for, and what was seen before.
pub struct View {
    /// By what the jobs are ordered.
    pub order: Order,
    /// The other way round.
    pub reversed: bool,
    /// Only jobs in which this word occurs.
    pub filter: String,
    seen: HashMap<String, VecDeque<Moment>>,
}

/// A pool at one time.
struct Moment {
    at: Instant,
    in_use: u32,
    done: u32,
}

impl Default for View {
    fn default() -> Self {
        let (filter, seen) = (String::new(), HashMap::new());
        Self { order: Order::State, reversed: false, filter, seen }
    }
}

impl View {
    /// Keeps what is seen now, and forgets pools that have gone.
    pub fn note(&mut self, status: &Status, at: Instant) {
        self.seen.retain(|ledger, _| status.pools.iter().any(|pool| pool.ledger == *ledger));
        for pool in &status.pools {
            let moments = self.seen.entry(pool.ledger.clone()).or_default();
            moments.push_back(Moment { at, in_use: pool.in_use, done: pool.done });
            if moments.len() > MOMENTS {
                moments.pop_front();
            }
        }
    }

    /// All pools as lines of at most `width` characters.
    pub fn lines(&self, status: &Status, width: usize) -> Vec<Line> {
        status.pools.iter().flat_map(|pool| self.pool(pool, width)).collect()
    }

    fn pool(&self, pool: &Pool, width: usize) -> Vec<Line> {
        let mut jobs: Vec<_> =
            pool.jobs.iter().filter(|job| self.is_wanted(job)).cloned().collect();
        self.order.sort(&mut jobs);
        if self.reversed {
            jobs.reverse();
        }
        let shown = Pool { jobs, ..pool.clone() };
        let mut lines = table::lines(&shown, self.per_second(pool), Some(width));
        // Below the pool's name.
        let history = Line { text: self.history(pool, width), tone: Tone::Plain };
        lines.insert(1, history);
        lines
    }

    fn is_wanted(&self, job: &Job) -> bool {
        let word = self.filter.to_lowercase();
        let texts = [&job.name, &job.program, &job.client.program];
        let has = |text: &str| text.to_lowercase().contains(&word);
        texts.into_iter().any(|text| has(text))
            || has(job.state.word())
            || has(&job.pid.to_string())
    }

    /// How many jobs end in a second now.
    fn per_second(&self, pool: &Pool) -> f64 {
        let moments = self.seen.get(&pool.ledger);
        let recent = moments.and_then(|moments| {
            let last = moments.back()?;
            let past = |m: &&Moment| last.at.duration_since(m.at).as_secs_f64();
            let first = moments.iter().find(|m| past(m) <= RATE_SECONDS)?;
            let (time, done) = (past(&first), last.done.checked_sub(first.done)?);
            (time > 0.5).then(|| f64::from(done) / time)
        });
        recent.unwrap_or(f64::from(pool.done) / pool.seconds.max(0.1))
    }

    /// How many slots were in use, from left to right, a second each.
    fn history(&self, pool: &Pool, width: usize) -> String {
        let moments = self.seen.get(&pool.ledger);
        let used: Vec<u32> = moments.into_iter().flatten().map(|m| m.in_use).collect();
        let most = pool.slots.unwrap_or(0).max(used.iter().copied().max().unwrap_or(0)).max(1);
        let levels = [
            " ",
            bar::ONE_EIGHTH,
            bar::ONE_QUARTER,
            bar::THREE_EIGHTHS,
            bar::HALF,
            bar::FIVE_EIGHTHS,
            bar::THREE_QUARTERS,
            bar::SEVEN_EIGHTHS,
            bar::FULL,
        ];
        let level = |n: &u32| levels[(u64::from(*n) * 8).div_ceil(u64::from(most)).min(8) as usize];
        let head = "  busy: ";
        let room = width.saturating_sub(head.len());
        let last = used.iter().skip(used.len().saturating_sub(room)).map(level);
        head.to_owned() + &last.collect::<String>()
    }
}
