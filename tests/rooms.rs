//! The rooms of the house: modules know each other downward only.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::visit::{self, Visit};
use syn::UseTree;

use crate::harness::programs::source;
use crate::tidy::{files, shipped};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![no_modules_know_each_other_in_a_circle, circles_are_found, no_source_is_long]
}

/// A module by its path below the crate's root; the root is empty.
type Module = Vec<String>;
type Arrows = BTreeMap<Module, BTreeSet<Module>>;

const CRATES: [&str; 5] = ["engine", "shim", "helper", "cli", "libjobserver"];
/// Without its tests.
const MOST_LINES: usize = 400;

fn no_modules_know_each_other_in_a_circle() {
    for name in CRATES {
        let root = format!("src/{name}");
        let texts = files(&[&root], &["rs"]);
        let base = source().join("..").join(&root);
        let sources = texts.iter().filter_map(|(path, text)| {
            let module = module_of(path.strip_prefix(&base).ok()?)?;
            Some((module, text.clone()))
        });
        let arrows = arrows(&sources.collect());
        assert!(arrows.len() > 3, "{name}: too few modules to show anything");
        let circles = circles(&arrows);
        assert!(circles.is_empty(), "{name}: in circles: {circles:?}");
    }
}

fn no_source_is_long() {
    let all = files(&["src"], &["rs"]);
    let lines = all.iter().map(|(path, text)| (path, shipped(path, text).len()));
    let long: Vec<_> = lines.filter(|(_, lines)| *lines > MOST_LINES).collect();
    assert!(long.is_empty(), "{long:?}");
}

/// `None`: it is no module that is shipped.
fn module_of(path: &Path) -> Option<Module> {
    let parts = path.with_extension("");
    let mut module: Module = parts.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if module.iter().any(|part| part == "tests" || part == "build") {
        return None;
    }
    if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        module.pop();
    }
    Some(module)
}

/// Which module names something of which other one. A parent does not name a child by declaring it.
fn arrows(sources: &BTreeMap<Module, String>) -> Arrows {
    let modules: BTreeSet<Module> = sources.keys().cloned().collect();
    let of = |(module, text): (&Module, &String)| {
        let mut names = Names { at: module.clone(), modules: &modules, found: BTreeSet::new() };
        names.visit_file(&syn::parse_file(text).unwrap_or_else(|e| panic!("{module:?}: {e}")));
        (module.clone(), names.found)
    };
    sources.iter().map(of).collect()
}

struct Names<'a> {
    at: Module,
    modules: &'a BTreeSet<Module>,
    found: BTreeSet<Module>,
}

impl Names<'_> {
    /// Notes the innermost module that this path leads into.
    fn note(&mut self, path: &[String]) {
        let mut full = match path.first().map(String::as_str) {
            Some("crate") => Vec::new(),
            Some("self" | "super") => self.at.clone(),
            Some(first) => {
                let child = [&self.at[..], &[first.to_owned()]].concat();
                if !self.modules.contains(&child) {
                    return;
                }
                self.at.clone()
            }
            None => return,
        };
        for part in path {
            match part.as_str() {
                "crate" | "self" => {}
                "super" => drop(full.pop()),
                name => full.push(name.to_owned()),
            }
        }
        while !full.is_empty() && !self.modules.contains(&full) {
            full.pop();
        }
        if full != self.at {
            self.found.insert(full);
        }
    }

    fn note_tree(&mut self, tree: &UseTree, path: &[String]) {
        match tree {
            UseTree::Path(p) => {
                self.note_tree(&p.tree, &[path, &[p.ident.to_string()]].concat());
            }
            UseTree::Name(n) => self.note(&[path, &[n.ident.to_string()]].concat()),
            UseTree::Rename(r) => self.note(&[path, &[r.ident.to_string()]].concat()),
            UseTree::Glob(_) => self.note(path),
            UseTree::Group(g) => g.items.iter().for_each(|tree| self.note_tree(tree, path)),
        }
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|a| {
        let list = a.meta.require_list();
        list.is_ok_and(|l| l.path.is_ident("cfg") && l.tokens.to_string() == "test")
    })
}

impl<'ast> Visit<'ast> for Names<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !is_for_tests(&item.attrs) {
            self.note_tree(&item.tree, &[]);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<_> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        if parts.len() > 1 {
            self.note(&parts);
        }
        visit::visit_path(self, path);
    }
}

/// The modules that reach themselves.
fn circles(arrows: &Arrows) -> Vec<String> {
    let reaches_itself = |start: &Module| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![start]);
        while let Some(module) = next.pop() {
            for to in arrows.get(module).into_iter().flatten() {
                if to == start {
                    return true;
                }
                if seen.insert(to) {
                    next.push(to);
                }
            }
        }
        false
    };
    arrows.keys().filter(|module| reaches_itself(module)).map(|module| module.join("/")).collect()
}

fn circles_are_found() {
    let house = |sources: &[(&str, &str)]| {
        let module = |path: &str| module_of(Path::new(path)).unwrap();
        let sources = sources.iter().map(|(path, text)| (module(path), (*text).to_owned()));
        circles(&arrows(&sources.collect()))
    };
    let root = ("lib.rs", "mod a; mod b;");
    assert!(house(&[root, ("a.rs", "use crate::b::B;"), ("b.rs", "pub struct B;")]).is_empty());
    let by_path = ("b.rs", "pub fn f() -> u32 { crate::a::g(1) }");
    assert_eq!(house(&[root, ("a.rs", "use crate::b::{f, c::D};"), by_path]), ["a", "b"]);
    let parent = ("a/mod.rs", "mod c; use c::C; pub struct A;");
    assert!(house(&[root, parent, ("a/c.rs", "pub struct C;")]).is_empty());
    assert_eq!(house(&[root, parent, ("a/c.rs", "use super::A; pub struct C;")]), ["a", "a/c"]);
    let test = ("a/c.rs", "pub struct C; #[cfg(test)] mod tests { use crate::a::A; }");
    assert!(house(&[root, parent, test]).is_empty());
    let children = ("b.rs", "pub fn f() { super::a::c::g() }");
    assert!(house(&[root, parent, ("a/c.rs", "pub fn g() {}"), children]).is_empty());
}
