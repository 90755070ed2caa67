//! What a launcher brings with it that `cargo install` puts alone into a directory: the library and the helper,
//! of a build of their own. An artifact of another package is not to be had otherwise in stable cargo.

use std::env::{var, var_os};
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let root = PathBuf::from(var_os("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../..");
    let out = PathBuf::from(var_os("OUT_DIR").unwrap_or_default());
    println!("cargo:rerun-if-changed=build.rs");
    for part in ["Cargo.toml", "Cargo.lock", "src/engine", "src/shim", "src/helper"] {
        // A file that is not there would have it run each time.
        if root.join(part).exists() {
            println!("cargo:rerun-if-changed={}", root.join(part).display());
        }
    }
    // What is built for debugging stays in the tree.
    let is_wanted = var("PROFILE").is_ok_and(|p| p == "release") && root.join("src/shim").exists();
    let text = if is_wanted { brought(&build(&root, &out)) } else { "None".to_owned() };
    if let Err(e) = std::fs::write(out.join("brought.rs"), text) {
        panic!("{}: {e}", out.display());
    }
}

/// Builds both, and gives the directory in which they are then.
fn build(root: &Path, out: &Path) -> PathBuf {
    let target = out.join("brought");
    let mut cargo = Command::new(var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--release", "-p", "jsshim", "-p", "jsshim-helper", "--target-dir"]);
    cargo.arg(&target).current_dir(root);
    let wanted = var("TARGET").unwrap_or_default();
    if var("HOST").is_ok_and(|host| host != wanted) {
        cargo.args(["--target", &wanted]);
    }
    match cargo.status() {
        Ok(status) if status.success() => {}
        status => panic!("{cargo:?}: {status:?}"),
    }
    // There where a target is named, here or in a configuration.
    let named = target.join(wanted).join("release");
    if named.exists() {
        named
    } else {
        target.join("release")
    }
}

/// The source text of both: a name of its own for each pair, and their bytes.
fn brought(built: &Path) -> String {
    let files = ["libjsshim.so", "jsshim-helper"].map(|name| built.join(name));
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in files.iter().flat_map(|file| std::fs::read(file).unwrap_or_default()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3); // FNV-1a
    }
    let version = var("CARGO_PKG_VERSION").unwrap_or_default();
    let [library, helper] = files.map(|file| format!("include_bytes!({file:?})"));
    format!(
        "Some(Brought {{ name: \"{version}-{hash:016x}\", library: {library}, helper: {helper} }})"
    )
}
