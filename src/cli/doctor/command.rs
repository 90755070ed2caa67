//! The command: what it is, and whether its jobs will queue.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use jsshim_engine::makeflags;
use jsshim_engine::program::target::Kind;
use jsshim_engine::program::{glob, speaker};

use super::findings::{variable, Report};
use super::{place, proxy};
use crate::elf::Elf;
use crate::program;

const TOPIC: &str = "command";

/// Looks at the program of this name and its arguments.
pub fn check(report: &mut Report, name: &OsStr, args: &[OsString], library: Option<&Path>) {
    let mut found = program::find(name);
    if let Ok((path, Kind::Text)) = &found {
        // As execvp(3) has it.
        report.note(TOPIC, format!("{} has no #!: /bin/sh runs it", path.display()));
        found = program::find(OsStr::new("/bin/sh"));
    }
    let (path, kind) = match found {
        Ok(found) => found,
        Err(f) => return report.fail(TOPIC, f.message),
    };
    let program = interpreted(report, &path);
    let program = behind_proxy(report, program);
    let shown = program.display();
    left_out(report, &program);
    let words: Vec<_> = std::iter::once(name.to_owned()).chain(args.iter().cloned()).collect();
    if crate::run::go_flags(&words).is_some() {
        let text = "its tools queue, by -toolexec in GOFLAGS";
        return report.ok(
            TOPIC,
            format!("{shown} is a Go program, into which nothing is preloaded; {text}"),
        );
    }
    if let Some(why) = program::out_of_reach(&program, kind) {
        let by_all = !matches!(kind, Kind::Foreign);
        let but = if by_all { "; with --all they do" } else { "" };
        return report
            .warn(TOPIC, format!("{shown} {why}: it runs, but its jobs do not queue{but}"));
    }
    let elf = Elf::read(&program);
    if elf.as_ref().is_some_and(|e| e.needed.iter().any(|n| n.starts_with("libasan.so"))) {
        let how = "build it with -static-libasan, or set ASAN_OPTIONS=verify_asan_link_order=0, as --all does";
        let text = format!("{shown} has AddressSanitizer's shared run-time, which refuses preloaded libraries: {how}");
        let told = variable("ASAN_OPTIONS")
            .is_some_and(|v| v.to_string_lossy().contains("verify_asan_link_order=0"));
        if told {
            report.ok(TOPIC, text);
        } else {
            report.warn(TOPIC, text);
        }
    }
    match library.map(|l| place::loads(l, &program)) {
        Some(Err(why)) => {
            report.fail(TOPIC, format!("{shown}: its loader does not take the library: {why}"))
        }
        _ => report
            .ok(TOPIC, format!("{shown} is dynamically linked; the library can be loaded into it")),
    }
    let is_musl = |loader: &PathBuf| loader.to_string_lossy().contains("/ld-musl-");
    if elf.as_ref().and_then(|e| e.loader.as_ref()).is_some_and(is_musl) {
        report.note(
            TOPIC,
            format!(
                "{shown} is of musl, whose loader knows the library by its whole path, and no $LIB"
            ),
        );
    }
    if elf.is_some_and(|e| e.speaks) {
        speaks(report, name, args);
    }
}

/// Of a program that stands for another one, that one.
fn behind_proxy(report: &mut Report, path: PathBuf) -> PathBuf {
    let Some(proxy) = proxy::of(&path) else { return path };
    let text = format!("{} is {} under another name", path.display(), proxy.name);
    match proxy.target {
        Some(target) => {
            report.note(TOPIC, format!("{text}, which starts {} here", target.display()));
            target
        }
        None => {
            report.note(TOPIC, text);
            path
        }
    }
}

/// Follows `#!` lines to the program that runs in the end.
fn interpreted(report: &mut Report, path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    for _ in 0..5 {
        let Some(interpreter) = interpreter(&path) else { break };
        report.note(TOPIC, format!("{} is a script for {}", path.display(), interpreter.display()));
        path = interpreter;
    }
    path
}

/// The interpreter of a script; the program that env(1) would run, if that is it.
fn interpreter(path: &Path) -> Option<PathBuf> {
    let line = program::interpreter_line(path)?;
    let is_blank = |b: &u8| b.is_ascii_whitespace();
    let mut words = line.split(is_blank).filter(|w| !w.is_empty());
    let first = PathBuf::from(OsStr::from_bytes(words.next()?));
    if first.file_name().is_some_and(|n| n == "env") {
        let named = words.find(|w| !w.starts_with(b"-") && !w.contains(&b'='))?;
        return program::find(OsStr::from_bytes(named)).ok().map(|(path, _)| path);
    }
    Some(first)
}

/// By JSSHIM_SKIP or JSSHIM_ONLY?
fn left_out(report: &mut Report, program: &Path) {
    let name = program.file_name().unwrap_or_default();
    let has = |list: &OsString| glob::any(list.as_bytes(), name.as_bytes());
    if variable("JSSHIM_SKIP").as_ref().is_some_and(has) {
        report.warn(TOPIC, format!("{} is left out by JSSHIM_SKIP", name.display()));
    }
    if variable("JSSHIM_ONLY").as_ref().is_some_and(|list| !has(list)) {
        report.warn(TOPIC, format!("{} is not named by JSSHIM_ONLY", name.display()));
    }
}

/// It knows the protocol: does it obey?
fn speaks(report: &mut Report, name: &OsStr, args: &[OsString]) {
    let words = std::iter::once(name).chain(args.iter().map(OsString::as_os_str));
    let flags = std::env::var_os("MAKEFLAGS").unwrap_or_default();
    let has_pool =
        makeflags::parse(flags.as_bytes()).auth.is_some() || variable("JSSHIM_POOL").is_some();
    let text = "it knows make's job server";
    if speaker::is_told_otherwise(words.map(OsStrExt::as_bytes)) {
        report.note(TOPIC, format!("{text}, but is given a number of jobs: it takes no notice of the pool, and is gated"));
    } else if has_pool {
        report.ok(TOPIC, format!("{text} and takes its own tokens"));
    } else {
        report.ok(
            TOPIC,
            format!(
                "{text}; below 'jsshim -jN --' it joins the pool, preloaded alone it makes its own"
            ),
        );
    }
}
