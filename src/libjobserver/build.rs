//! The name that programs are linked to, and no unloading: a handler of SIGCHLD may be on its way.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

const SONAME: &str = "libjobserver.so.0";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,{SONAME}");
    for arg in ["-Wl,-z,nodelete", "-Wl,-z,now"] {
        println!("cargo:rustc-cdylib-link-arg={arg}");
    }
    link_the_soname();
}

/// What is linked to the library where cargo leaves it starts from there, too: ld.so looks for its soname.
fn link_the_soname() {
    let out = std::env::var_os("OUT_DIR").map(PathBuf::from);
    // From target/release/build/NAME/out.
    if let Some(dir) = out.as_deref().and_then(|out| out.ancestors().nth(3)) {
        // It may be there already; and without it only such a program does not start.
        let _ = symlink("libjobserver.so", dir.join(SONAME));
    }
}
