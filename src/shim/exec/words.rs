//! Entries of the environment, and their syntax.

/// The loader's variable.
pub const PRELOAD: &[u8] = b"LD_PRELOAD=";
/// make's variable.
pub const FLAGS: &[u8] = b"MAKEFLAGS=";
/// The prefix of our variables' names.
pub const OURS: &[u8] = b"JSSHIM_";
const FILE: &[u8] = b"libjsshim.so";
/// Returns whether this entry of LD_PRELOAD is this library, however it is written (`$LIB`, another path).
pub fn is_us(entry: &[u8]) -> bool {
    entry.strip_suffix(FILE).is_some_and(|dir| matches!(dir.last(), None | Some(b'/')))
}

/// This library's entry in the value of LD_PRELOAD, if there is one. It is usually the last.
pub fn entry(value: &[u8]) -> Option<&[u8]> {
    value.rsplit(separates).find(|entry| is_us(entry))
}

/// Returns whether this byte separates two entries of LD_PRELOAD (ld.so(8)).
pub fn separates(byte: &u8) -> bool {
    matches!(byte, b':' | b' ')
}

/// Returns whether this entry is this library, by a path that is the same for programs of every kind (without `$LIB`).
pub fn is_fixed(entry: &[u8]) -> bool {
    is_us(entry) && !entry.contains(&b'$')
}

/// Returns whether this value of MAKEFLAGS names a pool.
pub fn names_pool(flags: &[u8]) -> bool {
    const WORD: &[u8] = b"--jobserver-";
    flags.windows(WORD.len()).any(|part| part == WORD)
}
