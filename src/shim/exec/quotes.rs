//! Quoting words for a shell.

use super::environ::Scratch;
use super::limits::STRING_MOST;

/// How a text is quoted for a shell, so that it stays one unchanged word.
#[derive(Clone, Copy)]
pub(super) enum Quotes {
    /// `'`: only `'` itself ends it.
    Single,
    /// `"`: four characters need a backslash. For a text with many `'`, which could otherwise be too long.
    Double,
}

impl Quotes {
    pub(super) fn of(text: &[u8]) -> Self {
        let is_long = Self::Single.len(text) > STRING_MOST / 2;
        // In some character sets a byte of a character looks like a backslash (Shift JIS).
        let double = is_long && core::str::from_utf8(text).is_ok();
        if double && Self::Double.len(text) < Self::Single.len(text) {
            Self::Double
        } else {
            Self::Single
        }
    }

    /// The length of the quoted text.
    pub(super) fn len(self, text: &[u8]) -> usize {
        let of = |b: &u8| match self {
            Self::Single if *b == b'\'' => 4usize,
            Self::Double if Self::needs_backslash(*b) => 2,
            _ => 1,
        };
        text.iter().map(of).fold(2, usize::saturating_add)
    }

    fn needs_backslash(byte: u8) -> bool {
        matches!(byte, b'$' | b'`' | b'"' | b'\\')
    }

    pub(super) fn put(self, line: &mut Scratch, text: &[u8]) {
        match self {
            Self::Single => line.append_quoted(text),
            Self::Double => {
                line.append(b"\"");
                for piece in text.split_inclusive(|b| Self::needs_backslash(*b)) {
                    match piece.split_last() {
                        Some((last, before)) if Self::needs_backslash(*last) => {
                            line.append(before);
                            line.append(&[b'\\', *last]);
                        }
                        _ => line.append(piece),
                    }
                }
                line.append(b"\"");
            }
        }
    }
}

/// `NAME='VALUE' `, for a shell.
pub(crate) fn assign(line: &mut Scratch, entry: &[u8]) {
    let mut parts = entry.splitn(2, |b| *b == b'=');
    line.append(parts.next().unwrap_or(b""));
    line.append(b"=");
    line.append_quoted(parts.next().unwrap_or(b""));
    line.append(b" ");
}

/// Appends a blank and a word for a shell.
pub(crate) fn quote(line: &mut Scratch, word: &[u8]) {
    line.append(b" ");
    line.append_quoted(word);
}
