//! The command `go`: a Go program, into which nothing can be preloaded, and which starts its tools (compile, asm, link,
//! vet) by system calls of its own. It starts them through a program of our choice (`-toolexec`), which the library is
//! loaded into: env(1), because a flag in GOFLAGS had no room for an argument before Go 1.20.

use crate::proc;
use crate::text::Path;

/// The program through which the tools are started.
pub const ENV: &core::ffi::CStr = c"/usr/bin/env";

/// Our word in GOFLAGS.
pub const WORD: &[u8] = b"-toolexec=/usr/bin/env";

/// The variable.
pub const FLAGS: &[u8] = b"GOFLAGS=";

const TOOLEXEC: &[u8] = b"-toolexec";

/// With this argument a tool tells its version, by which `go` knows what it has built.
pub const VERSION: &[u8] = b"-V=full";

/// Returns whether this command line is one of `go` that may start tools, or another `go` that does.
pub fn starts_tools<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> bool {
    let program = words.next().unwrap_or(b"");
    if program.rsplit(|b| *b == b'/').next() != Some(b"go") {
        return false;
    }
    let mut command = words.next();
    if command == Some(b"-C") {
        command = words.nth(1);
    } else if command.is_some_and(|word| word.starts_with(b"-C")) {
        command = words.next();
    }
    let command = command.unwrap_or(b"");
    let known: [&[u8]; 8] =
        [b"build", b"install", b"test", b"vet", b"run", b"get", b"generate", b"list"];
    known.contains(&command)
}

/// How our word comes into a value of GOFLAGS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// It stays as it is: our word is there, or another program is that we cannot start.
    Stays,
    /// At its end.
    Ends,
    /// Before the program that is there at this offset.
    Wraps(usize),
}

/// Finds the way into this value. In a quoted flag (Go 1.20) there is room for two programs.
fn way(flags: &[u8]) -> Way {
    let Some(at) = flags.windows(TOOLEXEC.len()).position(|w| w == TOOLEXEC) else {
        return Way::Ends;
    };
    let (before, from) = flags.split_at_checked(at).unwrap_or((flags, b""));
    if from.starts_with(WORD) {
        return Way::Stays;
    }
    let before = before.strip_suffix(b"-").unwrap_or(before);
    let is_quoted = matches!(before, [.., b' ', b'\'' | b'"'] | [b'\'' | b'"']);
    let start = at.saturating_add(TOOLEXEC.len());
    match flags.get(start) {
        Some(b'=') if is_quoted => Way::Wraps(start.saturating_add(1)),
        _ => Way::Stays,
    }
}

/// The two parts of a value between which a text comes, and that text. Returns None if it stays as it is.
pub fn parts(flags: &[u8]) -> Option<(&[u8], &'static [u8], &[u8])> {
    match way(flags) {
        Way::Stays => None,
        Way::Ends if flags.is_empty() => Some((b"", WORD, b"")),
        Way::Ends => Some((flags, b" -toolexec=/usr/bin/env", b"")),
        Way::Wraps(at) => {
            let (before, from) = flags.split_at_checked(at)?;
            Some((before, b"/usr/bin/env ", from))
        }
    }
}

/// `JSSHIM_ALL` in a tree that has a supervisor.
pub const SUPERVISED: &str = "active";

/// Returns whether the tools of `go` are gated by the supervisor of `jsshim --all`, and not by GOFLAGS. `get` as for
/// [`has_file`].
pub fn is_supervised<'a>(get: impl Fn(&[u8]) -> Option<&'a [u8]>) -> bool {
    get(b"JSSHIM_ALL=") == Some(SUPERVISED.as_bytes())
}

/// Returns whether a process with such an environment has a GOFLAGS in the file of `go env -w`, which the variable would
/// hide. `get`: the value of a variable whose name ends in `=`.
#[inline(never)]
pub fn has_file<'a>(get: impl Fn(&[u8]) -> Option<&'a [u8]>) -> bool {
    let get = |name: &[u8]| get(name).filter(|value| !value.is_empty());
    let file = match (get(b"GOENV="), get(b"XDG_CONFIG_HOME="), get(b"HOME=")) {
        (Some(b"off"), _, _) => return false,
        (Some(path), _, _) => Path::new(path),
        (None, Some(dir), _) => Path::new(dir).with(b"/go/env"),
        (None, None, Some(home)) => Path::new(home).with(b"/.config/go/env"),
        (None, None, None) => return false,
    };
    let mut found = !file.fits();
    proc::each_part::<64>(&file, b'\n', |line| found |= line.starts_with(FLAGS));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(line: &str) -> bool {
        starts_tools(line.split(' ').map(str::as_bytes))
    }

    #[test]
    fn commands_that_start_tools() {
        for line in ["go build ./...", "/usr/bin/go test", "go -C /x vet", "go -C=/x run ."] {
            assert!(starts(line), "{line}");
        }
        for line in ["go", "go env GOFLAGS", "go version", "gofmt build", "go -C", "cargo build"] {
            assert!(!starts(line), "{line}");
        }
    }

    #[test]
    fn another_program_stays() {
        assert_eq!(way(b"-mod=mod"), Way::Ends);
        assert_eq!(way(b"-mod=mod -toolexec=/usr/bin/env"), Way::Stays);
        assert_eq!(way(b"-toolexec=garble"), Way::Stays);
        assert_eq!(way(b"-v '-toolexec=time -v' -x"), Way::Wraps(14));
        assert_eq!(way(b"\"--toolexec=time -v\""), Way::Wraps(12));
        assert_eq!(way(b"-toolexec"), Way::Stays);
        let whole = |flags| parts(flags).map(|(a, b, c)| [a, b, c].concat());
        assert_eq!(whole(b"").as_deref(), Some(WORD));
        assert_eq!(whole(b"-x").as_deref(), Some(&b"-x -toolexec=/usr/bin/env"[..]));
        assert_eq!(
            whole(b"'-toolexec=a b'").as_deref(),
            Some(&b"'-toolexec=/usr/bin/env a b'"[..])
        );
        assert_eq!(whole(b"'-toolexec=/usr/bin/env a b'"), None);
        assert_eq!(way(b"-ldflags='-toolexec=x"), Way::Stays);
    }

    #[test]
    fn a_file_of_go_is_seen() {
        let home = std::env::temp_dir().join(format!("jsshim-go-{}", std::process::id()));
        std::fs::create_dir_all(home.join(".config/go")).unwrap();
        let file = home.join(".config/go/env");
        let text = home.to_str().unwrap().to_owned();
        let get = |name: &[u8]| (name == b"HOME=").then_some(text.as_bytes());
        assert!(!has_file(get));
        std::fs::write(&file, "GOPROXY=off\n").unwrap();
        assert!(!has_file(get));
        std::fs::write(&file, "GOPROXY=off\nGOFLAGS=-mod=mod\n").unwrap();
        assert!(has_file(get));
        assert!(!has_file(|name| if name == b"GOENV=" { Some(b"off") } else { get(name) }));
        std::fs::remove_dir_all(&home).unwrap();
    }
}
