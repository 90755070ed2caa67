//! The program that is to run, and whether the library can be loaded into it.

use std::ffi::{CString, OsStr};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jsshim_engine::program::search;
use jsshim_engine::program::target::Kind;
use nix::unistd::{getgid, getuid};

use crate::brought;
use crate::elf::Elf;
use crate::failure::{failure, Result};
use crate::output::reason;

/// Where distributions have libraries, and what `$LIB` stands for in their ld.so.
const LIBDIRS: [&str; 3] = [
    if cfg!(target_arch = "x86_64") { "lib/x86_64-linux-gnu" } else { "lib/aarch64-linux-gnu" },
    "lib64",
    "lib",
];

/// The library next to this program, where an installation puts it, or the one that this program brings.
pub fn library() -> Result<PathBuf> {
    let exe = std::env::current_exe().map_err(|e| failure(2, format!("/proc: {}", reason(&e))))?;
    let dir = exe.parent().unwrap_or(Path::new("/"));
    let beside = dir.join("libjsshim.so");
    let installed = LIBDIRS.iter().map(|lib| dir.join("..").join(lib).join("jsshim/libjsshim.so"));
    let found = std::iter::once(beside).chain(installed).find(|p| p.is_file());
    let found = found.and_then(|p| p.canonicalize().ok());
    if let Some(found) = found {
        return Ok(found);
    }
    match brought::library() {
        Some(Ok(library)) => Ok(library),
        Some(Err((place, e))) => {
            let (place, e) = (place.display(), reason(&e));
            Err(failure(2, format!("cannot unpack the library to {place}: {e}")))
        }
        None => {
            let dir = dir.display();
            Err(failure(
                2,
                format!("libjsshim.so is neither in {dir} nor in {dir}/../lib/*/jsshim"),
            ))
        }
    }
}

/// The program of this name, by PATH as execvp(3) does.
pub fn find(name: &OsStr) -> Result<(PathBuf, Kind)> {
    let shown = name.display();
    let file = CString::new(name.as_bytes()).map_err(|_| failure(2, "NUL in the command"))?;
    let dirs = std::env::var_os("PATH");
    match search::find(&file, dirs.as_ref().map(|d| d.as_bytes()), false) {
        Ok((path, kind)) => Ok((OsStr::from_bytes(path.c().to_bytes()).into(), kind)),
        Err(e) => Err(match candidate(name) {
            None => failure(127, format!("{shown}: command not found")),
            Some(path) => {
                let why = why_not(&path)
                    .unwrap_or_else(|| reason(&std::io::Error::from_raw_os_error(e.0)));
                failure(126, format!("{shown}: cannot be run: {why}"))
            }
        }),
    }
}

/// What is there under this name, but cannot be run.
fn candidate(name: &OsStr) -> Option<PathBuf> {
    let is_path = name.as_bytes().contains(&b'/');
    let dirs = std::env::var_os("PATH").filter(|_| !is_path && !name.is_empty());
    let along = dirs.iter().flat_map(std::env::split_paths).map(|dir| dir.join(name));
    let itself = is_path.then(|| PathBuf::from(name));
    // In a directory that may not be looked into, too.
    let is_there = |path: &PathBuf| {
        path.symlink_metadata().err().is_none_or(|e| e.raw_os_error() == Some(libc::EACCES))
    };
    itself.into_iter().chain(along).find(is_there)
}

/// What is wrong with a file that the kernel does not run.
fn why_not(path: &Path) -> Option<String> {
    let meta = path.metadata().ok()?;
    if meta.is_dir() {
        return Some("it is a directory".to_owned());
    }
    if meta.permissions().mode() & 0o111 == 0 {
        return Some("it is not executable".to_owned());
    }
    let needed = match interpreter_line(path) {
        Some(line) => {
            let word = line.split(|b| matches!(b, b' ' | b'\t')).find(|w| !w.is_empty())?;
            if word.ends_with(b"\r") {
                return Some("its first line ends with a carriage return (CRLF), which the kernel takes for a part of its interpreter's name".to_owned());
            }
            PathBuf::from(OsStr::from_bytes(word))
        }
        None => Elf::read(path)?.loader?,
    };
    let is_missing = !needed.exists();
    is_missing.then(|| format!("its interpreter {} is missing", needed.display()))
}

/// What follows `#!`, to the end of the line.
pub fn interpreter_line(path: &Path) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    let file = std::fs::File::open(path).ok()?;
    BufReader::new(file.take(256)).read_until(b'\n', &mut line).ok()?;
    let line = line.strip_suffix(b"\n").unwrap_or(&line);
    line.strip_prefix(b"#!").map(<[u8]>::to_vec)
}

/// Why the loader would not preload our library into this program, if it would not.
pub fn out_of_reach(path: &Path, kind: Kind) -> Option<&'static str> {
    let meta = path.metadata().ok()?;
    let changes = |bit: u32, id: u32, ours: u32| meta.mode() & bit != 0 && id != ours;
    let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
    match kind {
        Kind::Static => Some("is statically linked"),
        Kind::Foreign => Some("is a program of another ABI (32-bit)"),
        _ if changes(0o4000, meta.uid(), uid) => Some("is setuid"),
        _ if changes(0o2000, meta.gid(), gid) && meta.permissions().mode() & 0o010 != 0 => {
            Some("is setgid")
        }
        _ if uid != 0 && has_capabilities(path) => Some("has file capabilities"),
        _ if is_go(path) => Some("is a Go program, which makes system calls of its own"),
        _ => None,
    }
}

/// Has this program the build note of the Go linker (owner `Go`, type 4)? It stands near the start.
fn is_go(path: &Path) -> bool {
    let mut head = Vec::new();
    let file = std::fs::File::open(path);
    let read = file.and_then(|f| f.take(16 * 1024).read_to_end(&mut head));
    let is_note = |w: &[u8]| w.starts_with(&[4, 0, 0, 0]) && w.ends_with(b"\x04\0\0\0Go\0\0");
    read.is_ok() && head.windows(16).any(is_note)
}

/// Has this file capabilities (capabilities(7))? Then ld.so takes no preload from a user.
fn has_capabilities(path: &Path) -> bool {
    let found = xattr::get_deref(path, "security.capability");
    found.is_ok_and(|value| value.is_some_and(|value| !value.is_empty()))
}
