//! The statistics of a ledger as text: a block for people, a line of JSON for programs; and the value of
//! `JSSHIM_STATS`.

use crate::ledger::stats::Counts;
use crate::pool::pipe::Id;
use crate::text::Text;

use super::json;

/// What the value of `JSSHIM_STATS` asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked<'a> {
    /// Nothing.
    Nothing,
    /// A block on stderr.
    Block,
    /// A line of JSON in this file.
    File(&'a [u8]),
}

/// Parses the value: words that mean yes or no are not file names.
pub fn asked(value: &[u8]) -> Asked<'_> {
    match value {
        b"1" | b"yes" | b"on" | b"true" => Asked::Block,
        _ if !is_on(value) => Asked::Nothing,
        file => Asked::File(file),
    }
}

/// Returns whether this value asks for something.
pub fn is_on(value: &[u8]) -> bool {
    !matches!(value, b"" | b"0" | b"no" | b"off" | b"false")
}

/// Room for a block.
pub type Block = Text<1024>;
/// Room for a line.
pub type Line = Text<3584>;
/// Room for a time.
pub type Time = Text<32>;

/// Where the counts come from.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    /// The program that leaves the pool now.
    pub program: &'a [u8],
    /// The most slots that were in use at once.
    pub peak: u32,
    /// All slots; 0: unknown.
    pub slots: u32,
}

/// The block that `JSSHIM_STATS=1` asks for.
pub fn block(counts: &Counts, origin: Origin<'_>) -> Block {
    let mut t = Block::new(b"jsshim: statistics at the end of ");
    t.put(origin.program).put(b"\n  jobs              ").put_num(counts.jobs);
    t.put(b"\n  slots at peak     ").put_num(origin.peak);
    if origin.slots > 0 {
        t.put(b" of ").put_num(origin.slots);
    }
    t.put(b"\n  token waits       ").put_num(counts.waited() as i64);
    if counts.waited() > 0 {
        t.put(b"; median ").put(about(counts.quantile(50)).bytes());
        t.put(b", p95 ").put(about(counts.quantile(95)).bytes());
        t.put(b", longest ").put(time(counts.longest).bytes());
    }
    t.put(b"\n  time held         ").put(time(counts.total).bytes());
    t.put(b"\n  overdrafts        ").put_num(counts.overdrawn() as i64);
    for (why, count) in counts.reasons() {
        t.put(b"\n    ").put_num(count).put(b": ").put(why.text());
    }
    if counts.borrowed > 0 {
        t.put(b"\n  slots lent        ").put_num(counts.borrowed).put(b"; for ");
        t.put(time(counts.lent).bytes()).put(b", above the slots for ");
        t.put(time(counts.debt).bytes());
    }
    t.put(b"\n  tokens recovered  ").put_num(counts.recovered).put(b"\n");
    t
}

/// The line for a file: a JSON object. The lines of one pool add up.
#[inline(never)]
pub fn put_line(t: &mut Line, id: Id, counts: &Counts, origin: Origin<'_>) {
    t.put(b"{\"version\":1,\"pool\":\"").put_hex(id.0).put(b":").put_hex(id.1).put(b":");
    t.put_hex(id.2).put(b"\",\"program\":\"");
    json::put(t, origin.program);
    t.put(b"\"");
    for (name, value) in [
        ("slots", origin.slots.into()),
        ("peak", origin.peak.into()),
        ("jobs", counts.jobs.into()),
        ("recovered", counts.recovered.into()),
        ("borrowed", counts.borrowed.into()),
        ("lent_ns", counts.lent),
        ("above_ns", counts.debt),
        ("held_ns", counts.total),
        ("longest_ns", counts.longest),
    ] {
        t.put(b",\"").put(name).put(b"\":").put_num(i64::try_from(value).unwrap_or(i64::MAX));
    }
    t.put(b",\"overdrafts\":[");
    put_pairs(t, &counts.overdrafts);
    t.put(b"],\"waits\":[");
    put_pairs(t, &counts.waits);
    t.put(b"]}\n");
}

/// Appends `[INDEX,COUNT]` for each count that is not 0.
fn put_pairs(t: &mut Line, counts: &[u32]) {
    let mut comma: &[u8] = b"";
    for (index, count) in (0i64..).zip(counts).filter(|(_, count)| **count > 0) {
        t.put(comma).put(b"[").put_num(index).put(b",").put_num(*count).put(b"]");
        comma = b",";
    }
}

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// A time in three digits: `61.2 ms`, `3.42 s`, `9 min 30 s`, `2 h 7 min`.
pub fn time(nanos: u64) -> Time {
    let mut t = Time::default();
    put_time(&mut t, nanos, 3);
    t
}

/// A time that is known to an eighth only: `~61 ms`, `~12 min`.
pub fn about(nanos: u64) -> Time {
    let mut t = Time::new(b"~");
    put_time(&mut t, nanos, 2);
    t
}

fn put_time(t: &mut Time, nanos: u64, digits: u32) {
    let seconds = nanos / SECOND;
    let (minutes, rest) = (seconds / 60, seconds % 60);
    match (minutes, seconds) {
        (0, 0) => put_decimal(t, nanos, MILLI, digits).put(b" ms"),
        (0, _) => put_decimal(t, nanos, SECOND, digits).put(b" s"),
        (1..60, _) => {
            put_num(t, minutes).put(b" min");
            match digits {
                3.. => put_num(t.put(b" "), rest).put(b" s"),
                _ => t,
            }
        }
        _ => {
            put_num(t, minutes / 60).put(b" h ");
            put_num(t, minutes % 60).put(b" min")
        }
    };
}

fn put_num(t: &mut Time, n: u64) -> &mut Time {
    t.put_num(i64::try_from(n).unwrap_or(i64::MAX))
}

/// A number of units below a thousand, rounded to this many digits, at most two of them after the point.
fn put_decimal(t: &mut Time, n: u64, unit: u64, digits: u32) -> &mut Time {
    let has = n.checked_div(unit).and_then(u64::checked_ilog10).unwrap_or(0).saturating_add(1);
    let power = |exponent: u32| 10u64.checked_pow(exponent).unwrap_or(1);
    let (places, over) = (digits.saturating_sub(has).min(2), has.saturating_sub(digits));
    let step = unit.saturating_mul(power(over)).checked_div(power(places)).unwrap_or(1).max(1);
    let rounded = n.saturating_add(step / 2).checked_div(step).unwrap_or(0);
    let rounded = rounded.saturating_mul(power(over));
    let whole = rounded.checked_div(power(places)).unwrap_or(0);
    let rest = rounded.checked_rem(power(places)).unwrap_or(0);
    put_num(t, whole);
    if n == 0 || places == 0 {
        return t;
    }
    t.put(b".");
    if places == 2 && rest < 10 {
        t.put(b"0");
    }
    put_num(t, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::reason::Reason;
    use crate::ledger::stats::{BUCKETS, REASONS};
    use proptest::prelude::*;

    fn text<const N: usize>(t: Text<N>) -> String {
        assert!(t.fits());
        String::from_utf8(t.bytes().to_vec()).unwrap()
    }

    #[test]
    fn times_have_units_and_digits() {
        for (nanos, exact, rough) in [
            (0, "0 ms", "~0 ms"),
            (4_000, "0.00 ms", "~0.0 ms"),
            (412_345, "0.41 ms", "~0.4 ms"),
            (2_000_000, "2.00 ms", "~2.0 ms"),
            (61_234_567, "61.2 ms", "~61 ms"),
            (412_345_678, "412 ms", "~410 ms"),
            (3_421_000_000, "3.42 s", "~3.4 s"),
            (59_960_000_000, "60.0 s", "~60 s"),
            (570_456_767_000, "9 min 30 s", "~9 min"),
            (570_456_767_000_000, "158 h 27 min", "~158 h 27 min"),
        ] {
            assert_eq!((text(time(nanos)).as_str(), text(about(nanos)).as_str()), (exact, rough));
        }
    }

    #[test]
    fn words_are_no_files() {
        for no in ["", "0", "no", "off", "false"] {
            assert_eq!(asked(no.as_bytes()), Asked::Nothing, "{no}");
        }
        for yes in ["1", "yes", "on", "true"] {
            assert_eq!(asked(yes.as_bytes()), Asked::Block, "{yes}");
        }
        assert_eq!(asked(b"./yes"), Asked::File(b"./yes"));
    }

    const ORIGIN: Origin<'_> = Origin { program: b"ninja", peak: 2, slots: 2 };

    #[test]
    fn a_block_tells_all() {
        let mut counts = Counts { jobs: 7, ..Counts::default() };
        counts.add_wait(2_000_000);
        counts.overdrafts[Reason::Stall as usize] = 2;
        (counts.borrowed, counts.lent, counts.debt) = (3, 4_500_000, 1_000);
        let text = text(block(&counts, ORIGIN));
        for part in [
            "jsshim: statistics at the end of ninja\n",
            "  jobs              7\n",
            "of 2\n",
            "  token waits       1; median ~1.9 ms, p95 ~1.9 ms, longest 2.00 ms\n",
            "  overdrafts        2\n    2: the running jobs wait for others\n",
            "  slots lent        3; for 4.50 ms, above the slots for 0.00 ms\n",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let nothing = block(&Counts::default(), ORIGIN);
        assert!(text_of(&nothing).contains("  token waits       0\n"));
    }

    fn text_of(block: &Block) -> String {
        text(*block)
    }

    #[test]
    fn a_line_is_one_object() {
        let mut counts = Counts { jobs: 7, recovered: 1, ..Counts::default() };
        counts.add_wait(2_000_000);
        counts.overdrafts[Reason::Stall as usize] = 2;
        let mut line = Line::default();
        put_line(&mut line, (0x1b, 2, 3), &counts, Origin { program: b"a\"b", ..ORIGIN });
        let want = "{\"version\":1,\"pool\":\"1b:2:3\",\"program\":\"a\\\"b\",\"slots\":2,\"peak\":2,\
                    \"jobs\":7,\"recovered\":1,\"borrowed\":0,\"lent_ns\":0,\"above_ns\":0,\
                    \"held_ns\":2000000,\"longest_ns\":2000000,\"overdrafts\":[[5,2]],\"waits\":[[39,1]]}\n";
        assert_eq!(text(line), want);
    }

    #[test]
    fn the_longest_line_fits() {
        let all = u32::MAX;
        let counts = Counts {
            jobs: all,
            recovered: all,
            borrowed: all,
            lent: u64::MAX,
            debt: u64::MAX,
            total: u64::MAX,
            longest: u64::MAX,
            overdrafts: [all; REASONS],
            waits: [all; BUCKETS],
        };
        let mut line = Line::default();
        let origin = Origin { program: &[b'"'; 64], peak: all, slots: all };
        put_line(&mut line, (u64::MAX, u64::MAX, u64::MAX), &counts, origin);
        assert!(line.fits());
        assert!(block(&counts, origin).fits());
    }

    proptest! {
        #[test]
        fn any_time_is_told(nanos: u64) {
            prop_assert!(time(nanos).fits() && about(nanos).fits());
        }
    }
}
