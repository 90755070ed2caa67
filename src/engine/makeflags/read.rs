//! What a client reads from MAKEFLAGS.

use super::auth::Auth;
use super::options::{AUTH, DEBUG, FDS};
use super::values;
use super::words::{Piece, Pieces, Unescape};

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

/// Parses the value of MAKEFLAGS. Never fails: what make would not understand is skipped, as make skips it.
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
