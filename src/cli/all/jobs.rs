//! The slots of the jobs of processes that are not preloaded. Each such process is a client in the ledger, and each job a
//! record, so that the guard gives back what a killed supervisor had.

use std::collections::HashMap;
use std::ffi::{c_char, CString, OsString};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::Ordering::Acquire;

use jsshim_engine::client::Client;
use jsshim_engine::hold::spec::Spec;
use jsshim_engine::ledger::access::Ledger;
use jsshim_engine::ledger::handle::Handle;
use jsshim_engine::ledger::reason::Reason;
use jsshim_engine::proc;
use jsshim_engine::program::glob;
use jsshim_engine::show::name;
use jsshim_engine::slots::State;
use jsshim_engine::sys::{self, Errno};

use super::caller;
use super::tables::Tables;

/// What a new job gets.
pub enum Got {
    /// It has a slot, or needs none.
    Runs,
    /// It must be held.
    Held(Handle),
}

pub struct Jobs {
    client: &'static Client,
    tables: &'static Tables,
    environ: Vec<*const c_char>,
    /// The jobs whose ends are watched, by their pidfds.
    watched: HashMap<RawFd, (OwnedFd, Handle)>,
    /// The processes that take slots themselves, and those that do not.
    obeying: HashMap<u64, bool>,
    count: u32,
    epoll: RawFd,
    /// `JSSHIM_SKIP` and `JSSHIM_ONLY`.
    names: [Option<OsString>; 2],
}

/// So many descriptors are not for watching.
const SPARE: i32 = 24;
/// So many clients are remembered.
const MOST: usize = 4096;

impl Jobs {
    /// `environ`: for the guard. `epoll`: where the ends of jobs are watched.
    pub fn new(client: &'static Client, tables: &'static Tables, epoll: RawFd) -> Self {
        // Each lives as long as this process.
        let words = crate::environment::words().into_iter().map(CString::into_raw);
        let environ = words.map(|w| w.cast_const()).chain([std::ptr::null()]).collect();
        let (watched, obeying) = (HashMap::new(), HashMap::new());
        let names = ["JSSHIM_SKIP", "JSSHIM_ONLY"]
            .map(|name| std::env::var_os(name).filter(|list| !list.is_empty()));
        Self { client, tables, environ, watched, obeying, count: 0, epoll, names }
    }

    fn ledger(&self) -> &'static Ledger {
        self.client.ledger()
    }

    /// The job of this process, and its state.
    pub fn find(&self, pid: i32) -> Option<(Handle, State)> {
        self.tables.jobs.find(self.ledger(), pid).filter(|(_, state)| state.is_job())
    }

    /// The record of a process that has jobs.
    fn client_of(&self, pid: i32) -> Option<Handle> {
        let known = self.tables.clients.find(self.ledger(), pid);
        if let Some((client, State::Client)) = known {
            return Some(client);
        }
        if self.is_left_out(pid) || !caller::is_in_tree(pid) {
            return None;
        }
        let client = self.client.of_process(pid)?;
        self.tables.clients.put(self.ledger(), pid, client);
        Some(client)
    }

    /// By its name.
    fn is_left_out(&self, pid: i32) -> bool {
        let [skip, only] = &self.names;
        if skip.is_none() && only.is_none() {
            return false;
        }
        let path = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let name = path.file_name().unwrap_or_default();
        let has = |list: &OsString| glob::any(list.as_bytes(), name.as_bytes());
        skip.as_ref().is_some_and(has) || only.as_ref().is_some_and(|list| !has(list))
    }

    /// Are the names of jobs wanted?
    pub fn is_traced(&self) -> bool {
        self.ledger().header.asked.is_traced()
    }

    /// A slot for process `pid`, a job of process `parent`. `program`: what it becomes, if that is wanted.
    pub fn begin(&mut self, pid: i32, parent: i32, program: Option<CString>) -> Got {
        let pidfd = match sys::pidfd_open(pid) {
            // SAFETY: a new descriptor.
            Ok(fd) => Some(unsafe { OwnedFd::from_raw_fd(fd) }),
            Err(Errno(libc::EMFILE | libc::ENFILE | libc::ENOSYS)) => None,
            // Also for a thread that is not the first of its process: its exec is no new job.
            Err(_) => return Got::Runs,
        };
        self.guard(false);
        let Some(client) = self.client_of(parent) else { return Got::Runs };
        let ledger = self.ledger();
        let Some(job) = ledger.claim(client.index, self.client.ledger_path().c()) else {
            return Got::Runs;
        };
        ledger.set_process(job, pid, || None);
        if let (Some(program), Some(record)) = (program, ledger.get(job)) {
            record.set_name(&name::of(program.as_bytes(), std::iter::empty()));
        }
        self.tables.jobs.put(ledger, pid, job);
        if let Some(pidfd) = pidfd {
            self.watch(pidfd, job);
        }
        self.take(client, parent, job)
    }

    /// A slot for a job that a killed supervisor has claimed.
    pub fn resume(&mut self, job: Handle, state: State, parent: i32) -> Got {
        match state {
            State::Claim => match self.client_of(parent) {
                Some(client) => self.take(client, parent, job),
                None => Got::Runs,
            },
            State::Held => Got::Held(job),
            _ => Got::Runs,
        }
    }

    fn take(&mut self, client: Handle, parent: i32, job: Handle) -> Got {
        let ledger = self.ledger();
        let has_held = || ledger.first_held(client.index).is_some();
        if !has_held() && ledger.take_implicit(job) {
            return Got::Runs;
        }
        self.sweep(client.index);
        if !has_held() && ledger.take_implicit(job) {
            return Got::Runs;
        }
        if self.obeys(client, parent) {
            self.end(job);
            return Got::Runs;
        }
        match self.client.start_now_of(client.index, job, || ()) {
            Some(_) => Got::Runs,
            None => Got::Held(job),
        }
    }

    fn obeys(&mut self, client: Handle, pid: i32) -> bool {
        if self.obeying.len() > MOST {
            self.obeying.clear();
        }
        let pool = self.client.pool.id;
        *self.obeying.entry(client.pack()).or_insert_with(|| caller::obeys(pid, pool))
    }

    /// Holds a job. Returns whether it does not have a slot by now.
    pub fn hold(&mut self, job: Handle) -> bool {
        let ledger = self.ledger();
        self.guard(true);
        ledger.step(job, State::Held);
        let client = ledger.get(job).map(|r| r.client.load(Acquire));
        if let Some(client) = client {
            ledger.settle(client, &self.client.pool);
        }
        ledger.get(job).is_some_and(|r| r.state() == State::Held)
    }

    /// The job starts without a slot: it cannot be held.
    pub fn overdraw(&self, job: Handle) {
        self.ledger().overdraw(job, Reason::Unheld);
    }

    /// The job has ended, or is none.
    pub fn end(&self, job: Handle) {
        self.client.end(job);
    }

    /// The helper's word about a job.
    pub fn word(&self, job: Handle) -> Vec<u8> {
        let ledger = *self.client.ledger_path();
        let spec =
            Spec { job, shell: false, inherited: (-1, -1), program: -1, exec_pipe: -1, ledger };
        spec.encode().bytes().to_vec()
    }

    /// Whether a process sees our files as we do.
    pub fn shares_files(&self, pid: i32) -> bool {
        caller::shares_files(pid, self.client.ledger_path())
    }

    /// Ends the jobs of a client whose processes have ended.
    fn sweep(&self, client: u32) {
        let ledger = self.ledger();
        for (job, state, record) in ledger.busy_jobs_of(client) {
            let pid = record.pid.load(Acquire);
            if state.runs() && pid > 0 && proc::has_ended(pid) {
                self.client.end(job);
            }
        }
    }

    fn watch(&mut self, pidfd: OwnedFd, job: Handle) {
        let number = pidfd.as_raw_fd();
        // The rest is for what a held job needs; the guard notices the ends of the others.
        if number.saturating_add(SPARE).unsigned_abs() as u64 > sys::open_files_limit() {
            return;
        }
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: number as u64 };
        // SAFETY: a struct that lives for the call.
        let added = unsafe {
            libc::epoll_ctl(self.epoll, libc::EPOLL_CTL_ADD, number, &raw mut event) == 0
        };
        // Otherwise the guard notices.
        if added {
            self.watched.insert(number, (pidfd, job));
        }
    }

    /// A watched process has ended.
    pub fn ended(&mut self, pidfd: RawFd) {
        if let Some((_, job)) = self.watched.remove(&pidfd) {
            // One that was handed on lives as another process.
            self.client.end(job);
        }
        if self.watched.is_empty() {
            self.client.pool.close();
        }
    }

    fn guard(&mut self, check: bool) {
        self.count = self.count.wrapping_add(1);
        self.client.guard(self.environ.as_ptr(), check || self.count.is_multiple_of(16));
    }
}
