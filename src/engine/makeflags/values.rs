//! Parsing the arguments of options. All are still escaped.

use core::iter::Peekable;

use super::auth::{Auth, RawPath};
use super::words::{is_digit, Unescape};

/// The argument of `--jobserver-auth` or `--jobserver-fds`.
pub fn auth(arg: &[u8]) -> Auth<'_> {
    let mut path = Unescape(arg);
    if path.by_ref().take(5).eq(*b"fifo:") {
        return Auth::Fifo(RawPath(path.0));
    }
    match fds(arg) {
        Some((read, write)) => Auth::Fds { read, write },
        None => Auth::Unknown(arg),
    }
}

/// `%d,%d`. Returns None also if a number does not fit: scanf then gives some descriptor, but not the one that was
/// meant.
fn fds(arg: &[u8]) -> Option<(i32, i32)> {
    let mut chars = Unescape(arg).peekable();
    let read = scan_int(&mut chars)?;
    chars.next_if_eq(&b',')?;
    Some((read, scan_int(&mut chars)?))
}

type Chars<'a> = Peekable<Unescape<'a>>;

/// `%d`: leading white space, a sign, digits.
fn scan_int(chars: &mut Chars<'_>) -> Option<i32> {
    let is_space = |c: &u8| c.is_ascii_whitespace() || *c == b'\x0b';
    while chars.next_if(is_space).is_some() {}
    let sign = chars.next_if(|c| matches!(c, b'+' | b'-'));
    chars.peek().copied().filter(|c| is_digit(*c))?;
    let number = i64::try_from(scan_digits(chars)).ok()?;
    let sign = if sign == Some(b'-') { -1 } else { 1 };
    i32::try_from(number.saturating_mul(sign)).ok()
}

fn digit(c: u8) -> u64 {
    u64::from(c.saturating_sub(b'0'))
}

fn scan_digits(chars: &mut Chars<'_>) -> u64 {
    let mut number: u64 = 0;
    while let Some(c) = chars.next_if(|c| is_digit(*c)) {
        number = number.saturating_mul(10).saturating_add(digit(c));
    }
    number
}

/// A number of jobs: digits only and not zero. A number that is too large becomes the largest.
pub fn positive(arg: &[u8]) -> Option<u32> {
    let mut chars = Unescape(arg).peekable();
    let number = scan_digits(&mut chars);
    (chars.next().is_none() && number > 0).then(|| saturate(number))
}

/// A load as `atof` reads it, in thousandths; make writes it with `%g`, so it can be `1e+06`. Returns None for a
/// negative load, and where atof would return 0 because there is no number.
pub fn thousandths(arg: &[u8]) -> Option<u32> {
    let mut chars = Unescape(arg).peekable();
    chars.next_if_eq(&b'+');
    let whole = chars.peek().is_some_and(|c| is_digit(*c));
    let mut milli = scan_digits(&mut chars).saturating_mul(1000);
    let point = chars.next_if_eq(&b'.').is_some();
    if !(whole || point && chars.peek().is_some_and(|c| is_digit(*c))) {
        return None;
    }
    let mut unit: u64 = 100;
    while let Some(c) = chars.next_if(|c| point && is_digit(*c)) {
        milli = milli.saturating_add(digit(c).saturating_mul(unit));
        unit /= 10;
    }
    if chars.next_if(|c| matches!(c, b'e' | b'E')).is_some() {
        let down = chars.next_if(|c| matches!(c, b'+' | b'-')) == Some(b'-');
        for _ in 0..scan_digits(&mut chars).min(20) {
            milli = if down { milli / 10 } else { milli.saturating_mul(10) };
        }
    }
    Some(saturate(milli))
}

fn saturate(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
