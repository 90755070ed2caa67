//! What `status` tells, in the form of its JSON. docs/status.schema.json is made of these types; see [`VERSION`].

use std::fmt;

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

/// Of the form: it grows where a consumer would misunderstand what is told.
pub const VERSION: u32 = 1;

/// What `jsshim status --json` tells
#[derive(Serialize)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct Status {
    /// Of this form: it grows where a consumer of an older one would misunderstand what is told
    #[cfg_attr(test, schemars(extend("const" = VERSION)))]
    pub version: u32,
    /// The pools that are in use, by path
    pub pools: Vec<Pool>,
}

/// A pool and its jobs
#[derive(Serialize, Clone)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct Pool {
    /// How it is reached
    pub path: String,
    /// The file of the shared record of its jobs
    pub ledger: String,
    /// Its processes are of another PID namespace: their pids are those that they have there
    pub elsewhere: bool,
    /// Of a pool that jsshim has made: the process with which it ends
    pub root: Option<Process>,
    /// How many slots it has; null: unknown
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub slots: Option<u32>,
    /// Slots in use: by all, if their number is known, else by the jobs below
    pub in_use: u32,
    /// Tokens that lie in the pool; null: it cannot be opened
    pub free: Option<u32>,
    /// Slots whose jobs sleep, and on which other jobs run
    pub lent: u32,
    /// By how many more jobs compute than there are slots
    pub above: u32,
    /// How many jobs run
    pub running: u32,
    /// How many jobs wait for a slot
    pub held: u32,
    /// How many jobs have ended
    pub done: u32,
    /// For how long the pool has been in use by jobs
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub seconds: f64,
    /// Memory of its processes that they share with nobody
    pub memory_bytes: u64,
    /// Those that run first, then those that are held; in both those that do so longest at the top
    pub jobs: Vec<Job>,
    /// Clients whose share of the slots is not that of others (JSSHIM_SHARE)
    pub shares: Vec<Shared>,
    /// Processes of the tree whose own jobs do not queue
    pub escaped: Vec<Escaped>,
    /// What JSSHIM_STATS would tell now. What it has told is not in it
    pub statistics: Statistics,
}

/// A process by name
#[derive(Serialize, Clone)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct Process {
    /// Its pid; 0: unknown
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub pid: i32,
    /// Its program; empty: it has ended
    pub program: String,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.program, self.pid)
    }
}

/// A client and its share
#[derive(Serialize, Clone)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct Shared {
    /// Who it is
    pub client: Process,
    /// How many slots it gets for each that another client gets; 0: those that nobody else wants
    #[cfg_attr(test, schemars(range(max = 16)))]
    pub share: u32,
}

/// A job
#[derive(Serialize, Clone)]
#[cfg_attr(
    test,
    derive(JsonSchema),
    schemars(
        deny_unknown_fields,
        extend("if" = {"properties": {"state": {"const": "overdraft"}}}),
        extend("then" = {"properties": {"reason": {"type": "string"}}}),
        extend("else" = {"properties": {"reason": {"type": "null"}}})
    )
)]
pub struct Job {
    /// Its pid; 0: there is no process yet, its client makes it or waits before it does
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub pid: i32,
    /// Its program
    pub program: String,
    /// The program and what it makes; `sh (fork)` if there is no process yet, and its client does not know
    pub name: String,
    /// The whole command line
    pub command: Vec<String>,
    /// On what it runs
    pub state: State,
    /// It runs and sleeps: its slot is lent while another job is held
    pub sleeps: bool,
    /// It has slept, has woken up, and waits until it may go on
    pub returns: bool,
    /// Of an overdraft: why it runs without a slot
    pub reason: Option<String>,
    /// For how long it has been in this state
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub state_seconds: f64,
    /// For how long it has waited for its slot in all: of a held job until now, of one that runs until its start
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub waited_seconds: f64,
    /// Who started it
    pub client: Process,
}

impl Job {
    /// For how long it has been running so, or has waited in all, in seconds.
    pub fn time(&self) -> f64 {
        match self.state {
            State::Held => self.waited_seconds,
            _ => self.state_seconds,
        }
    }
}

/// On what a job runs
#[derive(Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(test, derive(JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// On its client's own slot
    Implicit,
    /// On a token
    Token,
    /// On a slot whose jobs sleep
    Borrowed,
    /// Without a slot
    Overdraft,
    /// On nothing: it waits for a slot
    Held,
}

impl State {
    /// As in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Implicit => "implicit",
            Self::Token => "token",
            Self::Borrowed => "borrowed",
            Self::Overdraft => "overdraft",
            Self::Held => "held",
        }
    }
}

/// A process of the tree that is out of the library's reach
#[derive(Serialize, Clone)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct Escaped {
    /// Its pid
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub pid: i32,
    /// Its program
    pub program: String,
    /// Why
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub why: String,
}

/// The numbers of JSSHIM_STATS so far
#[derive(Serialize, Clone)]
#[cfg_attr(test, derive(JsonSchema), schemars(deny_unknown_fields))]
pub struct Statistics {
    /// Jobs that have started
    pub jobs: u32,
    /// Jobs that have waited
    pub waits: u64,
    /// Half of the waits were no longer, to an eighth
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub median_seconds: f64,
    /// 19 in 20 were no longer, to an eighth
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub p95_seconds: f64,
    /// The longest wait
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub longest_seconds: f64,
    /// All waits together
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub held_seconds: f64,
    /// Starts on slots whose jobs slept
    pub borrowed: u32,
    /// For how long such jobs had no slot of their own
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub lent_seconds: f64,
    /// Jobs that computed above the slots, times for how long
    #[cfg_attr(test, schemars(range(min = 0)))]
    pub above_seconds: f64,
    /// Starts without a slot
    pub overdrafts: u64,
    /// Tokens of processes that were killed, which the guard has given back
    pub recovered: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// docs/status.schema.json is what these types say. `WRITE=1 cargo test -p jsshim-cli` makes it anew.
    #[test]
    fn the_schema_is_of_these_types() {
        let mut schema = schemars::schema_for!(Status);
        schema.insert("title".to_owned(), "jsshim status --json".into());
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/status.schema.json");
        if std::env::var_os("WRITE").is_some() {
            std::fs::write(file, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(file).unwrap(), text);
    }
}
