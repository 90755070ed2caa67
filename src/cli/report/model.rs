//! What a trace tells of: pools, their jobs, and the parts of these on the lanes.

use std::collections::{BTreeMap, HashMap};

use jsshim_engine::show::lanes::Kind;

use super::read::{self, Event};

/// A pool of a trace.
#[derive(Default)]
pub struct Pool {
    /// Its path.
    pub name: String,
    /// Its slots; 0 if unknown.
    pub slots: u32,
    /// What was built, where and when.
    pub about: About,
    /// Its jobs.
    pub jobs: Vec<Job>,
    /// What ran, and what waited, by start.
    pub parts: Vec<Part>,
}

/// The first program that asked for the trace.
#[derive(Default)]
pub struct About {
    /// Its words.
    pub command: String,
    /// The name of the machine.
    pub host: String,
    /// When that was, in seconds since 1970; 0: unknown.
    pub date: u64,
}

impl Pool {
    /// By when they were asked for.
    fn sort_jobs(&mut self) {
        let mut order: Vec<usize> = (0..self.jobs.len()).collect();
        order.sort_by_key(|index| self.jobs[*index].asked);
        let mut place = vec![0; order.len()];
        order.iter().enumerate().for_each(|(to, from)| place[*from] = to);
        self.jobs = order.into_iter().map(|from| std::mem::take(&mut self.jobs[from])).collect();
        self.parts.iter_mut().for_each(|part| part.job = place[part.job]);
        let outers = self.jobs.iter_mut().filter_map(|job| job.outer.as_mut());
        outers.for_each(|outer| *outer = place[*outer]);
    }
}

/// A job.
#[derive(Default)]
pub struct Job {
    /// The program and what it makes.
    pub name: String,
    /// Its process, and that which made it.
    pub pid: i32,
    pub client: i32,
    /// The job in which that runs: an index.
    pub outer: Option<usize>,
    /// Of an overdraft: why.
    pub why: String,
    /// The most memory of one of its processes, in kB; 0: unknown.
    pub memory: u64,
    /// When it was asked for, began and ended, in ns.
    pub asked: u64,
    pub start: u64,
    pub end: u64,
    /// For how long it slept, and its slot was lent, in ns.
    pub lent: u64,
    /// It has begun, and did not end while it waited.
    pub ran: bool,
}

impl Job {
    /// From its beginning to its end, in ns.
    pub fn runs(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// For how long it waited, in ns.
    pub fn waits(&self) -> u64 {
        self.start.saturating_sub(self.asked)
    }

    /// The name of its program.
    pub fn program(&self) -> &str {
        let word = self.name.split(' ').next().unwrap_or_default();
        word.rsplit('/').next().unwrap_or(word)
    }
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
    /// Which job: an index.
    pub job: usize,
}

impl Part {
    /// How long it took, in ns.
    pub fn nanos(&self) -> u64 {
        self.time.1 - self.time.0
    }
}

/// On what a job runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
    /// It sleeps, and its slot is lent: over another part of it.
    Lent,
}

impl State {
    /// All, as the page has them.
    pub const ALL: [Self; 6] =
        [Self::Implicit, Self::Token, Self::Borrowed, Self::Overdraft, Self::Wait, Self::Lent];

    /// As the trace and the style sheets call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Implicit => "implicit",
            Self::Token => "token",
            Self::Borrowed => "borrowed",
            Self::Overdraft => "overdraft",
            Self::Wait => "wait",
            Self::Lent => "lent",
        }
    }

    /// For a reader.
    pub fn text(self) -> &'static str {
        match self {
            Self::Implicit => "on its client's own slot",
            Self::Token => "on a token",
            Self::Borrowed => "on a slot whose job sleeps",
            Self::Overdraft => "without a slot",
            Self::Wait => "waits for a slot",
            Self::Lent => "sleeps, its slot is lent",
        }
    }
}

/// A pool, while its events are read.
#[derive(Default)]
struct Reading {
    pool: Pool,
    /// The ledgers of it so far: each numbers its jobs anew.
    ledgers: usize,
    known: HashMap<(usize, String), usize>,
    /// Which process was collected when, and how much memory it had used.
    memory: Vec<(i32, u64, u64)>,
    /// When which job slept.
    lent: Vec<(usize, (u64, u64))>,
}

/// Reads a trace.
pub fn pools(text: &[u8]) -> Vec<Pool> {
    // The groups of lanes of a pool are four numbers apart from those of the next one.
    let mut pools = BTreeMap::<u64, Reading>::new();
    read::events(text, |e| {
        let reading = pools.entry(e.pid / 4).or_default();
        match e.ph.as_ref() {
            "M" => reading.describe(&e),
            "X" | "b" => reading.happens(&e),
            _ => {}
        }
    });
    let pools = pools.into_values().map(Reading::finish);
    pools.filter(|p| !p.parts.is_empty()).collect()
}

fn nanos(micros: f64) -> u64 {
    (micros * 1000.0).round().max(0.0) as u64
}

impl Reading {
    fn describe(&mut self, e: &Event<'_>) {
        let (args, pool) = (&e.args, &mut self.pool);
        match e.name.as_ref() {
            "process_name" if args.kind == Some(Kind::Slot as u16) => {
                self.ledgers += 1;
                pool.name = args.name.trim_start_matches("slots of ").to_owned();
                pool.slots = pool.slots.max(args.slots);
            }
            "process_labels" if pool.about.date == 0 => {
                pool.about = About {
                    command: args.command.clone().into_owned(),
                    host: args.host.clone().into_owned(),
                    date: args.date,
                };
            }
            "memory" => self.memory.push((args.pid, nanos(args.at), args.memory)),
            _ => {}
        }
    }

    fn happens(&mut self, e: &Event<'_>) {
        let Some(state) = State::ALL.into_iter().find(|s| s.name() == e.cat) else { return };
        let (start, kinds) = (nanos(e.ts), [Kind::Slot, Kind::Overdraft, Kind::Wait]);
        let time = (start, start + nanos(e.dur));
        let job = self.job(&e.args.job);
        if state == State::Lent {
            self.lent.push((job, time));
            return;
        }
        if !e.args.outer.is_empty() {
            self.pool.jobs[job].outer = Some(self.job(&e.args.outer)).filter(|outer| *outer != job);
        }
        self.pool.jobs[job].add(e, state, time);
        self.pool.parts.push(Part {
            kind: kinds[usize::try_from(e.pid % 4).unwrap_or(0).min(2)],
            lane: e.tid,
            time,
            state,
            job,
        });
    }

    fn job(&mut self, id: &str) -> usize {
        let next = self.pool.jobs.len();
        let job = *self.known.entry((self.ledgers, id.to_owned())).or_insert(next);
        if job == next {
            self.pool.jobs.push(Job { asked: u64::MAX, start: u64::MAX, ..Job::default() });
        }
        job
    }

    fn finish(mut self) -> Pool {
        self.lay_lent();
        self.give_memory();
        let mut pool = self.pool;
        let begin = pool.parts.iter().map(|part| part.time.0).min().unwrap_or(0);
        for job in &mut pool.jobs {
            // Only what is in it has told of it so far.
            if job.end == 0 {
                (job.end, job.name) = (begin, "(has not ended)".to_owned());
            }
            job.start = job.start.min(job.end);
            job.asked = job.asked.min(job.start);
        }
        // What contains another comes before it.
        pool.parts.sort_by_key(|p| (p.time.0, std::cmp::Reverse(p.time.1), p.state == State::Lent));
        pool.sort_jobs();
        pool
    }

    /// Who is collected has been a job, if it has: the last one of its number that had begun.
    fn give_memory(&mut self) {
        let mut by_pid = HashMap::<i32, Vec<usize>>::new();
        for (index, job) in self.pool.jobs.iter().enumerate().filter(|(_, job)| job.ran) {
            by_pid.entry(job.pid).or_default().push(index);
        }
        for (pid, at, kb) in self.memory.drain(..) {
            let jobs = by_pid.get(&pid).into_iter().flatten();
            let begun = jobs.filter(|job| self.pool.jobs[**job].start <= at);
            if let Some(job) = begun.max_by_key(|job| self.pool.jobs[**job].start) {
                let job = &mut self.pool.jobs[*job];
                job.memory = job.memory.max(kb);
            }
        }
    }

    /// Where a job lent its slot, on each lane on which it was.
    fn lay_lent(&mut self) {
        let mut of = HashMap::<usize, Vec<(u64, u64)>>::new();
        for (job, time) in self.lent.drain(..) {
            of.entry(job).or_default().push(time);
        }
        let mut laid = Vec::new();
        let mut lanes = HashMap::<u32, Vec<&Part>>::new();
        for part in self.pool.parts.iter().filter(|p| p.kind == Kind::Slot) {
            lanes.entry(part.lane).or_default().push(part);
        }
        for (part, others) in lanes.values().flat_map(|of| of.iter().map(move |part| (part, of))) {
            for time in of.get(&part.job).into_iter().flatten() {
                let time = (time.0.max(part.time.0), time.1.min(part.time.1));
                let inside = others.iter().filter(|p| p.time.0 >= part.time.0 && p.job != part.job);
                for time in without(time, inside.map(|p| p.time)) {
                    laid.push(Part { time, state: State::Lent, ..**part });
                }
            }
        }
        for part in &laid {
            self.pool.jobs[part.job].lent += part.nanos();
        }
        self.pool.parts.append(&mut laid);
    }
}

/// What of a time is left beside others. While a job runs in another, on its slot, that is not lent.
fn without(time: (u64, u64), others: impl Iterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
    let mut others: Vec<_> = others.filter(|t| t.0 < time.1 && t.1 > time.0).collect();
    others.sort_unstable();
    let (mut left, mut at) = (Vec::new(), time.0);
    for (start, end) in others.into_iter().chain([(time.1, time.1)]) {
        if at < start {
            left.push((at, start));
        }
        at = at.max(end);
    }
    left
}

impl Job {
    fn add(&mut self, e: &Event<'_>, state: State, time: (u64, u64)) {
        if e.args.pid > 0 {
            self.pid = e.args.pid;
        }
        if e.args.client > 0 {
            self.client = e.args.client;
        }
        if !e.args.why.is_empty() {
            self.why = e.args.why.clone().into_owned();
        }
        // What waits before its fork has the name of its parent at most.
        if state != State::Wait || self.name.is_empty() {
            self.name = e.name.clone().into_owned();
        }
        match state {
            State::Wait => self.asked = self.asked.min(time.0),
            _ => {
                self.ran = true;
                self.start = self.start.min(time.0);
                self.asked = self.asked.min(time.0.saturating_sub(nanos(e.args.waited)));
            }
        }
        self.end = self.end.max(time.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(slots: u32) -> String {
        format!(
            "{{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":8,\"tid\":0,\"args\":{{\"name\":\"slots of /p\",\
             \"kind\":0,\"slots\":{slots}}}}},\n{{\"name\":\"process_labels\",\"ph\":\"M\",\"pid\":8,\"tid\":0,\
             \"args\":{{\"labels\":\"h\",\"host\":\"h\",\"command\":\"ninja\",\"date\":7,\"at\":1.0}}}},\n"
        )
    }

    fn event(cat: &str, job: &str, (ts, dur): (f64, f64), lane: u32) -> String {
        format!(
            "{{\"name\":\"cc {job}\",\"cat\":\"{cat}\",\"ph\":\"X\",\"ts\":{ts},\"dur\":{dur},\"pid\":8,\
             \"tid\":{lane},\"args\":{{\"job\":\"{job}\",\"pid\":5,\"client\":4,\"waited\":1.000}}}},\n"
        )
    }

    #[test]
    fn a_cut_trace_is_read() {
        let line = event("token", "1.0", (2.001, 1.5), 2);
        let text = format!("[\n{}{line}{}", head(2), &line[..30]);
        let pools = pools(text.as_bytes());
        assert_eq!((pools.len(), pools[0].slots, pools[0].name.as_str()), (1, 2, "/p"));
        assert_eq!((pools[0].about.command.as_str(), pools[0].about.date), ("ninja", 7));
        let part = &pools[0].parts[0];
        assert_eq!((part.time, part.state, part.lane), ((2001, 3501), State::Token, 2));
        let job = &pools[0].jobs[0];
        assert_eq!((job.asked, job.start, job.end, job.ran), (1001, 2001, 3501, true));
        assert_eq!((job.name.as_str(), job.program()), ("cc 1.0", "cc"));
    }

    #[test]
    fn jobs_of_two_ledgers_are_not_taken_for_each_other() {
        let line = event("token", "1.0", (2.0, 1.0), 2);
        let later = event("token", "1.0", (9.0, 1.0), 2);
        let text = format!("[\n{}{line}{}{later}", head(2), head(4));
        let pool = &pools(text.as_bytes())[0];
        assert_eq!((pool.jobs.len(), pool.slots), (2, 4));
    }

    #[test]
    fn what_was_lent_lies_over_its_job() {
        let lent = event("lent", "1.0", (4.0, 4.0), 0).replace("\"X\"", "\"b\"");
        let [first, second] = [((2.0, 4.0), 2), ((6.0, 4.0), 1)];
        let text = format!(
            "[\n{}{lent}{}{}",
            head(2),
            event("token", "1.0", first.0, first.1),
            event("implicit", "1.0", second.0, second.1),
        );
        let pool = &pools(text.as_bytes())[0];
        let lent = pool.parts.iter().filter(|p| p.state == State::Lent);
        let lent: Vec<_> = lent.map(|p| (p.time, p.lane)).collect();
        assert_eq!(lent, [((4000, 6000), 2), ((6000, 8000), 1)]);
        assert_eq!((pool.jobs.len(), pool.jobs[0].lent, pool.jobs[0].end), (1, 4000, 10_000));
    }

    #[test]
    fn a_slot_on_which_a_job_inside_runs_is_not_lent() {
        let time = (10, 50);
        let left = |others: &[(u64, u64)]| without(time, others.iter().copied());
        assert_eq!(left(&[]), [time]);
        assert_eq!(left(&[(0, 12), (20, 30), (25, 28), (45, 60)]), [(12, 20), (30, 45)]);
        assert_eq!(left(&[(0, 60)]), []);
        let [outer, lent, inner] = [("1.0", (2.0, 8.0)), ("1.0", (4.0, 4.0)), ("2.0", (5.0, 2.0))]
            .map(|(job, time)| (job, time));
        let inside = event("implicit", inner.0, inner.1, 2)
            .replace("\"client\"", "\"in\":\"1.0\",\"client\"");
        let sleeps = event("lent", lent.0, lent.1, 0).replace("\"X\"", "\"b\"");
        let text = format!("[\n{}{inside}{sleeps}{}", head(2), event("token", outer.0, outer.1, 2));
        let pool = &pools(text.as_bytes())[0];
        let lent = pool.parts.iter().filter(|p| p.state == State::Lent);
        assert_eq!(lent.map(|p| p.time).collect::<Vec<_>>(), [(4000, 5000), (7000, 8000)]);
        assert_eq!((pool.jobs[1].outer, pool.jobs[0].outer), (Some(0), None));
    }

    #[test]
    fn memory_is_that_of_the_job_whose_process_it_was() {
        let [first, later] = [("1.0", (2.0, 1.0)), ("2.0", (9.0, 1.0))];
        let memory = |at: f64, kb: u64| {
            format!("{{\"name\":\"memory\",\"ph\":\"M\",\"pid\":8,\"args\":{{\"pid\":5,\"memory\":{kb},\"at\":{at}}}}},\n")
        };
        let jobs = [first, later].map(|(job, time)| event("token", job, time, 1)).concat();
        let text = format!(
            "[\n{}{}{jobs}{}",
            head(2),
            memory(1.5, 77),
            memory(3.5, 11) + &memory(10.5, 22)
        );
        let pool = &pools(text.as_bytes())[0];
        assert_eq!(pool.jobs.iter().map(|job| job.memory).collect::<Vec<_>>(), [11, 22]);
    }
}
