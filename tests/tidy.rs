//! Habits of the sources that no compiler checks.

mod words;

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::programs::source;
use crate::Test;
use words::{a_reworded_phrase_is_seen, no_reworded_phrase_comes_back};

pub fn tests() -> Vec<Test> {
    crate::tests![
        nothing_left_over,
        no_panics_on_purpose_below_a_host,
        every_unsafe_block_says_why,
        no_file_is_long,
        every_package_has_its_licence,
        no_trailing_blanks,
        no_size_of_a_page,
        no_reworded_phrase_comes_back,
        a_reworded_phrase_is_seen,
    ]
}

const MOST_LINES: usize = 500;

/// The files of the project with one of these endings, each with its text.
pub fn files(below: &[&str], endings: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for part in below {
        collect(&source().join("..").join(part), endings, &mut found);
    }
    assert!(!found.is_empty(), "no files in {below:?}");
    found
}

fn collect(dir: &Path, endings: &[&str], found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, endings, found);
        } else if path.extension().is_some_and(|e| endings.iter().any(|ending| e == *ending)) {
            found.push((path.clone(), fs::read_to_string(path).unwrap()));
        }
    }
}

/// Fails with all places at once.
fn none(places: Vec<String>) {
    assert!(places.is_empty(), "\n{}", places.join("\n"));
}

fn place(path: &Path, index: usize, line: &str) -> String {
    let path = path.strip_prefix(source().join("..")).unwrap_or(path);
    format!("{}:{}: {}", path.display(), index + 1, line.trim())
}

/// A line without its comment.
fn code(line: &str) -> &str {
    line.split_once("//").map_or(line, |(code, _)| code)
}

/// The lines before the tests of a file.
pub fn shipped(path: &Path, text: &str) -> Vec<String> {
    let is_tests = |part: std::path::Component<'_>| {
        part.as_os_str().to_string_lossy().trim_end_matches(".rs").ends_with("tests")
    };
    if path.components().skip_while(|part| part.as_os_str() != "src").any(is_tests) {
        return Vec::new();
    }
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let tests = lines.windows(2).position(|two| {
        two[0].trim() == "#[cfg(test)]" && two[1].contains("mod ") && two[1].ends_with('{')
    });
    lines[..tests.unwrap_or(lines.len())].to_vec()
}

/// Every line of the shipped code of `below` that has one of `words` outside comments.
fn lines_with(below: &[&str], words: &[&str]) -> Vec<String> {
    let mut places = Vec::new();
    for (path, text) in files(below, &["rs"]) {
        for (index, line) in shipped(&path, &text).iter().enumerate() {
            if words.iter().any(|word| code(line).contains(word)) {
                places.push(place(&path, index, line));
            }
        }
    }
    places
}

fn nothing_left_over() {
    let words = [concat!("dbg", "!("), concat!("todo", "!("), concat!("unimplemented", "!(")];
    none(lines_with(&["src", "tests"], &words));
    let notes = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];
    let mut places = Vec::new();
    for (path, text) in files(&["src", "tests"], &["rs", "c", "h", "py", "toml", "md"]) {
        let lines = text.lines().enumerate();
        let noted = lines.filter(|(_, line)| notes.iter().any(|note| line.contains(note)));
        places.extend(noted.map(|(index, line)| place(&path, index, line)));
    }
    none(places);
}

/// What runs inside other people's programs.
fn no_panics_on_purpose_below_a_host() {
    let words = [".unwrap()", ".expect(", "panic!(", "unreachable!("];
    none(lines_with(&["src/engine", "src/shim", "src/helper"], &words));
}

/// Numbers that are the size of a page somewhere, and what they are where they are something else.
const PAGES: [&str; 7] = ["4096", "4095", "0x1000", "16384", "16_384", "65536", "65_536"];
const NO_PAGES: [(&str, &str); 10] = [
    ("proc.rs", "each_part::<4096>"),         // a buffer
    ("sys/call.rs", "(-4095..0)"),            // error numbers
    ("ledger/header.rs", "align(4096)"),      // in the file
    ("ledger/access.rs", "is_multiple_of"),   // in the file
    ("watchdog/tree.rs", "MOST: usize"),      // processes
    ("exec/limits.rs", "STRING_MOST: usize"), // the least of all
    ("pool/own_pool.rs", "MOST: u32"),        // the least of all: 16 pages
    ("serve/children.rs", "MOST: usize"),     // processes
    ("show/closing.rs", "block = [0;"),       // a buffer
    ("guard/process.rs", "MOST: i32"),        // descriptors
];

/// Pages have 4, 16 or 64 KiB: what maps memory leaves their size to the kernel.
fn no_size_of_a_page() {
    let found = lines_with(&["src/engine", "src/shim", "src/helper"], &PAGES);
    let is = |(file, text): &(&str, &str), line: &str| line.contains(file) && line.contains(text);
    let stale = NO_PAGES.iter().filter(|no| !found.iter().any(|line| is(no, line)));
    let stale: Vec<_> = stale.map(|(file, text)| format!("{file} has no {text}")).collect();
    let pages = found.into_iter().filter(|line| !NO_PAGES.iter().any(|no| is(no, line)));
    none(pages.chain(stale).collect());
}

fn every_unsafe_block_says_why() {
    let mut places = Vec::new();
    for (path, text) in files(&["src", "tests"], &["rs"]) {
        let lines: Vec<_> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let opens = ["unsafe {", "unsafe impl"].iter().any(|word| code(line).contains(word));
            if opens && !line.contains("\"unsafe") && !says_why(&lines, index) {
                places.push(place(&path, index, line));
            }
        }
    }
    none(places);
}

/// A SAFETY comment ends at most three lines above.
fn says_why(lines: &[&str], index: usize) -> bool {
    let is_comment = |at: &usize| lines[*at].trim_start().starts_with("//");
    let Some(mut at) = (index.saturating_sub(3)..index).rev().find(is_comment) else {
        return lines[index].contains("SAFETY:");
    };
    while at > 0 && is_comment(&at) && !lines[at].contains("SAFETY:") {
        at -= 1;
    }
    lines[at].contains("SAFETY:")
}

fn no_file_is_long() {
    let all = files(&["src", "tests"], &["rs", "c", "h", "py"]);
    let long = all.iter().filter(|(_, text)| text.lines().count() >= MOST_LINES);
    none(long.map(|(path, text)| place(path, text.lines().count() - 1, "lines")).collect());
}

fn every_package_has_its_licence() {
    let all = files(&["src", "tests"], &["toml"]);
    let packages = all.iter().filter(|(path, _)| path.ends_with("Cargo.toml"));
    let without = packages.filter(|(_, text)| !text.contains("\nlicense"));
    none(without.map(|(path, _)| place(path, 0, "no licence")).collect());
}

fn no_trailing_blanks() {
    let mut places = Vec::new();
    for (path, text) in files(&["src", "tests"], &["rs", "c", "h", "py", "toml", "md", "txt"]) {
        let lines = text.lines().enumerate();
        let blank = lines.filter(|(_, line)| line.ends_with([' ', '\t', '\r']));
        places.extend(blank.map(|(index, line)| place(&path, index, line)));
        if !text.ends_with('\n') || text.ends_with("\n\n") {
            places.push(place(&path, text.lines().count(), "end of the file"));
        }
    }
    none(places);
}
