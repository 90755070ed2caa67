//! Foretelling what execve(2) would do with a file. This is checked before a job is held: once the helper runs in its
//! place, the error cannot reach the host any more.

use core::ffi::CStr;

use crate::room::{Room, PATH_ROOM};
use crate::sys::{self, Errno};
use crate::text::Path;

/// How many bytes of a file the kernel reads to recognise a script (`BINPRM_BUF_SIZE`, execve(2)).
const HEAD: usize = 256;
/// How deep scripts may be nested (execve(2): ELOOP beyond).
const DEPTH: u32 = 4;

/// What kind of program a file is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// An ELF program of this machine that ld.so loads; our library can be preloaded.
    Dynamic,
    /// An ELF program of this machine without ld.so.
    Static,
    /// An ELF program of a related ABI (32-bit) that its own ld.so loads; our library does not fit.
    Foreign,
    /// A text: execve(2) fails with ENOEXEC; shells and the `p` functions run it with /bin/sh.
    Text,
    /// Which program would run, or whether one would, cannot be foretold: a format that only `binfmt_misc` may know, or
    /// a search that would start in a directory that is not known yet.
    Unknown,
}

/// Foretells whether an exec of `path` would succeed. Returns the kind of the program that would run in the end.
///
/// # Errors
/// The errno that execve(2) would set, as far as it can be foretold: ENOENT, EACCES, ELOOP. ENOEXEC is [`Kind::Text`]
/// or [`Kind::Unknown`].
pub fn foretell(path: &CStr) -> sys::Result<Kind> {
    kind_of(path, 0)
}

/// Returns whether this file starts with `#!`.
pub fn is_script(path: &CStr) -> bool {
    let mut head = [0u8; 2];
    sys::open(path, libc::O_RDONLY, 0).is_ok_and(|fd| {
        let n = sys::read(fd, &mut head);
        sys::close(fd);
        n.is_ok() && head == *b"#!"
    })
}

fn kind_of(path: &CStr, depth: u32) -> sys::Result<Kind> {
    if depth > DEPTH {
        return Err(Errno(libc::ELOOP));
    }
    let st = sys::stat(path, true)?;
    if st.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Err(Errno(libc::EACCES));
    }
    sys::may(path, libc::X_OK)?;
    let fd = match sys::open(path, libc::O_RDONLY, 0) {
        Ok(fd) => fd,
        // Executable but not readable: the kernel can run it, but we cannot tell the kind.
        Err(_) => return Ok(Kind::Static),
    };
    let mut head = [0u8; HEAD];
    let n = sys::read(fd, &mut head);
    let kind = n.and_then(|n| judge(fd, head.get(..n).unwrap_or(&[]), depth));
    sys::close(fd);
    kind
}

fn judge(fd: i32, head: &[u8], depth: u32) -> sys::Result<Kind> {
    match head {
        [0x7f, b'E', b'L', b'F', ..] => match elf(fd, head) {
            Err(Errno(libc::ENOEXEC)) => Ok(Kind::Unknown),
            kind => kind,
        },
        [b'#', b'!', ..] => script(head, depth),
        _ if head.contains(&0) => Ok(Kind::Unknown),
        _ => Ok(Kind::Text),
    }
}

#[inline(never)]
fn script(head: &[u8], depth: u32) -> sys::Result<Kind> {
    match interpreter(head) {
        Some(name) => kind_of(Path::new(name).c(), depth.saturating_add(1)),
        None => Ok(Kind::Text),
    }
}

/// The interpreter's path in a `#!` line. Returns None if there is none, or if it may have been cut off; the kernel
/// fails with ENOEXEC then (`load_script` in its fs/binfmt_script.c).
fn interpreter(head: &[u8]) -> Option<&[u8]> {
    let is_blank = |b: &u8| matches!(b, b' ' | b'\t');
    let newline = head.iter().position(|b| *b == b'\n');
    // After the end of a shorter file the kernel's buffer is zeroed.
    let whole = newline.is_some() || head.len() < HEAD;
    let line = head.get(2..newline.unwrap_or(head.len()))?;
    let line = line.get(line.iter().position(|b| !is_blank(b))?..)?;
    let end = line.iter().position(|b| is_blank(b) || *b == 0);
    line.get(..end.or(whole.then_some(line.len()))?)
}

fn u16_at(b: &[u8], at: usize) -> Option<u16> {
    let bytes = b.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?))
}

fn u32_at(b: &[u8], at: usize) -> Option<u64> {
    let bytes = b.get(at..at.checked_add(4)?)?;
    Some(u64::from(u32::from_le_bytes(bytes.try_into().ok()?)))
}

fn u64_at(b: &[u8], at: usize) -> Option<u64> {
    let bytes = b.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

const NATIVE: u16 = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
const RELATED: u16 = if cfg!(target_arch = "x86_64") { 3 } else { 40 };

/// Judges an ELF header (elf(5)).
fn elf(fd: i32, head: &[u8]) -> sys::Result<Kind> {
    let bad = Errno(libc::ENOEXEC);
    let machine = u16_at(head, 18).ok_or(bad)?;
    let class = *head.get(4).ok_or(bad)?;
    if !matches!(u16_at(head, 16), Some(2 | 3)) {
        return Err(bad);
    }
    // Where the program header table is, the size of an entry, and the number of entries.
    let (at, size, n, loaded) = match class {
        1 if machine == RELATED || machine == NATIVE => {
            (u32_at(head, 28), u16_at(head, 42), u16_at(head, 44), Kind::Foreign)
        }
        2 if machine == NATIVE => {
            (u64_at(head, 32), u16_at(head, 54), u16_at(head, 56), Kind::Dynamic)
        }
        _ => return Err(bad),
    };
    match (at, size, n, loaded) {
        (Some(at), Some(32), Some(n @ 1..), Kind::Foreign) => segments::<32>(fd, at, n, loaded),
        (Some(at), Some(56), Some(n @ 1..), Kind::Dynamic) => segments::<56>(fd, at, n, loaded),
        _ => Err(bad),
    }
}

/// The offset of a program's notes in its file (elf(5), PT_NOTE). Only its first eight segments are read.
///
/// # Errors
/// ENOEXEC: it is no 64-bit ELF program, or has no notes. Others as read(2).
pub fn note(fd: i32) -> sys::Result<u64> {
    const PT_NOTE: u64 = 4;
    let mut head = [0u8; 64 + 8 * 56];
    let n = sys::pread(fd, &mut head, 0)?;
    let head = head.get(..n).filter(|h| h.starts_with(b"\x7fELF\x02"));
    let (place, count) = match head {
        Some(head) => (u64_at(head, 32), u16_at(head, 56).unwrap_or(0)),
        None => (None, 0),
    };
    let table = head.zip(place).and_then(|(head, at)| head.get(usize::try_from(at).ok()?..));
    let headers = table.unwrap_or(&[]).chunks_exact(56).take(count.into());
    let mut notes = headers.filter(|h| u32_at(h, 0) == Some(PT_NOTE));
    notes.next().and_then(|h| u64_at(h, 8)).ok_or(Errno(libc::ENOEXEC))
}

/// Checks that the loader exists whose name is at this offset of a program.
#[inline(never)]
fn has_loader(fd: i32, place: u64) -> sys::Result<()> {
    let mut name = [0u8; 128];
    if let Some(found) = loader(fd, place, &mut name)? {
        return found;
    }
    let mut room = Room::new(PATH_ROOM)?;
    loader(fd, place, room.bytes())?.unwrap_or(Err(Errno(libc::ENOEXEC)))
}

/// Returns None if the name does not fit.
fn loader(fd: i32, place: u64, name: &mut [u8]) -> sys::Result<Option<sys::Result<()>>> {
    let n = sys::pread(fd, name, place)?;
    let name = CStr::from_bytes_until_nul(name.get(..n).unwrap_or(&[])).ok();
    Ok(name.map(|name| sys::stat(name, true).map(drop)))
}

/// Finds the loader in the program headers, and checks that it exists.
#[inline(never)]
fn segments<const SIZE: usize>(fd: i32, mut at: u64, n: u16, loaded: Kind) -> sys::Result<Kind> {
    const PT_INTERP: u64 = 3;
    let mut header = [0u8; SIZE];
    for _ in 0..n {
        if sys::pread(fd, &mut header, at)? < header.len() {
            return Err(Errno(libc::ENOEXEC));
        }
        if u32_at(&header, 0) == Some(PT_INTERP) {
            let place = if SIZE == 32 { u32_at(&header, 4) } else { u64_at(&header, 8) };
            return has_loader(fd, place.unwrap_or(0)).map(|()| loaded);
        }
        at = at.wrapping_add(SIZE as u64);
    }
    Ok(Kind::Static)
}

/// The ld.so of [`Kind::Foreign`] programs, without which none can run.
const RELATED_LOADER: &CStr =
    if cfg!(target_arch = "x86_64") { c"/lib/ld-linux.so.2" } else { c"/lib/ld-linux-armhf.so.3" };

/// Returns whether this system can run [`Kind::Foreign`] programs. This function and the two below are called in
/// children that may be under a filter: they make no system call that the start of a program does not make.
pub fn has_foreign() -> bool {
    sys::access(RELATED_LOADER, libc::X_OK).is_ok()
}

/// Returns whether this is [`Kind::Foreign`]. This runs before every exec, so it does little: the interpreter of a
/// script is not examined.
#[inline(never)]
pub fn is_foreign(path: &CStr) -> bool {
    let mut head = [0u8; 64];
    // O_NONBLOCK and pread: on a fifo the open must not wait, and nothing must be taken from it.
    sys::open(path, libc::O_RDONLY | libc::O_NONBLOCK, 0).is_ok_and(|fd| {
        let n = sys::pread(fd, &mut head, 0).unwrap_or(0);
        let head = head.get(..n).unwrap_or(&[]);
        let found = head.starts_with(b"\x7fELF\x01") && elf(fd, head) == Ok(Kind::Foreign);
        sys::close(fd);
        found
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    /// A folder of one test.
    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(test: &str) -> Self {
            let name = format!("jsshim-target-{}-{test}", std::process::id());
            let dir = std::env::temp_dir().join(name);
            std::fs::create_dir(&dir).unwrap();
            Self(dir)
        }

        fn file(&self, name: &str, content: &[u8], mode: u32) -> std::ffi::CString {
            let path = self.0.join(name);
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            std::ffi::CString::new(path.into_os_string().into_encoded_bytes()).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// What the kernel says.
    fn exec(path: &CStr) -> i32 {
        let r = std::process::Command::new(path.to_str().unwrap())
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .spawn();
        match r {
            // A child of another test has the file open for writing, from its fork to its exec.
            Err(e) if e.raw_os_error() == Some(libc::ETXTBSY) => exec(path),
            Ok(mut child) => {
                child.wait().unwrap();
                0
            }
            Err(e) => e.raw_os_error().unwrap(),
        }
    }

    /// What is foretold.
    fn told(path: &CStr) -> i32 {
        match foretell(path) {
            Ok(Kind::Text | Kind::Unknown) => libc::ENOEXEC,
            Ok(_) => 0,
            Err(e) => e.0,
        }
    }

    #[test]
    fn it_agrees_with_the_kernel() {
        let folder = Folder::new("kernel");
        let elf = std::fs::read("/bin/true").unwrap();
        let mut lost = elf.clone();
        let at = lost.windows(4).position(|w| w == b"/ld-").unwrap();
        lost[at + 1] = b'x';
        let mut alien = elf.clone();
        alien[18] = 8;
        let cases = [
            folder.file("elf", &elf, 0o755),
            folder.file("noloader", &lost, 0o755),
            folder.file("alien", &alien, 0o755),
            folder.file("cut", &elf[..70], 0o755),
            folder.file("script", b"#!/bin/sh\nexit 0\n", 0o755),
            folder.file("blank", b"#! \t/bin/sh -e\nexit 0\n", 0o755),
            folder.file("lost", b"#!/no/such/interpreter\n", 0o755),
            folder.file("empty-interpreter", b"#!\n", 0o755),
            folder.file("blank-interpreter", b"#! \t \n/bin/sh\n", 0o755),
            folder.file("no-newline", b"#!/bin/true", 0o755),
            folder.file("zeros", b"#!/bin/true\0 -x", 0o755),
            folder.file("not-executable", b"#!/bin/sh\n", 0o644),
            c"/".to_owned(),
            c"/no/such".to_owned(),
            c"/etc/passwd/x".to_owned(),
        ];
        for path in cases {
            assert_eq!(told(&path), exec(&path), "{path:?}");
        }
        assert_eq!(foretell(&folder.file("text", b"exit 0\n", 0o755)), Ok(Kind::Text));
        assert_eq!(foretell(c"/bin/true"), Ok(Kind::Dynamic));
    }

    #[test]
    fn a_small_program_is_told_by_its_header() {
        let folder = Folder::new("small");
        // elf(5), of 32 bits: the headers of the file and of its segments, and the loader's name.
        let mut elf = vec![0; 52];
        elf[..6].copy_from_slice(b"\x7fELF\x01\x01");
        elf[16] = 2;
        elf[18] = RELATED as u8;
        (elf[28], elf[42], elf[44]) = (52, 32, 2);
        elf.resize(52 + 64, 0);
        (elf[84], elf[88]) = (3, 116);
        elf.extend(b"/bin/true\0");
        let loaded = folder.file("small-loaded", &elf, 0o755);
        assert_eq!(foretell(&loaded), Ok(Kind::Foreign));
        assert!(is_foreign(&loaded));
        let dir = Path::new(loaded.to_bytes().strip_suffix(b"/small-loaded").unwrap());
        let along = dir.with(b":/nonexistent");
        assert!(crate::program::search::is_foreign(c"small-loaded", Some(along.bytes())));
        assert!(!crate::program::search::is_foreign(c"true", Some(b"/nonexistent:/bin")));
        assert!(!is_foreign(c"/bin/true") && !is_foreign(c"/nonexistent"));
        let fifo = folder.file("fifo", b"", 0o755);
        sys::unlink(&fifo).unwrap();
        sys::mkfifo(&fifo, 0o755).unwrap();
        assert!(!is_foreign(&fifo));
        elf[84] = 1;
        let fixed = folder.file("small-static", &elf, 0o755);
        assert_eq!(foretell(&fixed), Ok(Kind::Static));
        assert!(!is_foreign(&fixed));
        elf[84] = 3;
        elf.truncate(116);
        elf.extend(b"/nonexistent/ld.so\0");
        assert_eq!(foretell(&folder.file("small-lost", &elf, 0o755)), Err(Errno::NOENT));
    }

    #[test]
    fn a_line_is_as_long_as_the_kernel_reads() {
        let folder = Folder::new("line");
        for behind in ["\n", " -x\n", "\t", "", "\0"] {
            for len in 245..260 {
                let text = format!("#!{:/>len$}{behind}", "/bin/true");
                let path = folder.file("script", text.as_bytes(), 0o755);
                assert_eq!(told(&path), exec(&path), "{len} {behind:?}");
            }
        }
    }

    #[test]
    fn a_loader_may_lie_deep() {
        let folder = Folder::new("loader");
        let (mut deep, mut elf) = (folder.0.clone(), std::fs::read("/bin/true").unwrap());
        for _ in 0..3 {
            deep.push("d".repeat(200));
        }
        std::fs::create_dir_all(&deep).unwrap();
        let loader = deep.join("ld.so");
        std::os::unix::fs::symlink("/lib64/ld-linux-x86-64.so.2", &loader).unwrap();
        let header = |elf: &[u8]| {
            let at = u64_at(elf, 32).unwrap() as usize;
            (at..).step_by(56).find(|at| u32_at(elf, *at) == Some(3)).unwrap()
        };
        let (at, name) = (header(&elf), loader.into_os_string().into_encoded_bytes());
        for name in [name.clone(), [&name[..], b"x"].concat()] {
            let end = elf.len() as u64;
            elf[at + 8..at + 16].copy_from_slice(&end.to_le_bytes());
            elf[at + 32..at + 40].copy_from_slice(&(name.len() as u64 + 1).to_le_bytes());
            elf.extend(&name);
            elf.push(0);
            let path = folder.file("program", &elf, 0o755);
            assert_eq!(told(&path), exec(&path));
        }
    }
}
