//! The events of a trace: as it was written, while it is written, cut off, written anew by another tool, or packed.

use std::borrow::Cow;
use std::io::{Read, Write};

use serde::Deserialize;

/// An event of the trace, with what any kind of it has.
#[derive(Deserialize)]
pub struct Event<'a> {
    /// The kind: `X` is complete, `M` tells of others.
    #[serde(borrow)]
    pub ph: Cow<'a, str>,
    #[serde(borrow, default)]
    pub name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub cat: Cow<'a, str>,
    /// Start and duration, in µs.
    #[serde(default)]
    pub ts: f64,
    #[serde(default)]
    pub dur: f64,
    /// Group of lanes, and lane.
    #[serde(default)]
    pub pid: u64,
    #[serde(default)]
    pub tid: u32,
    #[serde(borrow, default)]
    pub args: Args<'a>,
}

/// What is told besides.
#[derive(Deserialize, Default)]
#[serde(default)]
pub struct Args<'a> {
    #[serde(borrow)]
    pub job: Cow<'a, str>,
    pub pid: i32,
    pub client: i32,
    /// The job in which the client runs.
    #[serde(borrow, rename = "in")]
    pub outer: Cow<'a, str>,
    #[serde(borrow)]
    pub why: Cow<'a, str>,
    /// The most memory of a process, in kB.
    pub memory: u64,
    /// How long it has waited, in µs.
    pub waited: f64,
    /// Of a group of lanes.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    pub kind: Option<u16>,
    pub slots: u32,
    /// Of the build.
    #[serde(borrow)]
    pub command: Cow<'a, str>,
    #[serde(borrow)]
    pub host: Cow<'a, str>,
    /// Seconds since 1970 when the trace began.
    pub date: u64,
    /// When that was, or when a process was collected, by the clock of `ts`, in µs.
    pub at: f64,
}

/// The text of a trace; what of a packed one cannot be read any more is left out.
pub fn unpack(bytes: Vec<u8>) -> Vec<u8> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return bytes;
    }
    let mut text = Vec::new();
    let _ = flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut text);
    text
}

/// A trace with all that is whole in this one, as an array of JSON, an event to a line.
pub fn complete(text: &[u8]) -> Vec<u8> {
    let objects = Objects { text, at: start(text) };
    let is_json = |o: &&[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(o).is_ok();
    let lines: Vec<_> = objects.filter(is_json).collect();
    [b"[\n", lines.join(&b",\n"[..]).as_slice(), b"\n]\n"].concat()
}

/// Packs a trace.
///
/// # Errors
/// None in memory.
pub fn pack(text: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(text)?;
    packed.finish()
}

/// Calls `f` with each event; what is none is passed over.
pub fn events(text: &[u8], mut f: impl FnMut(Event<'_>)) {
    for object in (Objects { text, at: start(text) }) {
        // What is no UTF-8 is no JSON either.
        let object = String::from_utf8_lossy(object);
        if let Ok(event) = serde_json::from_str(&object) {
            f(event);
        }
    }
}

/// Where the events begin: other tools put the array into an object.
fn start(text: &[u8]) -> usize {
    let head = &text[..text.len().min(1 << 16)];
    let is_object = head.trim_ascii_start().starts_with(b"{");
    let key = b"\"traceEvents\"";
    let found = head.windows(key.len()).position(|part| part == key);
    found.filter(|_| is_object).map_or(0, |at| at + key.len())
}

/// The objects of a text, one after the other, whatever is between them.
struct Objects<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Objects<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let text = self.text;
        let first = |at: usize| Some(at + text.get(at..)?.iter().position(|b| *b == b'{')?);
        let mut begin = first(self.at)?;
        let (mut at, mut depth, mut quoted) = (begin, 0usize, false);
        while let Some(byte) = text.get(at) {
            match byte {
                b'\\' if quoted && text.get(at + 1) != Some(&b'\n') => at += 1,
                b'"' => quoted = !quoted,
                // A writer was killed in the middle of its line: what follows begins a line of its own. No text of
                // JSON goes over a line's end, and an object in another is not at the start of its line.
                b'\n' if quoted || text.get(at + 1) == Some(&b'{') => {
                    begin = first(at)?;
                    (at, depth, quoted) = (begin, 0, false);
                    continue;
                }
                b'{' if !quoted => depth += 1,
                b'}' if !quoted && depth <= 1 => {
                    self.at = at + 1;
                    return Some(&text[begin..=at]);
                }
                b'}' if !quoted => depth -= 1,
                _ => {}
            }
            at += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "[\n{\"name\":\"a {\\\"b\",\"ph\":\"X\",\"args\":{\"job\":\"1.0\"}},\n{\"name\":\"c\",\"ph\":\"M\"},\n";

    fn names(text: &str) -> Vec<String> {
        let mut names = Vec::new();
        events(text.as_bytes(), |e| names.push(e.name.into_owned()));
        names
    }

    #[test]
    fn a_trace_is_read_as_it_is_written() {
        assert_eq!(names(TWO), ["a {\"b", "c"]);
    }

    #[test]
    fn a_trace_is_read_up_to_where_it_is_cut() {
        for cut in 0..TWO.len() {
            let whole = TWO[..cut].matches("}").count();
            let names = names(&TWO[..cut]);
            assert_eq!(names.len(), [0, 0, 1, 2][whole], "{cut}");
        }
    }

    #[test]
    fn what_comes_after_a_line_that_was_cut_is_read() {
        let line = TWO.lines().nth(1).unwrap();
        for cut in 1..line.len() - 1 {
            let text = format!("[\n{}\n{{\"name\":\"c\",\"ph\":\"M\"}},\n", &line[..cut]);
            assert_eq!(names(&text).last().map(String::as_str), Some("c"), "{}", &line[..cut]);
        }
        let text = format!("[\n{}\n]\nx\n{{\"name\":\"c\",\"ph\":\"M\"}},\n", &line[..12]);
        assert_eq!(names(&text), ["c"]);
    }

    #[test]
    fn what_others_have_written_anew_is_read() {
        let closed = format!("{}]", TWO.trim_end().trim_end_matches(','));
        let value: serde_json::Value = serde_json::from_str(&closed).unwrap();
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        let object = serde_json::json!({ "displayTimeUnit": "ms", "traceEvents": value });
        for text in [closed, pretty, value.to_string(), object.to_string()] {
            assert_eq!(names(&text), ["a {\"b", "c"], "{text}");
        }
        let pretty = serde_json::to_string_pretty(&object).unwrap();
        assert_eq!(names(&pretty), ["a {\"b", "c"], "{pretty}");
    }

    #[test]
    fn a_packed_trace_is_read_also_if_it_is_cut_or_in_parts() {
        let pack = |text: &str| pack(text.as_bytes()).unwrap();
        let (first, second) = TWO.split_at(30);
        let parts = [pack(first), pack(second)].concat();
        assert_eq!(unpack(parts), TWO.as_bytes());
        let long = TWO.repeat(5000);
        let mut cut = pack(&long);
        cut.truncate(cut.len() / 2);
        let text = unpack(cut);
        assert!(text.len() > 10_000 && long.as_bytes().starts_with(&text));
    }
}
