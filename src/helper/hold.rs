//! The role `hold`: wait, then become the job.

use core::ffi::{c_char, CStr};
use core::ptr::null;

use jsshim_engine::ledger::Shared;
use jsshim_engine::pool::Pool;
use jsshim_engine::slots::State;
use jsshim_engine::spec::Spec;
use jsshim_engine::text::{Path, Text};
use jsshim_engine::{guard, hold, report, sys};

use crate::start::Args;

/// argv: name, spec, target, then the target's own.
pub fn run(args: &Args) -> ! {
    let spec = args.get(1).and_then(|s| Spec::decode(s.to_bytes()));
    let Some(target) = args.get(2) else { sys::exit(2) };
    let timers = sys::Timers::stop();
    match spec.as_ref().map(|s| (s, Shared::open(s.ledger.c()))) {
        Some((spec, Ok(ledger))) => {
            let held = ledger.get(spec.job).is_some_and(|r| r.state().is_held());
            let start = wait(ledger, spec, args);
            if held && args.variable(b"JSSHIM_DEBUG=").is_some_and(|v| !matches!(v, b"" | b"0")) {
                tell(ledger, spec, target, start);
            }
        }
        // Another uid, another root directory: nothing to wait by. The build goes on.
        _ => report::say(b"cannot open the ledger; the job starts without a slot"),
    }
    timers.resume();
    // Of a word that is not understood, too, what is run is known; a text was to be run by the shell.
    exec(args, target, spec.is_none_or(|s| s.shell))
}

fn wait(ledger: &Shared, spec: &Spec, args: &Args) -> State {
    let inherited = (spec.inherited.0 >= 0).then_some(spec.inherited);
    let pool = Pool::new(ledger.header.id(), ledger.header.reach(), inherited);
    hold::wait(ledger, spec.job, &pool, &[0], &|| {
        let mut buf = [0u8; 256];
        let this = sys::readlink(c"/proc/self/exe", &mut buf).unwrap_or(b"");
        let (path, pool, helper) = (&spec.ledger, &pool, &Path::new(this));
        guard::ensure(&guard::Start { ledger, path, pool, helper, envp: args.env() }, None, true);
    })
}

/// For `JSSHIM_DEBUG`: a start without a slot.
fn tell(ledger: &Shared, spec: &Spec, target: &CStr, start: State) {
    if start == State::Overdraft && ledger.get(spec.job).is_some() {
        let target = target.to_bytes();
        let name = target.rsplit(|b| *b == b'/').next().unwrap_or(target);
        let mut text = ledger.start(b"was held, ", spec.job, start);
        report::debug_of(name, text.put(b" overdraft").bytes());
    }
}

fn exec(args: &Args, target: &'static CStr, shell: bool) -> ! {
    // SAFETY: the kernel's own arrays.
    let mut e = unsafe { sys::execve(target.as_ptr(), args.from(3), args.env()) };
    if shell && e == sys::Errno(libc::ENOEXEC) {
        e = exec_shell(args, target);
    }
    let line: Text<320> = Text::new(b"cannot start ").with(target.to_bytes());
    report::say(line.with(b" (errno ").num(e.0).with(b")").bytes());
    sys::exit(if e == sys::Errno::NOENT { 127 } else { 126 })
}

/// `/bin/sh TARGET ARG…`, as execvp(3) does for a text without `#!`.
fn exec_shell(args: &Args, target: &'static CStr) -> sys::Errno {
    let sh = c"/bin/sh";
    let alone: [*const c_char; 3] = [sh.as_ptr(), target.as_ptr(), null()];
    let argv = if args.get(3).is_some() {
        let argv = args.from(2);
        // SAFETY: the entries of TARGET and of its name, both there.
        unsafe {
            argv.write(sh.as_ptr());
            argv.wrapping_add(1).write(target.as_ptr());
        }
        argv.cast_const()
    } else {
        alone.as_ptr()
    };
    // SAFETY: NULL-terminated arrays of C strings.
    unsafe { sys::execve(sh.as_ptr(), argv, args.env()) }
}
