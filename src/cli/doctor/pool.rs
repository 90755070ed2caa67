//! MAKEFLAGS as it is understood, and the pool that would be joined.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use jsshim_engine::join::end::End;
use jsshim_engine::join::{self, Found, Settings};
use jsshim_engine::makeflags::{self, Auth, MakeFlags};
use jsshim_engine::pool::tokens::Pool;
use jsshim_engine::sys;

use super::findings::{variable, Report};
use crate::run;
use jsshim_engine::join::word;
use jsshim_engine::pool::pipe;

/// Looks at both.
pub fn check(report: &mut Report) {
    let value = std::env::var_os("MAKEFLAGS").map(OsString::into_vec);
    let flags = makeflags::parse(value.as_deref().unwrap_or_default());
    makeflags(report, value.as_deref(), &flags);
    let told = variable("JSSHIM_POOL");
    let told = told.as_ref().map(|w| w.as_bytes());
    let end = match flags.auth {
        Some(Auth::Fds { read, .. }) => End::of(read),
        _ => End::Now,
    };
    let dir = variable("JSSHIM_DIR");
    let dir = dir.as_ref().map(|d| d.as_bytes());
    match &join::find(Settings { makeflags: value.as_deref(), pool: told, end, dir }) {
        Found::Pool(pool, _) => joined(report, pool, &flags, told),
        Found::One => {
            report.ok("pool", "the make above runs one job at a time: a pool of one slot is made")
        }
        Found::None | Found::Over => own(report),
        Found::Unusable(problem) => {
            let problem = problem.text();
            let problem = String::from_utf8_lossy(problem.bytes());
            report.warn("pool", format!("{problem} Each program runs one job at a time"));
        }
    }
}

fn makeflags(report: &mut Report, value: Option<&[u8]>, flags: &MakeFlags<'_>) {
    let Some(value) = value else { return report.ok("MAKEFLAGS", "not set") };
    let mut parts = vec![format!("'{}'", String::from_utf8_lossy(value))];
    let letters = [
        (flags.dry_run, "n: dry run"),
        (flags.debug, "d: debug"),
        (flags.keep_going, "k: keep going"),
    ];
    parts.extend(letters.into_iter().filter(|(is, _)| *is).map(|(_, text)| text.to_owned()));
    parts.extend(flags.jobs.map(|n| format!("-j {n}")));
    parts.extend(
        flags.load_milli.map(|l| format!("no start above a load of {}", f64::from(l) / 1000.)),
    );
    parts.push(match flags.auth {
        None => "names no pool".to_owned(),
        Some(Auth::Fds { read, write }) if read < 0 || write < 0 => {
            "the pool is not for this recipe (make's word for one without '+')".to_owned()
        }
        Some(Auth::Fds { read, write }) => format!("the pool is in descriptors {read} and {write}"),
        Some(Auth::Fifo(_)) => "the pool is a fifo".to_owned(),
        Some(Auth::Unknown(word)) => format!("the pool is '{}'", String::from_utf8_lossy(word)),
    });
    let text = parts.join("; ");
    if flags.dry_run {
        report.warn("MAKEFLAGS", format!("{text}; the command is not run"));
    } else {
        report.ok("MAKEFLAGS", text);
    }
}

/// Which way leads to the pool?
fn joined(report: &mut Report, pool: &Pool, flags: &MakeFlags<'_>, told: Option<&[u8]>) {
    let path = String::from_utf8_lossy(pool.path.bytes()).into_owned();
    let same = told
        .and_then(word::decode)
        .is_some_and(|(id, at)| id == pool.id && at.bytes() == pool.path.bytes());
    let way = match (pool.inherited, flags.auth) {
        (Some((r, w)), _) => format!("by the descriptors {r} and {w}"),
        _ if same => "by JSSHIM_POOL".to_owned(),
        (None, Some(Auth::Fifo(_))) => "by its fifo".to_owned(),
        (None, _) => match path.strip_prefix("/proc/").and_then(|p| p.split('/').next()) {
            Some(pid) => {
                let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                format!("by the descriptors of the ancestor {pid} ({})", name.trim())
            }
            None => "by its path".to_owned(),
        },
    };
    let free = level(pool)
        .map_or("its level cannot be told".to_owned(), |n| format!("{n} tokens are free now"));
    report.ok("pool", format!("joined {way}: {path}; {free}"));
}

fn level(pool: &Pool) -> Option<usize> {
    let fd = pipe::open(&pool.path, pool.id, libc::O_RDWR).ok()?;
    let level = sys::level(fd);
    sys::close(fd);
    level.ok()
}

fn own(report: &mut Report) {
    match run::slots(None) {
        Ok(n) => {
            let whence =
                variable("JSSHIM_JOBS").map_or("the CPUs of this process", |_| "JSSHIM_JOBS");
            report.ok("pool", format!("none above: one of {n} slots is made ({whence})"));
        }
        Err(f) => report.warn("pool", format!("{}; the CPUs are counted", f.message)),
    }
}
