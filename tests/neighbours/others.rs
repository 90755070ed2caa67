//! Debian's other libraries that are made to be preloaded, before and behind ours, with jobs by every kind of door:
//! an allocator, a sanitizer, and what stands before exec, files, sockets or user ids.

use super::{below, ends_with_5, PUT};
use crate::harness::pool::Kind;
use crate::harness::programs::{compiled, output};
use crate::Test;

pub fn tests() -> Vec<Test> {
    let mut list = Vec::new();
    for other in &OTHERS {
        for (place, how) in [("behind", "before"), ("before", "behind")] {
            let name = format!("neighbours::others::{}_{how}_ours", other.0);
            list.push(crate::test(&name, move || beside(other, place)));
        }
    }
    list
}

/// A name, the package, the end of the library's path, and what it wants in the environment.
type Other = (&'static str, &'static str, &'static str, &'static str);

const OTHERS: [Other; 8] = [
    ("jemalloc", "libjemalloc2", "/libjemalloc.so.2", ""),
    (
        "jemalloc_with_a_thread",
        "libjemalloc2",
        "/libjemalloc.so.2",
        "MALLOC_CONF=background_thread:true",
    ),
    // In programs that know nothing of it.
    (
        "address_sanitizer",
        "libasan8",
        "/libasan.so.8",
        "ASAN_OPTIONS=detect_leaks=0:verify_asan_link_order=0",
    ),
    // It notes each program that is exec'ed.
    ("snoopy", "snoopy", "/libsnoopy.so", ""),
    // It stands before system, popen and the exec and posix_spawn families.
    ("fakechroot", "libfakechroot", "/libfakechroot.so", ""),
    ("nocache", "nocache", "/nocache.so", ""),
    ("socket_wrapper", "libsocket-wrapper", "/libsocket_wrapper.so", "SOCKET_WRAPPER_DIR=$PWD"),
    ("uid_wrapper", "libuid-wrapper", "/libuid_wrapper.so", "UID_WRAPPER=1"),
];

const JOBS: &str = "for i in 1 2 3 4 5 6 7 8; do $JOB -b 5 -s 40 -i j$i -k 1 & done; wait; exit 5";

const PYTHON: &str = "
import os, subprocess
job = [os.environ['JOB'], '-b', '5', '-s', '40']
jobs = [subprocess.Popen(job) for _ in range(4)] + [os.popen(' '.join(job)) for _ in range(4)]
print([job.wait() if hasattr(job, 'wait') else job.close() for job in jobs])
raise SystemExit(5)";

fn beside((name, package, end, variable): &Other, place: &str) {
    let listed = output("dpkg", &["-L", package]);
    let library = listed.lines().find(|line| line.ends_with(end));
    let library = library.unwrap_or_else(|| panic!("no {end} in {package}"));
    // $DOORS has three jobs at once, which do not count themselves; and they say so where a library leaves a descriptor
    // open, as nocache does.
    let hosts = [("dash jobs.sh", true), ("python3 jobs.py", true), ("$DOORS", false)];
    for (host, counts) in hosts.into_iter().filter(|(_, counts)| *counts || *name != "nocache") {
        let text = format!(
            "export OURS {variable}; {PUT}\nbehind {library}; {place} $OURS
            grep -q {end} /proc/self/maps || exit 9; {host}; exit $?"
        );
        let run = below(&text)
            .file("jobs.sh", JOBS)
            .file("jobs.py", PYTHON)
            .env("DOORS", &compiled("faulty"))
            .pool(Kind::Fifo, 2);
        ends_with_5(if counts { run } else { run.any_peak() }).both();
    }
}
