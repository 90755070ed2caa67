//! What is handed to exec in place of what the host wanted: the helper for a job that is held, and an
//! environment that names the pool.

use core::ffi::{c_char, CStr};

use jsshim_engine::client::{Client, POOL_NAME};
use jsshim_engine::record::Handle;
use jsshim_engine::spec::Spec;
use jsshim_engine::sys;
use jsshim_engine::target::{self, Kind};
use jsshim_engine::text::{Path, Text};

use crate::environ::{self, Scratch, Strings, END};

/// Arguments for execve(2), and the memory in which they lie.
pub struct Exec {
    pub path: *const c_char,
    pub argv: Strings,
    pub envp: Strings,
    pub scratch: Scratch,
}

/// What would run, and how.
pub struct Target {
    path: Path,
    /// A text: a `p` function runs it with /bin/sh.
    shell: bool,
}

/// Would the exec of `file` succeed? With `search` along PATH; with `shell` a text is run by /bin/sh:
/// both as execvp(3), neither as execve(2), and posix_spawnp(3) only searches.
pub fn foretell(file: &CStr, search: bool, shell: bool) -> Option<Target> {
    let (path, kind) = if search {
        target::search(file, environ::own(b"PATH=")).ok()?
    } else {
        let path = resolve(file)?;
        (path, target::foretell(path.c()).ok()?)
    };
    // A longer path cannot be handed on.
    (path.fits() && (shell || kind != Kind::Text))
        .then_some(Target { path, shell: kind == Kind::Text })
}

/// The path as the helper must know it: `/proc/self/exe` would be the helper itself there.
fn resolve(file: &CStr) -> Option<Path> {
    match file.to_bytes() {
        b"/proc/self/exe" => {
            let mut buf = [0u8; 256];
            sys::readlink(file, &mut buf).ok().map(Path::new)
        }
        // Descriptors may be closed by the exec of the helper.
        [b'/', b'p', b'r', b'o', b'c', b'/', b's' | b't', ..] => None,
        [b'/', b'd', b'e', b'v', b'/', b'f', b'd', ..] => None,
        bytes => Some(Path::new(bytes)),
    }
}

/// What the helper is told of `job`. `None`: there is no helper.
fn spec(c: &Client, job: Handle, shell: bool) -> Option<Text<320>> {
    let inherited = c.pool.inherited.unwrap_or((-1, -1));
    let spec = Spec { job, shell, inherited, ledger: c.ledger_path };
    (!c.helper.bytes().is_empty()).then(|| spec.encode())
}

/// The exec of the helper that holds `job` and then becomes `target`.
///
/// # Safety
/// `argv` and `envp` must be NULL or NULL-terminated arrays of C strings.
pub unsafe fn held(
    c: &Client,
    job: Handle,
    target: &Target,
    argv: Strings,
    envp: Strings,
) -> Option<Exec> {
    let spec = spec(c, job, target.shell)?;
    if let Some(record) = c.ledger().get(job) {
        let name = target.path.bytes();
        record.set_name(name.rsplit(|b| *b == b'/').next().unwrap_or(name));
    }
    // SAFETY: by the contract.
    let mut exec = unsafe { copy(c, argv, envp, true)? };
    let scratch = &mut exec.scratch;
    let head =
        [c"jsshim-helper".as_ptr(), scratch.text(spec.bytes()), scratch.text(target.path.bytes())];
    exec.path = scratch.text(c.helper.bytes());
    // SAFETY: by the contract.
    let tail = unsafe { environ::pointers(argv) };
    exec.argv = scratch.array(head.into_iter().chain(tail).chain([END]));
    Some(exec)
}

/// A shell command that becomes the helper of `job`, which then runs `command` with /bin/sh.
/// `None`: there is no helper, or no memory.
pub fn shell_line(c: &Client, job: Handle, command: &CStr) -> Option<(*const c_char, Scratch)> {
    let spec = spec(c, job, false)?;
    let parts: [&[u8]; 4] =
        [c.helper.bytes(), spec.bytes(), b"/bin/sh\0sh\0-c", command.to_bytes()];
    let quoted = |part: &[u8]| part.len().saturating_mul(4).saturating_add(16);
    let room = parts.iter().fold(16usize, |n, part| n.saturating_add(quoted(part)));
    let mut scratch = Scratch::new(0, room)?;
    let line = scratch.text(b"exec");
    for word in parts.iter().enumerate().flat_map(|(i, part)| {
        // The command may hold anything but a NUL; the fixed words are three in one.
        part.split(move |b| i == 2 && *b == 0)
    }) {
        scratch.append(b" '");
        for piece in word.split_inclusive(|b| *b == b'\'') {
            match piece.strip_suffix(b"'") {
                Some(before) => {
                    scratch.append(before);
                    scratch.append(b"'\\''");
                }
                None => scratch.append(piece),
            }
        }
        scratch.append(b"'");
    }
    Some((line, scratch))
}

/// The same exec with an environment that names the pool. `None`: it does already.
///
/// # Safety
/// As [`held`].
pub unsafe fn plain(c: &Client, path: *const c_char, argv: Strings, envp: Strings) -> Option<Exec> {
    // SAFETY: by the contract.
    let exec = unsafe { copy(c, argv, envp, false)? };
    (exec.envp != envp).then_some(Exec { path, argv, ..exec })
}

/// Makes room, and the environment if it must change.
unsafe fn copy(c: &Client, argv: Strings, envp: Strings, room_for_argv: bool) -> Option<Exec> {
    let word = c.pool_word.c();
    let (mut told, mut n) = (false, 0usize);
    // SAFETY: by the contract of the callers.
    let m = unsafe {
        for s in environ::pointers(envp) {
            told |= environ::starts_with(s, word.to_bytes_with_nul());
            n = n.wrapping_add(1);
        }
        if room_for_argv {
            environ::pointers(argv).count()
        } else {
            0
        }
    };
    if told && !room_for_argv {
        return Some(Exec { path: END, argv, envp, scratch: Scratch::EMPTY });
    }
    let pointers = if told { m } else { m.checked_add(n)? };
    let bytes = if room_for_argv { 1024 } else { 0 };
    let mut scratch = Scratch::new(pointers.checked_add(8)?, bytes)?;
    let mut exec_env = envp;
    if !told {
        // SAFETY: as above.
        let others =
            unsafe { environ::pointers(envp).filter(|s| !environ::starts_with(*s, POOL_NAME)) };
        exec_env = scratch.array(others.chain([word.as_ptr(), END]));
    }
    Some(Exec { path: END, argv, envp: exec_env, scratch })
}
