//! What is said of the environment, and of how jsshim ends, by `--help` and by the manual page.

/// Each variable, and what it is for.
pub const VARIABLES: &[(&str, &str)] = &[
    ("JSSHIM_JOBS=N", "slots of a pool of our own (default: the CPUs this process may use)"),
    ("JSSHIM_ALL=1", "as --all"),
    ("JSSHIM_DEBUG=1", "a line on stderr for each start, wait and end of a job"),
    ("JSSHIM_SKIP=GLOBS", "programs that are not gated, by name: 'cmake,ld*'"),
    ("JSSHIM_ONLY=GLOBS", "gate these programs only"),
    (
        "JSSHIM_FORCE=GLOBS",
        "gate these programs though they speak the protocol themselves, so that they share the slots evenly: 'ninja'",
    ),
    (
        "JSSHIM_SHARE=N|idle",
        "tokens of each turn while other builds want some, too (1 to 16, default 1); idle: only those that nobody else wants",
    ),
    (
        "JSSHIM_GATE=MODE",
        "auto: the parent waits for a slot (at most 1 s) while nothing else needs it, else the child is held; \
         parent: it waits even if threads or pipes may need it; child: the child is held at once",
    ),
    (
        "JSSHIM_WAIT=MEANS",
        "by what a parent that waits for a slot notices that a job ends: pidfd, or selfpipe: SIGCHLD, as it does anyway \
         before Linux 5.3",
    ),
    (
        "JSSHIM_COUNT=WORD",
        "running: slots are for jobs that compute, and one that sleeps lends its own; processes: for all jobs that have \
         started",
    ),
    (
        "JSSHIM_STALL=SECONDS",
        "how long a job must have slept until its slot is lent (default 0.1); off: never",
    ),
    (
        "JSSHIM_STATS=1|FILE",
        "numbers at the end of the program at the top: on stderr, or as JSON appended to FILE (jsshim stats FILE)",
    ),
    ("JSSHIM_TRACE=FILE", "what runs when and where, appended to FILE (see --trace)"),
    ("JSSHIM_LOAD=F", "no further start while the load average is above F (as make -l)"),
    ("JSSHIM_DIR=DIR", "run-time directory (default: /dev/shm/jsshim-UID, else /tmp/jsshim-UID)"),
    ("JSSHIM_HELPER=FILE", "jsshim-helper, if it is not next to the library"),
    ("JSSHIM_ENV=respect", "put nothing back into an environment that a tool has scrubbed, and no flag into GOFLAGS"),
    ("JSSHIM_POOL", "set by jsshim itself: the pool of this tree"),
];

/// How it ends.
pub const STATUS: &str =
    "That of CMD; 127 if CMD is not found, 126 if it cannot be run, 2 for wrong usage or a \
    broken installation.";

/// The column in which the texts start.
const COLUMN: usize = 23;
const WIDTH: usize = 100;

/// The end of `--help`.
pub fn help() -> String {
    let mut text = "Environment:\n".to_owned();
    for (name, what) in VARIABLES {
        let mut line = format!("  {name:<20} ");
        for word in what.split_whitespace() {
            if line.len() + word.len() > WIDTH {
                text += line.trim_end();
                text.push('\n');
                line = " ".repeat(COLUMN);
            }
            line += word;
            line.push(' ');
        }
        text += line.trim_end();
        text.push('\n');
    }
    text + "\nExit status: " + &STATUS.replacen("That", "that", 1)
}
