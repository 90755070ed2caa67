//! Words of the environment, and how they are read.

/// The loader's variable.
pub const PRELOAD: &[u8] = b"LD_PRELOAD=";
/// make's variable.
pub const FLAGS: &[u8] = b"MAKEFLAGS=";
/// What the names of our variables start with.
pub const OURS: &[u8] = b"JSSHIM_";
const FILE: &[u8] = b"libjsshim.so";
/// Is this entry of LD_PRELOAD this library, however it is written (`$LIB`, another path)?
pub fn is_us(entry: &[u8]) -> bool {
    entry.strip_suffix(FILE).is_some_and(|dir| matches!(dir.last(), None | Some(b'/')))
}

/// Where LD_PRELOAD's value names this library, if it does. Most often it is the last entry.
pub fn entry(value: &[u8]) -> Option<&[u8]> {
    value.rsplit(separates).find(|entry| is_us(entry))
}

/// Between two entries of LD_PRELOAD (ld.so(8)).
pub fn separates(byte: &u8) -> bool {
    matches!(byte, b':' | b' ')
}

/// Is this entry this library, and the same file for programs of every kind (without `$LIB`)?
pub fn is_fixed(entry: &[u8]) -> bool {
    is_us(entry) && !entry.contains(&b'$')
}

/// Does this value of MAKEFLAGS name a pool?
pub fn names_pool(flags: &[u8]) -> bool {
    const WORD: &[u8] = b"--jobserver-";
    flags.windows(WORD.len()).any(|part| part == WORD)
}
