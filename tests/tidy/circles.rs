//! The files of a crate use each other in one direction: who reads one of them needs only those that it names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{code, files, none, shipped};

/// The crates that are looked at, and what of them is not.
const CRATES: [&str; 1] = ["src/cli"];
const LEFT_OUT: [&str; 1] = ["report"];

/// A module by the names that lead to it from the root of its crate.
type Module = Vec<String>;

pub fn no_files_use_each_other_in_a_circle() {
    none(CRATES.iter().flat_map(|name| circles(&uses_of(name))).collect());
}

/// What each module uses of its crate.
fn uses_of(name: &str) -> BTreeMap<Module, BTreeSet<Module>> {
    let root = crate::harness::programs::source().join("..").join(name);
    let all: BTreeMap<Module, Vec<String>> = files(&[name], &["rs"])
        .into_iter()
        .map(|(path, text)| (path.strip_prefix(&root).unwrap().to_owned(), path, text))
        .filter(|(below, ..)| !LEFT_OUT.iter().any(|part| below.starts_with(part)))
        .map(|(below, path, text)| (module(&below), words(&shipped(&path, &text))))
        .collect();
    let known: BTreeSet<Module> = all.keys().cloned().collect();
    all.into_iter().map(|(at, words)| (at.clone(), used(&at, &words, &known))).collect()
}

/// `status/mod.rs` and `status.rs` are `status`; `main.rs` and `lib.rs` are the root.
fn module(file: &Path) -> Module {
    let parts: PathBuf = file.with_extension("");
    let names = parts.iter().map(|part| part.to_string_lossy().into_owned());
    let mut module: Module = names.collect();
    if module.last().is_some_and(|last| ["mod", "main", "lib"].contains(&last.as_str())) {
        module.pop();
    }
    module
}

/// Names, `::`, and signs.
fn words(lines: &[String]) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for line in lines {
        let mut glued = false;
        for c in code(line).chars() {
            let is_name = c.is_alphanumeric() || c == '_';
            let last = words.last_mut().filter(|_| glued);
            match last {
                Some(last)
                    if is_name && last.ends_with(|c: char| c.is_alphanumeric() || c == '_') =>
                {
                    last.push(c);
                }
                Some(last) if c == ':' && last == ":" => last.push(c),
                _ if c.is_whitespace() => {}
                _ => words.push(c.to_string()),
            }
            glued = !c.is_whitespace();
        }
    }
    words
}

/// The other modules that these words lead to.
fn used(at: &Module, words: &[String], known: &BTreeSet<Module>) -> BTreeSet<Module> {
    let mut found = BTreeSet::new();
    for (index, word) in words.iter().enumerate() {
        let follows = index.checked_sub(1).is_some_and(|before| words[before] == "::");
        if follows || words.get(index + 1).map(String::as_str) != Some("::") {
            continue;
        }
        let child = [&at[..], std::slice::from_ref(word)].concat();
        let from = match word.as_str() {
            "crate" => Module::new(),
            "self" => at.clone(),
            "super" => at[..at.len().saturating_sub(1)].to_vec(),
            _ if known.contains(&child) => child,
            _ => continue,
        };
        follow(&from, &words[index + 1..], known, &mut found);
    }
    found.remove(at);
    found
}

/// Follows a path, and each branch of its braces, to the last module on it. Returns how many words it has.
fn follow(
    from: &Module,
    words: &[String],
    known: &BTreeSet<Module>,
    found: &mut BTreeSet<Module>,
) -> usize {
    let mut at = from.clone();
    let mut is_in = true;
    let mut index = 0;
    while words.get(index).map(String::as_str) == Some("::") {
        let Some(word) = words.get(index + 1) else { break };
        if word == "{" {
            index += 2;
            while let Some(word) = words.get(index).filter(|word| *word != "}") {
                if word == "," {
                    index += 1;
                    continue;
                }
                let step = [&["::".to_owned()][..], &words[index..]].concat();
                index += follow(&at, &step, known, found) - 1;
                // `as NAME`
                while words.get(index).is_some_and(|word| word != "," && word != "}") {
                    index += 1;
                }
            }
            return index + 1;
        }
        let next = match word.as_str() {
            "super" => at[..at.len().saturating_sub(1)].to_vec(),
            _ => [&at[..], std::slice::from_ref(word)].concat(),
        };
        is_in = is_in && (word == "super" || known.contains(&next));
        if is_in {
            at = next;
        }
        index += 2;
    }
    found.insert(at);
    index
}

/// Each circle once, from its first file on.
fn circles(uses: &BTreeMap<Module, BTreeSet<Module>>) -> Vec<String> {
    let mut open = uses.clone();
    // What nobody uses, or what uses nothing, is in no circle.
    loop {
        let before = open.len();
        let used: BTreeSet<_> = open.values().flatten().cloned().collect();
        let there: BTreeSet<_> = open.keys().cloned().collect();
        open.retain(|at, uses| used.contains(at) && uses.iter().any(|to| there.contains(to)));
        let there: BTreeSet<_> = open.keys().cloned().collect();
        open.values_mut().for_each(|uses| uses.retain(|to| there.contains(to)));
        if open.len() == before {
            break;
        }
    }
    let name = |module: &Module| format!("crate::{}", module.join("::"));
    let line = |(at, uses): (&Module, &BTreeSet<Module>)| {
        let uses: Vec<_> = uses.iter().map(name).collect();
        format!("in a circle: {} uses {}", name(at), uses.join(", "))
    };
    open.iter().map(line).collect()
}

/// The test would see one.
pub fn a_circle_is_seen() {
    let known: BTreeSet<Module> = [&[][..], &["a"], &["b"], &["b", "c"], &["b", "d"]]
        .map(|m| m.iter().map(ToString::to_string).collect())
        .into();
    let at = |names: &[&str]| -> Module { names.iter().map(ToString::to_string).collect() };
    let text = |line: &str| words(&[line.to_owned()]);
    let of = |from: &[&str], line: &str| used(&at(from), &text(line), &known);
    assert_eq!(
        of(&["a"], "use crate::{b::{c::X as Y, d}, b};"),
        [at(&["b"]), at(&["b", "c"]), at(&["b", "d"])].into()
    );
    assert_eq!(
        of(&["b", "c"], "let x = super::d::f(super::super::a::X);"),
        [at(&["b", "d"]), at(&["a"])].into()
    );
    assert_eq!(of(&["b"], "use c::X; // crate::a"), [at(&["b", "c"])].into());
    let uses = [
        (at(&["a"]), of(&["a"], "crate::b::f()")),
        (at(&["b"]), of(&["b"], "use crate::a::{X, Y};")),
    ];
    assert_eq!(circles(&uses.into()).len(), 2);
}
