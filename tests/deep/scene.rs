//! A host with its ledger and a pool, for the models.

use jsshim_deep::hold;
use jsshim_deep::kernel::{self, kernel, Node};
use jsshim_deep::ledger::access::Ledger;
use jsshim_deep::ledger::handle::Handle;
use jsshim_deep::ledger::life::Founding;
use jsshim_deep::pool::tokens::{Pool, Taken};
use jsshim_deep::slots::State;
use jsshim_deep::sync::Ordering::Relaxed;
use jsshim_deep::sync::{AtomicI32, AtomicU64};
use jsshim_deep::text::Path;
use loom::thread::{self, JoinHandle};

pub const LEDGER: &core::ffi::CStr = c"/0-1.ledger";

pub fn model(preemptions: usize, f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(f);
}

/// A host with its ledger, its record and a pool.
#[derive(Clone, Copy)]
pub struct Scene {
    pub host: i32,
    pub ledger: &'static Ledger,
    pub me: Handle,
    pub tokens: &'static [u8],
}

pub fn pool() -> Pool {
    Pool::new((1, 0, 0), Path::new(b"/pool"), None)
}

impl Scene {
    pub fn new(tokens: &'static [u8], records: usize) -> Self {
        kernel::boot();
        let (host, guard) = kernel(|k| {
            k.pipes.push(tokens.iter().copied().collect());
            k.files.insert(b"/pool".to_vec(), Node::Pipe(0));
            k.files.insert(b"".to_vec(), Node::Folder([].into()));
            (k.spawn(1), k.spawn(1))
        });
        kernel::become_process(host);
        let founding = Founding {
            id: (1, 0, 0),
            path: Path::new(b"/pool"),
            space: AtomicU64::new(0),
            root: AtomicI32::new(0),
            slots: 0,
            load_milli: 0,
            stats: false,
            trace: Path::default(),
        };
        let ledger = Ledger::create(LEDGER, &founding).expect("a ledger");
        // Every record has been used, so that each of its atomics is there before the threads are.
        let used: Vec<_> =
            (0..=records).map(|_| ledger.claim(0, LEDGER).expect("a record")).collect();
        used.into_iter().for_each(|h| ledger.free(h));
        let me = ledger.enter(host, LEDGER).expect("a client");
        let header = &ledger.header;
        let words = [&header.owed, &header.lending, &header.spare, &header.outlived, &header.debt];
        words.iter().for_each(|word| word.store(0, Relaxed));
        header.passed.take_all();
        // A guard lives, or those who wait would ask again and again.
        ledger.header.guard.store(guard, Relaxed);
        Self { host, ledger, me, tokens }
    }

    /// A thread of a process.
    pub fn thread<R: 'static>(
        &self,
        pid: i32,
        f: impl FnOnce(&Self) -> R + 'static,
    ) -> JoinHandle<R> {
        let scene = *self;
        thread::spawn(move || {
            kernel::become_process(pid);
            f(&scene)
        })
    }

    /// A job as the hooks make one: it has a slot, or is held.
    pub fn job(&self, pool: &Pool) -> Handle {
        let job = self.ledger.claim(self.me.index, LEDGER).expect("a record");
        if self.ledger.take_implicit(job) {
            return job;
        }
        let record = self.ledger.get(job).expect("our own");
        if pool.take(record, job.generation) == Taken::Yes {
            self.ledger.step(job, State::Token);
        } else {
            self.ledger.step(job, State::Held);
            self.ledger.settle(self.me.index, pool);
        }
        job
    }

    pub fn state(&self, job: Handle) -> State {
        self.ledger.get(job).map_or(State::Free, |r| r.state())
    }

    /// A process for a held job, which waits for its slot.
    pub fn helper(&self, job: Handle) -> JoinHandle<State> {
        let pid = kernel(|k| k.spawn(self.host));
        self.thread(pid, move |s| hold::wait(s.ledger, job, &pool(), &[], &|| ()))
    }

    /// How many tokens are in the pool.
    pub fn level(&self) -> usize {
        kernel(|k| k.pipes[0].len())
    }

    /// No job is left, and all is as it was.
    pub fn end(&self) {
        self.end_with(self.tokens);
    }

    pub fn end_with(&self, tokens: &[u8]) {
        let left: Vec<u8> = kernel(|k| k.pipes[0].iter().copied().collect());
        assert_eq!(left, tokens, "the pool");
        let me = self.ledger.get(self.me).expect("the client");
        assert_eq!(me.implicit.load(Relaxed), 0, "the implicit slot is free");
        assert_eq!(self.ledger.jobs_of(self.me.index).count(), 0, "no job is left");
    }
}
