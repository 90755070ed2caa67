//! MAKEFLAGS that are broken, where the library says one line and lets the host run; and unusual ones
//! that are not broken, where it says nothing and keeps the pool.

use crate::harness::pool::Kind;
use crate::harness::Run;
use crate::Test;

/// What MAKEFLAGS may hold that names no usable pool.
const BROKEN: [(&str, &str); 16] = [
    ("no_value", "-j3 --jobserver-auth="),
    ("words", "-j3 --jobserver-auth=three,four"),
    ("one_number", "-j3 --jobserver-auth=3"),
    ("half_a_pair", "-j3 --jobserver-auth=3,"),
    ("no_path", "-j3 --jobserver-auth=fifo:"),
    ("unknown_kind", "-j3 --jobserver-auth=sem:name"),
    ("numbers_too_large", "-j3 --jobserver-auth=99999999999999999999,99999999999999999999"),
    ("closed_fds", "-j3 --jobserver-auth=900,901"),
    ("closed_fds_of_old", " --jobserver-fds=900,901 -j"),
    ("one_closed_fd", "-j3 --jobserver-auth=0,901"),
    ("negative_fds", "-j3 --jobserver-auth=-2,-2"),
    ("missing_fifo", "-j3 --jobserver-auth=fifo:/nonexistent/fifo"),
    ("fifo_is_a_folder", "-j3 --jobserver-auth=fifo:/"),
    ("fifo_is_a_file", "-j3 --jobserver-auth=fifo:file"),
    ("regular_file", "-j3 --jobserver-auth=7,8"),
    ("ends_exchanged", "-j3 --jobserver-auth=4,3"),
];

/// What it may hold besides, with `AUTH` for the words of a real pool.
const UNDERSTOOD: [(&str, &str); 8] = [
    ("last_word_wins", "-j3 --jobserver-auth=900,901 AUTH"),
    ("last_word_wins_over_fds", "-j3 --jobserver-fds=900,901 AUTH"),
    ("definitions_after_the_end", "AUTH -- A=--jobserver-auth=900,901"),
    ("letters_first", "kw AUTH"),
    ("letters_first_and_a_blank", " AUTH"),
    ("other_options", "-j3 -Otarget --no-print-directory --sync-mutex=fnm:/x AUTH -l"),
    ("escaped_definition", "AUTH -- A=b\\ --jobserver-auth=900,901 B=c\\\\d"),
    ("stray_end", "AUTH -- "),
];

const SCRIPT: &str = "for i in 1 2 3 4 5 6; do $JOB -s 30 -i j$i -k 1 & done; wait; exit 5";

pub fn tests() -> Vec<Test> {
    let mut list =
        crate::tests![huge_and_broken, huge_and_understood, out_of_reach, fifo_of_somebody_else];
    for (name, flags) in BROKEN {
        let name = format!("badflags::broken::{name}");
        list.push(crate::test(&name, move || broken(flags)));
    }
    for (name, flags) in UNDERSTOOD {
        let name = format!("badflags::understood::{name}");
        list.push(crate::test(&name, move || understood(flags)));
    }
    list
}

/// The host starts six jobs at once. It has a pool, too, which nothing names properly.
fn host() -> Run {
    Run::new(&["dash", "-c", SCRIPT])
        .pool(Kind::NonBlocking, 4)
        .slots(6)
        .any_peak()
        .unordered()
        .check(|outcome| assert_eq!(outcome.status.code(), Some(5)))
}

fn broken(flags: &str) {
    let run = host().env("MAKEFLAGS", flags).file("file", "++").inherits(7, "file");
    run.inherits(8, "file").warns().both();
}

/// A pool is meant and out of reach: one job at a time, as make does it.
fn out_of_reach() {
    for flags in ["-j3 --jobserver-auth=900,901", "-j3 --jobserver-auth=-2,-2"] {
        host().env("MAKEFLAGS", flags).warns().slots(1).both();
    }
}

fn huge_and_broken() {
    let digits = "9".repeat(100_000);
    let flags = format!("-j3 --jobserver-auth={digits},{digits}")[..120_000].to_owned();
    host().env("MAKEFLAGS", &flags).warns().both();
    let path = "/x".repeat(50_000);
    host().env("MAKEFLAGS", &format!("-j3 --jobserver-auth=fifo:{path}")).warns().both();
}

fn huge_and_understood() {
    let definitions = " A=b".repeat(25_000);
    understood(&format!("AUTH --{definitions}"));
    let letters = "k".repeat(100_000);
    understood(&format!("{letters} AUTH"));
}

/// The host is nobody, and the pool is root's.
fn fifo_of_somebody_else() {
    if !is_root() {
        eprintln!("badflags::fifo_of_somebody_else needs root");
        return;
    }
    Run::new(&["dash", "-c", SCRIPT])
        .pool(Kind::Fifo, 4)
        .slots(6)
        .any_peak()
        .by_nobody()
        .unordered()
        .warns()
        .check(|outcome| assert_eq!(outcome.status.code(), Some(5)))
        .both();
}

fn is_root() -> bool {
    // SAFETY: it only tells a number.
    unsafe { libc::geteuid() == 0 }
}

fn understood(flags: &str) {
    for word in ["--jobserver-auth=3,4", "--jobserver-fds=3,4"] {
        Run::new(&["dash", "-c", SCRIPT])
            .pool(Kind::NonBlocking, 3)
            .env("MAKEFLAGS", &flags.replace("AUTH", word))
            .unordered()
            .check(|outcome| assert_eq!(outcome.status.code(), Some(5)))
            .both();
    }
}
