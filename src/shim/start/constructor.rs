//! What cannot wait until the first job: a pool that the top program itself must join, and a dry run.

use core::ffi::{c_char, c_int, CStr};
use core::sync::atomic::Ordering::Release;

use jsshim_engine::client::Client;
use jsshim_engine::join::end::End;
use jsshim_engine::join::word;
use jsshim_engine::makeflags::{self, Auth};
use jsshim_engine::pool::own_pool;
use jsshim_engine::show::numbers;
use jsshim_engine::show::stderr;
use jsshim_engine::text::Text;
use jsshim_engine::{proc, sys};

use crate::exec::environ::{self, Strings};
use crate::job::state::STATE;
use crate::job::stats;

use super::{dialect, join, kernel, program, settings};

/// Stores the addresses of arguments and environment, and does no more unless the environment asks for it. Where
/// privileges have risen it does not even that. `record_first`: see [`State::join`](crate::job::state::State::join).
pub fn run(count: c_int, arguments: Strings, environment: Strings, record_first: fn(&Client)) {
    let passed = kernel::is_whole(count, arguments, environment);
    let (found, environment) = match passed {
        true => (Some(arguments), environment),
        false => (kernel::arguments(environ::current()), environ::current()),
    };
    if let Some(arguments) = found {
        // SAFETY: the kernel's arrays: AT_SECURE tells whether this exec has given the process privileges that its
        // parent does not have (setuid, setgid, file capabilities).
        if unsafe { kernel::auxiliary(environment, libc::AT_SECURE as usize) } != 0 {
            return STATE.stay_out();
        }
        STATE.begin(arguments, environment);
        read_environment(record_first);
        if !passed {
            show(arguments, environment);
        }
    } else {
        STATE.begin(core::ptr::null(), environment);
        read_environment(record_first);
    }
}

/// In musl, main gets the environment of the kernel, which lacks the variables that were added since. make looks at no
/// other: the program is started once more, before any of it has run.
#[cold]
fn show(arguments: Strings, environment: Strings) {
    if environ::current() == environment || !program::is_speaker() {
        return;
    }
    // SAFETY: the kernel's arrays; it has put the path of the program there, and libc has the new environment.
    unsafe {
        let path = kernel::auxiliary(environment, libc::AT_EXECFN as usize) as *const c_char;
        if !path.is_null() {
            sys::execve(path, arguments, environ::current());
        }
    }
}

/// Reads the environment once. `record_first`: see [`State::join`](crate::job::state::State::join).
fn read_environment(record_first: fn(&Client)) {
    let (mut jobs, mut pool, mut flags, mut held) = (false, false, None, None);
    let (mut stats, mut trace, mut root, mut forced) = (false, false, false, false);
    // SAFETY: before main, the environment is as the kernel made it. The first byte rules out most words.
    let words = unsafe {
        let ours = |s: &*const c_char| matches!(s.cast::<u8>().read(), b'J' | b'L' | b'M');
        environ::pointers(environ::current()).filter(ours).map(|s| CStr::from_ptr(s))
    };
    for word in words {
        match word.to_bytes() {
            [b'J', b'S', rest @ ..] => {
                jobs |= rest.strip_prefix(b"SHIM_JOBS=").is_some_and(|v| !v.is_empty());
                if let Some(word) = rest.strip_prefix(b"SHIM_POOL=") {
                    pool = true;
                    root |= own_pool::is_made_here(word);
                }
                forced |= rest.starts_with(b"SHIM_FORCE=");
                stats |= rest.strip_prefix(b"SHIM_STATS=").is_some_and(numbers::is_on);
                trace |= rest.strip_prefix(b"SHIM_TRACE=").is_some_and(numbers::is_on);
                held = held.or_else(|| word::handle(rest.strip_prefix(b"SHIM_HELD=")?));
            }
            [b'L', b'D', b'_', b'P', b'R', b'E', b'L', b'O', b'A', b'D', b'=', ..] => {
                STATE.set_preload(word);
            }
            [b'M', b'A', b'K', b'E', b'F', b'L', b'A', b'G', b'S', b'=', rest @ ..] => {
                flags = Some(rest);
                STATE.set_flags(word);
            }
            _ => {}
        }
    }
    if let Some(job) = held {
        STATE.put_held(job);
        environ::remove(c"JSSHIM_HELD");
    }
    let parsed = flags.map(makeflags::parse);
    if parsed.as_ref().is_some_and(|f| f.dry_run) {
        stop_dry_run();
    }
    let auth = parsed.and_then(|f| f.auth);
    if let Some(Auth::Fds { read, .. }) = auth {
        STATE.set_end(End::of(read));
    }
    if root {
        stats::made_pool();
    }
    if stats {
        stats::begin(root);
    }
    let top = !pool && auth.is_none();
    // In the program at the top, jobs that run alone must be seen, too.
    STATE.eager.store(top || root && (stats || trace), Release);
    STATE.top.store(top, Release);
    if top && jobs {
        found_pool(flags, record_first);
    } else if !top && program::is_speaker() {
        if forced && settings::is_forced() {
            return dialect::hide(flags);
        }
        dialect::translate(flags, auth.as_ref(), forced);
        // The first child must be told, too, if the others are.
        STATE.eager.store(!program::obeys(settings::of_pool()), Release);
    }
}

/// `make -n` still runs recipes marked `+`: the program at the top of the preload does not run then, as make's manual
/// requires of job server clients. If its parent is preloaded, too, make has started it on purpose.
fn stop_dry_run() {
    let mut preloaded = false;
    let parent = proc::ancestors().next().unwrap_or(0);
    proc::each_word(&proc::of(parent).with(b"/environ"), |w| {
        preloaded |= w.starts_with(b"LD_PRELOAD=") && w.windows(9).any(|part| part == b"libjsshim");
    });
    if !preloaded {
        stderr::say(b"MAKEFLAGS has n (dry run): the program is not run");
        sys::exit(0);
    }
}

/// With `JSSHIM_JOBS` the pool is made before the program starts, so that a make or cargo at the top joins it, too.
///
/// The pool travels in `JSSHIM_POOL`. A program that speaks the protocol gets it in its own MAKEFLAGS, when it starts:
/// no other program of the tree has descriptors of ours, or make's words.
fn found_pool(flags: Option<&[u8]>, record_first: fn(&Client)) {
    let Some(word) = join::found(record_first) else {
        // A warning was given; the children need not try again.
        return environ::export(c"JSSHIM_JOBS", b"\0");
    };
    let word: Text<400> = Text::new(word.bytes()).with(b"\0");
    environ::export(c"JSSHIM_POOL", word.bytes());
    stats::made_pool();
    if program::is_speaker() && !settings::is_forced() {
        dialect::translate(flags, None, false);
    }
}
