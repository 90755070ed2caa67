//! Where our files are, and whether they work.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jsshim_engine::hold::spec;
use jsshim_engine::ledger::access::Ledger;
use jsshim_engine::ledger::rundir;
use jsshim_engine::{sys, text};
use nix::sys::statvfs::statvfs;

use super::findings::{variable, Report};
use crate::elf::Elf;
use crate::output::reason;
use crate::program;

/// The library and its helper; tells of both.
pub fn library(report: &mut Report) -> Option<PathBuf> {
    let library = match program::library() {
        Ok(path) => path,
        Err(f) => {
            report.fail("library", f.message);
            return None;
        }
    };
    match loads(&library, &any_program()) {
        Ok(()) => report.ok("library", format!("{} loads", library.display())),
        Err(why) => report.fail("library", format!("{} does not load: {why}", library.display())),
    }
    helper(report, &library);
    Some(library)
}

/// One with a loader: this program may be static.
fn any_program() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    let usual = ["/bin/sh", "/usr/bin/env", "/usr/bin/make"].map(PathBuf::from);
    let has_loader = |path: &PathBuf| Elf::read(path).is_some_and(|e| e.loader.is_some());
    std::iter::once(exe.clone()).chain(usual).find(has_loader).unwrap_or(exe)
}

/// Would the loader of this program load the library? It is asked to list what it would load (ld.so(8),
/// `--list`), and does not start the program.
pub fn loads(library: &Path, program: &Path) -> Result<(), String> {
    let loader = Elf::read(program).and_then(|e| e.loader).ok_or("the program has no loader")?;
    let mut command = Command::new(&loader);
    command.arg("--list").arg(program).env("LD_PRELOAD", library).stdin(Stdio::null());
    let out = command.output().map_err(|e| format!("{}: {}", loader.display(), reason(&e)))?;
    let listed = String::from_utf8_lossy(&out.stdout);
    if listed.contains(&*library.to_string_lossy()) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&out.stderr);
    let said = said.lines().next().map(str::to_owned);
    Err(said.unwrap_or_else(|| match out.status.success() {
        true => "its loader takes no notice of LD_PRELOAD".to_owned(),
        false => format!("its loader ended with {}", out.status),
    }))
}

/// Started by hand, it says so and ends with 2.
fn helper(report: &mut Report, library: &Path) {
    let told = variable("JSSHIM_HELPER").map(PathBuf::from);
    let path = told.unwrap_or_else(|| library.with_file_name("jsshim-helper"));
    let ran = Command::new(&path).stderr(Stdio::null()).stdin(Stdio::null()).status();
    match ran {
        Ok(status) if status.code() == Some(2) && is_helper(&path) => {
            report.ok("helper", format!("{} runs", path.display()))
        }
        Ok(status) if status.code() == Some(2) => {
            let text = format!("{} is not the one of this library", path.display());
            report.fail("helper", text);
        }
        Ok(status) => {
            report.fail("helper", format!("{} is not jsshim-helper ({status})", path.display()));
        }
        Err(e) => {
            let (path, e) = (path.display(), reason(&e));
            report.fail("helper", format!("{path}: {e}; jobs cannot be held"));
        }
    }
}

/// Has it the note by which the library knows it?
fn is_helper(path: &Path) -> bool {
    CString::new(path.as_os_str().as_bytes()).is_ok_and(|path| spec::is_helper(&path))
}

/// The directory of ledgers and pools. One that is made for the look is taken away again.
pub fn run_dir(report: &mut Report) {
    let told = variable("JSSHIM_DIR");
    if told.as_ref().is_some_and(|d| rundir::is_unfit(d.as_bytes())) {
        report.warn("directory", rundir::UNFIT);
    }
    let told = told.filter(|d| rundir::given(Some(d.as_bytes())).is_some());
    let uid = nix::unistd::geteuid();
    let usual = ["/dev/shm", "/tmp"].map(|d| PathBuf::from(format!("{d}/jsshim-{uid}")));
    let mut candidates = told.clone().map_or(usual.to_vec(), |dir| vec![dir.into()]);
    candidates.retain(|dir| !dir.exists());
    let need = Ledger::least_size() as u64;
    let given = told.as_ref().map(|d| d.as_bytes());
    let with_room = |dir: &text::Path| match free(OsStr::from_bytes(dir.bytes()).as_ref()) {
        free if free < need => Err(sys::Errno(libc::ENOSPC)),
        _ => Ok(*dir),
    };
    let dir = match rundir::make_in(given, with_room).or_else(|_| rundir::find(given)) {
        Ok(dir) => PathBuf::from(OsStr::from_bytes(dir.bytes())),
        Err(e) => {
            let e = reason(&std::io::Error::from_raw_os_error(e.0));
            let place =
                told.map_or("/dev/shm and /tmp".into(), |d| d.to_string_lossy().into_owned());
            let must = "it must be a directory of yours with mode 0700";
            return report.fail("directory", format!("none in {place}: {e}; {must} (JSSHIM_DIR)"));
        }
    };
    let free = free(&dir);
    let text = format!("{}, {} kB free", dir.display(), free / 1024);
    if free < need {
        report.fail("directory", format!("{text}: a ledger needs {} kB", need / 1024));
    } else if told.is_none() && dir == usual[1] {
        report.note("directory", format!("{text}; /dev/shm cannot be used"));
    } else {
        report.ok("directory", text);
    }
    for made in &candidates {
        let _ = std::fs::remove_dir(made);
    }
}

/// Bytes that may be written there.
fn free(dir: &Path) -> u64 {
    statvfs(dir).map_or(0, |of| of.blocks_available().saturating_mul(of.fragment_size()))
}
