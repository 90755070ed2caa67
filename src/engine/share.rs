//! `JSSHIM_SHARE`: how much of the pool the jobs of a build get while other builds want slots, too.
//!
//! The kernel serves the readers of a pipe in turn. A client with one reader gets one token in each turn, a client with
//! three gets three ([`crate::ledger::order`]). Jobs of the background do not read: they take a token that is left over
//! ([`crate::ledger::background`]). The implicit slot of a client is its own, whatever its share.

/// The largest weight.
pub const MOST: u32 = 16;

/// The share of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Share {
    /// Tokens in each turn, from 1 to [`MOST`].
    Weight(u32),
    /// Tokens that no other client wants.
    Background,
}

/// [`Share::Background`] as a word. A weight is itself; 0, in a new record, is 1.
const BACKGROUND: u32 = u32::MAX;

impl Default for Share {
    fn default() -> Self {
        Self::Weight(1)
    }
}

impl Share {
    /// The value of `JSSHIM_SHARE`. Returns None if it is not valid.
    pub fn parse(value: &[u8]) -> Option<Self> {
        if value == b"idle" {
            return Some(Self::Background);
        }
        let digit = |b: &u8| char::from(*b).to_digit(10);
        let weight = value.iter().map(digit).try_fold(0u32, |all, digit| {
            digit.map(|digit| all.saturating_mul(10).saturating_add(digit))
        });
        weight.filter(|weight| (1..=MOST).contains(weight)).map(Self::Weight)
    }

    /// As a word of a record.
    pub(crate) fn word(self) -> u32 {
        match self {
            Self::Weight(weight) => weight,
            Self::Background => BACKGROUND,
        }
    }

    /// From the word of a record, whatever is in it.
    pub(crate) fn of_word(word: u32) -> Self {
        match word {
            BACKGROUND => Self::Background,
            weight => Self::Weight(weight.clamp(1, MOST)),
        }
    }

    /// How many held jobs of the client read the pool at once. In the background it is one, which waits for others.
    pub(crate) fn readers(self) -> u32 {
        match self {
            Self::Weight(weight) => weight,
            Self::Background => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_its_share() {
        for share in (1..=MOST).map(Share::Weight).chain([Share::Background]) {
            assert_eq!(Share::of_word(share.word()), share);
        }
        assert_eq!(Share::of_word(0), Share::default());
        assert_eq!(Share::of_word(MOST + 1), Share::Weight(MOST));
    }

    #[test]
    fn what_is_a_share() {
        assert_eq!(Share::parse(b"1"), Some(Share::Weight(1)));
        assert_eq!(Share::parse(b"016"), Some(Share::Weight(16)));
        assert_eq!(Share::parse(b"idle"), Some(Share::Background));
        for bad in [&b"0"[..], b"17", b"", b"-1", b"2x", b"1.5", b"Idle", b"99999999999"] {
            assert_eq!(Share::parse(bad), None);
        }
    }
}
