//! The protocols of the ledger under loom: the engine's own code, in every order in which its atomics,
//! the pool's bytes and the signals can meet, up to a number of preemptions that finds what is to be found.
//! Loads see whatever the memory model allows, so that a missing ordering shows on every machine.
//!
//! loom takes `SeqCst` of a load or store for `AcqRel`, except that such a load misses no such store to the
//! same place; only fences order more than one place.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::Arc;

use jsshim_deep::client::{Client, Setup};
use jsshim_deep::kernel::{kernel, Node};
use jsshim_deep::ledger::access::Ledger;
use jsshim_deep::ledger::handle::Handle;
use jsshim_deep::ledger::record::Record;
use jsshim_deep::pool::tokens::Taken;
use jsshim_deep::share::Share;
use jsshim_deep::slots::State;
use jsshim_deep::sync::Ordering::Relaxed;
use jsshim_deep::sync::{changes, AtomicU64};
use jsshim_deep::text::Path;
use loom::thread;

mod scene;

use scene::{model, pool, Scene, LEDGER};

/// Two threads of a host start a job each and end it, on the implicit slot alone, or on that and a token.
fn two_jobs(tokens: &'static [u8]) {
    model(2, move || {
        let scene = Scene::new(tokens, 3);
        // loom runs one thread at a time, so that this is how many run at once.
        let running = Arc::new(AtomicUsize::new(0));
        let job = move |s: &Scene| {
            let pool = pool();
            let job = s.job(&pool);
            let runs = s.state(job).is_backed();
            if runs {
                assert!(running.fetch_add(1, Relaxed) <= s.tokens.len(), "a slot too many");
                thread::yield_now();
                running.fetch_sub(1, Relaxed);
            }
            assert!(s.ledger.end(job, &pool), "nobody else ends it");
        };
        let other = scene.thread(scene.host, job.clone());
        job(&scene);
        other.join().unwrap();
        scene.end();
    });
}

#[test]
fn two_jobs_on_one_slot() {
    two_jobs(b"");
}

#[test]
fn two_jobs_on_two_slots() {
    two_jobs(b"+");
}

/// The implicit job ends while another one begins to wait: it is granted the slot, and wakes.
#[test]
fn a_grant_reaches_a_job_that_begins_to_wait() {
    model(2, || {
        let scene = Scene::new(b"", 3);
        let pool = pool();
        let (first, second) = (scene.job(&pool), scene.job(&pool));
        let helper = scene.helper(second);
        assert!(scene.ledger.end(first, &pool));
        assert_eq!(helper.join().unwrap(), State::Implicit);
        assert!(scene.ledger.end(second, &pool));
        scene.end();
    });
}

/// The same, and at the same time somebody else gives a token back: the job runs on the implicit slot, and
/// the token is in the pool as soon as its wait is over. With a guard, which gives back what it finds in the
/// record of a job on an implicit slot, but not under the hands of the reader.
fn a_grant_and_a_token_at_once(guard: bool) {
    model(2, move || {
        let scene = Scene::new(b"", 3);
        let pool = pool();
        let (first, second) = (scene.job(&pool), scene.job(&pool));
        let helper = scene.helper(second);
        let make = scene.thread(1, |_| gives_back(b'+'));
        assert!(scene.ledger.end(first, &pool));
        let record = scene.ledger.get(second).expect("it has not ended");
        if guard && record.state() == State::Implicit {
            pool.give(record, second.generation);
        }
        assert!(helper.join().unwrap().is_backed());
        make.join().unwrap();
        assert_eq!(scene.state(second), State::Implicit);
        assert_eq!(scene.level(), 1, "the token is not needed");
        assert!(scene.ledger.end(second, &pool));
        scene.end_with(b"+");
    });
}

#[test]
fn a_grant_meets_a_token() {
    a_grant_and_a_token_at_once(false);
}

#[test]
fn a_grant_meets_a_token_and_a_guard() {
    a_grant_and_a_token_at_once(true);
}

/// Two jobs wait and one token comes: the older one starts, whoever has read the byte; the younger one
/// starts on it afterwards.
#[test]
fn a_token_goes_to_the_older_one_of_two() {
    model(1, || {
        let scene = Scene::new(b"", 4);
        let pool = pool();
        let [first, older, younger] = [(); 3].map(|()| scene.job(&pool));
        let helpers = [older, younger].map(|job| scene.helper(job));
        let [one, other] = helpers;
        gives_back(b'+');
        assert_eq!(one.join().unwrap(), State::Token);
        assert!(scene.state(younger).is_held(), "the younger one waits");
        assert!(scene.ledger.end(older, &pool));
        assert_eq!(other.join().unwrap(), State::Token);
        assert!(scene.ledger.end(younger, &pool));
        assert!(scene.ledger.end(first, &pool));
        scene.end_with(b"+");
    });
}

/// A younger job has read a byte and passes it to the older one while something happens to that.
fn a_gift_meets(what: impl Fn(&Scene, Handle, Handle) + Copy + Send + Sync + 'static) {
    model(3, move || {
        let scene = Scene::new(b"", 4);
        let pool = pool();
        let [first, older, younger] = [(); 3].map(|()| scene.job(&pool));
        gives_back(b'+');
        let reader = scene.thread(kernel(|k| k.spawn(scene.host)), move |s| {
            let (pool, record) = (self::pool(), s.ledger.get(younger).expect("it is held"));
            assert!(pool.take(record, younger.generation) == Taken::Yes);
            if !s.ledger.pass_on(younger, &pool) {
                s.ledger.step(younger, State::Token);
            }
        });
        what(&scene, first, older);
        reader.join().unwrap();
        assert!(!scene.state(older).is_held(), "the older one has come to a slot, or ended");
        for job in [older, younger].into_iter().filter(|job| scene.state(*job).is_backed()) {
            let record = scene.ledger.get(job).expect("it has not ended");
            let has_byte = record.has_token(job.generation);
            assert_eq!(has_byte, scene.state(job) == State::Token, "what it runs on");
        }
        for job in [first, older, younger] {
            scene.ledger.end(job, &pool);
        }
        scene.end_with(b"+");
    });
}

#[test]
fn a_gift_meets_a_grant() {
    a_gift_meets(|s, first, _| assert!(s.ledger.end(first, &pool())));
}

#[test]
fn a_gift_meets_the_end_of_the_older_one() {
    a_gift_meets(|s, _, older| assert!(s.ledger.end(older, &pool())));
}

#[test]
fn a_gift_meets_a_guard() {
    a_gift_meets(|s, _, older| {
        let _ = s.ledger.accept_gift(older);
    });
}

/// A job on a token ends, and pays its byte to one that has borrowed, while something happens to that.
fn a_debt_meets(what: impl Fn(&Scene, Handle) + Copy + Send + Sync + 'static) {
    model(2, move || {
        let scene = Scene::new(b"+", 4);
        let pool = pool();
        let [first, lender, borrower] = [(); 3].map(|()| scene.job(&pool));
        assert_eq!(scene.state(lender), State::Token);
        assert!(scene.ledger.borrow(borrower));
        let ender = scene.thread(kernel(|k| k.spawn(scene.host)), move |s| {
            assert!(s.ledger.end(lender, &self::pool()));
        });
        what(&scene, borrower);
        ender.join().unwrap();
        if let Some(record) = scene.ledger.get(borrower).filter(|r| r.state().runs()) {
            let has_byte = record.has_token(borrower.generation);
            assert_eq!(has_byte, record.state() == State::Token, "what it runs on");
        }
        for job in [first, borrower] {
            scene.ledger.end(job, &pool);
        }
        scene.end_with(b"+");
    });
}

#[test]
fn a_debt_meets_the_end_of_who_has_borrowed() {
    a_debt_meets(|s, borrower| assert!(s.ledger.end(borrower, &pool())));
}

#[test]
fn a_debt_meets_sleep() {
    a_debt_meets(|s, borrower| {
        let record = s.ledger.get(borrower).expect("it runs");
        record.set_sleeps(borrower.generation, true);
        record.set_sleeps(borrower.generation, false);
    });
}

#[test]
fn a_debt_meets_a_guard() {
    a_debt_meets(|s, borrower| {
        let _ = s.ledger.accept_gift(borrower);
    });
}

/// A slot is lent to a held job while a byte comes to it.
#[test]
fn a_loan_meets_a_token() {
    model(2, || {
        let scene = Scene::new(b"", 3);
        let pool = pool();
        let (first, held) = (scene.job(&pool), scene.job(&pool));
        let helper = scene.helper(held);
        gives_back(b'+');
        let lent = scene.ledger.borrow(held);
        let state = helper.join().unwrap();
        assert!(matches!(state, State::Token | State::Borrowed) && (lent || state == State::Token));
        let record = scene.ledger.get(held).expect("it runs");
        assert_eq!(record.has_token(held.generation), record.state() == State::Token);
        for job in [first, held] {
            assert!(scene.ledger.end(job, &pool));
        }
        scene.end_with(b"+");
    });
}

/// A job on the only slot falls asleep while another one wakes up, and `beside` happens. Never do both compute, and in the
/// end the other one has the slot, at the latest when the guard has counted.
fn a_slot_is_passed_on(beside: impl Fn(&Scene) + Copy + Send + Sync + 'static) {
    model(3, move || {
        let scene = Scene::new(b"", 3);
        let pool = pool();
        let (sleeper, woken) = (scene.job(&pool), scene.job(&pool));
        assert!(scene.ledger.borrow(woken));
        let record = scene.ledger.get(woken).expect("a job");
        record.set_sleeps(woken.generation, true);
        let computing = Arc::new(AtomicUsize::new(1));
        let left = computing.clone();
        let falls_asleep = scene.thread(scene.host, move |scene| {
            left.fetch_sub(1, SeqCst);
            scene.ledger.pass_slot(sleeper, 0);
        });
        let beside = scene.thread(scene.host, move |scene| beside(scene));
        let goes_on = scene.ledger.take_slot(woken, record) || {
            record.park(woken.generation).expect("its slot was lent");
            scene.ledger.release_parked();
            !record.waits(woken.generation)
        };
        if goes_on {
            assert_eq!(computing.fetch_add(1, SeqCst), 0, "both compute");
        }
        falls_asleep.join().expect("no panic");
        beside.join().expect("no panic");
        count_and_leave(&scene);
        assert!(!record.waits(woken.generation), "nobody computes");
        for job in [sleeper, woken] {
            assert!(scene.ledger.end(job, &pool));
        }
        scene.end();
    });
}

/// What the guard does with the slots that are passed on; there is one slot.
fn count_and_leave(scene: &Scene) {
    let passed = &scene.ledger.header.passed;
    let seen = passed.take_all();
    let computes = |(_, r): &(u32, &Record)| r.state().runs() && !r.sleeps(r.now().1);
    let computing = scene.ledger.records().filter(computes).count() as u32;
    if passed.is_as(seen) {
        scene.ledger.leave_slots(1u32.saturating_sub(computing));
    }
}

#[test]
fn a_slot_is_passed_on_to_who_wakes_up() {
    a_slot_is_passed_on(|_| ());
}

#[test]
fn a_slot_is_passed_on_while_the_guard_counts() {
    a_slot_is_passed_on(count_and_leave);
}

/// A job ends while the guard does again what it finds half done: its byte goes back once.
#[test]
fn a_host_and_a_guard_end_the_same_job() {
    model(2, || {
        let scene = Scene::new(b"+", 3);
        let pool = pool();
        let (first, second) = (scene.job(&pool), scene.job(&pool));
        let guard = scene.thread(kernel(|k| k.spawn(1)), move |s| {
            let pool = self::pool();
            s.ledger.end(second, &pool);
            s.ledger.finish(second, &pool);
        });
        if !scene.ledger.end(second, &pool) {
            scene.ledger.finish(second, &pool);
        }
        guard.join().unwrap();
        assert!(scene.ledger.end(first, &pool));
        scene.end();
    });
}

/// The implicit job ends, a token job becomes the implicit one, and ends, too.
#[test]
fn a_token_job_becomes_the_implicit_one_and_ends() {
    model(2, || {
        let scene = Scene::new(b"+", 3);
        let pool = pool();
        let (first, second) = (scene.job(&pool), scene.job(&pool));
        let other = scene.thread(scene.host, move |s| {
            let pool = self::pool();
            assert!(s.ledger.end(second, &pool));
        });
        assert!(scene.ledger.end(first, &pool));
        other.join().unwrap();
        scene.end();
    });
}

/// The ledger is closed while a client enters: one of the two succeeds, and the name goes with the ledger.
///
/// What it does not show: that the two fences are needed. A client's claim is followed by a `SeqCst` write of
/// the highest record in use, which who closes reads after the state that the client reads; so to leave a
/// fence out alone changes nothing, neither here nor by the memory model. Nor would loom see what a
/// processor does with a `SeqCst` load or store of two places: it orders those of one only.
#[test]
fn a_client_enters_or_another_one_closes() {
    model(3, || {
        let scene = Scene::new(b"", 2);
        scene.ledger.free(scene.me);
        let client = scene.thread(scene.host, |s| s.ledger.enter(s.host, LEDGER));
        let closed = scene.ledger.close_if_idle(LEDGER);
        let entered = client.join().unwrap();
        assert_eq!(closed, entered.is_none(), "closed, and is there a client?");
        assert_eq!(closed, named().is_none(), "closed, and has it a name?");
    });
}

/// The same with a client that makes the ledger anew where it has gone: it is in the one that has the name,
/// also if two have closed the other one.
fn made_anew(two: bool) {
    model(2, move || {
        let scene = Scene::new(b"", 2);
        scene.ledger.free(scene.me);
        let closer = scene.thread(scene.host, |s| s.ledger.close_if_idle(LEDGER));
        if two {
            scene.ledger.close_if_idle(LEDGER);
        }
        let setup = Setup {
            me: Box::leak(Box::new(AtomicU64::new(0))),
            pool: &pool(),
            given: None,
            dir: Some(&Path::default()),
            helper: c"",
            load_milli: 0,
            root: 0,
            slots: 0,
            overrides: false,
            share: Share::default(),
            stats: false,
            trace: &|_| (),
        };
        // An atomic of loom's is known by its place, so that this one is not used again.
        let place = Box::leak(Box::new(MaybeUninit::uninit()));
        let client = Client::init(place, &setup).expect("a client");
        let job = client.claim().expect("a record");
        closer.join().unwrap();
        let ledger = client.ledger();
        assert_eq!(named(), Some(core::ptr::from_ref(ledger).addr()), "the ledger by its name");
        assert!(Ledger::open(LEDGER).is_ok(), "it is open");
        ledger.free(job);
    });
}

#[test]
fn a_ledger_is_closed_and_made_anew() {
    made_anew(false);
}

#[test]
fn a_ledger_is_closed_twice_and_made_anew() {
    made_anew(true);
}

/// Where the ledger is that has the name now.
fn named() -> Option<usize> {
    kernel(|k| match k.find(LEDGER.to_bytes()) {
        Ok(Node::Memory(memory)) => Some(memory.address().addr()),
        _ => None,
    })
}

/// Another client of the pool.
fn gives_back(byte: u8) {
    changes(|| kernel(|k| k.pipes[0].push_back(byte)));
}
