//! The critical path: the chain of jobs that no number of slots would make shorter.
//!
//! A trace does not tell what a job needs. But a tool asks for a job when one that it needs has ended; so each job
//! follows upon the last end among the jobs of its client, or upon the beginning of the job in which its client runs.
//! Played again without the waits for slots, that tells when each job would have ended with a slot for everyone; the
//! path leads to the last one. A tool that has a limit of its own (`ninja -j8`) asks for a job when any other has ended:
//! then the path is that of this build with this limit.

use std::collections::HashMap;

use super::model::{Job, Pool};

/// See the module.
#[derive(Default)]
pub struct Path {
    /// The jobs of it, the first one first; those that only wait for others of it are left out.
    pub jobs: Vec<usize>,
    /// How long the build would have taken with a slot for each job, in ns.
    pub nanos: u64,
    /// For how long the jobs of it ran, and waited, in ns.
    pub runs: u64,
    pub waits: u64,
}

/// What a job follows upon.
#[derive(Clone, Copy)]
enum After {
    /// The beginning of the build.
    Nothing,
    /// The beginning of the job in which its client runs.
    Begin(usize),
    /// The end of another.
    End(usize),
}

/// Of a job, as it would be with a slot for everyone.
#[derive(Clone, Copy)]
struct Ideal {
    after: After,
    start: u64,
    end: u64,
    /// Of those in it that ended before it, the one that would have ended last, and the one that did.
    last: Option<usize>,
    last_real: u64,
    /// The job in which it runs, if that has begun.
    outer: Option<usize>,
    begun: bool,
}

/// The process of a client, and the job in which it runs.
type Client = (i32, Option<usize>);

struct Play<'a> {
    jobs: &'a [Job],
    begin: u64,
    ideal: Vec<Ideal>,
    /// The last end of each client's jobs.
    ended: HashMap<Client, usize>,
}

/// The path of a pool whose first event was at `begin`.
pub fn of(pool: &Pool, begin: u64) -> Path {
    let jobs = &pool.jobs;
    // Ends before beginnings, and of two ends that of the job inside first.
    let mut steps: Vec<(u64, bool, std::cmp::Reverse<u64>, usize)> = Vec::new();
    for (index, job) in jobs.iter().enumerate().filter(|(_, j)| j.ran) {
        steps.push((job.asked, true, std::cmp::Reverse(0), index));
        // One that took no time begins first all the same.
        let end = job.end.max(job.asked + 1);
        steps.push((end, false, std::cmp::Reverse(job.start), index));
    }
    steps.sort_unstable();
    let none = Ideal {
        after: After::Nothing,
        start: 0,
        end: 0,
        last: None,
        last_real: 0,
        outer: None,
        begun: false,
    };
    let ideal = vec![none; jobs.len()];
    let mut play = Play { jobs, begin, ideal, ended: HashMap::new() };
    for (_, begins, _, index) in steps {
        if begins {
            play.begins(index);
        } else {
            play.ends(index);
        }
    }
    play.path()
}

impl Play<'_> {
    fn begins(&mut self, index: usize) {
        let job = &self.jobs[index];
        let outer = job.outer.filter(|outer| self.ideal[*outer].begun);
        let (after, ideal, real) = match (self.ended.get(&(job.client, outer)), outer) {
            (Some(before), _) => {
                (After::End(*before), self.ideal[*before].end, self.jobs[*before].end)
            }
            (None, Some(outer)) => {
                (After::Begin(outer), self.ideal[outer].start, self.jobs[outer].start)
            }
            (None, None) => (After::Nothing, 0, self.begin),
        };
        let to = &mut self.ideal[index];
        (to.after, to.outer, to.begun) = (after, outer, true);
        to.start = ideal + job.asked.saturating_sub(real);
    }

    fn ends(&mut self, index: usize) {
        let (job, ideal) = (&self.jobs[index], self.ideal[index]);
        let alone = ideal.start + job.runs();
        let with_others =
            ideal.last.map(|last| self.ideal[last].end + job.end.saturating_sub(ideal.last_real));
        let end = with_others.unwrap_or(alone);
        self.ideal[index].end = end;
        if let Some(outer) = ideal.outer {
            let best = self.ideal[outer].last.map_or(0, |last| self.ideal[last].end);
            let outer = &mut self.ideal[outer];
            outer.last_real = outer.last_real.max(job.end);
            if outer.last.is_none() || end > best {
                outer.last = Some(index);
            }
        }
        self.ended.insert((job.client, ideal.outer), index);
    }

    fn path(&self) -> Path {
        let ran = (0..self.jobs.len()).filter(|index| self.jobs[*index].ran);
        let Some(last) = ran.max_by_key(|index| self.ideal[*index].end) else {
            return Path::default();
        };
        let mut path = Path { nanos: self.ideal[last].end, ..Path::default() };
        let mut at = After::End(last);
        loop {
            at = match at {
                After::Nothing => break,
                After::Begin(job) => self.ideal[job].after,
                After::End(job) => match self.ideal[job].last {
                    Some(inside) => After::End(inside),
                    None => {
                        path.jobs.push(job);
                        self.ideal[job].after
                    }
                },
            };
        }
        path.jobs.reverse();
        path.runs = path.jobs.iter().map(|job| self.jobs[*job].runs()).sum();
        path.waits = path.jobs.iter().map(|job| self.jobs[*job].waits()).sum();
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, client, the job in which that runs (from 1; 0 is none), and when it was asked for, began and ended, in ms.
    type Row = (&'static str, i32, usize, u64, u64, u64);

    fn path(rows: &[Row]) -> (Vec<&'static str>, u64, u64) {
        const MS: u64 = 1_000_000;
        let jobs = rows.iter().map(|(name, client, outer, asked, start, end)| Job {
            name: (*name).to_owned(),
            client: *client,
            outer: outer.checked_sub(1),
            asked: asked * MS,
            start: start * MS,
            end: end * MS,
            ran: true,
            ..Job::default()
        });
        let path = of(&Pool { jobs: jobs.collect(), ..Pool::default() }, 0);
        let names = path.jobs.iter().map(|job| rows[*job].0).collect();
        (names, path.nanos / MS, path.waits / MS)
    }

    #[test]
    fn jobs_that_wait_for_slots_are_no_chain() {
        // One slot, three jobs at once, and one that needs the second.
        let rows = [
            ("a", 1, 0, 0, 0, 10),
            ("b", 1, 0, 0, 10, 40),
            ("c", 1, 0, 0, 40, 45),
            ("d", 1, 0, 40, 45, 60),
        ];
        assert_eq!(path(&rows), (vec!["b", "d"], 45, 15));
    }

    #[test]
    fn a_chain_is_as_long_as_it_was() {
        let rows = [("a", 1, 0, 5, 5, 10), ("b", 1, 0, 12, 12, 40), ("c", 1, 0, 12, 12, 20)];
        assert_eq!(path(&rows), (vec!["a", "b"], 40, 0));
    }

    #[test]
    fn it_goes_through_a_job_that_has_jobs() {
        let rows = [
            ("configure", 1, 0, 0, 0, 10),
            ("ninja", 1, 0, 10, 10, 100),
            ("cc", 11, 2, 12, 12, 30),
            ("cxx", 11, 2, 12, 30, 60),
            ("ld", 11, 2, 60, 60, 98),
            ("other", 1, 0, 10, 10, 20),
        ];
        // Without the wait of cxx for 18 ms all of it is so much shorter.
        assert_eq!(path(&rows), (vec!["configure", "cxx", "ld"], 82, 18));
    }

    #[test]
    fn a_client_may_have_the_pid_of_another() {
        let rows = [
            ("sh", 1, 0, 0, 0, 10),
            ("x", 20, 1, 1, 1, 9),
            ("sh", 1, 0, 30, 30, 50),
            ("y", 20, 3, 32, 32, 50),
        ];
        assert_eq!(path(&rows), (vec!["x", "y"], 50, 0));
    }

    #[test]
    fn jobs_that_are_in_each_other_are_survived() {
        assert_eq!(path(&[("a", 1, 2, 0, 0, 5), ("b", 1, 1, 1, 1, 4)]).1, 5);
        assert_eq!(path(&[("a", 1, 1, 0, 0, 5)]).1, 5);
    }

    #[test]
    fn jobs_that_take_no_time_are_survived() {
        assert_eq!(path(&[("a", 1, 0, 0, 0, 0), ("b", 2, 1, 0, 0, 0)]).1, 0);
        assert_eq!(path(&[]), (vec![], 0, 0));
    }
}
