//! Numbers and texts for a reader.

use std::time::{Duration, UNIX_EPOCH};

/// A text inside an element.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A time with a unit that suits it, three or four digits of it. Of minutes and hours the rest is cut off, as in the
/// statistics, which are beside it on the page.
pub fn duration(nanos: u64) -> String {
    const MS: u64 = 1_000_000;
    const SECOND: u64 = 1000 * MS;
    let (micros, seconds) = (nanos / 1000, nanos / SECOND);
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match micros {
        0 => "0 s".to_owned(),
        1..1000 => format!("{micros} µs"),
        1000..99_950 => format!("{:.1} ms", nanos as f64 / 1e6),
        99_950..999_500 => format!("{:.0} ms", nanos as f64 / 1e6),
        999_500..9_995_000 => format!("{:.2} s", nanos as f64 / 1e9),
        9_995_000..99_950_000 => format!("{:.1} s", nanos as f64 / 1e9),
        _ if seconds < 60 * 60 => format!("{minutes} min {} s", seconds % 60),
        _ if hours >= 100 => format!("{} h", count(hours as usize)),
        _ => format!("{hours} h {} min", minutes % 60),
    }
}

/// A time of the build, to hundredths of a second, as the axes of the page have it.
pub fn clock(nanos: u64) -> String {
    let hundredths = nanos.saturating_add(5_000_000) / 10_000_000;
    let (seconds, rest) = (hundredths / 100, hundredths % 100);
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}.{rest:02} s"),
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}.{rest:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}.{rest:02}"),
    }
}

/// kB as a reader wants them.
pub fn memory(kb: u64) -> String {
    match kb {
        0 => String::new(),
        1..10_000 => format!("{kb} kB"),
        10_000..10_240_000 => format!("{} MB", kb / 1024),
        _ => format!("{:.1} GB", kb as f64 / 1024.0 / 1024.0),
    }
}

/// A number in groups of three digits.
pub fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Seconds since 1970 as a date of UTC.
pub fn date(seconds: u64) -> String {
    let text = humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds));
    text.to_string().replace('T', " ").replace('Z', " UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_suits_them() {
        let of = |micros: u64| duration(micros * 1000);
        let all =
            [(0, "0 s"), (7, "7 µs"), (1500, "1.5 ms"), (123_400, "123 ms"), (1_234_567, "1.23 s")];
        all.into_iter().for_each(|(micros, text)| assert_eq!(of(micros), text));
        let all =
            [(12_345_678, "12.3 s"), (123_956_789, "2 min 3 s"), (3_700_000_000, "1 h 1 min")];
        all.into_iter().for_each(|(micros, text)| assert_eq!(of(micros), text));
        assert_eq!((of(999_999), of(99_999_999)), ("1.00 s".into(), "1 min 39 s".into()));
        assert_eq!(
            (of(3_599_900_000), of(7_199_000_000)),
            ("59 min 59 s".into(), "1 h 59 min".into())
        );
    }

    #[test]
    fn clocks_are_those_of_the_axes() {
        let of = |millis: u64| clock(millis * 1_000_000);
        let all = [(0, "0.00 s"), (59_994, "59.99 s"), (59_996, "1:00.00"), (83_070, "1:23.07")];
        all.into_iter().for_each(|(millis, text)| assert_eq!(of(millis), text));
        assert_eq!(of(4_796_400), "1:19:56.40");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(951_782_400), "2000-02-29 00:00:00 UTC");
    }

    #[test]
    fn counts_have_groups() {
        assert_eq!(
            (count(7), count(1000), count(1_234_567)),
            ("7".into(), "1,000".into(), "1,234,567".into())
        );
        assert_eq!(
            (memory(900), memory(204_800), memory(20 << 20)),
            ("900 kB".into(), "200 MB".into(), "20.0 GB".into())
        );
    }
}
