//! Real programs under the shim, a module per theme.
//!
//! `cargo test` alone runs what needs nothing installed. `scripts/test` builds the release, lays out
//! the toolbox, names it in JSSHIM_TOOLBOX, and then every test runs and a missing program is an error.

mod arch;
mod arm64;
mod away;
mod badflags;
mod cli;
mod corrupt;
mod cost;
mod daemons;
mod dialects;
mod docs;
mod doctor;
mod doors;
mod drivers;
mod elf;
mod ends;
mod environment;
mod examples;
mod faults;
mod go;
mod guards;
mod harness;
mod hosts;
mod idle;
mod installing;
mod kernels;
mod lanes;
mod launcher;
mod libjobserver;
mod libjobserver_examples;
mod musl;
mod neighbours;
mod ninja;
mod packaging;
mod proof;
mod python;
mod rooms;
mod run;
mod scale;
mod security;
mod see;
mod settings;
mod shares;
mod shells;
mod ship;
mod signals;
mod soak;
mod stalls;
mod strangers;
mod suites;
mod supervised;
mod table;
mod threads;
mod tidy;
mod wrapper;
mod xargs;

use lanes::{measuring, sleeping, Lane};
use libtest_mimic::Arguments;

/// A test. Its name says what must hold.
struct Test {
    name: String,
    lane: Lane,
    run: Box<dyn FnOnce() + Send>,
}

impl Test {
    fn in_lane(self, lane: Lane) -> Test {
        Test { lane, ..self }
    }
}

/// Names each function of a list after its module and itself.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        vec![$($crate::test(concat!(module_path!(), "::", stringify!($name)), $name)),*]
    };
}
use tests;

fn test(name: &str, run: impl FnOnce() + Send + 'static) -> Test {
    let name = name.trim_start_matches("it::").to_owned();
    Test { name, lane: Lane::Computes, run: Box::new(run) }
}

/// What is run has the descriptors that its test gives, and none that were left open above: by those a host
/// is judged, for example whether it may wait in a gate.
fn keep_descriptors_from_hosts() {
    // SAFETY: marks descriptors; none is closed.
    let r = unsafe { libc::close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_int) };
    assert_eq!(r, 0, "close_range: {}", std::io::Error::last_os_error());
}

/// Nor does it ignore a signal because somebody above did (nohup, a shell's background).
fn ignore_nothing() {
    for signal in (1..32).filter(|s| ![libc::SIGKILL, libc::SIGSTOP, libc::SIGPIPE].contains(s)) {
        // SAFETY: no handler is in place yet; the default of SIGPIPE is left to `std`.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &raw mut action);
            if action.sa_sigaction == libc::SIG_IGN {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
    }
}

/// In the order in which they start: first what takes long, so that it is not the last to end. What measures leaves
/// processors to what sleeps, and to the checks beside the tests, of which there are none any more at the end.
fn with_real_programs() -> Vec<Vec<Test>> {
    vec![
        measuring(idle::tests()),
        docs::tests(),
        suites::tests(),
        strangers::tests(),
        packaging::tests(),
        ship::tests(),
        examples::tests(),
        drivers::tests(),
        wrapper::tests(),
        libjobserver_examples::tests(),
        libjobserver::tests(),
        soak::tests(),
        scale::tests(),
        see::tests(),
        table::tests(),
        musl::tests(),
        go::tests(),
        supervised::tests(),
        security::tests(),
        corrupt::tests(),
        doors::tests(),
        arch::tests(),
        arm64::tests(),
        neighbours::tests(),
        python::tests(),
        ninja::tests(),
        proof::tests(),
        hosts::tests(),
        sleeping(signals::tests()),
        threads::tests(),
        dialects::tests(),
        environment::tests(),
        cli::tests(),
        doctor::tests(),
        launcher::tests(),
        installing::tests(),
        shells::tests(),
        xargs::tests(),
        cost::tests(),
        elf::tests(),
        sleeping(kernels::tests()),
        sleeping(faults::tests()),
        sleeping(stalls::tests()),
        sleeping(guards::tests()),
        sleeping(ends::tests()),
        sleeping(away::tests()),
        sleeping(daemons::tests()),
        sleeping(badflags::tests()),
        sleeping(settings::tests()),
        sleeping(shares::tests()),
    ]
}

/// All of them, and how many are left out.
fn all() -> (Vec<Test>, usize) {
    let mut tests = tidy::tests();
    tests.extend(rooms::tests());
    tests.extend(docs::plain_tests());
    tests.extend(lanes::tests());
    let real: Vec<_> = with_real_programs().into_iter().flatten().collect();
    if std::env::var_os("JSSHIM_TOOLBOX").is_none() {
        return (tests, real.len());
    }
    tests.extend(real);
    (tests, 0)
}

fn main() {
    keep_descriptors_from_hosts();
    ignore_nothing();
    let (mut tests, left_out) = all();
    if let Some((name, folder)) = run::asked_for() {
        harness::programs::set_folder(folder);
        tests.retain(|test| test.name == name);
        (tests.pop().expect("the test is there").run)();
        let _ = std::fs::remove_dir_all(harness::programs::base());
        return;
    }
    let arguments = Arguments::from_args();
    if left_out > 0 {
        println!("left out: {left_out} tests with real programs (run scripts/test)");
    }
    let folder = harness::programs::folder();
    let conclusion = run::run(arguments, tests, folder);
    let _ = std::fs::remove_dir_all(folder);
    conclusion.exit();
}
