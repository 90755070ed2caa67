//! The held jobs of a client in their order, whatever starts or ends out of turn; and which records are in use.

use crate::ledger::access::Ledger;
use crate::ledger::handle::Handle;
use crate::ledger::reason::Reason;
use crate::share::Share;
use crate::slots::State;
use crate::sys;

use super::stress::Scene;

/// A client and its jobs in the order in which they were held.
struct Client {
    me: Handle,
    jobs: Vec<Handle>,
}

impl Client {
    fn state(ledger: &Ledger, job: Handle) -> State {
        ledger.get(job).map_or(State::Free, |r| r.state())
    }

    fn check(&self, ledger: &Ledger) {
        let held = |job: &&Handle| Self::state(ledger, **job).is_held();
        let waits = |job: &&Handle| Self::state(ledger, **job) == State::Waiting;
        assert_eq!(ledger.first_waiting(self.me.index), self.jobs.iter().find(waits).copied());
        let most = ledger.share(self.me.index).readers() as usize;
        let first: Vec<_> = self.jobs.iter().filter(waits).take(most).copied().collect();
        assert_eq!(ledger.readers(self.me.index).collect::<Vec<_>>(), first);
        assert_eq!(ledger.first_held(self.me.index), self.jobs.iter().find(held).copied());
    }
}

#[test]
fn the_first_held_job_is_found_whatever_happened_before() {
    let scene = Scene::new("order");
    let (ledger, pool) = (scene.ledger, scene.pool());
    let enter = || ledger.enter(sys::getpid(), scene.path.c()).unwrap();
    let shares = [Share::default(), Share::Weight(3), Share::Background];
    let mut clients = shares.map(|share| {
        let me = enter();
        ledger.set_share(me, share);
        Client { me, jobs: Vec::new() }
    });
    let mut dice = 1u64;
    for _ in 0..6000 {
        dice = dice.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let roll = (dice >> 33) as usize;
        let client = &mut clients[roll % 3];
        let at = (roll / 64).checked_rem(client.jobs.len());
        match (roll / 3 % 8, at) {
            (0..=2, _) if client.jobs.len() < 200 => {
                let job = ledger.claim(client.me.index, scene.path.c()).unwrap();
                ledger.step(job, State::Held);
                client.jobs.push(job);
            }
            (3 | 4, Some(at)) => {
                ledger.step(client.jobs[at], State::Waiting);
            }
            // The first ones start in their turn, others out of it.
            (5, Some(_)) => {
                if let Some(first) = ledger.first_held(client.me.index) {
                    ledger.overdraw(first, Reason::Stall);
                }
            }
            (6, Some(at)) => {
                ledger.overdraw(client.jobs[at], Reason::Stall);
            }
            (_, Some(at)) => {
                let job = client.jobs.remove(at);
                assert!(ledger.end(job, &pool));
            }
            _ => {}
        }
        client.check(ledger);
        let all = clients.iter().flat_map(|c| &c.jobs);
        let waiting = all.filter(|job| Client::state(ledger, **job) == State::Waiting).count();
        assert_eq!(ledger.count_waiting() as usize, waiting);
        let used = clients.iter().map(|c| c.jobs.len() + 1).sum::<usize>();
        assert_eq!(ledger.records().count(), used, "records in use");
        assert_eq!(ledger.not_waiting().count(), used - waiting);
    }
    for client in clients {
        client.jobs.into_iter().for_each(|job| assert!(ledger.end(job, &pool)));
        ledger.free(client.me);
    }
    pool.close();
    scene.end();
}
