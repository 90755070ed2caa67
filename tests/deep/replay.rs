//! Every file of the corpora through its target: what the fuzzers have found stays found.
#![cfg(not(feature = "loom"))]

use std::fs;
use std::path::Path;

fn replay(name: &str) {
    let (_, run) = jsshim_deep::targets::ALL.iter().find(|(n, _)| *n == name).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.unwrap().path();
        // Shown when it fails.
        println!("{}", path.display());
        run(&fs::read(&path).unwrap());
        count += 1;
    }
    assert!(count >= 5, "{name} has no corpus");
}

macro_rules! each {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*
    };
}

each!(makeflags words stat elf ledger corruption);
