//! Numbers and names as they are shown.

/// `0.4s`, `12.0s`, `3m05s`, `2h07m`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds as u64;
    match whole {
        0..60 => format!("{seconds:.1}s"),
        60..3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        _ => format!("{}h{:02}m", whole / 3600, whole / 60 % 60),
    }
}

/// `4.3 MB`, `340 MB`, `1.2 GB`.
pub fn memory(bytes: u64) -> String {
    let mut amount = bytes as f64 / 1e3;
    let mut unit = "kB";
    for larger in ["MB", "GB", "TB"] {
        if amount < 1000.0 {
            break;
        }
        (amount, unit) = (amount / 1e3, larger);
    }
    if amount < 10.0 {
        format!("{amount:.1} {unit}")
    } else {
        format!("{amount:.0} {unit}")
    }
}

/// How many jobs have ended in a second.
pub fn rate(per_second: f64) -> String {
    if per_second < 10.0 {
        format!("{per_second:.1}/s")
    } else {
        format!("{per_second:.0}/s")
    }
}

/// `1 pool`, `2 pools`.
pub fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// A text of at most so many characters; what is too much is left out in the middle, for a command says most at its
/// start and at its end.
pub fn shortened(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let Some(room) = most.checked_sub(1) else { return String::new() };
    let (head, tail) = (room - room / 2, room / 2);
    let head = text.chars().take(head);
    let tail = text.chars().skip(count - tail);
    head.chain(['…']).chain(tail).collect()
}

/// The slots of a pool: `#` is in use, `~` is lent by a job that sleeps, `.` is free. Of many slots a sign stands for
/// more than one.
pub fn bar(slots: u32, used: u32, lent: u32) -> String {
    const MOST: u32 = 40;
    let width = slots.clamp(1, MOST);
    let part = |n: u32| {
        let share = f64::from(n.min(slots)) * f64::from(width) / f64::from(slots.max(1));
        // What is there is seen.
        (share.round() as usize).max(usize::from(n > 0))
    };
    let used = part(used);
    let lent = part(lent).min(used);
    let free = (width as usize).saturating_sub(used);
    [("#", used - lent), ("~", lent), (".", free)].map(|(sign, n)| sign.repeat(n)).concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        assert_eq!(duration(0.44), "0.4s");
        assert_eq!(duration(185.9), "3m05s");
        assert_eq!(duration(7620.0), "2h07m");
    }

    #[test]
    fn amounts_have_units() {
        assert_eq!(memory(512), "0.5 kB");
        assert_eq!(memory(4_320_000), "4.3 MB");
        assert_eq!(memory(340_400_000), "340 MB");
        assert_eq!(memory(1_234_000_000), "1.2 GB");
        assert_eq!((rate(0.25), rate(12.3)), ("0.2/s".to_owned(), "12/s".to_owned()));
        assert_eq!((counted(1, "pool"), counted(0, "pool")), ("1 pool".into(), "0 pools".into()));
    }

    #[test]
    fn names_are_cut_in_the_middle() {
        assert_eq!(shortened("cc main.o", 9), "cc main.o");
        assert_eq!(shortened("cc a/very/long/way/to/main.o", 11), "cc a/…ain.o");
        assert_eq!((shortened("äöü", 2), shortened("abc", 0)), ("ä…".into(), String::new()));
    }

    #[test]
    fn a_bar_is_as_long_as_there_are_slots() {
        assert_eq!(bar(4, 3, 1), "##~.");
        assert_eq!(bar(2, 2, 0), "##");
        assert_eq!(bar(1000, 1, 0).len(), 40);
        assert_eq!(bar(1000, 1000, 1), "#".repeat(39) + "~");
        assert!(bar(1000, 1, 0).starts_with("#."));
    }
}
