//! A build in small: hosts with their jobs, the helpers of those that are held, a make outside, and the
//! guard. They take turns: one goes on until it waits.

mod check;

use core::ffi::CStr;
use core::mem::offset_of;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::mem::MaybeUninit;
use std::rc::Rc;

use crate::client::jobs::Jobs;
use crate::client::{Client, Setup};
use crate::helper::guard;
use crate::hold;
use crate::kernel::{self, kernel, Kernel, Memory, Node};
use crate::ledger::access::Ledger;
use crate::ledger::handle::Handle;
use crate::ledger::header::Header;
use crate::ledger::record::Record;
use crate::pool::pipe::Id;
use crate::pool::tokens::Pool;
use crate::share::Share;
use crate::slots::{State, Token};
use crate::text::Path;
use crate::turns::{self, Other};
use crate::watchdog::settings::Count;

pub const POOL_ID: Id = (1, 0, 0);
const POOL: &[u8] = b"/pool";
const FOLDER: &[u8] = b"/run";
/// Where the ledger of this pool lies.
const LEDGER: &CStr = c"/run/0-1.ledger";
/// What the guard is told by its environment.
const TOLD: guard::Told<'static> = guard::Told { count: Count::Running, stall: 0, stats: c"" };
const HOSTS: usize = 3;
const MOST_JOBS: usize = 24;

/// A record without its name, which nothing depends on; where in it a token's byte can be.
pub const RECORD: usize = size_of::<Record>() / 2;
pub const PLACES: [usize; 2] = [offset_of!(Record, landing), offset_of!(Record, gift)];

/// Where a record lies in the file.
pub fn record_at(index: usize) -> usize {
    size_of::<Header>() + index * size_of::<Record>()
}

/// How far a job is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Its helper has not begun to wait.
    New,
    Waits,
    Runs,
    Over,
}

struct Job {
    pid: i32,
    handle: Handle,
    stage: Stage,
    /// While it waits. It gives `None` if it is killed.
    helper: Option<Other<Option<State>>>,
}

struct Host {
    pid: i32,
    client: Box<MaybeUninit<Client>>,
    table: Jobs,
    jobs: RefCell<Vec<Job>>,
}

impl Host {
    fn new(pid: i32, share: Share, pool: &Pool, dir: &Path) -> Option<Self> {
        let mut client = Box::new(MaybeUninit::uninit());
        let helper = c"";
        let setup = Setup {
            me: Box::leak(Box::new(crate::sync::AtomicU64::new(0))),
            pool,
            given: None,
            dir: Some(dir),
            helper,
            load_milli: 0,
            root: 0,
            slots: 0,
            overrides: false,
            share,
            stats: true,
            trace: &|_| (),
        };
        kernel::run_as(pid, || Client::init(&mut client, &setup).map(drop))?.ok()?;
        Some(Self { pid, client, table: Jobs::new(), jobs: RefCell::default() })
    }

    fn client(&self) -> &Client {
        // SAFETY: `new` has made it.
        unsafe { self.client.assume_init_ref() }
    }
}

pub struct World {
    hosts: Vec<Rc<Host>>,
    script: RefCell<Vec<u8>>,
    memory: std::sync::Arc<Memory>,
    tokens: Vec<u8>,
    /// Nothing has been broken: all that is promised must hold.
    honest: Cell<bool>,
    outside: RefCell<Vec<u8>>,
    broken: RefCell<Vec<usize>>,
    guard: RefCell<Option<(i32, Other<Option<Infallible>>)>>,
    idle: Cell<u32>,
}

/// Nothing more to do for the guard, or for a job without one, until its next turn.
pub fn time_passes(millis: u64) {
    kernel(|k| k.clock += millis.max(300) * 1_000_000);
    turns::pause();
}

/// The helper, until it execs the job.
fn wait_for_slot(job: Handle) -> State {
    let Ok(ledger) = Ledger::open(LEDGER) else { return State::Overdraft };
    let pool = Pool::new(ledger.header.id(), ledger.header.reach(), None);
    let state = hold::wait(ledger, job, &pool, &[], &|| ());
    pool.close();
    state
}

impl World {
    /// Boots, makes the pool, lets `prepare` see the memory of the ledger, and starts the hosts.
    pub fn new(tokens: &[u8], prepare: impl FnOnce(&Memory)) -> Option<Self> {
        kernel::boot();
        let (folder, pool) = (Path::new(FOLDER), Path::new(POOL));
        assert_eq!(crate::ledger::rundir::ledger(&folder, POOL_ID, 0).c(), LEDGER);
        let first = kernel(|k| {
            k.pipes.push(tokens.iter().copied().collect());
            k.files.insert(POOL.to_vec(), Node::Pipe(0));
            k.files.insert(FOLDER.to_vec(), Node::Folder([].into()));
            k.spawn(1)
        });
        let host = |pid, share| {
            Host::new(pid, share, &Pool::new(POOL_ID, pool, None), &folder).map(Rc::new)
        };
        let mut hosts = vec![host(first, Share::Weight(2))?];
        let memory = kernel(|k| match k.find(LEDGER.to_bytes()) {
            Ok(Node::Memory(memory)) => Some(memory),
            _ => None,
        })?;
        prepare(&memory);
        let shares = [Share::default(), Share::Background].into_iter().cycle();
        for share in shares.take(HOSTS.saturating_sub(1)) {
            hosts.extend(host(kernel(|k| k.spawn(1)), share));
        }
        Some(Self {
            hosts,
            script: RefCell::default(),
            memory,
            tokens: tokens.to_vec(),
            honest: Cell::new(true),
            outside: RefCell::default(),
            broken: RefCell::default(),
            guard: RefCell::default(),
            idle: Cell::new(0),
        })
    }

    /// From here on only what holds for a broken ledger is demanded.
    pub fn distrust(&self) {
        self.honest.set(false);
    }

    /// Plays a script, then lets everything end in order, and looks at what is left.
    pub fn play(&self, script: &[u8]) {
        self.act(script);
        self.end();
    }

    /// The same with a byte of the ledger changed between two parts of the script.
    pub fn play_and_break(&self, begins: &[u8], at: usize, mask: u8, ends: &[u8]) {
        self.act(begins);
        self.break_byte(at, mask);
        self.act(ends);
        self.end();
    }

    fn act(&self, script: &[u8]) {
        *self.script.borrow_mut() = script.iter().rev().copied().collect();
        while self.step() {}
    }

    fn end(&self) {
        let mut outside = self.outside.take();
        kernel(|k| k.pipes[0].extend(outside.drain(..)));
        while self.wind_down() {}
        for host in &self.hosts {
            self.in_host(host, |h| h.client().leave(&h.table, core::ptr::null()));
            kernel(|k| k.kill(host.pid));
        }
        // A second one, if the first is killed.
        (0..2).for_each(|_| self.guard(8));
        self.guard_is_killed();
        assert_eq!(kernel(|k| k.broadcasts), 0, "a signal to everybody");
        let closed = kernel(|k| k.find(LEDGER.to_bytes()).is_err());
        if self.honest.get() {
            assert!(closed, "the ledger stays:\n{}", self.describe());
            self.check_end();
        }
    }

    fn byte(&self) -> Option<u8> {
        self.script.borrow_mut().pop()
    }

    /// One line of the script; `false` at its end.
    fn step(&self) -> bool {
        let Some(what) = self.byte() else { return false };
        let Some(host) = self.hosts.get(usize::from(what >> 4) % HOSTS).cloned() else {
            return false;
        };
        match what & 15 {
            0..=3 => self.spawn(&host),
            4 | 5 => self.job_ends(&host, what & 1 == 0),
            6 => drop(self.in_host(&host, |h| h.client().sweep(&h.table))),
            7..=9 => self.helper_starts(&host),
            10 if what >> 6 == 0 => self.guard_is_killed(),
            10 => self.guard(u32::from(what >> 6)),
            11 => self.is_killed(&host, what),
            12 => self.make(what & 0x10 == 0),
            13 => kernel(|k| k.load_milli = u32::from(what >> 4) * 1000),
            14 => drop(self.in_host(&host, |h| h.client().settle())),
            _ => self.breaks(),
        }
        self.go_on();
        if self.honest.get() {
            self.check_running();
        }
        true
    }

    fn in_host<R>(&self, host: &Rc<Host>, f: impl FnOnce(&Host) -> R) -> Option<R> {
        kernel(|k| k.runs(host.pid)).then(|| kernel::run_as(host.pid, || f(host))).flatten()
    }

    /// As the hooks do it: a slot at once, or held.
    fn spawn(&self, host: &Rc<Host>) {
        let jobs: usize = self.hosts.iter().map(|h| h.jobs.borrow().len()).sum();
        if jobs >= MOST_JOBS {
            return;
        }
        self.in_host(host, |h| {
            let c = h.client();
            let Some(handle) = c.claim() else { return };
            let mut state = c.start_now(handle, || self.ensure_guard());
            if state.is_none() {
                c.sweep(&h.table);
                state = c.start_now(handle, || ());
            }
            if state.is_none() {
                self.ensure_guard();
                c.ledger().step(handle, State::Held);
                c.settle();
            }
            let held = c.ledger().get(handle).is_some_and(|r| r.state() == State::Held);
            let pid = kernel(|k| k.spawn(h.pid));
            let stage = if held { Stage::New } else { Stage::Runs };
            h.jobs.borrow_mut().push(Job { pid, handle, stage, helper: None });
            if let Some(record) = c.ledger().get(handle) {
                record.pid.store(pid, crate::sync::Ordering::Release);
            }
            h.table.add(pid, handle);
        });
    }

    /// What `guard` of the engine does.
    fn ensure_guard(&self) {
        if self.guard.borrow().is_none() {
            self.guard(1);
        }
    }

    /// The job that has this stage and is the first of it.
    fn find(host: &Host, stage: Stage) -> Option<(usize, i32, Handle)> {
        let jobs = host.jobs.borrow();
        let at = jobs.iter().position(|j| j.stage == stage)?;
        jobs.get(at).map(|j| (at, j.pid, j.handle))
    }

    fn set(host: &Host, at: usize, stage: Stage) {
        if let Some(job) = host.jobs.borrow_mut().get_mut(at) {
            job.stage = stage;
        }
    }

    fn job_ends(&self, host: &Rc<Host>, reap: bool) {
        let Some((at, pid, _)) = Self::find(host, Stage::Runs) else { return };
        Self::set(host, at, Stage::Over);
        kernel(|k| k.kill(pid));
        if reap {
            self.reap(host, pid);
        }
    }

    fn reap(&self, host: &Rc<Host>, pid: i32) {
        self.in_host(host, |h| {
            kernel(|k| k.reap(pid));
            if let Some(job) = h.table.remove(pid) {
                h.client().end(job);
                h.client().rest(&h.table);
            }
        });
    }

    /// The helper of a held job begins to wait for its slot.
    fn helper_starts(&self, host: &Rc<Host>) {
        let Some((at, pid, job)) = Self::find(host, Stage::New) else { return };
        let helper = Other::new(move || kernel::run_as(pid, || wait_for_slot(job)));
        host.jobs.borrow_mut()[at].helper = Some(helper);
        Self::set(host, at, Stage::Waits);
        self.go_on();
    }

    /// Every process that waits looks whether it has to.
    fn go_on(&self) {
        let mut again = true;
        while std::mem::take(&mut again) {
            for host in &self.hosts {
                for job in host.jobs.borrow_mut().iter_mut().filter(|j| j.stage == Stage::Waits) {
                    let Some(state) = job.helper.as_mut().and_then(Other::resume) else { continue };
                    again = true;
                    job.helper = None;
                    job.stage = if state.is_some() { Stage::Runs } else { Stage::Over };
                    // One whose host was killed over its birth may have lost its record.
                    let known = self.honest.get() && kernel(|k| k.runs(host.pid));
                    if let (true, Some(state)) = (known, state) {
                        assert!(
                            state.is_backed() || state == State::Borrowed,
                            "starts on {state:?}"
                        );
                    }
                }
            }
        }
    }

    fn is_killed(&self, host: &Rc<Host>, what: u8) {
        let job = match what >> 6 {
            0 => Self::find(host, Stage::Waits),
            1 => Self::find(host, Stage::New),
            2 => Self::find(host, Stage::Runs),
            _ => return kernel(|k| k.kill(host.pid)),
        };
        if let Some((at, pid, _)) = job {
            Self::set(host, at, Stage::Over);
            kernel(|k| k.kill(pid));
            let helper = host.jobs.borrow_mut()[at].helper.take();
            assert!(helper.is_none_or(|mut h| h.resume().is_some()), "it lives on");
        }
    }

    /// Another client of the pool takes a token or gives one back.
    fn make(&self, takes: bool) {
        let mut outside = self.outside.borrow_mut();
        kernel(|k| {
            if takes {
                outside.extend(k.pipes[0].pop_front());
            } else {
                k.pipes[0].extend(outside.pop());
            }
        });
    }

    /// The guard makes some rounds; a new one is started if there is none.
    fn guard(&self, rounds: u32) {
        for _ in 0..rounds {
            let mut guard = self.guard.borrow_mut();
            let (pid, other) = guard.get_or_insert_with(|| {
                let pid = kernel(|k| k.spawn(1));
                let run = || guard::run(LEDGER, false, TOLD);
                (pid, Other::new(move || kernel::run_as(pid, run)))
            });
            if other.resume().is_some() {
                kernel(|k| k.reap(*pid));
                *guard = None;
                return;
            }
        }
    }

    fn guard_is_killed(&self) {
        if let Some((pid, mut other)) = self.guard.take() {
            kernel(|k| k.kill(pid));
            assert!(other.resume().is_some(), "it lives on");
            kernel(|k| k.reap(pid));
        }
    }

    /// A byte of the ledger is changed: of the header, up to where it says who asked for what, of the first
    /// lanes, or of the first records.
    fn breaks(&self) {
        let (Some(high), Some(low), Some(mask)) = (self.byte(), self.byte(), self.byte()) else {
            return;
        };
        let (fields, lanes) = (offset_of!(Header, asked) + 4, offset_of!(Header, lanes));
        let at = match usize::from(u16::from_be_bytes([high, low])) % 1024 {
            at if at < fields => at,
            at if at < 384 => lanes + at - fields,
            at => record_at((at - 384) / RECORD) + at % RECORD,
        };
        self.break_byte(at, mask);
    }

    /// A token cannot be told from one that was forged, byte for byte. So each place for one is broken
    /// once, and not where the kernel itself may write now.
    pub fn break_byte(&self, at: usize, mask: u8) {
        let place = at & !7;
        let in_records = place.wrapping_sub(size_of::<Header>());
        let is_place = PLACES.contains(&(in_records % size_of::<Record>()));
        if at >= size_of::<Header>() && is_place {
            let address = self.memory.address().wrapping_add(place).cast();
            // SAFETY: a place for a token in the ledger.
            let token = Token(unsafe { crate::sync::peek(address) });
            if at == place && token.is_reading() || self.broken.borrow().contains(&place) {
                return;
            }
            self.broken.borrow_mut().push(place);
        }
        self.honest.set(false);
        // SAFETY: within the ledger.
        unsafe { crate::sync::breaks(self.memory.address().wrapping_add(at), mask) };
    }

    /// One thing that comes to its end by itself; `false`: nothing does any more.
    fn wind_down(&self) -> bool {
        self.go_on();
        for host in &self.hosts {
            let busy = if Self::find(host, Stage::Runs).is_some() {
                self.job_ends(host, true);
                true
            } else if Self::find(host, Stage::New).is_some() {
                self.helper_starts(host);
                true
            } else {
                false
            };
            if busy {
                self.idle.set(0);
                return true;
            }
        }
        self.idle.set(self.idle.get() + 1);
        if self.idle.get() < 4 {
            self.guard(4);
            kernel(Kernel::tick);
            if !self.honest.get() {
                // A guard may not start on a broken ledger; but hosts reap.
                for host in &self.hosts {
                    self.in_host(host, |h| h.client().sweep(&h.table));
                }
            }
            return true;
        }
        // Without its host, and without a guard that can start on a broken ledger, nobody looks after a job.
        let matters = |host: &Host| self.honest.get() || kernel(|k| k.runs(host.pid));
        let mut hosts = self.hosts.iter().filter(|host| matters(host));
        let waiting = hosts.any(|host| Self::find(host, Stage::Waits).is_some());
        assert!(!waiting, "a held job waits for ever:\n{}", self.describe());
        for host in &self.hosts {
            while Self::find(host, Stage::Waits).is_some() {
                self.is_killed(host, 0);
            }
        }
        self.go_on();
        false
    }
}
