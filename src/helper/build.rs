//! A static program with its own entry point: no libc start-up, no loader, no unwinder, and nothing of libc.

use std::env::var;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for arg in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,-z,norelro",
        "-Wl,--build-id=none",
        "-Wl,--no-eh-frame-hdr",
    ] {
        println!("cargo:rustc-link-arg-bins={arg}");
    }
    println!("cargo:rustc-link-arg-bins=-Wl,-T,{}/layout.ld", var("CARGO_MANIFEST_DIR")?);
    println!("cargo:rerun-if-changed=layout.ld");
    // The crate libc, of which constants and types are used, has rustc ask for these, by name and for shared ones. GNU
    // ld refuses those in a static program; lld would take them from libc. Here they are found first, and empty.
    let out = var("OUT_DIR")?;
    for name in ["c", "m", "rt", "pthread", "util", "dl"] {
        std::fs::write(format!("{out}/lib{name}.a"), "!<arch>\n")?;
    }
    println!("cargo:rustc-link-search=native={out}");
    Ok(())
}
