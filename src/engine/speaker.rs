//! Programs that speak the protocol themselves, by their names and command lines.

/// The words by which a program that speaks it gives itself away, in its read-only memory.
pub const WORDS: [&[u8]; 2] = [b"jobserver-auth", b"jobserver-fds"];

/// Is this a name of GNU make?
pub fn is_gnu_make(name: &[u8]) -> bool {
    matches!(name, b"make" | b"gmake" | b"remake") || name.starts_with(b"make-4")
}

/// Is this a make or a ninja that is given a number of jobs? Such a one takes no notice of the pool above.
pub fn is_told_otherwise<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> bool {
    let program = words.next().unwrap_or(b"");
    let name = program.rsplit(|b| *b == b'/').next().unwrap_or(b"");
    let known = name.starts_with(b"ninja") || is_gnu_make(name);
    known && words.any(names_jobs)
}

/// `-jN`, `--jobs`, and `-kj8`; what follows a letter that takes an argument is none.
pub fn names_jobs(word: &[u8]) -> bool {
    match word.strip_prefix(b"-") {
        Some([b'-', rest @ ..]) => rest.starts_with(b"jobs"),
        Some(letters) => {
            let mut letters = letters.iter().take_while(|b| !b"CfIloOW".contains(b));
            letters.any(|b| *b == b'j')
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_jobs_are_seen() {
        let told = |line: &str| is_told_otherwise(line.split(' ').map(str::as_bytes));
        for line in ["make -j8", "/usr/bin/ninja -kj8", "gmake --jobs=3 x", "make-4.4.1 -j"] {
            assert!(told(line), "{line}");
        }
        for line in ["make", "cargo build -j8", "make -Cj8", "ninja -C j", "make x-j8", "xmake -j8"]
        {
            assert!(!told(line), "{line}");
        }
    }
}
