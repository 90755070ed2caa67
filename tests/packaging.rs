//! The recipes of `packaging`: each is built or run as far as its tool is to be had, from binaries that are there.

use std::fs;
use std::path::Path;

use crate::harness::programs::{on_path, output, script};
use crate::harness::Run;
use crate::installing::{from_the_build, once};
use crate::tidy::files;
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        recipes_have_one_version,
        no_crate_needs_a_newer_rust,
        crates_can_be_published,
        rpms_are_built,
        recipes_of_shells,
        flake_is_sound,
        image_is_sound,
        action_runs,
        scripts_are_sound,
    ]
}

/// In a copy of what a package is made of, `$BUILT` being the release build.
fn run(text: &str) -> Run {
    let copy = "
        for part in .cargo Cargo.toml README.md CHANGELOG.md LICENSE LICENSE-MIT LICENSE-APACHE scripts src man docs examples packaging; do
            cp -r $ROOT/$part .
        done\n";
    from_the_build(&format!("{copy}{text}"))
}

fn read(name: &str) -> String {
    fs::read_to_string(script(&format!("../{name}"))).unwrap()
}

/// The text between two others.
fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let rest = text.split_once(start).unwrap_or_else(|| panic!("no {start}")).1;
    rest.split(end).next().unwrap_or(rest)
}

/// That of Cargo.toml, wherever a file has to repeat it; and so the oldest Rust.
fn recipes_have_one_version() {
    let cargo = read("Cargo.toml");
    let version = between(&cargo, "\nversion = \"", "\"");
    let rust = between(&cargo, "\nrust-version = \"", "\"");
    let same = [
        ("Cargo.toml", "jsshim-engine = { path = \"src/engine\", version = \"=", "\""),
        ("packaging/rpm/jsshim.spec", "\nVersion:        ", "\n"),
        ("packaging/rpm/jsshim.spec", "localdomain> - ", "-"),
        ("packaging/arch/PKGBUILD", "\npkgver=", "\n"),
        ("packaging/alpine/APKBUILD", "\npkgver=", "\n"),
        ("packaging/debian/changelog", "jsshim (", "-"),
        ("packaging/github/action.yml", "packaging/github@v", "\n"),
        ("man/jsshim.1", "\"jsshim ", "\""),
        ("man/jsshim-cc.1", "\"jsshim ", "\""),
        ("man/libjsshim.7", "\"jsshim ", "\""),
    ];
    for (file, start, end) in same {
        assert_eq!(between(&read(file), start, end), version, "{file}");
    }
    let same = [
        ("README.md", "With Rust ", " "),
        ("packaging/rpm/jsshim.spec", "cargo >= ", "\n"),
        ("packaging/debian/control", "cargo:native (>= ", ")"),
        ("packaging/debian/control", "rustc:native (>= ", ")"),
        ("packaging/gentoo/jsshim.ebuild", "RUST_MIN_VER=\"", ".0\""),
        ("packaging/docker/Dockerfile", "FROM rust:", "-"),
    ];
    for (file, start, end) in same {
        assert_eq!(between(&read(file), start, end), rust, "{file}");
    }
}

/// A version as numbers.
fn numbers(version: &str) -> Vec<u32> {
    let parts = version.split('.').chain(["0"]).take(3);
    parts.map(|n| n.parse().unwrap()).collect()
}

/// What is built for Linux, by what each crate says of itself; clippy looks at our own use of the standard library.
fn no_crate_needs_a_newer_rust() {
    let manifest = script("../Cargo.toml");
    let line = ["metadata", "--offline", "--format-version=1", "--manifest-path", &manifest];
    let platform = ["--filter-platform", "x86_64-unknown-linux-gnu"];
    let told: serde_json::Value =
        serde_json::from_str(&output("cargo", &[&line[..], &platform].concat())).unwrap();
    let cargo = read("Cargo.toml");
    let ours = numbers(between(&cargo, "\nrust-version = \"", "\""));
    let packages = told["packages"].as_array().unwrap();
    assert!(packages.len() > 30, "{}", packages.len());
    for package in packages {
        let Some(theirs) = package["rust_version"].as_str() else { continue };
        assert!(numbers(theirs) <= ours, "{} needs Rust {theirs}", package["name"]);
    }
}

/// Each with its licences and its README, and without what belongs to the tree.
fn crates_can_be_published() {
    let manifest = script("../Cargo.toml");
    let crates = ["jsshim-engine", "jsshim", "jsshim-helper", "jsshim-cli", "jsshim-libjobserver"];
    for name in crates {
        let line = [
            "package",
            "--list",
            "--allow-dirty",
            "--offline",
            "--manifest-path",
            &manifest,
            "-p",
            name,
        ];
        let list = output("cargo", &line);
        for file in ["Cargo.toml", "README.md", "LICENSE-MIT", "LICENSE-APACHE"] {
            assert!(list.lines().any(|l| l == file), "{name}: no {file}\n{list}");
        }
    }
    let told = output(
        "cargo",
        &["metadata", "--offline", "--no-deps", "--format-version=1", "--manifest-path", &manifest],
    );
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    for package in told["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let is_ours_alone = package["publish"].as_array().is_some_and(Vec::is_empty);
        assert_eq!(is_ours_alone, !crates.contains(&name), "{name}");
        let has = |field: &str| package[field].as_str().is_some_and(|text| !text.is_empty());
        assert!(
            is_ours_alone || has("description") && has("license") && has("rust_version"),
            "{name}"
        );
    }
}

fn rpms_are_built() {
    let text = "
        rpmbuild -bb --build-in-place --nodeps --define \"_topdir $PWD/rpm\" --define \"built $BUILT\" \\
            packaging/rpm/jsshim.spec >log 2>&1 || { tail -n 30 log; exit 1; }
        rpms=$(find rpm/RPMS -name '*.rpm' | sort)
        rpmlint $rpms packaging/rpm/jsshim.spec >lint 2>&1 || true
        grep ': E: ' lint | grep -vE \"$KNOWN\" || true
        for rpm in $rpms; do rpm -qp --qf '%{NAME} %{VERSION}\\n' $rpm 2>/dev/null; done";
    // What a distribution's own build root does, which signs, names a packager and strips; rules of other
    // distributions than the recipe's; and what is meant so: the launcher, the helper, hashes of GNU alone.
    const BUILD_ROOT: &str =
        "no-signature|no-packager-tag|no-group-tag|static-library-without-debuginfo";
    const OTHERS: &str =
        "shlib-policy-name-error|outside-libdir-files|non-versioned-file-in-library-package|\
        library-without-ldconfig-post|lib-package-without-%mklibname";
    const MEANT: &str = "statically-linked-binary|missing-hash-section";
    let known = format!("{BUILD_ROOT}|{OTHERS}|{MEANT}").replace(' ', "");
    on_path("rpmlint");
    once(run(text).env("KNOWN", &known), |o| {
        let version = env!("CARGO_PKG_VERSION");
        let names = ["jsshim", "libjobserver", "libjobserver-devel"];
        let names: String = names.iter().map(|n| format!("{n} {version}\n")).collect();
        assert_eq!(o.text(), names);
    });
}

/// Those of Arch, Alpine and Gentoo: with what their tools would give them, they install what scripts/install does.
fn recipes_of_shells() {
    let text = r#"
        shellcheck -s bash -e SC2034,SC2154,SC2164 packaging/arch/PKGBUILD
        shellcheck -s bash -e SC2034,SC2154 packaging/gentoo/jsshim.ebuild
        shellcheck -s dash -e SC2034,SC2154 packaging/alpine/APKBUILD
        scripts/install --built=$BUILT --destdir=$PWD/wanted --prefix=/usr --libdir=lib >/dev/null
        rm wanted/usr/share/jsshim/manifest
        listed() { (cd $1; find . ! -type d -printf '%P %m %l\n' | sort); }
        mkdir target; ln -s $BUILT target/release; T=$PWD
        mkdir arch alpine gentoo; ln -s $T arch/jsshim-VERSION
        # What builds, has built.
        cargo() { case $1 in build | fetch) ;; *) return 1 ;; esac; }
        (
            cd arch; . $T/packaging/arch/PKGBUILD; srcdir=$PWD pkgdir=$T/arch/root
            for step in prepare build package; do (cd $srcdir; set -e; $step >/dev/null); done
            rm -r root/usr/share/licenses
        )
        (
            cd alpine; . $T/packaging/alpine/APKBUILD; builddir=$T pkgdir=$T/alpine/root
            default_prepare() { :; }
            for step in prepare build package; do (cd $builddir; set -e; $step >/dev/null); done
            amove() { case "root/"$1 in root/usr/lib/libjobserver.so.*) ;; *) return 1 ;; esac; }
            libjobserver
        )
        (
            inherit() { test "$*" = cargo; }; die() { echo died >&2; exit 1; }; get_libdir() { echo lib; }
            docompress() { :; }; default() { mkdir vendor; }
            P=jsshim-VERSION PF=jsshim-VERSION-r1 S=$T D=$T/gentoo/root/ ED=$T/gentoo/root/ EPREFIX=
            . $T/packaging/gentoo/jsshim.ebuild
            (cd gentoo; src_unpack)
            for step in src_configure src_compile src_install; do (cd $S; set -e; $step >/dev/null); done
            mv $ED/usr/share/doc/$PF $ED/usr/share/doc/jsshim
        )
        for tool in arch alpine gentoo; do echo $tool; diff <(listed wanted) <(listed $tool/root); done
        tail -n 4 .cargo/config.toml"#
        .replace("VERSION", env!("CARGO_PKG_VERSION"));
    on_path("shellcheck");
    once(run(&text), |o| {
        let config = "[source.crates-io]\nreplace-with = \"vendored-sources\"\n[source.vendored-sources]\ndirectory = \"vendor\"\n";
        let text = o.text().replace('\t', "");
        assert_eq!(text, format!("arch\nalpine\ngentoo\n{config}"));
    });
}

fn flake_is_sound() {
    let flake = script("../packaging/nix/flake.nix");
    let store =
        "export NIX_STORE_DIR=$PWD/s NIX_STATE_DIR=$PWD/v NIX_LOG_DIR=$PWD/l NIX_CONF_DIR=$PWD";
    let text = format!("cd $(mktemp -d); {store}; nix-instantiate --parse $0 >/dev/null; r=$?; rm -r $PWD; exit $r");
    output("sh", &["-c", &text, &flake]);
    let text = read("packaging/nix/flake.nix");
    let named = text.split("../../").skip(1).filter_map(|rest| rest.split([')', ';']).next());
    for name in named {
        assert!(Path::new(&script(&format!("../{name}"))).exists(), "{name}");
    }
}

/// Its commands are shell, and what it copies is there.
fn image_is_sound() {
    let text = read("packaging/docker/Dockerfile");
    let runs: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("RUN ")).collect();
    assert!(runs.len() > 2, "{text}");
    let commands = format!("#!/bin/sh\n{}\n", runs.join("\n"));
    let check = "printf %s \"$0\" | shellcheck -";
    output("sh", &["-c", check, &commands]);
    let installed = runs.iter().find(|r| r.starts_with("scripts/install")).expect("it installs");
    assert!(installed.contains("--destdir=/out --prefix=/opt/jsshim"), "{installed}");
    assert!(text.contains("COPY --from=build /out/opt/jsshim /opt/jsshim\n"));
}

/// Each step, as a runner starts it.
fn action_runs() {
    const STEPS: &str = "
require 'yaml'
action = YAML.load_file('packaging/github/action.yml')
abort 'not composite' unless action['runs']['using'] == 'composite'
action['runs']['steps'].each do |step|
  abort 'no bash' unless step['shell'] == 'bash'
  values = { 'inputs.prefix' => ENV['PREFIX'], 'github.action_path' => Dir.pwd + '/packaging/github' }
  env = step['env'].map { |k, v| [k, v.gsub(/\\$\\{\\{ (.*?) \\}\\}/) { values.fetch($1) }] }.to_h
  exit 1 unless system(env, 'bash', '--noprofile', '--norc', '-eo', 'pipefail', '-c', step['run'])
end
puts action['outputs'].keys
";
    let text = "
        # The runner's checkout is as good as built.
        mkdir bin; echo '#!/bin/sh' >bin/cargo; chmod +x bin/cargo; mkdir target; ln -s $BUILT target/release
        export PREFIX=$PWD/tools GITHUB_PATH=$PWD/path GITHUB_OUTPUT=$PWD/output PATH=$PWD/bin:$PATH
        ruby -e \"$STEPS\" >said; tail -n 1 said
        PATH=$(cat path):$PATH jsshim -j2 -- true
        . ./output; test -f $library; echo ${library#$PWD}";
    once(run(text).env("STEPS", STEPS), |o| {
        assert_eq!(o.text(), "library\n/tools/lib/jsshim/libjsshim.so\n");
    });
}

/// Our own, and those of the recipes. Every sh has `-ef` (SC3013) that is to be had on Linux.
fn scripts_are_sound() {
    let root = script("..");
    let text =
        "cd $0; shellcheck -x -S warning -e SC3013 $(grep -slE '^#!/bin/(ba)?sh' scripts/* examples/*/* packaging/*/*)";
    output("sh", &["-c", text, &root]);
    assert!(!files(&["packaging"], &["yml", "spec", "nix"]).is_empty());
}
