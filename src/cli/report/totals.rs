//! The jobs of a program, or of a client, together.

use std::collections::HashMap;

use super::model::{Job, Pool};

/// See the module.
#[derive(Default)]
pub struct Total {
    /// Of what.
    pub name: String,
    /// How many ran.
    pub jobs: usize,
    /// How long they ran and waited, in ns.
    pub runs: u64,
    pub waits: u64,
    /// How long those ran that had no jobs of their own, in ns.
    pub alone: u64,
    /// The longest of them, in ns.
    pub longest: u64,
    /// The most memory of one of them, in kB.
    pub memory: u64,
}

impl Total {
    fn add(&mut self, job: &Job, has_jobs: bool) {
        self.jobs += 1;
        self.runs += job.runs();
        self.waits += job.waits();
        self.alone += if has_jobs { 0 } else { job.runs() };
        self.longest = self.longest.max(job.runs());
        self.memory = self.memory.max(job.memory);
    }
}

/// Of each job: does it have jobs of its own?
pub fn outer(pool: &Pool) -> Vec<bool> {
    let mut outer = vec![false; pool.jobs.len()];
    pool.jobs.iter().filter_map(|job| job.outer).for_each(|job| outer[job] = true);
    outer
}

/// For each program, the one that ran longest in all first; those that only run others come last.
pub fn programs(pool: &Pool) -> Vec<Total> {
    let mut all = HashMap::<&str, Total>::new();
    for (job, has_jobs) in pool.jobs.iter().zip(outer(pool)).filter(|(job, _)| job.ran) {
        all.entry(job.program()).or_default().add(job, has_jobs);
    }
    let named = all.into_iter().map(|(name, total)| Total { name: name.to_owned(), ..total });
    let mut all: Vec<_> = named.collect();
    all.sort_by(|a, b| (b.alone, b.runs, &a.name).cmp(&(a.alone, a.runs, &b.name)));
    all
}

/// The clients: the process of each, and the job in which it runs, if it runs in one.
pub type Clients = Vec<(i32, Option<usize>)>;

/// All clients, and of each job which it is.
pub fn clients(pool: &Pool) -> (Clients, Vec<usize>) {
    let (mut clients, mut known) = (Clients::new(), HashMap::new());
    let each = pool.jobs.iter().map(|job| {
        let client = (job.client, job.outer);
        *known.entry(client).or_insert_with(|| {
            clients.push(client);
            clients.len() - 1
        })
    });
    let each = each.collect();
    (clients, each)
}
