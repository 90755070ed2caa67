//! Programs that stand for others: one file under the names of many.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::findings::variable;

/// What is known to be called by the names of others.
const PROXIES: [&str; 6] = ["rustup", "ccache", "distcc", "sccache", "busybox", "toybox"];

/// A proxy, and the program that it starts here, if that can be told.
pub struct Proxy {
    /// What it is.
    pub name: &'static str,
    /// What it starts.
    pub target: Option<PathBuf>,
}

/// Is this program one?
pub fn of(path: &Path) -> Option<Proxy> {
    let name = path.file_name()?.to_str()?;
    let whole = path.canonicalize().ok()?;
    let is_it = |proxy: &&&str| {
        let linked = whole.file_name().is_some_and(|file| file == **proxy);
        // rustup makes hard links.
        linked || is_same(&path.with_file_name(proxy), path)
    };
    let proxy = PROXIES.iter().filter(|proxy| **proxy != name).find(is_it)?;
    let target = (*proxy == "rustup").then(|| of_toolchain(name)).flatten();
    Some(Proxy { name: proxy, target })
}

fn is_same(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| path.metadata().ok().map(|meta| (meta.dev(), meta.ino()));
    id(one).is_some_and(|one| Some(one) == id(other))
}

/// The program of this name in the toolchain that rustup takes where nothing else says which.
fn of_toolchain(name: &str) -> Option<PathBuf> {
    let home = variable("RUSTUP_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".rustup")))?;
    let told = variable("RUSTUP_TOOLCHAIN").and_then(|name| name.into_string().ok());
    let chosen = told.or_else(|| {
        let settings = fs::read_to_string(home.join("settings.toml")).ok()?;
        let line = settings.lines().find_map(|line| line.strip_prefix("default_toolchain = "))?;
        Some(line.trim_matches('"').to_owned())
    })?;
    // The name is cut where the rest is that of this machine.
    let all = fs::read_dir(home.join("toolchains")).ok()?.flatten();
    let is_chosen = |dir: &fs::DirEntry| {
        let dir = dir.file_name().to_string_lossy().into_owned();
        dir == chosen || dir.strip_prefix(&chosen).is_some_and(|rest| rest.starts_with('-'))
    };
    let file = all.filter(is_chosen).map(|dir| dir.path().join("bin").join(name)).next()?;
    file.exists().then_some(file)
}
