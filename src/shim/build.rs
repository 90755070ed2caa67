//! How the library is laid out in memory (`layout.ld`). It is linked without the C compiler's start-up files, which are
//! for C++ and profilers, and would cost each exec of a build.

use std::env::{var, VarError};

fn main() -> Result<(), VarError> {
    println!("cargo:rerun-if-changed=layout.ld");
    println!("cargo:rustc-cdylib-link-arg=-nostartfiles");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-T,{}/layout.ld", var("CARGO_MANIFEST_DIR")?);
    Ok(())
}
