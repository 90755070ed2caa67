//! Functions of libc that fail before or behind ours, by a preloaded injector (tests/preloads): the host sees the same
//! failure as without ours, at the same call, and no token goes with it. Where the calls that the library makes itself
//! fail is in `faults`.

use libc::{EACCES, EAGAIN, ECHILD, EINTR, ENOENT, ENOMEM};

use super::{below, ends_with_5, PUT};
use crate::harness::pool::Kind;
use crate::harness::programs::{compiled, preload};
use crate::harness::Outcome;
use crate::Test;

pub fn tests() -> Vec<Test> {
    let mut list = Vec::new();
    for (place, how) in [("behind", "before"), ("before", "behind")] {
        // Behind ours nobody calls vfork.
        let called = |fault: &&Fault| fault.name != "vfork" || how == "before";
        for fault in FAULTS.iter().filter(called) {
            let name = format!("neighbours::injected::{}_fails_{how}_ours", fault.name);
            list.push(crate::test(&name, move || fails(place, fault)));
        }
    }
    list
}

/// What fails, in which host, and the calls that do; 0: all.
struct Fault {
    name: &'static str,
    /// Of which one is called: where ours goes on by another one of the family, both are named.
    functions: &'static str,
    host: &'static str,
    errors: &'static [i32],
    times: &'static [u32],
}

const fn fault(
    name: &'static str,
    host: &'static str,
    errors: &'static [i32],
    times: &'static [u32],
) -> Fault {
    Fault { name, functions: name, host, errors, times }
}

/// Goes through each kind of door (c/faulty.c).
const DOORS: &str = "$DOORS";

/// Here each exec is a job's: with popen(3) the shell execs the helper, and where nothing can be exec'ed no command runs.
const EXECS: &str = "perl -e 'for (1..8) { fork or exec($ENV{JOB}, qw(-b 5 -s 40)), exit 60 }
        print join q( ), sort map { wait; $? } 1..8; exit 5'";

const FAULTS: [Fault; 8] = [
    fault("posix_spawn", DOORS, &[EAGAIN, ENOENT], &[0, 1, 3]),
    fault("fork", DOORS, &[EAGAIN], &[0, 1, 3]),
    fault("vfork", DOORS, &[EAGAIN], &[0, 1, 3]),
    Fault {
        functions: "execvp,execvpe,execv,execve",
        ..fault("exec", EXECS, &[ENOMEM, EACCES], &[0])
    },
    fault("waitpid", DOORS, &[EINTR, ECHILD], &[0, 2]),
    fault("system", DOORS, &[ENOMEM], &[0]),
    fault("popen", DOORS, &[ENOMEM], &[0]),
    fault("pclose", DOORS, &[ECHILD], &[0]),
];

fn fails(place: &str, fault: &Fault) {
    let library = preload("neighbour");
    let text = format!("{PUT}\nbehind {library}; {place} $OURS; {}; exit $?", fault.host);
    for errno in fault.errors {
        for (time, kind) in fault.times.iter().zip(KINDS.iter().cycle()) {
            let words = format!("{}:{errno}:{time}", fault.functions);
            eprintln!("fault {words}");
            let run = below(&text)
                .env("DOORS", &compiled("faulty"))
                .env("JSSHIM_TEST_FAULT", &words)
                // Jobs that were not waited for may run at the end, and then a descriptor of the pool is open.
                .ignoring("was not there before")
                .pool(*kind, 2)
                .may_overdraw();
            ends_with_5(run.check(|o: &Outcome| assert!(!o.text().is_empty()))).both();
        }
    }
}

const KINDS: [Kind; 2] = [Kind::Fifo, Kind::NonBlocking];
