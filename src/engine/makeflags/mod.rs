//! Reading and writing MAKEFLAGS.
//!
//! # The grammar
//!
//! A make hands its options to its sub-makes in one environment variable, and a sub-make reads it
//! like a command line (make's `main.c`, `decode_env_switches` and `decode_switches`):
//!
//! 1. The value is split at unescaped blanks (space, tab) into words; then `\c` stands for `c`. So
//!    a word keeps its meaning however it was escaped, and ` -- ` inside `A=x\ --\ y` is no word.
//! 2. A first word without a leading `-` and without a `=` gets a `-`: `kn` means `-kn`. make
//!    writes its argument-less letters there, or a leading blank when there are none.
//! 3. getopt_long takes the words in order. A *cluster* `-kj4` is a run of letters, of which the
//!    first that can take an argument ends the run: the rest of the word is its argument, or, if
//!    nothing is left, the next word. `--name` may be abbreviated as long as that is unique. Words
//!    that are no options are definitions or ignored, as is the lone `-` that make 3.81 writes.
//! 4. A bare `--` ends the options. What follows are definitions, whatever they look like.
//!
//! So a word holds some letters and at most one option with an argument, and may take one more
//! word with it. That is a `Piece`. The reader looks at the pieces, the writer copies all pieces
//! but the jobserver's own; what makes the two agree is that both see the same pieces.
//!
//! make also expands `$` before step 1. That is not done here: make 4.4 exports the path of its
//! fifo with a bare `$`, and no definition matters to a client.
//!
//! | module | one idea |
//! |---|---|
//! | `words` | the value as words and pieces |
//! | `options` | make's options: names, and which of them take an argument |
//! | `values` | what the arguments say |
//! | `write` | the way back |

mod options;
#[cfg(test)]
mod tests;
mod values;
mod words;
mod write;

pub use write::{write, Letters, Names, Out, WriteAuth};

use options::{AUTH, DEBUG, FDS};
use words::{Piece, Pieces, Unescape};

/// What a client of the jobserver needs of MAKEFLAGS.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub struct MakeFlags<'a> {
    /// The last `--jobserver-auth` or `--jobserver-fds`: both names set the same variable of make,
    /// and the later one replaces the earlier (make ≥ 4.3; make 4.4 appends `=-2,-2` to take the
    /// pool away from a recipe). An empty one, which make complains of, is [`Auth::Unknown`].
    pub auth: Option<Auth<'a>>,
    /// `n` among the letters of the first word, which is where make's manual tells programs to
    /// look, or `--dry-run`, `--just-print`, `--recon` in any place.
    pub dry_run: bool,
    /// `d`, or `--debug` with anything but `=none`.
    pub debug: bool,
    /// `k` or `--keep-going`, unless a later `S`, `--no-keep-going` or `--stop` took it back.
    pub keep_going: bool,
    /// The number of the last `-j` or `--jobs`. None if there is none or if it has no number (no
    /// limit). Zero and malformed numbers are rejected by make and change nothing.
    pub jobs: Option<u32>,
    /// The number of the last `-l`, `--load-average` or `--max-load` in thousandths. None if there
    /// is no limit: no such option, no number, or a negative one.
    pub load_milli: Option<u32>,
}

/// Where the jobserver is, as MAKEFLAGS says.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub enum Auth<'a> {
    /// `R,W`: inherited descriptors. make reads them with `scanf("%d,%d")`, so what follows is
    /// ignored and they may be negative, which means "not for you" (make's `posixos.c`).
    Fds {
        /// Where tokens are read.
        read: i32,
        /// Where tokens are written back.
        write: i32,
    },
    /// `fifo:PATH`, make ≥ 4.4.
    Fifo(RawPath<'a>),
    /// Anything else, still escaped. There is a pool, but no way to it that is known here.
    Unknown(&'a [u8]),
}

/// A path as it stands in MAKEFLAGS, still escaped.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub struct RawPath<'a>(&'a [u8]);

impl<'a> RawPath<'a> {
    /// As it stands there.
    pub fn escaped(&self) -> &'a [u8] {
        self.0
    }

    /// The path itself, written into `buf`. None if it does not fit.
    pub fn unescape<'b>(&self, buf: &'b mut [u8]) -> Option<&'b [u8]> {
        let path = buf.get_mut(..Unescape(self.0).count())?;
        path.iter_mut().zip(Unescape(self.0)).for_each(|(to, c)| *to = c);
        Some(path)
    }
}

/// Reads the value of MAKEFLAGS. Never fails: what make would not understand is skipped, as make
/// skips it.
pub fn parse(value: &[u8]) -> MakeFlags<'_> {
    let mut flags = MakeFlags::default();
    for piece in Pieces::new(value) {
        flags.take(&piece);
    }
    flags
}

impl<'a> MakeFlags<'a> {
    fn take(&mut self, piece: &Piece<'a>) {
        Unescape(piece.letters)
            .filter(|letter| *letter != b'n' || piece.first)
            .for_each(|letter| self.letter(letter));
        match (piece.option, piece.arg) {
            (DEBUG, arg) => {
                let level = arg.and_then(|arg| Unescape(arg).next());
                self.debug = !matches!(level, Some(b'n' | b'N'));
            }
            (AUTH | FDS, Some(arg)) => self.auth = Some(values::auth(arg)),
            (b'j', None) => self.jobs = None,
            (b'j', Some(arg)) => self.jobs = values::positive(arg).or(self.jobs),
            (b'l', arg) => self.load_milli = arg.and_then(values::thousandths),
            (option, _) => self.letter(option),
        }
    }

    fn letter(&mut self, letter: u8) {
        match letter {
            b'n' => self.dry_run = true,
            b'd' => self.debug = true,
            b'k' => self.keep_going = true,
            b'S' => self.keep_going = false,
            _ => {}
        }
    }
}
