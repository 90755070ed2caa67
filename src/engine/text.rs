//! Short texts built without an allocator: paths, messages, argument strings.

use core::ffi::CStr;

/// Enough for any path with its NUL (`PATH_MAX`, limits.h).
pub const PATH_ROOM: usize = libc::PATH_MAX as usize;

/// A text of at most `N - 1` bytes that can always be passed as a C string. A text that does not fit is cut off, and
/// [`Text::fits`] returns false.
#[derive(Clone, Copy)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    len: usize,
    cut: bool,
}

/// The directory of a path.
pub fn parent(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|b| *b == b'/').unwrap_or(0);
    path.get(..end).unwrap_or(b"")
}

/// Returns whether `word` occurs in these bytes.
pub fn contains(bytes: &[u8], word: &[u8]) -> bool {
    find(bytes, word).is_some()
}

/// Where `word`, of 1 to 255 bytes, occurs in these bytes for the first time. Horspool's search. Does not use memmem(3):
/// in a program built with AddressSanitizer that aborts on the memory between the program's variables.
pub fn find(bytes: &[u8], word: &[u8]) -> Option<usize> {
    let last = word.len().checked_sub(1)?;
    let mut skip = [word.len() as u8; 256];
    for (i, b) in word.iter().take(last).enumerate() {
        if let Some(at) = skip.get_mut(usize::from(*b)) {
            *at = last.saturating_sub(i) as u8;
        }
    }
    // Most places are left by what the last byte says.
    let end = word.last()?;
    let mut at = last;
    while let Some(b) = bytes.get(at) {
        let start = at.wrapping_sub(last);
        // Byte by byte, for the same reason.
        let same =
            || bytes.get(start..at).is_some_and(|here| here.iter().eq(word.iter().take(last)));
        if b == end && same() {
            return Some(start);
        }
        let step = skip.get(usize::from(*b)).copied().unwrap_or(1).max(1);
        at = at.wrapping_add(usize::from(step));
    }
    None
}

/// Room for a path of ours. Code that builds paths refuses longer ones.
pub type Path = Text<256>;

/// Room for any path, for processes with a stack of their own. Others use a `Room`.
pub type LongPath = Text<PATH_ROOM>;

impl<const N: usize> Default for Text<N> {
    fn default() -> Self {
        Self { bytes: [0; N], len: 0, cut: false }
    }
}

impl<const N: usize> Text<N> {
    /// The most bytes that it holds.
    pub const ROOM: usize = N.saturating_sub(1);

    /// A text that starts with `s`.
    pub fn new(s: impl AsRef<[u8]>) -> Self {
        Self::default().with(s)
    }

    /// Appends bytes. For a C reader a NUL ends the text.
    pub fn push(&mut self, s: impl AsRef<[u8]>) {
        for b in s.as_ref() {
            match self.bytes.get_mut(self.len) {
                Some(at) if self.len.saturating_add(1) < N => {
                    *at = *b;
                    self.len = self.len.wrapping_add(1);
                }
                _ => self.cut = true,
            }
        }
    }

    /// [`Text::push`] for chaining, in place: chaining by value takes stack for each link.
    pub fn put(&mut self, s: impl AsRef<[u8]>) -> &mut Self {
        self.push(s);
        self
    }

    /// Appends a number in decimal.
    pub fn put_num(&mut self, n: impl Into<i64>) -> &mut Self {
        let n: i64 = n.into();
        if n < 0 {
            self.push(b"-");
        }
        self.radix::<10>(n.unsigned_abs())
    }

    /// Appends a number in lower-case hexadecimal.
    pub fn put_hex(&mut self, n: u64) -> &mut Self {
        self.radix::<16>(n)
    }

    /// [`Text::push`] for chaining.
    pub fn with(mut self, s: impl AsRef<[u8]>) -> Self {
        self.push(s);
        self
    }

    /// Appends a number in decimal.
    pub fn num(mut self, n: impl Into<i64>) -> Self {
        self.put_num(n);
        self
    }

    /// Appends a number in lower-case hexadecimal.
    pub fn hex(mut self, n: u64) -> Self {
        self.put_hex(n);
        self
    }

    fn radix<const BASE: u64>(&mut self, mut n: u64) -> &mut Self {
        let mut digits = [0u8; 20];
        let mut used = 0usize;
        for at in digits.iter_mut().rev() {
            *at = match n.checked_rem(BASE).unwrap_or(0) as u8 {
                d @ 0..=9 => d.wrapping_add(b'0'),
                d => d.wrapping_sub(10).wrapping_add(b'a'),
            };
            used = used.wrapping_add(1);
            n = n.checked_div(BASE).unwrap_or(0);
            if n == 0 {
                break;
            }
        }
        let start = digits.len().wrapping_sub(used);
        self.put(digits.get(start..).unwrap_or(&[]))
    }

    /// The text.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    /// The directory of a path.
    pub fn parent(&self) -> Self {
        let mut folder = Self::default();
        folder.push(parent(self.bytes()));
        folder
    }

    /// The last component of a path.
    pub fn name(&self) -> &[u8] {
        self.bytes().rsplit(|b| *b == b'/').next().unwrap_or(b"")
    }

    /// The text as a C string.
    pub fn c(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }

    /// Returns whether all of it fitted.
    pub fn fits(&self) -> bool {
        !self.cut
    }
}

/// Parses a decimal number at the start of `s`, with an optional minus. Returns it and the rest.
pub fn number(s: &[u8]) -> Option<(i64, &[u8])> {
    let (negative, digits) = match s {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, s),
    };
    let end = digits.iter().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at_checked(end)?;
    if digits.is_empty() {
        return None;
    }
    let n = digits
        .iter()
        .try_fold(0i64, |n, d| n.checked_mul(10)?.checked_add(i64::from(d.wrapping_sub(b'0'))))?;
    Some((if negative { n.wrapping_neg() } else { n }, rest))
}

/// Parses a hexadecimal number at the start of `s`. Returns it and the rest.
pub fn hex(s: &[u8]) -> Option<(u64, &[u8])> {
    let end = s.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(s.len());
    let (digits, rest) = s.split_at_checked(end)?;
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    let n = digits
        .iter()
        .fold(0u64, |n, d| (n << 4) | u64::from((*d as char).to_digit(16).unwrap_or(0)));
    Some((n, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_word_is_found_where_it_is(text in "[ab]{0,40}", word in "[ab]{1,6}") {
            prop_assert_eq!(find(text.as_bytes(), word.as_bytes()), text.find(&word));
        }
    }

    #[test]
    fn numbers_round_trip() {
        for n in [0, 7, -1, i64::MAX, i64::MIN + 1] {
            let t = Text::<32>::default().num(n);
            assert_eq!(t.bytes(), n.to_string().as_bytes());
            assert_eq!(number(t.bytes()), Some((n, &b""[..])));
        }
        let t = Text::<32>::default().hex(u64::MAX);
        assert_eq!(hex(t.with(b":x").bytes()), Some((u64::MAX, &b":x"[..])));
    }

    #[test]
    fn cut_texts_say_so_and_stay_c_strings() {
        let t = Text::<4>::new("abcdef");
        assert!(!t.fits());
        assert_eq!(t.c(), c"abc");
    }

    #[test]
    fn no_number_is_none() {
        assert_eq!(number(b"x"), None);
        assert_eq!(number(b"-"), None);
        assert_eq!(number(b"99999999999999999999"), None);
        assert_eq!(hex(b""), None);
    }
}
