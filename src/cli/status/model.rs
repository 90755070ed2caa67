//! What `status` tells, in the form of its JSON (docs/status.schema.json).

use serde::Serialize;

/// Everything.
#[derive(Serialize)]
pub struct Status {
    /// The pools that are in use, by path.
    pub pools: Vec<Pool>,
}

/// A pool and its jobs.
#[derive(Serialize)]
pub struct Pool {
    /// How it is reached.
    pub path: String,
    /// The ledger's file.
    pub ledger: String,
    /// Its processes are of another PID namespace: their pids are those that they have there.
    pub elsewhere: bool,
    /// For a pool of our own: the process with which it ends.
    pub root: Option<Process>,
    /// How many slots it has, if that is known.
    pub slots: Option<u32>,
    /// Slots in use: by all, if their number is known, else by the jobs below.
    pub in_use: u32,
    /// Tokens that lie in the pool, if it can be opened.
    pub free: Option<u32>,
    /// Held jobs first, those that wait longest at the top; then those that run, the oldest first.
    pub jobs: Vec<Job>,
    /// Processes of the tree whose own jobs do not queue.
    pub escaped: Vec<Escaped>,
    /// What the ledger has counted.
    pub statistics: Statistics,
}

/// A process by name.
#[derive(Serialize, Clone)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Its program.
    pub program: String,
}

/// A job.
#[derive(Serialize)]
pub struct Job {
    /// Its process; 0 while it is being made.
    pub pid: i32,
    /// Its program.
    pub program: String,
    /// The program and what it makes.
    pub name: String,
    /// The whole command line.
    pub command: Vec<String>,
    /// On what it runs.
    pub state: State,
    /// It runs and sleeps: its slot is lent while another job is held.
    pub sleeps: bool,
    /// Of an overdraft: why.
    pub reason: Option<String>,
    /// For how long it has been in this state.
    pub seconds: f64,
    /// For how long it had waited before.
    pub waited_seconds: f64,
    /// Who started it.
    pub client: Process,
}

/// On what a job runs.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waits for a slot.
    Held,
    /// On its client's own slot.
    Implicit,
    /// On a token.
    Token,
    /// On a slot whose jobs sleep.
    Borrowed,
    /// Without a slot.
    Overdraft,
}

impl State {
    /// As in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Implicit => "implicit",
            Self::Token => "token",
            Self::Borrowed => "borrowed",
            Self::Overdraft => "overdraft",
        }
    }
}

/// A process of the tree that is out of the library's reach.
#[derive(Serialize)]
pub struct Escaped {
    /// Its number.
    pub pid: i32,
    /// Its program.
    pub program: String,
    /// Why.
    pub why: String,
}

/// The numbers of `JSSHIM_STATS`, so far. Those that have been told are not in them.
#[derive(Serialize)]
pub struct Statistics {
    /// Jobs that have started.
    pub jobs: u32,
    /// Jobs that have waited.
    pub waits: u64,
    /// Their waits: half were no longer.
    pub median_seconds: f64,
    /// 19 in 20 were no longer.
    pub p95_seconds: f64,
    /// The longest.
    pub longest_seconds: f64,
    /// All together.
    pub held_seconds: f64,
    /// Starts on slots whose jobs slept.
    pub borrowed: u32,
    /// For how long such jobs had no slot of their own.
    pub lent_seconds: f64,
    /// Jobs that computed above the slots, times for how long.
    pub above_seconds: f64,
    /// Starts without a slot.
    pub overdrafts: u64,
    /// Tokens that the guard has given back.
    pub recovered: u32,
}
