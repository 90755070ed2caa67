//! The helper's argument about the job that it holds: one word of its argv, which `ps` shows. And the note by which a
//! compatible helper is recognised: a program that is given a job and is no helper would lose it.

use core::ffi::CStr;

use crate::ledger::access::Ledger;
use crate::ledger::handle::Handle;
use crate::ledger::header::MAGIC;
use crate::program::target;
use crate::sys;
use crate::text::{hex, number, Path, Text};

/// The prefix of the word. A helper that does not know this version runs the job at once.
const START: &[u8] = b"hold:v3:";

/// A note in the helper's file (elf(5), `Elf64_Nhdr`), by which the library recognises it. It holds what the two must
/// agree on: the ledger's layout and the word above.
#[repr(C, align(4))]
pub struct Note([u8; NOTE_SIZE]);

const NOTE_SIZE: usize = 12 + 8 + 20;

/// The [`Note`] of this version.
pub const NOTE: Note = {
    let mut note = [0; NOTE_SIZE];
    // The sizes of name and text, and the kind; the name; the text.
    let at = put(&mut note, 0, &8u32.to_ne_bytes());
    let at = put(&mut note, at, &20u32.to_ne_bytes());
    let at = put(&mut note, at, &1u32.to_ne_bytes());
    let at = put(&mut note, at, b"jsshim\0\0");
    let at = put(&mut note, at, &MAGIC.to_le_bytes());
    let at = put(&mut note, at, &(core::mem::size_of::<Ledger>() as u32).to_le_bytes());
    put(&mut note, at, START);
    Note(note)
};

/// Used at compile time only, where an overflow is an error.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
const fn put(note: &mut [u8; NOTE_SIZE], at: usize, part: &[u8]) -> usize {
    let mut i = 0;
    while i < part.len() {
        note[at + i] = part[i];
        i += 1;
    }
    at + i
}

/// Returns whether this file is a helper that understands us. A file that may be run but not read is taken for one.
#[inline(never)]
pub fn is_helper(path: &CStr) -> bool {
    if sys::may(path, libc::X_OK).is_err() {
        return false;
    }
    // O_NONBLOCK: the open of a fifo must not wait.
    let Ok(fd) = sys::open(path, libc::O_RDONLY | libc::O_NONBLOCK, 0) else { return true };
    let mut found = [0u8; NOTE_SIZE];
    let n = target::note(fd).and_then(|at| sys::pread(fd, &mut found, at));
    sys::close(fd);
    n == Ok(NOTE_SIZE) && found == NOTE.0
}

/// The job's word, decoded.
pub struct Spec {
    /// The job's record.
    pub job: Handle,
    /// Run a text without `#!` with /bin/sh, as the `p` functions do (execvp(3)).
    pub shell: bool,
    /// The inherited ends of the pool, or -1.
    pub inherited: (i32, i32),
    /// The helper's descriptor of the program (O_PATH); -1: the helper opens the program itself.
    pub program: i32,
    /// The helper's copy of the end of an exec pipe ([`super::exec_pipe`]), or -1.
    pub exec_pipe: i32,
    /// The path of the ledger.
    pub ledger: Path,
}

impl Spec {
    /// `hold:v3:INDEX:GENERATION:SHELL:READ:WRITE:PROGRAM:PIPE:LEDGER`, index and generation in hexadecimal.
    pub fn encode(&self) -> Text<340> {
        let (r, w) = self.inherited;
        let mut t = Text::new(START);
        t.put_hex(u64::from(self.job.index)).put(b":").put_hex(self.job.generation);
        t.put(if self.shell { b":1:" } else { b":0:" }).put_num(r).put(b":").put_num(w).put(b":");
        t.put_num(self.program).put(b":").put_num(self.exec_pipe).put(b":");
        t.put(self.ledger.bytes());
        t
    }

    /// Parses the form that [`Spec::encode`] writes.
    pub fn decode(word: &[u8]) -> Option<Self> {
        let colon = |s| <[u8]>::strip_prefix(s, b":");
        let (index, rest) = hex(word.strip_prefix(START)?)?;
        let (generation, rest) = hex(colon(rest)?)?;
        let (shell, rest) = number(colon(rest)?)?;
        let (r, rest) = number(colon(rest)?)?;
        let (w, rest) = number(colon(rest)?)?;
        let (program, rest) = number(colon(rest)?)?;
        let (exec_pipe, rest) = number(colon(rest)?)?;
        let ledger = Path::new(colon(rest)?);
        let job = Handle { index: u32::try_from(index).ok()?, generation };
        let inherited = (i32::try_from(r).ok()?, i32::try_from(w).ok()?);
        let (program, exec_pipe) = (i32::try_from(program).ok()?, i32::try_from(exec_pipe).ok()?);
        let shell = shell != 0;
        ledger.fits().then_some(Self { job, shell, inherited, program, exec_pipe, ledger })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_round_trips(index: u32, generation: u64, shell: bool, r: i32, w: i32, program: i32, exec_pipe: i32, path in "/[!-~]{1,200}") {
            let spec = Spec {
                job: Handle { index, generation },
                shell,
                inherited: (r, w),
                program,
                exec_pipe,
                ledger: Path::new(path.as_bytes()),
            };
            let back = Spec::decode(spec.encode().bytes()).unwrap();
            prop_assert_eq!(back.job, spec.job);
            prop_assert_eq!((back.shell, back.inherited), (shell, (r, w)));
            prop_assert_eq!((back.program, back.exec_pipe), (program, exec_pipe));
            prop_assert_eq!(back.ledger.bytes(), path.as_bytes());
        }

        #[test]
        fn any_word_is_survived(word in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Spec::decode(&word);
        }
    }
}
