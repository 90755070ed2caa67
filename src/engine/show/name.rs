//! The displayed name of a job: the program, and what it makes.

use crate::text::Text;

/// The displayed name of a job.
pub type Name = Text<64>;

/// Derives a name from these arguments: the program and its output (`-o`), or as many arguments as fit. For a shell's
/// `-c` the command is named.
pub fn of<'a, const N: usize>(
    file: &'a [u8],
    args: impl Iterator<Item = &'a [u8]> + Clone,
) -> Text<N> {
    let mut words = args.clone().skip(1);
    let program = base(file);
    let script = is_shell(program).then(|| words.find(|w| is_command_option(w))).flatten();
    match script.and_then(|_| words.next()) {
        Some(command) => of_command(command),
        None => of_words(program, args.skip(1)),
    }
}

/// Derives a name from a command line for a shell. Leaves out what only prepares the command or only follows it, as
/// generators of build files write it: `cd DIR && cc a.c`, `: && c++ -o a a.o && :`.
pub fn of_command<const N: usize>(command: &[u8]) -> Text<N> {
    let mut command = command.trim_ascii();
    while let Some(less) = command.strip_suffix(b"&& :") {
        command = less.trim_ascii();
    }
    let mut rest = words_of(command);
    while let Some(after) = behind_preparation(rest.clone()) {
        rest = after;
    }
    // NAME=VALUE comes before the program.
    let mut rest = rest.skip_while(|w| is_assignment(w) || *w == b"exec");
    let program = rest.next().unwrap_or(b"sh");
    of_words(base(program), rest)
}

fn words_of(command: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    command.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty())
}

/// The words after a first command that changes the shell only, if another command follows.
fn behind_preparation<'a, W: Iterator<Item = &'a [u8]>>(mut words: W) -> Option<W> {
    let first = words.next()?;
    if !matches!(first, b"cd" | b":" | b"set" | b"export" | b"umask") {
        return None;
    }
    words.find(|w| *w == b"&&" || w.ends_with(b";"))?;
    Some(words)
}

fn of_words<'a, const N: usize>(
    program: &[u8],
    words: impl Iterator<Item = &'a [u8]> + Clone,
) -> Text<N> {
    let mut name = Text::new(program);
    if let Some(output) = output(words.clone()) {
        name.put(b" ").put(tail(output, Text::<N>::ROOM.saturating_sub(program.len())));
        return name;
    }
    for word in words {
        name.put(b" ").put(word);
    }
    name
}

/// The argument of `-o`, in the next word or the same one.
fn output<'a>(mut words: impl Iterator<Item = &'a [u8]>) -> Option<&'a [u8]> {
    let found = words.find(|w| w.starts_with(b"-o"))?;
    match found.strip_prefix(b"-o") {
        Some(b"") => words.next(),
        // In other programs `-o` starts longer words.
        Some(rest) => Some(rest).filter(|rest| rest.contains(&b'.') || rest.contains(&b'/')),
        None => None,
    }
}

/// The end of a text: the end of a path says most.
fn tail(text: &[u8], room: usize) -> &[u8] {
    text.get(text.len().saturating_sub(room.saturating_sub(2))..).unwrap_or(text)
}

fn base(path: &[u8]) -> &[u8] {
    path.rsplit(|b| *b == b'/').next().unwrap_or(path)
}

fn is_shell(program: &[u8]) -> bool {
    matches!(program, b"sh" | b"bash" | b"dash" | b"ksh" | b"mksh" | b"zsh" | b"ash")
}

/// Returns whether this is `-c`, also among other letters.
fn is_command_option(word: &[u8]) -> bool {
    word.first() == Some(&b'-') && word.get(1) != Some(&b'-') && word.ends_with(b"c")
}

fn is_assignment(word: &[u8]) -> bool {
    let name = word.iter().position(|b| *b == b'=').and_then(|at| word.get(..at));
    name.is_some_and(|n| !n.is_empty() && n.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(words: &[&str]) -> String {
        let args = words.iter().map(|w| w.as_bytes());
        let name: Name = of(words[0].as_bytes(), args);
        String::from_utf8(name.bytes().to_vec()).unwrap()
    }

    #[test]
    fn programs_and_outputs() {
        assert_eq!(told(&["/usr/bin/cc", "-O2", "-c", "a.c", "-o", "out/a.o"]), "cc out/a.o");
        assert_eq!(told(&["cc", "-oa.out", "a.c"]), "cc a.out");
        assert_eq!(told(&["gzip", "-9", "file3"]), "gzip -9 file3");
        assert_eq!(told(&["/bin/sh", "-c", "X=1 cc -MMD -c ../a.c -o a.o && true"]), "cc a.o");
        assert_eq!(told(&["bash", "-ec", "exec /opt/touch x"]), "touch x");
        assert_eq!(told(&["sh", "-c", ""]), "sh");
        assert_eq!(told(&["sh", "script", "-c"]), "sh script -c");
        assert_eq!(told(&["ld", "-only"]), "ld -only");
    }

    #[test]
    fn what_only_prepares_is_left_out() {
        let of = |command: &str| told(&["/bin/sh", "-c", command]);
        assert_eq!(of("cd /build/dir && /usr/bin/cc -c a.c -o a.o"), "cc a.o");
        assert_eq!(of(": && /usr/bin/c++ -O2 a.o -o prog && :"), "c++ prog");
        assert_eq!(of("cd x && /opt/gen --all && :"), "gen --all");
        assert_eq!(of("set -e; cd 'a b' && X=1 gen"), "gen");
        assert_eq!(of("cd /somewhere"), "cd /somewhere");
        assert_eq!(of("cd x &&"), "sh");
        assert_eq!(of("gen a && cd x && gen b"), "gen a && cd x && gen b");
    }

    #[test]
    fn a_long_output_shows_its_end() {
        let long = format!("{}/the-object.o", "d".repeat(200));
        let name = told(&["cc", "-o", &long]);
        assert!(name.ends_with("/the-object.o") && name.len() < 80, "{name}");
    }

    proptest! {
        #[test]
        fn any_arguments_are_survived(words in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..100), 0..6))
        {
            let args = words.iter().map(Vec::as_slice);
            let _: Name = of(words.first().map_or(b"", Vec::as_slice), args);
        }
    }
}
