//! Comments and messages in plain technical English: no phrase that was reworded comes back.

use std::path::Path;

use super::{files, none, place};

/// Phrases that were reworded, in lower case: a reader had to guess who does what to whom.
const REWORDED: [&str; 36] = [
    "to write where it may not yet look",
    "no number of a process has to be trusted",
    "whether that has come of it",
    "who is killed here",
    "somebody closes the ledger",
    "what may be made up for",
    "may be in the making before its maker",
    "in what time a job that waits",
    "nobody polls it in vain",
    "seconds, also broken ones",
    "it sees to it in its own way",
    "in whole or broken numbers",
    "it is all of a client",
    "where a younger sibling puts a byte",
    "what is no limit, the library",
    "a number that stands for itself",
    "be that of another",
    "fallen free",
    "gives what was there",
    "has come to a slot",
    "in this hand",
    "it has been said why",
    "looks after itself",
    "nobody looked",
    "none of our business",
    "not ours to judge",
    "of which it is not known",
    "says from which state",
    "so often, so many ms",
    "that nobody has any more",
    "the number of a process",
    "what came of",
    "who gives names away",
    "who is elsewhere",
    "who was killed",
    "whose word counts more",
];

pub fn no_reworded_phrase_comes_back() {
    let all = files(&["src"], &["rs", "h", "md", "toml"]);
    none(all.iter().flat_map(|(path, text)| reworded(path, text)).collect());
}

/// The lines of a text on which one of [`REWORDED`] begins.
fn reworded(path: &Path, text: &str) -> Vec<String> {
    let lines: Vec<_> = text.lines().collect();
    let starts_one = |index: &usize| {
        let line = words(lines[*index]);
        let next = lines.get(index + 1).map(|next| words(next)).unwrap_or_default();
        let both = format!("{line} {next}");
        let found = REWORDED.iter().filter_map(|phrase| both.find(phrase));
        found.min().is_some_and(|at| at < line.len())
    };
    (0..lines.len()).filter(starts_one).map(|index| place(path, index, lines[index])).collect()
}

/// A line in lower case, without the marks of a comment.
fn words(line: &str) -> String {
    let text = line.trim_start().trim_start_matches(['/', '!', '*', '#']);
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// The rule finds what it looks for: in code, at the end of a line, and where a comment is wrapped.
pub fn a_reworded_phrase_is_seen() {
    let text = "//! Who is killed here leaves nothing.\n\
                let a = 1; // Relaxed: a number that\n\
                fn nothing() {}\n\
                \x20   /// Says from\n\
                \x20   /// which state it went.\n\
                let b = 2; // fallen free\n";
    let found = reworded(Path::new("a.rs"), text);
    let lines: Vec<_> = found.iter().map(|place| place.split(':').nth(1).unwrap()).collect();
    assert_eq!(lines, ["1", "4", "6"], "{found:?}");
}
