//! Threads as jobs that pass their slots on to each other ([`crate::ledger::passing`]), and one that counts them as the
//! guard does.

use std::sync::atomic::Ordering::{Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::thread;
use std::time::Duration;

use crate::hold::park;
use crate::ledger::debts::SOON;
use crate::ledger::handle::Handle;
use crate::slots::State;
use crate::sys;

use super::stress::Scene;

const SLOTS: u32 = 2;
const JOBS: u32 = 6;
const TURNS: u32 = 2000;

/// How many compute, counted by themselves.
static COMPUTING: AtomicU32 = AtomicU32::new(0);

fn computes(turn: u32) {
    let now = COMPUTING.fetch_add(1, SeqCst) + 1;
    assert!(now <= SLOTS, "{now} compute on {SLOTS} slots");
    if turn.is_multiple_of(3) {
        thread::yield_now();
    }
    COMPUTING.fetch_sub(1, SeqCst);
}

/// One job, which computes and sleeps in turn.
fn job(scene: &Scene, job: Handle, seed: u32) {
    for turn in 0..TURNS {
        computes(turn);
        scene.ledger.pass_slot(job, 0);
        if (turn + seed).is_multiple_of(5) {
            thread::sleep(Duration::from_micros(u64::from((turn * seed) % 90)));
        }
        assert!(park::wait(scene.ledger, job, false) == park::On::Slot);
    }
    // It sleeps on.
    scene.ledger.pass_slot(job, 0);
}

/// Counts as the guard does, again and again.
fn guard(scene: &Scene, is_over: &AtomicBool) {
    let header = &scene.ledger.header;
    while !is_over.load(Relaxed) {
        header.rounds.fetch_add(1, Relaxed);
        let seen = header.passed.take_all();
        let awake =
            scene.ledger.records().filter(|(_, r)| r.state().runs() && !r.sleeps(r.now().1));
        let awake = awake.count() as u32;
        if header.passed.is_as(seen) {
            scene.ledger.leave_slots(SLOTS.saturating_sub(awake));
        }
        thread::sleep(Duration::from_micros(50));
    }
}

#[test]
fn slots_are_passed_on_and_none_is_used_twice() {
    let scene = Scene::new("passing");
    let ledger = scene.ledger;
    let me = ledger.enter(sys::getpid(), scene.path.c()).unwrap();
    let jobs: Vec<_> = (0..JOBS)
        .map(|at| {
            let job = ledger.claim(me.index, scene.path.c()).unwrap();
            ledger.step(job, State::Held);
            assert!(ledger.borrow(job));
            if at >= SLOTS {
                ledger.get(job).unwrap().set_sleeps(job.generation, true);
            }
            job
        })
        .collect();
    ledger.header.lending.store(SOON, Release);
    // This process, which takes no notice of being called.
    ledger.header.guard.store(sys::getpid(), Release);
    let is_over = AtomicBool::new(false);
    thread::scope(|s| {
        let counts = s.spawn(|| guard(&scene, &is_over));
        let all: Vec<_> = (0..JOBS)
            .zip(&jobs)
            .map(|(at, h)| {
                let scene = &scene;
                s.spawn(move || {
                    if at >= SLOTS {
                        park::wait(scene.ledger, *h, false);
                    }
                    job(scene, *h, at);
                })
            })
            .collect();
        let joined: Vec<_> = all.into_iter().map(|job| job.join()).collect();
        is_over.store(true, Relaxed);
        counts.join().unwrap();
        joined.into_iter().for_each(|job| job.unwrap());
    });
    let pool = scene.pool();
    for job in jobs {
        assert!(ledger.get(job).unwrap().has_passed(job.generation));
        assert!(ledger.end(job, &pool));
    }
    assert!(!ledger.header.passed.take(), "who has ended has nothing to pass on");
    ledger.free(me);
    pool.close();
    scene.end();
}
