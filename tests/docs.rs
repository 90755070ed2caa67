//! The documents: each command in them is run, each link leads somewhere, and each message that can be
//! printed is explained.

use std::fs;

use crate::harness::programs::{artifact, base, output, script};
use crate::harness::Run;
use crate::tidy::files;
use crate::Test;

pub fn tests() -> Vec<Test> {
    let mut list = crate::tests![
        scripts_are_named_as_they_are,
        tools_are_named_as_they_are,
        readme_is_short,
        readmes_in_a_clean_copy,
    ];
    for page in pages().into_iter().filter(|page| !IN_A_CLEAN_COPY.contains(&page.as_str())) {
        let name = page.rsplit('/').next().unwrap_or(&page).replace('.', "_");
        let folder = if page.contains("examples/") { "examples_" } else { "" };
        let name = format!("docs::commands_of_{folder}{name}");
        list.push(crate::test(&name, move || commands_of(&page)));
    }
    list
}

/// What needs no program of the toolbox.
pub fn plain_tests() -> Vec<Test> {
    crate::tests![every_message_is_explained, links_lead_somewhere, packages_are_where_it_says]
}

/// First the build without a network, which nothing of the other can change.
const IN_A_CLEAN_COPY: [&str; 2] = ["packaging/README.md", "README.md"];

fn pages() -> Vec<String> {
    let mut list = ["README.md", "CONTRIBUTING.md", "examples/README.md", "packaging/README.md"]
        .map(str::to_owned)
        .to_vec();
    let docs = fs::read_dir(script("../docs")).unwrap().flatten();
    list.extend(docs.map(|e| format!("docs/{}", e.file_name().to_string_lossy())));
    list.retain(|page| page.ends_with(".md"));
    list
}

fn read(page: &str) -> String {
    fs::read_to_string(script(&format!("../{page}"))).unwrap()
}

// ---- commands ----------------------------------------------------------------------------------

/// The indented and fenced blocks of a page.
fn blocks(text: &str) -> Vec<String> {
    let (mut blocks, mut block, mut fenced) = (Vec::new(), String::new(), false);
    for line in text.lines().chain([""]) {
        let is_fence = line.starts_with("```");
        fenced ^= is_fence;
        let code = if fenced && !is_fence { Some(line) } else { line.strip_prefix("    ") };
        match code {
            Some(code) => block += &format!("{code}\n"),
            None if !block.is_empty() => blocks.push(std::mem::take(&mut block)),
            None => {}
        }
    }
    blocks
}

/// Pictures, not commands.
fn is_picture(block: &str) -> bool {
    block.contains("──") || block.starts_with("src/")
}

/// These are programs of their own: they prepare the machine, or run all tests.
fn is_a_run_of_its_own(line: &str) -> bool {
    ["scripts/demo", "scripts/test", "scripts/bench", "scripts/soak"].iter().any(|name| {
        line.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    })
}

/// In a folder with what the commands take for granted: a build, its files, and the launcher in PATH. A line
/// that only looks may find nothing.
fn commands_of(page: &str) {
    let Some(cli) = artifact("jsshim") else { return };
    let blocks: Vec<_> = blocks(&read(page)).into_iter().filter(|b| !is_picture(b)).collect();
    for block in blocks {
        let mut text = String::new();
        for line in block.lines() {
            let command = line.split("  #").next().unwrap_or(line).trim_end();
            if !is_a_run_of_its_own(command) {
                text +=
                    &format!("echo '+' {:?} >&2\n{command}\n", command.replace(['$', '`'], "_"));
            }
        }
        let run = Run::new(&["bash", "-euo", "pipefail", "-c", &format!("{PREPARED}\n{text}")]);
        let run = run.env("ROOT", &script("..")).env("BUILT", cli.trim_end_matches("/jsshim"));
        let run = run.file("build.ninja", NINJA).file("Top.mk", "all:\n\t@true\n");
        let run = run.file("prog.c", "#include <jobserver.h>\nint main(void) { return 0; }\n");
        let run = run.file("commands", "true 1\ntrue 2\ntrue 3\n").file("CMakeLists.txt", "");
        let run = run
            .file("build-everything.sh", "#!/bin/sh\nmake -f Top.mk\n")
            .preload_inside()
            .any_peak();
        run.check(|o| assert!(o.status.success(), "a command of the page fails")).once();
    }
}

/// Every command as it is printed, in a copy of the tree in which nothing is built, at another place: vendored, and
/// then without what this machine's cargo has. The binaries are the same, byte for byte, and name no place. What is
/// installed goes to a /usr/local that ends with the shell, and the launcher also by cargo, alone.
fn readmes_in_a_clean_copy() {
    let Some(cli) = artifact("jsshim") else { return };
    let commands = IN_A_CLEAN_COPY
        .map(|page| blocks(&read(page)).into_iter().filter(|b| !is_picture(b)).collect::<String>());
    let [vendored, usual] = commands.map(|text| {
        let line = |line: &str| {
            format!("echo '+' {:?} >&2\n{line}\n", line.replace(['$', '`', '\''], "_"))
        };
        text.lines().map(line).collect::<String>()
    });
    let vendored = vendored.replacen("\ncargo build", "\nno_network\ncargo build", 1);
    let text = [CLEAN, &vendored, COMPARED, &usual, ALONE].concat();
    let file = base().join("clean-copy.sh");
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let built = format!("BUILT={}", cli.trim_end_matches("/jsshim"));
    let root = format!("ROOT={}", fs::canonicalize(script("..")).unwrap().display());
    let bash = ["bash", "-euo", "pipefail", file];
    let line =
        [&["-k9", "1400", "env", "-u", "MAKEFLAGS", &built, &root, "unshare", "-m"], &bash[..]]
            .concat();
    let told = output("timeout", &line);
    assert!(told.ends_with("whole\n"), "{told}");
}

const CLEAN: &str = r#"
exec </dev/null
own=${CARGO_HOME:-$HOME/.cargo}
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
mkdir -p "$dir/some/where"; cd "$dir/some/where"
tar -C "$ROOT" -c --exclude=./target --exclude=./.git . | tar -x
unset CARGO_TARGET_DIR
mount -t tmpfs none /usr/local
export JSSHIM_DIR=$dir/run PATH=/usr/local/bin:$PATH
mkdir -m 700 "$JSSHIM_DIR"
# What the line would install, this machine has.
sudo() { [ "$1" = apt-get ] || command sudo "$@"; }
no_network() { export CARGO_HOME=$dir/cargo CARGO_NET_OFFLINE=true; }
"#;

const COMPARED: &str = r#"
for file in libjsshim.so jsshim-helper jsshim libjobserver.so libjobserver.a; do
    cmp "$BUILT/$file" "target/release/$file"
    for place in "$dir" "$ROOT" "$own" "$HOME/" /registry/src vendor/; do
        if grep -qaF "$place" "target/release/$file"; then echo "$file names $place" >&2; exit 1; fi
    done
done
"#;

const ALONE: &str = r#"
CARGO_INSTALL_ROOT=$dir/alone cargo install --locked --path src/cli 2>&1
test "$(ls "$dir/alone/bin")" = jsshim
HOME=$dir/home "$dir/alone/bin/jsshim" -j2 -- sh -c 'test -n "$JSSHIM_POOL"; echo whole'
"#;

/// A page and a half of a terminal.
fn readme_is_short() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 75, "{lines} lines");
}

const PREPARED: &str = r#"
exec </dev/null
ln -s "$ROOT"/scripts "$ROOT"/examples "$ROOT"/docs "$ROOT"/src .
mkdir target; ln -s "$BUILT" target/release
export PATH=$BUILT:$PATH
chmod +x build-everything.sh; touch $(seq 100)
# What builds, has built.
cargo() { test "$*" = 'build --release'; }
# Nothing may be to be seen.
grep() { command grep "$@" || test $? = 1; }
parallel() { command parallel --will-cite "$@"; }
printf 'all:\n\t@true\n' >Makefile
"#;

const NINJA: &str = "rule t\n  command = true\nbuild a: t\nbuild b: t\nbuild c: t\n";

/// In the running text, too.
fn scripts_are_named_as_they_are() {
    for page in pages() {
        let text = read(&page);
        let words = text
            .split(|c: char| c.is_whitespace() || matches!(c, '`' | '(' | ')' | ',' | ';' | '\''));
        for name in words.filter(|w| w.starts_with("scripts/") && w.len() > 8) {
            let path = script(&format!("../{}", name.trim_end_matches(['.', ':'])));
            assert!(fs::metadata(&path).is_ok(), "{page}: {name}");
        }
    }
}

/// `jsshim WORD` in the running text is a tool of it, or stands for a command.
fn tools_are_named_as_they_are() {
    let Some(cli) = artifact("jsshim") else { return };
    for page in pages() {
        let text = read(&page);
        for code in text.split('`').skip(1).step_by(2).filter_map(|c| c.strip_prefix("jsshim ")) {
            let word = code.split_whitespace().next().unwrap_or_default();
            if word.chars().all(|c| c.is_ascii_lowercase()) {
                output(&cli, &[word, "--help"]);
            }
        }
    }
}

fn links_lead_somewhere() {
    for page in pages() {
        let dir = page.rsplit_once('/').map_or("", |(dir, _)| dir);
        let text = read(&page);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let there = target.contains("://")
                || fs::metadata(script(&format!("../{dir}/{target}"))).is_ok();
            assert!(there, "{page}: {target}");
        }
    }
}

// ---- packages ----------------------------------------------------------------------------------

/// The packages that a crate of ours depends on, with those of its tests.
fn packages_of(folder: &str) -> Vec<String> {
    let place = if folder.starts_with("tests") { folder.into() } else { format!("src/{folder}") };
    let text = read(&format!("{place}/Cargo.toml"));
    let part = |section: &&str| section.lines().next().is_some_and(|l| l.contains("dependencies"));
    let sections = text.split("\n[").filter(part).flat_map(|section| section.lines().skip(1));
    let name = |line: &str| line.split(['.', ' ', '#']).next().unwrap_or_default().to_owned();
    sections.map(name).filter(|name| !name.is_empty()).collect()
}

/// The table of packages in ARCHITECTURE.md: each is where it says and nowhere where it says not, and what runs inside
/// other people's programs depends on nothing else.
fn packages_are_where_it_says() {
    let page = read("docs/ARCHITECTURE.md");
    let section = page.split("## Packages").nth(1).expect("a section on packages");
    let table = section.lines().skip_while(|line| !line.starts_with("| package")).skip(2);
    let mut named = Vec::new();
    for row in table.take_while(|line| line.starts_with('|')) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, package, within, without, ..] = cells[..] else { panic!("{row}") };
        let folders = |cell: &str| -> Vec<String> {
            let is_ours = |word: &&str| !word.is_empty() && !word.contains(' ');
            cell.split(", ").filter(is_ours).map(str::to_owned).collect()
        };
        for folder in folders(within) {
            assert!(packages_of(&folder).iter().any(|p| p == package), "{package} in {folder}");
        }
        for folder in folders(without) {
            assert!(packages_of(&folder).iter().all(|p| p != package), "{package} in {folder}");
        }
        named.push(package.to_owned());
    }
    for folder in ["engine", "shim", "helper", "libjobserver"] {
        let ours = |name: &&String| !name.starts_with("jsshim");
        for package in packages_of(folder).iter().filter(ours) {
            assert!(named.contains(package), "{package} of {folder} is not in the table");
        }
    }
}

// ---- messages ----------------------------------------------------------------------------------

/// The texts in double quotes of a source, without those in comments.
fn literals(text: &str) -> Vec<String> {
    let (mut found, mut rest) = (Vec::new(), text.chars().peekable());
    while let Some(c) = rest.next() {
        match c {
            '/' if rest.peek() == Some(&'/') => while rest.next_if(|c| *c != '\n').is_some() {},
            // A character, not a lifetime.
            '\'' => {
                let ahead: Vec<_> = rest.clone().take(3).collect();
                match ahead[..] {
                    ['\\', ..] => while rest.next().is_some_and(|c| c != '\'') {},
                    [_, '\'', ..] => drop((rest.next(), rest.next())),
                    _ => {}
                }
            }
            '"' => {
                let mut literal = String::new();
                while let Some(c) = rest.next().filter(|c| *c != '"') {
                    match c {
                        '\\' => {
                            literal.extend(rest.next().filter(|c| matches!(c, '\n' | '\'' | '"')))
                        }
                        c => literal.push(c),
                    }
                }
                found.push(literal);
            }
            _ => {}
        }
    }
    found
}

/// The parts of a message that stay the same: what is not in braces, if it is two words or more.
fn parts(message: &str) -> Vec<String> {
    let fixed =
        message.split('{').map(|part| part.split_once('}').map_or(part, |(_, after)| after));
    let parts = fixed.map(|p| p.split_whitespace().collect::<Vec<_>>());
    let is_word = |w: &&&str| w.chars().filter(char::is_ascii_alphabetic).count() > 1;
    parts
        .filter(|words| words.iter().filter(is_word).count() > 1)
        .map(|words| words.join(" "))
        .collect()
}

/// What a shell script says by `say` and `die`, with its variables in braces.
fn messages_of_shell(text: &str) -> Vec<String> {
    let said = text.lines().filter(|l| l.contains("say \"") || l.contains("die "));
    let quoted = said.filter_map(|l| l.split('"').nth(1)).filter(|m| m.contains(' '));
    let name = |c: char| c.is_alphanumeric() || c == '_';
    let braced = |m: &str| {
        let mut parts = m.split('$');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| text + "{}" + part.trim_start_matches(name))
    };
    quoted.map(braced).collect()
}

/// Assembly, documents of hooks, words that are looked for, and pages, whose texts explain themselves.
const NO_MESSAGES: [&str; 12] = [
    "src/engine/show/trace.rs",
    "src/cli/report/model.rs",
    "src/cli/report/tables.rs",
    "src/shim/host/thread.rs",
    "src/shim/doors",
    "src/helper/start.rs",
    "src/engine/sys",
    "src/cli/build.rs",
    "src/cli/manual.rs",
    "src/cli/variables.rs",
    "src/cli/report/page.rs",
    "src/cli/report/draw.rs",
];
/// The last one is for a thing that cannot be.
const NO_MESSAGE: [&str; 4] = ["(os error", "'pipe' mode detected", "/bin/sh -c", "plain data"];

fn every_message_is_explained() {
    let page = read("docs/TROUBLESHOOTING.md").replace('`', "");
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut missing = Vec::new();
    let mut count = 0;
    for (path, text) in files(&["src/engine", "src/shim", "src/helper", "src/cli"], &["rs"]) {
        let path = path.to_string_lossy();
        let path = path.rsplit("/../").next().unwrap_or(&path);
        if NO_MESSAGES.iter().any(|part| path.starts_with(part)) || path.contains("tests") {
            continue;
        }
        let text = text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
        for literal in literals(text).iter().filter(|l| !l.contains('\n')) {
            for part in parts(literal) {
                count += 1;
                let words = part.trim_start_matches("jsshim: ").trim_matches([';', ',', ':', ' ']);
                if !page.contains(words) && !NO_MESSAGE.contains(&words) {
                    missing.push(format!("{path}: {words}"));
                }
            }
        }
    }
    for message in messages_of_shell(&read("scripts/jsshim-cc")) {
        missing.extend(parts(&message).into_iter().filter(|part| !page.contains(part)));
    }
    assert!(count > 60, "only {count} messages were found in the sources");
    assert!(missing.is_empty(), "not in docs/TROUBLESHOOTING.md:\n{}", missing.join("\n"));
}
