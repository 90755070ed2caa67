//! `JSSHIM_COUNT` and `JSSHIM_STALL`.

/// `JSSHIM_COUNT`: what is bounded by the number of slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Count {
    /// The jobs that compute.
    Running,
    /// All jobs that have started.
    Processes,
}

impl Count {
    /// Parses the value of `JSSHIM_COUNT`. Returns None if it is invalid.
    pub fn parse(value: &[u8]) -> Option<Self> {
        match value {
            b"" | b"running" => Some(Self::Running),
            b"processes" => Some(Self::Processes),
            _ => None,
        }
    }

    /// The default limit, in ns.
    pub fn limit(self) -> u64 {
        match self {
            Self::Running => 100_000_000,
            Self::Processes => 1_000_000_000,
        }
    }
}

/// Parses the value of `JSSHIM_STALL`: seconds, fractions allowed, or `off`. Returns the limit in ns; 0 is off. Returns
/// None if it is invalid.
pub fn limit(value: &[u8]) -> Option<u64> {
    let parts = |at: usize| Some((value.get(..at)?, value.get(at.saturating_add(1)..)?));
    let point = value.iter().position(|b| *b == b'.');
    let (whole, part) = point.and_then(parts).unwrap_or((value, b""));
    match (value, whole, part) {
        (b"off", ..) => return Some(0),
        (_, b"", b"") => return None,
        _ => {}
    }
    let mut nanos = 0u64;
    let digits = whole.iter().map(Some).chain((0..9).map(|at| part.get(at)));
    for digit in digits {
        let digit = *digit.unwrap_or(&b'0');
        let value = digit.is_ascii_digit().then(|| u64::from(digit.wrapping_sub(b'0')))?;
        nanos = nanos.checked_mul(10)?.checked_add(value)?;
    }
    let all_digits = part.iter().all(u8::is_ascii_digit);
    (all_digits && nanos > 0).then_some(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn limits_are_seconds_or_off() {
        assert_eq!(limit(b""), None);
        assert_eq!(limit(b"off"), Some(0));
        assert_eq!(limit(b"2"), Some(2_000_000_000));
        assert_eq!(limit(b"0.25"), Some(250_000_000));
        assert_eq!(limit(b".5"), Some(500_000_000));
        assert_eq!(limit(b"3."), Some(3_000_000_000));
        assert_eq!(limit(b"0.12345678901"), Some(123_456_789));
        for junk in
            ["0", "0.0", "-1", "x", "1s", ".", "1.x", "1.2.3", "99999999999999", " 1", "OFF"]
        {
            assert_eq!(limit(junk.as_bytes()), None, "{junk}");
        }
    }

    #[test]
    fn what_counts_is_one_of_two_words() {
        assert_eq!(Count::parse(b""), Some(Count::Running));
        assert_eq!(Count::parse(b"running"), Some(Count::Running));
        assert_eq!(Count::parse(b"processes"), Some(Count::Processes));
        for junk in ["Running", "process", " running", "1", "running,processes"] {
            assert_eq!(Count::parse(junk.as_bytes()), None, "{junk}");
        }
    }

    proptest! {
        #[test]
        fn any_value_is_survived(value in proptest::collection::vec(any::<u8>(), 0..30)) {
            let _ = limit(&value);
        }

        #[test]
        fn seconds_are_read(whole in 0u64..1_000_000, part in 1u64..1_000_000_000) {
            let text = format!("{whole}.{part:09}");
            prop_assert_eq!(limit(text.as_bytes()), Some(whole * 1_000_000_000 + part));
        }
    }
}
