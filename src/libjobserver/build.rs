//! The name that programs are linked to, and no unloading: a handler of SIGCHLD may be on its way.
fn main() {
    for arg in ["-Wl,-soname,libjobserver.so.0", "-Wl,-z,nodelete", "-Wl,-z,now"] {
        println!("cargo:rustc-cdylib-link-arg={arg}");
    }
}
