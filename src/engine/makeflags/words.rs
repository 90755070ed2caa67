//! The value of MAKEFLAGS as words, and the words as getopt takes them.

use super::options::{self, Argument, AUTH, FDS};

pub fn is_blank(c: u8) -> bool {
    c == b' ' || c == b'\t'
}

pub fn is_digit(c: u8) -> bool {
    c.is_ascii_digit()
}

/// How a number begins that make takes for the argument of the `-l` before it.
pub fn begins_load(mut word: Unescape<'_>) -> bool {
    word.next().is_some_and(|c| is_digit(c) || c == b'.')
}

/// The bytes of a word with `\c` read as `c`. A `\` at the very end of the value stands for
/// itself. The field is what is left to read, still escaped.
#[derive(Clone)]
pub struct Unescape<'a>(pub &'a [u8]);

impl Iterator for Unescape<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (c, rest) = match self.0 {
            [b'\\', c, rest @ ..] | [c, rest @ ..] => (*c, rest),
            [] => return None,
        };
        self.0 = rest;
        Some(c)
    }
}

fn skip_blanks(value: &[u8]) -> &[u8] {
    let blanks = value.iter().take_while(|c| is_blank(**c)).count();
    value.get(blanks..).unwrap_or_default()
}

/// The first word, still escaped, and what follows it. `value` does not begin with a blank.
fn split_word(value: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = Unescape(value);
    while rest.0.first().is_some_and(|c| !is_blank(*c)) {
        rest.next();
    }
    let split = split_before(value, rest.0)?;
    (!split.0.is_empty()).then_some(split)
}

/// Splits `whole` before `rest`, which is a suffix of it.
fn split_before<'a>(whole: &'a [u8], rest: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    whole.split_at_checked(whole.len().checked_sub(rest.len())?)
}

/// A word as getopt takes it, with the next word if that is its argument. All texts are escaped.
#[derive(Default)]
pub struct Piece<'a> {
    /// It is the first word of the value.
    pub first: bool,
    /// It is the first word, and a cluster without its `-`.
    pub bare: bool,
    /// The beginning of a cluster: its `-`, if it has one, and the letters without argument.
    pub letters: &'a [u8],
    /// The rest of the word.
    pub body: &'a [u8],
    /// What `body` means.
    pub option: u8,
    /// The argument of `option`, in the same word or the next.
    pub arg: Option<&'a [u8]>,
    /// The next word, if it is the argument.
    pub second: Option<&'a [u8]>,
}

impl Piece<'_> {
    pub fn has_letter(&self, letter: u8) -> bool {
        Unescape(self.letters).any(|c| c == letter)
    }

    /// Returns whether `letters` holds more than the `-`.
    pub fn has_letters(&self) -> bool {
        Unescape(self.letters).any(|c| c != b'-')
    }

    /// Returns whether it is neither an option nor the lone `-`.
    pub fn is_argument(&self) -> bool {
        !self.bare && self.letters.is_empty() && Unescape(self.body).next() != Some(b'-')
    }

    /// Returns whether it belongs to the jobserver, or would take the word after it for the argument that it lacks.
    /// make skips such an option.
    pub fn is_dropped(&self) -> bool {
        let lacks = self.arg.is_none() && options::argument(self.option) == Argument::Required;
        lacks || matches!(self.option, b'j' | AUTH | FDS)
    }
}

/// The pieces of the option part. When they are over, `rest` begins with the bare `--` or is
/// empty.
pub struct Pieces<'a> {
    pub rest: &'a [u8],
    first: bool,
}

impl<'a> Pieces<'a> {
    pub fn new(value: &'a [u8]) -> Self {
        Pieces { rest: skip_blanks(value), first: true }
    }

    fn next_word(&mut self) -> Option<&'a [u8]> {
        let (word, rest) = split_word(self.rest)?;
        self.rest = skip_blanks(rest);
        Some(word)
    }

    /// The letters from `chars` on up to the one that can take an argument, and its argument.
    fn cluster(&mut self, piece: &mut Piece<'a>, mut chars: Unescape<'a>) {
        let word = piece.body;
        loop {
            let before = chars.clone();
            let letter = chars.next();
            // No other byte is a letter, in particular not those that represent long options here.
            let takes = |c: u8| c.is_ascii_alphabetic() && options::argument(c) != Argument::None;
            if letter.is_some_and(|c| !takes(c)) {
                continue;
            }
            (piece.letters, piece.body) = split_before(word, before.0).unwrap_or_default();
            let Some(letter) = letter else { return };
            let attached = Some(chars.0).filter(|arg| !arg.is_empty());
            return self.argument(piece, letter, attached);
        }
    }

    /// A word `--name` or `--name=argument`, of which `chars` has the name and the rest.
    fn long(&mut self, piece: &mut Piece<'a>, mut chars: Unescape<'a>) {
        let option = options::long(chars.clone().take_while(|c| *c != b'='));
        let attached = chars.any(|c| c == b'=').then_some(chars.0);
        // `--keep-going=x` is an error, which make skips.
        if attached.is_none() || options::argument(option) != Argument::None {
            self.argument(piece, option, attached);
        }
    }

    fn argument(&mut self, piece: &mut Piece<'a>, option: u8, attached: Option<&'a [u8]>) {
        piece.option = option;
        if attached.is_none() {
            let next = split_word(self.rest).map(|(word, _)| Unescape(word));
            let takes = match options::argument(option) {
                Argument::Required => true,
                Argument::Count => next.is_some_and(|mut word| word.all(is_digit)),
                Argument::Load => next.is_some_and(begins_load),
                Argument::Optional | Argument::None => false,
            };
            piece.second = takes.then(|| self.next_word()).flatten();
        }
        piece.arg = attached.or(piece.second);
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        let (word, _) = split_word(self.rest)?;
        let whole = Unescape(word);
        if whole.clone().eq(*b"--") {
            return None;
        }
        self.next_word();
        let first = core::mem::replace(&mut self.first, false);
        let mut piece = Piece { first, body: word, ..Piece::default() };
        let mut chars = whole.clone();
        if chars.next() != Some(b'-') {
            piece.bare = first && !whole.clone().any(|c| c == b'=');
            if piece.bare {
                self.cluster(&mut piece, whole);
            }
        } else if !chars.0.is_empty() {
            let mut name = chars.clone();
            if name.next() == Some(b'-') {
                self.long(&mut piece, name);
            } else {
                self.cluster(&mut piece, chars);
            }
        }
        Some(piece)
    }
}
