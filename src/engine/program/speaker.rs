//! Programs that speak the protocol themselves, recognised by their names, files and command lines.

use crate::room::Room;
use crate::{proc, sys, text};

/// The words in the read-only data of a program that speaks the protocol: `jobserver-auth` and `jobserver-fds`.
const WORD: &[u8] = b"jobserver-";
const ENDS: [&[u8]; 2] = [b"auth", b"fds"];

/// Returns whether one of these words is in `bytes`.
pub fn are_in(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = text::find(rest, WORD) {
        rest = rest.get(at.saturating_add(WORD.len())..).unwrap_or(b"");
        if ENDS.iter().any(|end| rest.starts_with(end)) {
            return true;
        }
    }
    false
}

/// How many bytes of a program's file are read at once, and how many are read in all. Programs that make pools are
/// smaller, even a cargo with everything linked into it.
const PIECE: usize = 1 << 16;
const LARGEST: usize = 64 << 20;

/// Returns whether the program of this process speaks the protocol, judged by its file. Its name proves nothing: many
/// scripts are called make.
#[inline(never)]
pub fn file_speaks(pid: i32) -> bool {
    let Ok(fd) = sys::open(proc::of(pid).with(b"/exe").c(), libc::O_RDONLY, 0) else {
        return false;
    };
    let found = Room::new(PIECE).is_ok_and(|mut piece| file_says(fd, piece.bytes()));
    sys::close(fd);
    found
}

/// Returns whether one of the words is in this file. The pieces overlap by more than a word's length.
fn file_says(fd: i32, piece: &mut [u8]) -> bool {
    const OVERLAP: usize = 32;
    let step = piece.len().saturating_sub(OVERLAP).max(1);
    (0..LARGEST)
        .step_by(step)
        .map_while(|at| match sys::pread(fd, piece, at as u64) {
            Ok(n @ 1..) => piece.get(..n).map(are_in),
            _ => None,
        })
        .any(|found| found)
}

/// Returns whether this is a name of GNU make.
pub fn is_gnu_make(name: &[u8]) -> bool {
    matches!(name, b"make" | b"gmake" | b"remake") || name.starts_with(b"make-4")
}

/// Returns whether this is a name of bmake, which dies of MAKEFLAGS in GNU make's form.
pub fn is_bmake(name: &[u8]) -> bool {
    matches!(name, b"bmake" | b"pmake")
}

/// Returns whether this is gcc's lto-wrapper, which starts a make for `-flto=N`: on the pool if it can reach it, else
/// with a `-jN` and an emptied MAKEFLAGS.
pub fn is_lto(name: &[u8]) -> bool {
    name == b"lto-wrapper"
}

/// Returns whether this is the name of a program that speaks the protocol. Uses the name only, since it is called in
/// every process of a tree.
pub fn is_known(name: &[u8]) -> bool {
    let cargo = name.starts_with(b"cargo") || name == b"rustc";
    cargo || name.starts_with(b"ninja") || is_gnu_make(name) || is_bmake(name) || is_lto(name)
}

/// Returns whether this is a make or a ninja that is given a number of jobs. Such a program ignores the pool above it.
pub fn is_told_otherwise<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> bool {
    let program = words.next().unwrap_or(b"");
    let name = program.rsplit(|b| *b == b'/').next().unwrap_or(b"");
    let known = name.starts_with(b"ninja") || is_gnu_make(name);
    known && words.any(names_jobs)
}

/// Returns whether this is `-jN`, `--jobs`, or a cluster such as `-kj8`. Text after a letter that takes an argument
/// does not count.
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
    fn a_file_is_searched_across_its_pieces() {
        let path = std::env::temp_dir().join(format!("jsshim-speaker-{}", std::process::id()));
        for (at, says) in [(0usize, true), (90, true), (100, true), (4000, true), (0, false)] {
            let mut file = vec![b'j'; at];
            file.extend(if says { b"--jobserver-fds=%d".as_slice() } else { b"--jobserver-fd" });
            std::fs::write(&path, &file).unwrap();
            let name = text::Path::new(path.as_os_str().as_encoded_bytes());
            let fd = sys::open(name.c(), libc::O_RDONLY, 0).unwrap();
            assert_eq!(file_says(fd, &mut [0; 128]), says, "at {at}");
            sys::close(fd);
        }
        std::fs::remove_file(path).unwrap();
        // This program has the words in it, as it looks for them.
        assert!(file_speaks(sys::getpid()) && !file_speaks(i32::MAX));
    }

    #[test]
    fn the_words_are_found_behind_their_like() {
        for says in [
            "jobserver-auth",
            "xjobserver-fds=3",
            "jobserver-jobserver-auth",
            "jobserver-style jobserver-fds",
        ] {
            assert!(are_in(says.as_bytes()), "{says}");
        }
        for not in ["", "jobserver-", "jobserver-aut", "jobserver_auth", "jobserver-style"] {
            assert!(!are_in(not.as_bytes()), "{not}");
        }
    }

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
