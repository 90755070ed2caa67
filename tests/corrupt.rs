//! A host on a ledger of which a byte is changed while its jobs run and wait: it ends with its own status,
//! every job has run once, and the pool has no token more than before. One may be lost.

use std::fs::{self, File};
use std::mem::offset_of;
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use jsshim_engine::ledger::header::Header;
use jsshim_engine::ledger::record::Record;
use jsshim_engine::slots::State;

use crate::harness::pool::{Kind, Pool};
use crate::harness::procs::Mark;
use crate::harness::programs::{artifact, base};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![one_byte_of_a_live_ledger]
}

const TIMEOUT: Duration = Duration::from_secs(60);
const JOBS: usize = 6;

/// How many records may be looked at.
const FIRST: usize = 8;

/// The states of a scene's records, and how many there are of each.
const STATES: [(State, usize); 4] =
    [(State::Client, 1), (State::Implicit, 1), (State::Token, 1), (State::Waiting, 2)];

/// A byte of the header, or of the first record in a state, of which the first byte is that.
#[derive(Clone, Copy, Debug)]
enum Place {
    Header(usize),
    Record(State, usize),
}

/// Of the header its fields, the first 64 bytes of the path behind them, and who asked for what; of a record
/// all but its name, which nothing depends on.
fn places() -> Vec<Place> {
    let asked = offset_of!(Header, asked);
    let header = (0..asked - 256 + 64).chain(asked..asked + 4);
    let record = |(state, _)| (0..size_of::<Record>() / 2).map(move |at| Place::Record(state, at));
    header.map(Place::Header).chain(STATES.into_iter().flat_map(record)).collect()
}

fn record_at(index: usize) -> u64 {
    (size_of::<Header>() + index * size_of::<Record>()) as u64
}

/// Most of the time each host sleeps, so many at once do.
fn one_byte_of_a_live_ledger() {
    if artifact("libjsshim.so").is_none() {
        return;
    }
    let (all, next) = (places(), AtomicUsize::new(0));
    thread::scope(|scope| {
        let work = || loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some(place) = all.get(n) else { return };
            Scene::new(n).run(*place, [0x01, 0x80, 0xff][n % 3]);
        };
        let threads: Vec<_> = (0..12).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}

struct Scene {
    dir: PathBuf,
    mark: Mark,
    id: String,
    pool: Pool,
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.mark.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

impl Scene {
    /// No name begins another one, or the mark of the one would find the processes of the other.
    fn new(number: usize) -> Scene {
        let id = format!("jsshim-corrupt-{}-{number:04}-", std::process::id());
        let dir = base().join(&id);
        fs::create_dir_all(&dir).unwrap();
        fs::DirBuilder::new().mode(0o700).create(dir.join("shim")).unwrap();
        let pool = Pool::new(Kind::Fifo, 2, &dir).unwrap();
        Scene { mark: Mark::new(&id), id, dir, pool }
    }

    fn run(&self, place: Place, mask: u8) {
        let what = format!("{place:?} changed by {mask:#x}");
        let before = self.pool.level();
        let mut host = self.start();
        self.change(place, mask);
        File::create(self.dir.join("go")).unwrap();
        let status = self.wait(&mut host).unwrap_or_else(|| {
            panic!("{what}: not finished after {TIMEOUT:?}\n{}", self.mark.describe())
        });
        assert_eq!(status, Some(0), "{what}: the host's status");
        let mut done: Vec<_> = fs::read(self.dir.join("done")).unwrap_or_default();
        done.sort_unstable();
        let wanted: Vec<_> = (b'0'..).take(JOBS).collect();
        assert_eq!(done, wanted, "{what}: jobs that ran");
        // Whoever still has something to give back may be a moment late; then nobody is left to do so.
        sleep(Duration::from_millis(50));
        self.mark.kill();
        let after = self.pool.level();
        assert!(after <= before, "{what}: {after} tokens, and {before} before");
    }

    /// Four jobs at once on two slots, which run until they see `go`; those without a slot are held.
    fn start(&self) -> Child {
        let numbers: String = (0..JOBS).map(|n| format!("{n}\n")).collect();
        fs::write(self.dir.join("stdin"), numbers).unwrap();
        let work = "until [ -e go ]; do sleep 0.02; done; printf %s $0 >>done";
        Command::new("xargs")
            .args(["-P4", "-n1", "sh", "-c", work])
            .current_dir(&self.dir)
            .env("LD_PRELOAD", artifact("libjsshim.so").unwrap())
            .env("MAKEFLAGS", self.pool.makeflags())
            .env("JSSHIM_DIR", self.dir.join("shim"))
            .env("JSSHIM_GATE", "child")
            .env("JSSHIM_TEST_ID", &self.id)
            .stdin(File::open(self.dir.join("stdin")).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Changes a byte of the ledger as soon as two jobs run and two wait.
    fn change(&self, place: Place, mask: u8) {
        let (ledger, states) = self.ledger();
        let at = match place {
            Place::Header(at) => at as u64,
            Place::Record(state, at) => {
                let index = states.iter().position(|s| *s == state as u8).unwrap();
                record_at(index) + at as u64
            }
        };
        let mut byte = [0];
        ledger.read_exact_at(&mut byte, at).unwrap();
        ledger.write_all_at(&[byte[0] ^ mask], at).unwrap();
    }

    fn ledger(&self) -> (File, [u8; FIRST]) {
        let end = Instant::now() + TIMEOUT;
        let mut states = None;
        while Instant::now() < end {
            let file = self.find();
            states = file.as_ref().map(states_of);
            if let (Some(file), Some(states)) = (file, states) {
                let count = |state| states.iter().filter(|s| **s == state as u8).count();
                if STATES.into_iter().all(|(state, n)| count(state) == n) {
                    return (file, states);
                }
            }
            sleep(Duration::from_millis(2));
        }
        panic!("the records' states are {states:?}\n{}", self.mark.describe());
    }

    fn find(&self) -> Option<File> {
        let is_it = |path: &Path| path.extension().is_some_and(|e| e == "ledger");
        let entries = fs::read_dir(self.dir.join("shim")).ok()?.flatten();
        let path = entries.map(|e| e.path()).find(|path| is_it(path))?;
        File::options().read(true).write(true).open(path).ok()
    }

    fn wait(&self, host: &mut Child) -> Option<Option<i32>> {
        let end = Instant::now() + TIMEOUT;
        while Instant::now() < end {
            if let Some(status) = host.try_wait().unwrap() {
                return Some(status.code());
            }
            sleep(Duration::from_millis(5));
        }
        self.mark.kill();
        let _ = host.wait();
        None
    }
}

/// The states of the first records; zeros where the file is not whole yet.
fn states_of(file: &File) -> [u8; FIRST] {
    let mut states = [0; FIRST];
    for (index, state) in states.iter_mut().enumerate() {
        let _ = file.read_exact_at(std::slice::from_mut(state), record_at(index));
    }
    states
}
