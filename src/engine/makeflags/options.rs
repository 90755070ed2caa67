//! The options of make: the tables `switches` and `long_option_aliases` of its `main.c`, up to 4.4.1
//! (the older ones know fewer options, none of them differently).

// An option is known by its letter, or by one of these if it has none. Zero is any option that
// takes no argument and means nothing to a jobserver client.
const OTHER: u8 = 0;
pub const AUTH: u8 = 1;
pub const FDS: u8 = 2;
const STYLE: u8 = 3;
const MUTEX: u8 = 4;
const STDIN: u8 = 5;
pub const DEBUG: u8 = 6;
const SHUFFLE: u8 = 7;

/// Where the argument of an option may be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    None,
    /// Only in the same word.
    Optional,
    /// As Optional; but make itself, not getopt, also takes the next word if it is all digits.
    Count,
    /// As Optional; but make also takes the next word if it begins with a digit or a point.
    Load,
    /// In the same word or else the next word, whatever it is; even `--`.
    Required,
}

/// The argument of an option. Those that are void in the environment, such as `-C`, still take
/// theirs.
pub fn argument(option: u8) -> Argument {
    match option {
        b'C' | b'E' | b'I' | b'W' | b'f' | b'o' => Argument::Required,
        AUTH | FDS | STYLE | MUTEX | STDIN => Argument::Required,
        b'O' | DEBUG | SHUFFLE => Argument::Optional,
        b'j' => Argument::Count,
        b'l' => Argument::Load,
        _ => Argument::None,
    }
}

/// The long names. Those without a meaning here are needed to tell which abbreviations are unique.
#[rustfmt::skip]
const LONG: &[(&[u8], u8)] = &[
    (b"always-make", OTHER), (b"assume-new", b'W'), (b"assume-old", b'o'),
    (b"check-symlink-times", OTHER), (b"debug", DEBUG), (b"directory", b'C'), (b"dry-run", b'n'),
    (b"environment-overrides", OTHER), (b"eval", b'E'), (b"file", b'f'), (b"help", OTHER),
    (b"ignore-errors", OTHER), (b"include-dir", b'I'), (b"jobs", b'j'), (b"jobserver-auth", AUTH),
    (b"jobserver-fds", FDS), (b"jobserver-style", STYLE), (b"just-print", b'n'),
    (b"keep-going", b'k'), (b"load-average", b'l'), (b"makefile", b'f'), (b"max-load", b'l'),
    (b"new-file", b'W'), (b"no-builtin-rules", OTHER), (b"no-builtin-variables", OTHER),
    (b"no-keep-going", b'S'), (b"no-print-directory", OTHER), (b"no-silent", OTHER),
    (b"old-file", b'o'), (b"output-sync", b'O'), (b"print-data-base", OTHER),
    (b"print-directory", OTHER), (b"question", OTHER), (b"quiet", OTHER), (b"recon", b'n'),
    (b"shuffle", SHUFFLE), (b"silent", OTHER), (b"stop", b'S'), (b"sync-mutex", MUTEX),
    (b"temp-stdin", STDIN), (b"touch", OTHER), (b"trace", OTHER), (b"version", OTHER),
    (b"warn-undefined-variables", OTHER), (b"what-if", b'W'),
];

/// The option with this name. getopt takes an exact name, or the beginning of names that all mean
/// the same option; otherwise make skips the word.
pub fn long(name: impl Iterator<Item = u8> + Clone) -> u8 {
    let mut found = None;
    for (long, option) in LONG {
        let mut left = long.iter();
        if !name.clone().all(|c| left.next() == Some(&c)) {
            continue;
        }
        if left.next().is_none() {
            return *option;
        }
        match found {
            Some(other) if other != *option => found = Some(OTHER),
            _ => found = Some(*option),
        }
    }
    found.unwrap_or(OTHER)
}
