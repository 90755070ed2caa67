//! The valid values of our variables, in one place. The library warns about invalid ones if no pool is known yet, and
//! so does the launcher; so each gets one line in a build.

use crate::join::word;
use crate::makeflags;
use crate::share::Share;
use crate::show::numbers::{asked, Asked};
use crate::text::Text;
use crate::watchdog::settings::{limit, Count};

/// Parses `JSSHIM_LOAD`: an integer or decimal. Returns thousandths.
pub fn load(value: &[u8]) -> Option<u32> {
    let text: Text<32> = Text::new(b"-l").with(value);
    makeflags::parse(text.bytes()).load_milli
}

/// Returns what is wrong with the value of this variable, given as `NAME=`. Returns None if it is valid.
pub fn complaint(name: &[u8], value: &[u8]) -> Option<&'static [u8]> {
    let (is_good, text): (bool, &'static [u8]) = match name {
        _ if value.is_empty() => return None,
        b"JSSHIM_JOBS=" => (
            word::count(value).is_some(),
            b"JSSHIM_JOBS is not a number above 0; the number of CPUs is used",
        ),
        b"JSSHIM_GATE=" => (
            matches!(value, b"auto" | b"parent" | b"child"),
            b"JSSHIM_GATE is not auto, parent or child; auto is used",
        ),
        b"JSSHIM_WAIT=" => (
            matches!(value, b"pidfd" | b"selfpipe"),
            b"JSSHIM_WAIT is neither pidfd nor selfpipe; it is not used",
        ),
        b"JSSHIM_COUNT=" => (
            Count::parse(value).is_some(),
            b"JSSHIM_COUNT is neither running nor processes; running is used",
        ),
        b"JSSHIM_STALL=" => {
            (limit(value).is_some(), b"JSSHIM_STALL is neither seconds nor off; it is not used")
        }
        b"JSSHIM_LOAD=" => (load(value).is_some(), b"JSSHIM_LOAD is not a number; it is not used"),
        b"JSSHIM_ENV=" => (value == b"respect", b"JSSHIM_ENV is not respect; it is not used"),
        b"JSSHIM_SHARE=" => (
            Share::parse(value).is_some(),
            b"JSSHIM_SHARE is neither idle nor a number from 1 to 16; 1 is used",
        ),
        b"JSSHIM_TRACE=" => {
            (asked(value) != Asked::Block, b"JSSHIM_TRACE is no file; no trace is written")
        }
        _ => return None,
    };
    (!is_good).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_understood_and_what_is_not() {
        for (name, good, bad) in [
            ("JSSHIM_JOBS=", &["1", "65536"][..], &["0", "x", "-1", "3x"][..]),
            ("JSSHIM_GATE=", &["auto", "parent", "child"], &["Parent", "1"]),
            ("JSSHIM_WAIT=", &["pidfd", "selfpipe"], &["auto", "Pidfd", "1"]),
            ("JSSHIM_COUNT=", &["running", "processes"], &["all"]),
            ("JSSHIM_STALL=", &["off", "0.1", "2", ".5"], &["no", "1s", "-1", "."]),
            ("JSSHIM_LOAD=", &["1", "7.5", "1e3"], &["x", "-1", "."]),
            ("JSSHIM_SHARE=", &["1", "16", "idle"], &["0", "17", "2x"]),
            ("JSSHIM_ENV=", &["respect"], &["1"]),
            ("JSSHIM_TRACE=", &["t.json", "/t", "0", "no"], &["1", "yes"]),
            ("JSSHIM_SKIP=", &["*", "anything"], &[]),
        ] {
            for value in good.iter().chain(&[""]) {
                assert_eq!(complaint(name.as_bytes(), value.as_bytes()), None, "{name}{value}");
            }
            for value in bad {
                let text = complaint(name.as_bytes(), value.as_bytes()).expect(value);
                assert!(text.starts_with(name.trim_end_matches('=').as_bytes()), "{name}{value}");
            }
        }
    }
}
