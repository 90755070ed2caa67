//! Writing MAKEFLAGS.

use crate::text::Text;

use super::read::parse;
use super::words::{begins_load, is_blank, Piece, Pieces, Unescape};

/// The letters that [`write()`] ensures. It adds those that are missing and never removes one.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub struct Letters {
    /// `n`
    pub dry_run: bool,
    /// `d`
    pub debug: bool,
    /// `k`
    pub keep_going: bool,
}

/// The jobserver that [`write()`] announces.
#[derive(Clone, Copy)]
pub enum WriteAuth<'a> {
    /// Inherited descriptors.
    Fds {
        /// Where tokens are read.
        read: i32,
        /// Where tokens are written back.
        write: i32,
        /// Under which names.
        names: Names,
    },
    /// The path of a fifo, not escaped. Blanks and backslashes get their `\` as make 4.4 writes
    /// and reads them. A `$` is written bare, as make does, and is then lost on every make below:
    /// do not make a fifo at such a path.
    Fifo(&'a [u8]),
}

/// The options that name a pair of descriptors.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// `--jobserver-auth` alone, as make ≥ 4.2 writes it.
    Auth,
    /// `--jobserver-fds` and `--jobserver-auth`: make ≤ 4.1 knows only the former, make 4.2 only
    /// the latter, and all of them skip a name that they do not know.
    Both,
}

/// Appends to `out` the value of MAKEFLAGS that announces `auth` instead of what `old` announced.
///
/// Every auth, fds and jobs option of `old` is left out. The new ones come after the other options and before the
/// ` -- `; from there on nothing is changed. With `auth` None they are only left out. The number of jobs is not
/// written: with `-jN` or without a `-j`, make 3.81 to 4.1 ignore the jobserver. What [`parse`] returns for everything
/// else stays the same, or gains `letters`.
///
/// Returns false if `out` is too small. Its content is useless then.
pub fn write(
    old: Option<&[u8]>,
    auth: Option<&WriteAuth<'_>>,
    letters: &Letters,
    out: &mut Out<'_>,
) -> bool {
    let old = old.unwrap_or_default();
    let mut line =
        Line { out, blank: old.first().is_some_and(|c| is_blank(*c)), empty: true, fits: true };
    let definitions = line.options(old, missing(old, letters).bytes());
    if auth.is_some() {
        line.word(&[b"-j"]);
    }
    match auth {
        None => {}
        Some(WriteAuth::Fds { read, write, names }) => {
            let pair = Text::<32>::default().num(*read).with(b",").num(*write);
            if *names == Names::Both {
                line.word(&[b"--jobserver-fds=", pair.bytes()]);
            }
            line.word(&[b"--jobserver-auth=", pair.bytes()]);
        }
        Some(WriteAuth::Fifo(path)) => line.fifo(path),
    }
    line.word(&[definitions]);
    line.fits
}

/// Text in a buffer of fixed size.
pub struct Out<'b> {
    buf: &'b mut [u8],
    len: usize,
}

impl<'b> Out<'b> {
    /// An empty text that can grow as long as `buf`.
    pub fn new(buf: &'b mut [u8]) -> Self {
        Out { buf, len: 0 }
    }

    /// Appends `text`. Returns false, and appends nothing, if it does not fit.
    pub fn push(&mut self, text: &[u8]) -> bool {
        let end = self.len.saturating_add(text.len());
        let Some(free) = self.buf.get_mut(self.len..end) else {
            return false;
        };
        free.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
        self.len = end;
        true
    }

    /// What was written so far.
    pub fn as_bytes(&self) -> &[u8] {
        self.buf.get(..self.len).unwrap_or_default()
    }
}

/// The new value, word by word.
struct Line<'o, 'b> {
    out: &'o mut Out<'b>,
    /// A blank is due before the next word. A value that had a leading blank keeps it: it is make's
    /// mark for "no letters", without which a careless program takes the first long option for a
    /// cluster.
    blank: bool,
    /// No word was written yet.
    empty: bool,
    /// Everything fitted so far.
    fits: bool,
}

impl Line<'_, '_> {
    fn push(&mut self, text: &[u8]) {
        self.fits = self.fits && self.out.push(text);
    }

    /// Appends a word made of `parts`, or nothing if they are empty.
    fn word(&mut self, parts: &[&[u8]]) {
        if parts.iter().all(|part| part.is_empty()) {
            return;
        }
        if self.blank {
            self.push(b" ");
        }
        (self.blank, self.empty) = (true, false);
        parts.iter().for_each(|part| self.push(part));
    }

    /// Writes the option part of `old` without the dropped options, and with the letters `add`: after those of the
    /// first word, or as a word of their own in front. Returns what follows the options.
    fn options<'a>(&mut self, old: &'a [u8], add: &[u8]) -> &'a [u8] {
        let first = Pieces::new(old).next().unwrap_or_default();
        let (in_first, in_front) =
            if first.bare || first.has_letters() { (add, &b""[..]) } else { (&b""[..], add) };
        self.blank &= in_front.is_empty();
        self.word(&[in_front]);
        let mut pieces = Pieces::new(old);
        let mut gap = false;
        for piece in pieces.by_ref() {
            self.piece(&piece, if piece.first { in_first } else { b"" }, gap);
            gap = piece.is_dropped();
        }
        pieces.rest
    }

    /// Appends what remains of a piece. `gap`: the piece before was left out.
    fn piece(&mut self, piece: &Piece<'_>, add: &[u8], gap: bool) {
        if self.would_change(piece, gap) {
            self.word(&[b"-"]);
        }
        if !piece.is_dropped() {
            let (letters, body) = (piece.letters, piece.body);
            self.word(&[letters, closing(letters), add, body, closing(body)]);
            let second = piece.second.unwrap_or_default();
            self.word(&[second, closing(second)]);
        } else if piece.has_letters() || piece.bare {
            self.word(&[piece.letters, add]);
        }
    }

    /// Returns whether make would read the piece in another way because of what was left out before it: as the number
    /// of an earlier `-l`, or as the first word. A lone `-`, which make ignores, prevents that.
    fn would_change(&self, piece: &Piece<'_>, gap: bool) -> bool {
        let mut chars = Unescape(piece.body);
        let becomes_load = gap && begins_load(chars.clone());
        let becomes_first = self.empty && !piece.first;
        piece.is_argument() && (becomes_load || becomes_first && !chars.any(|c| c == b'='))
            || becomes_first && piece.has_letter(b'n')
    }

    fn fifo(&mut self, path: &[u8]) {
        self.word(&[b"--jobserver-auth=fifo:"]);
        for c in path {
            if is_blank(*c) || *c == b'\\' {
                self.push(b"\\");
            }
            self.push(&[*c]);
        }
    }
}

/// The letters of n, d, k that `old` lacks.
fn missing(old: &[u8], letters: &Letters) -> Text<4> {
    let have = parse(old);
    // A later `-S` or `--debug=none` must not make the first word grow with each writing.
    let first = Pieces::new(old).next().unwrap_or_default();
    [
        (letters.dry_run && !have.dry_run, b'n'),
        (letters.debug && !have.debug, b'd'),
        (letters.keep_going && !have.keep_going, b'k'),
    ]
    .into_iter()
    .filter(|(lacks, letter)| *lacks && !first.has_letter(*letter))
    .fold(Text::default(), |text, (_, letter)| text.with([letter]))
}

/// The `\` that a word at the end of the value needs, if it ends in a single one, when another
/// word is to follow: else it would escape the blank between them.
fn closing(word: &[u8]) -> &'static [u8] {
    let slashes = word.iter().rev().take_while(|c| **c == b'\\').count();
    if slashes & 1 == 1 {
        b"\\"
    } else {
        b""
    }
}
