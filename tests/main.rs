//! Real programs under the shim, a module per theme.
//!
//! `cargo test` alone runs what needs nothing installed. `scripts/test` builds the release, lays out
//! the toolbox, names it in JSSHIM_TOOLBOX, and then every test runs and a missing program is an error.

mod arch;
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
mod guards;
mod harness;
mod hosts;
mod idle;
mod installing;
mod launcher;
mod libjobserver;
mod libjobserver_examples;
mod neighbours;
mod ninja;
mod packaging;
mod proof;
mod python;
mod rooms;
mod security;
mod see;
mod settings;
mod shells;
mod ship;
mod signals;
mod soak;
mod stalls;
mod strangers;
mod suites;
mod table;
mod threads;
mod tidy;
mod wrapper;
mod xargs;

use libtest_mimic::{Arguments, Trial};

/// A named test. The name says what must hold.
type Test = (String, Box<dyn FnOnce() + Send>);

/// Names each function of a list after its module and itself.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        vec![$($crate::test(concat!(module_path!(), "::", stringify!($name)), $name)),*]
    };
}
use tests;

fn test(name: &str, run: impl FnOnce() + Send + 'static) -> Test {
    let name = name.trim_start_matches("it::").to_owned();
    (name, Box::new(run))
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

fn main() {
    keep_descriptors_from_hosts();
    ignore_nothing();
    let mut arguments = Arguments::from_args();
    // More would only wait for the processor, and what waits is what is tested.
    arguments.test_threads.get_or_insert(2);
    let mut tests = tidy::tests();
    tests.extend(rooms::tests());
    tests.extend(docs::plain_tests());
    let mut real = [
        elf::tests(),
        cost::tests(),
        ninja::tests(),
        xargs::tests(),
        shells::tests(),
        signals::tests(),
        threads::tests(),
        proof::tests(),
        python::tests(),
        hosts::tests(),
        doors::tests(),
        dialects::tests(),
        environment::tests(),
        drivers::tests(),
        badflags::tests(),
        soak::tests(),
        ends::tests(),
        guards::tests(),
        stalls::tests(),
        idle::tests(),
        strangers::tests(),
        corrupt::tests(),
        cli::tests(),
        installing::tests(),
        launcher::tests(),
        daemons::tests(),
        doctor::tests(),
        ship::tests(),
        packaging::tests(),
        examples::tests(),
        docs::tests(),
        arch::tests(),
        away::tests(),
        neighbours::tests(),
        settings::tests(),
        faults::tests(),
        security::tests(),
        table::tests(),
        suites::tests(),
        see::tests(),
        libjobserver::tests(),
        libjobserver_examples::tests(),
        wrapper::tests(),
    ];
    if std::env::var_os("JSSHIM_TOOLBOX").is_some() {
        tests.extend(real.iter_mut().flat_map(std::mem::take));
    } else {
        let count: usize = real.iter().map(Vec::len).sum();
        println!("left out: {count} tests with real programs (run scripts/test)");
    }
    let trial = |(name, run): Test| {
        Trial::test(name, move || {
            run();
            Ok(())
        })
    };
    let conclusion = libtest_mimic::run(&arguments, tests.into_iter().map(trial).collect());
    let _ = std::fs::remove_dir_all(harness::programs::base());
    conclusion.exit();
}
