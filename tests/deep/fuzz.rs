//! One fuzz target, by its name in JSSHIM_FUZZ; the rest is libFuzzer's: `fuzz [OPTION]... CORPUS...`.
#![no_main]

use std::sync::OnceLock;

use jsshim_deep::targets::ALL;

fn target() -> fn(&[u8]) {
    let wanted = std::env::var("JSSHIM_FUZZ").unwrap_or_default();
    let found = ALL.iter().find(|(name, _)| *name == wanted);
    found.unwrap_or_else(|| panic!("JSSHIM_FUZZ='{wanted}' is none of the targets")).1
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();
    TARGET.get_or_init(target)(data);
});
