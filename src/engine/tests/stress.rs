//! Threads as clients of one pool, through the real ledger and a real pipe: what the proptests of
//! [`crate::slots`] show step by step must hold when the steps race.

use std::sync::atomic::Ordering::{Relaxed, Release};
use std::thread;

use crate::hold::park;
use crate::ledger::access::Ledger;
use crate::ledger::debts::SOON;
use crate::ledger::life::Founding;
use crate::show::lanes::Kind;

use crate::ledger::handle::Handle;
use crate::pool::tokens::Pool;
use crate::slots::State;
use crate::sys;
use crate::text::Path;

const TOKENS: &[u8] = &[0, b'+', 0x9d, 0xff];
const CLIENTS: usize = 4;
const ROUNDS: usize = 3000;

pub(super) struct Scene {
    pub(super) ledger: &'static Ledger,
    pub(super) path: Path,
    ends: [i32; 2],
}

impl Scene {
    pub(super) fn new(name: &str) -> Self {
        let ends = sys::pipe2(libc::O_CLOEXEC | libc::O_NONBLOCK).unwrap();
        assert_eq!(sys::write(ends[1], TOKENS), Ok(TOKENS.len()));
        let path = std::env::temp_dir().join(format!("jsshim-{name}-{}", std::process::id()));
        let path = Path::new(path.as_os_str().as_encoded_bytes());
        let founding = Founding {
            id: pool(ends).id,
            path: Path::default(),
            space: 0.into(),
            root: 0.into(),
            slots: 0,
            load_milli: 0,
            stats: true,
            trace: Path::default(),
        };
        let ledger = Ledger::create(path.c(), &founding).unwrap();
        ledger.ask(&founding);
        Self { ledger, path, ends }
    }

    pub(super) fn pool(&self) -> Pool {
        pool(self.ends)
    }

    pub(super) fn end(self) {
        let mut left = [0; 16];
        let n = sys::read(self.ends[0], &mut left).unwrap();
        left[..n].sort_unstable();
        assert_eq!(&left[..n], TOKENS, "every token is back, with its value");
        assert!(self.ledger.close_if_idle(self.path.c()), "every record is free");
        // For a moment one more for each thread: for a client that another takes one for, too, or for a job
        // that another ends or moves just then.
        let (lanes, most) = (&self.ledger.header.lanes, TOKENS.len() + CLIENTS + CLIENTS + 1);
        let peak = lanes.peak(Kind::Slot) as usize;
        assert!(peak <= most, "{peak} lanes for no more than {most} slots");
        assert_eq!(lanes.in_use(), 0, "every lane is given up");
        self.ends.into_iter().for_each(sys::close);
    }
}

fn pool(ends: [i32; 2]) -> Pool {
    let st = sys::fstat(ends[0]).unwrap();
    let path = crate::pool::pipe::fd_path(sys::getpid(), ends[0]);
    Pool::new((st.st_dev, st.st_ino, 0), path, Some((ends[0], ends[1])))
}

/// One client: starts jobs on what is free, ends them, now and then the oldest last.
fn client(scene: &Scene, seed: usize) {
    let pool = scene.pool();
    let ledger = scene.ledger;
    let me = ledger.enter(sys::getpid(), scene.path.c()).unwrap();
    let mut jobs: Vec<Handle> = vec![];
    let mut dice = seed as u64 * 2 + 1;
    for _ in 0..ROUNDS {
        dice = dice.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let roll = (dice >> 33) as usize;
        if roll % 3 < 2 && jobs.len() < 6 {
            jobs.push(start(scene, &pool, me.index));
        } else if !jobs.is_empty() {
            let job = jobs.remove(roll / 3 % jobs.len());
            assert!(ledger.end(job, &pool), "only its client ends it here");
        }
    }
    jobs.into_iter().for_each(|job| assert!(ledger.end(job, &pool)));
    pool.close();
    ledger.free(me);
}

/// As a hook does it: a slot, or held and then granted when one falls free.
fn start(scene: &Scene, pool: &Pool, client: u32) -> Handle {
    let ledger = scene.ledger;
    let job = ledger.claim(client, scene.path.c()).unwrap();
    if ledger.take_implicit(job) {
        return job;
    }
    let record = ledger.get(job).unwrap();
    if pool.take(record, job.generation) == crate::pool::tokens::Taken::Yes
        && !ledger.pass_on(job, pool)
    {
        ledger.step(job, State::Token);
        return job;
    }
    ledger.step(job, State::Held);
    ledger.settle(client, pool);
    job
}

#[test]
fn racing_clients_lose_and_make_no_token() {
    let scene = Scene::new("stress");
    thread::scope(|s| {
        for seed in 0..CLIENTS {
            let scene = &scene;
            s.spawn(move || client(scene, seed));
        }
        // A guard that does again whatever it finds half done.
        s.spawn(|| {
            let pool = scene.pool();
            for _ in 0..ROUNDS {
                for (index, record) in scene.ledger.records() {
                    let (state, generation) = record.now();
                    let job = Handle { index, generation };
                    match state {
                        State::Ending => scene.ledger.finish(job, &pool),
                        // Every other one starts on the slot of a job that is said to sleep.
                        State::Held if generation % 2 == 0 => drop(scene.ledger.borrow(job)),
                        State::Held => drop(scene.ledger.accept_gift(job)),
                        State::Borrowed if generation % 4 == 0 => {
                            record.set_sleeps(generation, !record.sleeps(generation));
                        }
                        State::Borrowed => drop(scene.ledger.accept_gift(job)),
                        State::Implicit => {
                            scene.ledger.release_lane(job, record);
                            pool.give(record, generation);
                        }
                        State::Client => scene.ledger.settle(index, &pool),
                        _ => {}
                    }
                }
            }
            pool.close();
        });
    });
    scene.end();
}

#[test]
fn a_closed_ledger_takes_no_client() {
    let scene = Scene::new("closed");
    let me = scene.ledger.enter(sys::getpid(), scene.path.c()).unwrap();
    assert!(!scene.ledger.close_if_idle(scene.path.c()));
    scene.ledger.free(me);
    assert!(scene.ledger.close_if_idle(scene.path.c()));
    assert!(scene.ledger.enter(sys::getpid(), scene.path.c()).is_none());
    assert!(Ledger::open(scene.path.c()).is_err());
    scene.ends.into_iter().for_each(sys::close);
}

#[test]
fn a_full_ledger_says_so() {
    let scene = Scene::new("full");
    let me = scene.ledger.enter(sys::getpid(), scene.path.c()).unwrap();
    let jobs: Vec<_> =
        std::iter::from_fn(|| scene.ledger.claim(me.index, scene.path.c())).collect();
    assert_eq!(jobs.len(), crate::ledger::handle::RECORDS - 2 - 64);
    let other = scene.ledger.enter(sys::getpid(), scene.path.c());
    scene.ledger.free(other.expect("the last records are for clients"));
    jobs.into_iter().for_each(|job| scene.ledger.free(job));
    assert!(scene.ledger.claim(me.index, scene.path.c()).is_some_and(|job| job.generation == 1));
    let _ = sys::unlink(scene.path.c());
    scene.ends.into_iter().for_each(sys::close);
}

#[test]
fn a_byte_goes_to_the_sibling_that_is_due() {
    let scene = Scene::new("gift");
    let (ledger, pool) = (scene.ledger, scene.pool());
    let me = ledger.enter(sys::getpid(), scene.path.c()).unwrap();
    let [older, younger] = [(); 2].map(|()| {
        let job = ledger.claim(me.index, scene.path.c()).unwrap();
        ledger.step(job, State::Held);
        job
    });
    let record = ledger.get(younger).unwrap();
    assert!(pool.take(record, younger.generation) == crate::pool::tokens::Taken::Yes);
    assert!(ledger.pass_on(younger, &pool));
    assert_eq!(ledger.get(older).unwrap().state(), State::Token);
    assert!(!record.has_token(younger.generation));
    assert!(pool.take(record, younger.generation) == crate::pool::tokens::Taken::Yes);
    assert!(!ledger.pass_on(younger, &pool), "nobody older is held");
    // An ended job takes no gift.
    assert!(ledger.end(older, &pool) && ledger.end(younger, &pool));
    ledger.free(me);
    pool.close();
    scene.end();
}

#[test]
fn a_byte_is_due_first_to_who_has_borrowed_and_computes() {
    let scene = Scene::new("debt");
    let (ledger, pool) = (scene.ledger, scene.pool());
    let me = ledger.enter(sys::getpid(), scene.path.c()).unwrap();
    let [lender, other, asleep, awake, held] = [(); 5].map(|()| {
        let job = ledger.claim(me.index, scene.path.c()).unwrap();
        ledger.step(job, State::Held);
        job
    });
    let state = |job| ledger.get(job).unwrap().state();
    for job in [lender, other] {
        assert!(
            pool.take(ledger.get(job).unwrap(), job.generation) == crate::pool::tokens::Taken::Yes
        );
        ledger.step(job, State::Token);
    }
    assert!(ledger.borrow(asleep) && ledger.borrow(awake) && !ledger.borrow(lender));
    ledger.get(asleep).unwrap().set_sleeps(asleep.generation, true);
    assert_eq!(ledger.creditor(), Some(awake));
    // Its byte goes on, and not by the pool.
    let before = sys::level(scene.ends[0]);
    assert!(ledger.end(lender, &pool));
    assert_eq!(
        (state(awake), state(asleep), state(held)),
        (State::Token, State::Borrowed, State::Held)
    );
    assert_eq!(sys::level(scene.ends[0]), before);
    // Who sleeps is owed nothing; once it wakes up it is.
    assert_eq!(ledger.creditor(), None);
    ledger.get(asleep).unwrap().set_sleeps(asleep.generation, false);
    let record = ledger.get(held).unwrap();
    assert!(pool.take(record, held.generation) == crate::pool::tokens::Taken::Yes);
    assert!(ledger.pass_on(held, &pool), "the debt first");
    assert_eq!((state(asleep), state(held)), (State::Token, State::Held));
    for job in [other, asleep, awake, held] {
        assert!(ledger.end(job, &pool));
    }
    ledger.free(me);
    pool.close();
    scene.end();
}

/// A job that has borrowed, and is said to sleep while others wait.
fn lent(scene: &Scene) -> Handle {
    let me = scene.ledger.enter(sys::getpid(), scene.path.c()).unwrap();
    let job = scene.ledger.claim(me.index, scene.path.c()).unwrap();
    scene.ledger.step(job, State::Held);
    assert!(scene.ledger.borrow(job));
    scene.ledger.get(job).unwrap().set_sleeps(job.generation, true);
    scene.ledger.header.lending.store(SOON, Release);
    // This process, which takes no notice of being called.
    scene.ledger.header.guard.store(sys::getpid(), Release);
    job
}

fn leave(scene: Scene, job: Handle) {
    let pool = scene.pool();
    let client = scene.ledger.get(job).unwrap().client.load(Relaxed);
    assert!(scene.ledger.end(job, &pool));
    let generation = scene.ledger.record(client).unwrap().now().1;
    scene.ledger.free(Handle { index: client, generation });
    pool.close();
    scene.end();
}

#[test]
fn who_wakes_up_while_its_slot_is_lent_waits_until_it_is_let() {
    let scene = Scene::new("park");
    let job = lent(&scene);
    let record = scene.ledger.get(job).unwrap();
    thread::scope(|s| {
        // Two threads of it, and a third that comes when they have gone on.
        let two = [(); 2].map(|()| s.spawn(|| park::wait(scene.ledger, job, false)));
        while !record.is_parked(job.generation) {
            thread::yield_now();
        }
        assert!(record.sleeps(job.generation), "whoever waits does not compute");
        assert_eq!(scene.ledger.creditor(), Some(job));
        thread::sleep(std::time::Duration::from_millis(300));
        assert!(two.iter().all(|t| !t.is_finished()), "there is a guard, and it has not let them");
        record.unpark(job.generation);
        two.into_iter().for_each(|t| assert_eq!(t.join().unwrap(), park::On::Slot));
        assert!(!record.sleeps(job.generation));
        park::wait(scene.ledger, job, false);
    });
    leave(scene, job);
}

#[test]
fn who_wakes_up_does_not_wait_without_need() {
    let scene = Scene::new("unpark");
    let job = lent(&scene);
    let header = &scene.ledger.header;
    let record = scene.ledger.get(job).unwrap();
    let goes_on = || {
        park::wait(scene.ledger, job, false);
        assert!(!record.sleeps(job.generation));
        record.set_sleeps(job.generation, true);
    };
    // A slot is spare; it is no more afterwards.
    header.passed.leave(1);
    goes_on();
    assert!(!header.passed.take());
    // Nobody else waits.
    header.lending.store(0, Relaxed);
    goes_on();
    // The guard has been killed.
    header.lending.store(SOON, Relaxed);
    header.guard.store(0, Relaxed);
    goes_on();
    // The guard has been stopped: nobody looks any more.
    header.guard.store(sys::getpid(), Relaxed);
    goes_on();
    // It never computes for long: one at a time goes on, while there is no debt.
    record.set_sleeps(job.generation, false);
    record.set_sleeps_lightly(job.generation);
    for _ in 0..3 {
        assert_eq!(park::wait(scene.ledger, job, false), park::On::Grace);
        assert!(record.is_light(job.generation) && header.grace.load(Relaxed) == job.pack());
        // Another thread of it goes on, too, and leaves the grace alone.
        assert_eq!(park::wait(scene.ledger, job, false), park::On::Slot);
        assert!(record.is_light(job.generation));
        park::give_back(scene.ledger, job);
        assert_eq!(header.grace.load(Relaxed), 0);
    }
    // Another job has it by now.
    header.grace.store(job.pack() + 1, Relaxed);
    park::give_back(scene.ledger, job);
    assert_eq!(header.grace.load(Relaxed), job.pack() + 1);
    leave(scene, job);
}

/// Who reads the pool, or may, ends its record itself: a byte that comes meanwhile has a place.
#[test]
fn a_reader_is_left_alone() {
    let scene = Scene::new("reader");
    let (ledger, pool) = (scene.ledger, scene.pool());
    let me = ledger.enter(sys::getpid(), scene.path.c()).unwrap();
    let [reads, waits] = [(); 2].map(|()| {
        let job = ledger.claim(me.index, scene.path.c()).unwrap();
        ledger.step(job, State::Held);
        ledger.step(job, State::Waiting);
        job
    });
    assert!(!ledger.end_unless(waits, State::Waiting, &pool));
    let landing = &ledger.get(reads).unwrap().landing;
    assert!(landing.announce(reads.generation));
    ledger.let_go(me.index, &pool);
    let state = |job| ledger.get(job).map(|r| r.state());
    assert_eq!([state(reads), state(waits)], [Some(State::Overdraft); 2]);
    assert!(ledger.is_let_go(reads) && ledger.is_let_go(waits));
    // SAFETY: the place is in the mapping, which stays.
    assert_eq!(unsafe { sys::read_byte_to(scene.ends[0], landing.address()) }, Ok(1));
    landing.mark(reads.generation);
    assert!(ledger.end(reads, &pool) && ledger.end(waits, &pool));
    ledger.free(me);
    pool.close();
    scene.end();
}

/// A claimer is stopped in the middle of its claim, for any time. Meanwhile another that had seen the record free
/// comes, and the guard goes over it; when the claimer goes on, nobody has a token there that it could wipe out.
#[test]
fn a_claim_that_is_slow_wipes_no_token() {
    let scene = Scene::new("slow-claim");
    let (ledger, pool) = (scene.ledger, scene.pool());
    let me = ledger.enter(sys::getpid(), scene.path.c()).unwrap();
    let slow = ledger.claim(me.index, scene.path.c()).unwrap();
    ledger.free(slow);
    // The first half.
    let record = ledger.record(slow.index).unwrap();
    let word = record.reserve(me.index).unwrap();
    assert_eq!(record.reserved_by(), Some(me.index));
    // Others find another record, whoever they are, and whatever becomes of this one.
    assert_eq!(record.reserve(me.index), None);
    let jobs = [(); 3].map(|()| ledger.claim(me.index, scene.path.c()).unwrap());
    for job in jobs {
        assert_ne!(job.index, slow.index);
        let of = ledger.get(job).unwrap();
        assert_eq!(pool.take(of, job.generation), crate::pool::tokens::Taken::Yes);
        ledger.step(job, State::Token).unwrap();
    }
    // The second half.
    let again = ledger.claim_reserved(record, word, me.index, 0).unwrap();
    let again = Handle { index: slow.index, generation: again };
    assert_eq!(record.client.load(std::sync::atomic::Ordering::Acquire), me.index);
    assert!(jobs.iter().all(|job| ledger.get(*job).unwrap().has_token(job.generation)));
    // Ended by somebody who takes the claimer for dead: still nobody else comes in before it is done.
    assert!(ledger.end(again, &pool));
    assert_eq!(record.reserve(me.index), None);
    record.release(me.index);
    let next = record.reserve(me.index).unwrap();
    assert_eq!(next.generation(), again.generation + 1);
    record.release(me.index);
    jobs.into_iter().for_each(|job| assert!(ledger.end(job, &pool)));
    pool.close();
    ledger.free(me);
    scene.end();
}

/// Who has looked up a job and is stopped writes nothing about the one that has its record by now.
#[test]
fn a_late_word_is_about_no_other_job() {
    let scene = Scene::new("late-word");
    let (ledger, pool) = (scene.ledger, scene.pool());
    let me = ledger.enter(sys::getpid(), scene.path.c()).unwrap();
    let old = ledger.claim(me.index, scene.path.c()).unwrap();
    let record = ledger.get(old).unwrap();
    assert!(ledger.end(old, &pool));
    let new = ledger.claim(me.index, scene.path.c()).unwrap();
    assert_eq!(new.index, old.index);
    record.set_reason(old.generation, crate::ledger::reason::Reason::Unheld);
    assert!(!ledger.is_let_go(new));
    ledger.note_process(old, 77);
    ledger.set_process(old, 78, || None);
    assert_eq!(record.pid.load(std::sync::atomic::Ordering::Acquire), 0);
    record.set_reason(new.generation, crate::ledger::reason::Reason::Unheld);
    assert!(ledger.is_let_go(new));
    assert!(ledger.end(new, &pool));
    ledger.free(me);
    scene.end();
}

/// The kernel gives a signal that is to a process to any thread of it, the first one if that may have it. The job waits
/// in another one, and is woken all the same.
#[test]
fn a_job_that_waits_in_any_thread_is_woken() {
    let scene = Scene::new("wake");
    let (ledger, pool) = (scene.ledger, scene.pool());
    ledger.header.guard.store(sys::getpid(), std::sync::atomic::Ordering::Release);
    let me = ledger.enter(sys::getpid(), scene.path.c()).unwrap();
    let (first, held) = (
        ledger.claim(me.index, scene.path.c()).unwrap(),
        ledger.claim(me.index, scene.path.c()).unwrap(),
    );
    assert!(ledger.take_implicit(first));
    ledger.step(held, State::Held).unwrap();
    let mut tokens = [0; 16];
    let n = sys::read(scene.ends[0], &mut tokens).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    thread::scope(|s| {
        s.spawn(|| {
            // Two of a process would be in each other's way; cargo-nextest or not, no other test waits.
            let pool = scene.pool();
            tell.send(0).unwrap();
            let state = crate::hold::wait(ledger, held, &pool, &[], &|| ());
            tell.send(state as i32).unwrap();
        });
        assert_eq!(told.recv().unwrap(), 0);
        let record = ledger.get(held).unwrap();
        while !is_asleep_in_read(record.pid.load(std::sync::atomic::Ordering::Acquire)) {
            sys::sleep_millis(1);
        }
        assert!(ledger.end(first, &pool));
        let state = told.recv_timeout(std::time::Duration::from_secs(30));
        if state != Ok(State::Implicit as i32) {
            // A panic would wait for the other thread.
            eprintln!("it was not woken: {state:?}");
            std::process::abort();
        }
    });
    assert_eq!(sys::write(scene.ends[1], &tokens[..n]), Ok(n));
    assert!(ledger.end(held, &pool));
    ledger.free(me);
    scene.end();
}

/// Is a thread of this process asleep in a read of a pipe?
fn is_asleep_in_read(pid: i32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let call = |t: std::fs::DirEntry| std::fs::read_to_string(t.path().join("syscall"));
    let read = format!("{} 0x", libc::SYS_read);
    threads.filter_map(|t| call(t).ok()).any(|call| call.starts_with(&read))
}
