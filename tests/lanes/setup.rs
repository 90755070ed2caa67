//! What scripts/setup says while it runs: the themes whose parts are not there yet, a line each, or `*` for all.

use std::fs;
use std::path::Path;

use crate::harness::programs::script;
use crate::tidy::files;
use crate::Test;

#[derive(Default)]
pub struct Setup(Vec<String>);

impl Setup {
    pub fn read(path: &Path) -> Setup {
        Setup::of(&fs::read_to_string(path).expect("the file that JSSHIM_TEST_WAITS names"))
    }

    pub fn of(text: &str) -> Setup {
        Setup(text.lines().map(str::to_owned).collect())
    }

    pub fn keeps_waiting(&self, theme: &str) -> bool {
        !self.has_failed() && self.0.iter().any(|word| word == theme || word == "*")
    }

    pub fn has_failed(&self) -> bool {
        self.0.iter().any(|word| word == "failed")
    }
}

pub fn tests() -> Vec<Test> {
    crate::tests![every_theme_has_its_parts]
}

/// Each theme is in the line of scripts/setup for each part of the toolbox that its files ask for.
fn every_theme_has_its_parts() {
    let text = fs::read_to_string(script("../scripts/setup")).unwrap();
    let (_, rest) = text.split_once("\nparts=\"\n").expect("a table");
    let table = rest.split("\n\"\n").next().unwrap_or(rest);
    let parts: Vec<Vec<_>> = table.lines().map(|line| line.split(' ').collect()).collect();
    let (mut missing, mut asked) = (Vec::new(), 0);
    for (path, text) in files(&["tests"], &["rs"]) {
        let theme = path.to_string_lossy();
        let theme = theme.rsplit("/tests/").next().unwrap().split(['/', '.']).next().unwrap();
        if ["harness", "lanes"].contains(&theme) {
            continue;
        }
        for name in asked_for(&text) {
            let part = part_of(name);
            let line = parts.iter().find(|line| line[0] == part);
            let line = line.unwrap_or_else(|| panic!("no part has {name}"));
            if line.len() > 1 && !line.contains(&theme) {
                missing.push(format!("{part}: not for {theme}"));
            }
            asked += 1;
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
    assert!(asked > 30, "only {asked} are asked for");
}

/// The folders of the toolbox that a source has in `tool("FOLDER`, or in a format of it.
fn asked_for(source: &str) -> impl Iterator<Item = &str> {
    let calls = source.split("tool(").skip(1);
    let texts = calls
        .filter_map(|call| call.strip_prefix('"').or_else(|| call.strip_prefix("&format!(\"")));
    texts.filter_map(|text| text.split(['"', '{']).next())
}

/// The part that makes a folder of the toolbox.
fn part_of(folder: &str) -> &str {
    match folder.split_once('-').unwrap_or((folder, "")) {
        ("ninja", _) => "ninjas",
        ("suite", "lua") => "lua",
        ("suite", _) => "suites",
        ("python", name) => name.trim_end_matches('-'),
        (name, _) => name,
    }
}
