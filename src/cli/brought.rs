//! The library and the helper that a launcher brings with it: `cargo install` puts nothing else anywhere. They
//! are unpacked once, to a directory of their own for each pair, since a build may still run with an older one.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What `build.rs` has made.
struct Brought {
    /// The version, and a sum of the bytes.
    name: &'static str,
    library: &'static [u8],
    helper: &'static [u8],
}

const BROUGHT: Option<Brought> = include!(concat!(env!("OUT_DIR"), "/brought.rs"));

/// The library, unpacked now if it is not yet. `None` where none was brought.
pub fn library() -> Option<Result<PathBuf, (PathBuf, io::Error)>> {
    let brought = BROUGHT?;
    let home = data_home().join("jsshim");
    let place = home.join(brought.name);
    let library = place.join("libjsshim.so");
    if library.is_file() && place.join("jsshim-helper").is_file() {
        return Some(Ok(library));
    }
    let new = home.join(format!(".{}.{}", brought.name, std::process::id()));
    let unpacked = unpack(&brought, &new, &place);
    Some(unpacked.map(|()| library).map_err(|e| (place, e)))
}

/// As the XDG base directories have it.
fn data_home() -> PathBuf {
    let given = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
    given.filter(|dir| dir.is_absolute()).unwrap_or_else(|| {
        let home = std::env::home_dir().unwrap_or_else(|| PathBuf::from("/"));
        home.join(".local/share")
    })
}

/// The directory appears with all that is in it, or not at all.
fn unpack(brought: &Brought, new: &Path, place: &Path) -> io::Result<()> {
    fs::create_dir_all(new)?;
    let files =
        [("libjsshim.so", brought.library, 0o644), ("jsshim-helper", brought.helper, 0o755)];
    let written = files.iter().try_for_each(|(name, bytes, mode)| {
        fs::write(new.join(name), bytes)?;
        fs::set_permissions(new.join(name), fs::Permissions::from_mode(*mode))
    });
    let moved = written.and_then(|()| fs::rename(new, place));
    if moved.is_err() {
        let _ = fs::remove_dir_all(new);
        // Another launcher has been faster.
        return if place.join("jsshim-helper").is_file() { Ok(()) } else { moved };
    }
    moved
}
