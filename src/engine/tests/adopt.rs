//! A process that has become another program: a second client of the same process, which adopts the jobs of the
//! first.

use std::mem::MaybeUninit;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::client::jobs::Jobs;
use crate::client::{Client, Setup};
use crate::ledger::handle::Handle;
use crate::pool::own_pool;
use crate::share::Share;
use crate::slots::State;
use crate::sys;
use crate::text::Path;

#[test]
fn the_jobs_of_before_an_exec_are_adopted_and_no_others() {
    let dir = std::env::temp_dir().join(format!("jsshim-adopt-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let dir = Path::new(dir.as_os_str().as_encoded_bytes());
    let (pool, fd) = own_pool::make(&dir, 3).unwrap();
    let setup = || Setup {
        me: Box::leak(Box::new(AtomicU64::new(7))),
        pool: &pool,
        given: None,
        dir: Some(&dir),
        helper: c"",
        load_milli: 0,
        root: 0,
        slots: 3,
        overrides: false,
        share: Share::default(),
        stats: false,
        trace: &|_| {},
    };
    let mut places = [const { MaybeUninit::uninit() }; 3];
    let [before, after, stranger] = places.each_mut().map(|at| Client::init(at, &setup()).unwrap());
    let ledger = before.ledger();
    let mut children = [(); 4].map(|()| Command::new("sleep").arg("60").spawn().unwrap());
    let start = |client: &Client, pid: i32| -> Handle {
        let job = client.claim().unwrap();
        assert!(client.start_now(job, || ()).is_some());
        ledger.get(job).unwrap().pid.store(pid, Relaxed);
        job
    };
    // The last one is the process itself, at its exec.
    let first = [children[0].id() as i32, children[1].id() as i32, sys::getpid()];
    let first = first.map(|pid| (pid, start(before, pid)));
    // One that had this pid before us, and left an orphan.
    let record = ledger.record(stranger.me().unwrap()).unwrap();
    record.since.store(1, Relaxed);
    let orphan = start(stranger, children[2].id() as i32);

    let jobs = Jobs::new();
    after.adopt(&jobs);
    let adopted: Vec<_> = jobs.iter().collect();
    assert_eq!(adopted, first[..2], "the children of before, without ourselves");

    children[1].kill().unwrap();
    children[1].wait().unwrap();
    assert!(after.sweep(&jobs), "an end is seen");
    assert_eq!(ledger.get(first[1].1).map(|r| r.state()), None, "and its slot is free");
    assert_eq!(ledger.get(orphan).map(|r| r.state()), Some(State::Implicit));

    children.iter_mut().for_each(|child| drop((child.kill(), child.wait())));
    for job in first.iter().map(|(_, job)| *job).chain([orphan]) {
        before.end(job);
    }
    let mut left = [0; 16];
    assert_eq!(sys::read(fd, &mut left), Ok(2), "both tokens are back");
    sys::close(fd);
    let _ = std::fs::remove_dir_all(std::str::from_utf8(dir.bytes()).unwrap());
}
