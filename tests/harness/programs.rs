//! Where the programs are: the built library, the toolbox, what lies on PATH, what is compiled here.

use std::env;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The folder of this package.
pub fn source() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of this package, for scripts that are run as they are.
pub fn script(name: &str) -> String {
    text(&source().join(name))
}

fn text(path: &Path) -> String {
    path.to_str().expect("paths of the tests are UTF-8").to_owned()
}

/// A file of the release build. With `JSSHIM_ARTIFACTS=none` there are none, and each test shows
/// only that its scene works without the library and would be noticed.
pub fn artifact(name: &str) -> Option<String> {
    let dir = match env::var_os("JSSHIM_ARTIFACTS") {
        Some(dir) if dir == "none" => return None,
        Some(dir) => PathBuf::from(dir),
        None => source().join("../target/release"),
    };
    let path = dir.join(name).canonicalize();
    let path = path.unwrap_or_else(|e| panic!("{}/{name}: {e}", dir.display()));
    Some(text(&path))
}

/// Are all programs but this one run by an emulator of processes (scripts/arm64)?
pub fn is_emulated() -> bool {
    env::var_os("JSSHIM_TEST_EMULATED").is_some()
}

/// A program of the toolbox that scripts/test lays out, as in `tool("ninja-1.11.1", "ninja")`.
pub fn tool(prefix: &str, name: &str) -> String {
    let toolbox = env::var_os("JSSHIM_TOOLBOX").expect("JSSHIM_TOOLBOX is set");
    let entries = fs::read_dir(&toolbox).expect("the toolbox can be read").flatten();
    let mut folders = entries.filter(|e| e.file_name().to_string_lossy().starts_with(prefix));
    let folder = folders.next().unwrap_or_else(|| panic!("no {prefix} in {toolbox:?}"));
    let path = folder.path().join(name);
    assert!(path.exists(), "{} is missing", path.display());
    text(&path)
}

/// A program on PATH.
pub fn on_path(name: &str) -> String {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places = env::split_paths(&path).map(|dir| dir.join(name));
    text(&places.find(|p| p.exists()).unwrap_or_else(|| panic!("{name} is not installed")))
}

/// The interpreter itself, not a version manager's script that stands before it.
pub fn python() -> String {
    let find = |path: &Path| {
        let found = output("python3", &["-c", "import sys; print(sys.executable)"]);
        fs::write(path, found.trim()).expect("a file");
    };
    fs::read_to_string(once("python", find)).expect("a path")
}

/// The standard output of a tool that must succeed.
pub fn output(program: &str, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output();
    let out = out.unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(out.status.success(), "{program} {args:?}: {out:?}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// A program from `c/NAME.c`, compiled once.
pub fn compiled(name: &str) -> String {
    compiled_with(name, name, &[])
}

/// The same with flags, under another name.
pub fn compiled_with(name: &str, target: &str, flags: &[&str]) -> String {
    compiled_by("cc", name, target, flags)
}

/// The same by another compiler.
pub fn compiled_by(compiler: &str, name: &str, target: &str, flags: &[&str]) -> String {
    once(target, |path| {
        let from = text(&source().join(format!("c/{name}.c")));
        let strict = ["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-D_GNU_SOURCE"];
        output(compiler, &[&strict[..], flags, &["-o", &text(path), &from]].concat());
    })
}

/// What all tests share: made at a path of this name by the first that needs it, while others wait.
pub fn once(name: &str, make: impl FnOnce(&Path)) -> String {
    let path = folder().join(name);
    let made =
        File::options().append(true).create(true).open(folder().join(format!("{name}.made")));
    let mut made = made.expect("a file");
    // SAFETY: locks an open file; no memory is involved.
    let locked = unsafe { libc::flock(made.as_raw_fd(), libc::LOCK_EX) };
    assert_eq!(locked, 0, "flock: {}", std::io::Error::last_os_error());
    if made.metadata().expect("of an open file").len() == 0 {
        make(&path);
        made.write_all(b"made\n").expect("a file can be written");
    }
    text(&path)
}

static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// In the process of a test: what the process that runs all has made.
pub fn set_folder(folder: PathBuf) {
    FOLDER.set(folder).expect("nobody has asked for it yet");
}

/// A library of the package `jsshim-preloads`, to be preloaded beside ours; all are built once.
pub fn preload(name: &str) -> String {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let (manifest, target) = (script("../Cargo.toml"), script("../target"));
        let place = ["--manifest-path", &manifest, "--target-dir", &target];
        let what = ["build", "-q", "--release", "-p", "jsshim-preloads", "--examples"];
        output(env!("CARGO"), &[&what[..], &place].concat());
        Path::new(&target).join("release/examples")
    });
    let path = folder.join(format!("lib{name}.so")).canonicalize();
    text(&path.unwrap_or_else(|e| panic!("{name}: {e}")))
}

/// The folder of this whole run of the tests.
pub fn folder() -> &'static Path {
    FOLDER.get_or_init(|| {
        let dir = env::temp_dir().join(format!("jsshim-it-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a temporary folder can be made");
        dir
    })
}

/// The folder of this test.
pub fn base() -> &'static Path {
    static BASE: OnceLock<PathBuf> = OnceLock::new();
    BASE.get_or_init(|| {
        let dir = folder().join(std::process::id().to_string());
        fs::create_dir_all(&dir).expect("a folder can be made");
        dir
    })
}
