//! The words of the environment and of the helper's arguments: any are read, and what was read is
//! written back as it was.

use crate::hold::spec;
use crate::join::word;
use crate::pool::tokens::Pool;
use crate::program::glob;
use crate::text;

/// The input: a word, or a list of globs, a newline and a name.
pub fn run(data: &[u8]) {
    if let Some((id, path)) = word::decode(data) {
        let word = word::encode(&Pool::new(id, path, None));
        let again = word::decode(word.bytes());
        assert!(again.is_some_and(|(i, p)| i == id && p.bytes() == path.bytes()), "the pool");
    }
    if let Some(n) = word::count(data) {
        assert!(n > 0, "no slot");
        assert_eq!(word::count(n.to_string().as_bytes()), Some(n), "the number");
    }
    if let Some(spec) = spec::Spec::decode(data) {
        let again = spec::Spec::decode(spec.encode().bytes());
        let same = again.is_some_and(|s| {
            (s.job, s.shell, s.inherited) == (spec.job, spec.shell, spec.inherited)
                && s.ledger.bytes() == spec.ledger.bytes()
        });
        assert!(same, "what the helper is told");
    }
    if let Some((n, rest)) = text::number(data) {
        assert!(rest.len() < data.len(), "no digit");
        assert!(rest.first().is_none_or(|b| !b.is_ascii_digit()), "a digit is left");
        let back = text::Text::<32>::default().num(n);
        assert_eq!(text::number(back.bytes()), Some((n, &b""[..])), "the number");
    }
    if let Some((n, _)) = text::hex(data) {
        assert_eq!(text::hex(text::Text::<32>::default().hex(n).bytes()), Some((n, &b""[..])));
    }
    globs(data);
}

fn globs(data: &[u8]) {
    let at = data.iter().position(|b| *b == b'\n').unwrap_or(data.len());
    let (list, name) = data.split_at(at);
    let name = name.get(1..).unwrap_or_default();
    let found = glob::any(list, name);
    let wanted = list
        .split(|b| matches!(b, b' ' | b',' | b':'))
        .any(|glob| !glob.is_empty() && naive(glob, name));
    assert_eq!(found, wanted, "globs");
}

/// What a glob means: a row of the table says which beginnings of the name match so far.
fn naive(glob: &[u8], name: &[u8]) -> bool {
    let mut row = vec![false; name.len() + 1];
    row[0] = true;
    for g in glob {
        if *g == b'*' {
            for i in 1..row.len() {
                row[i] |= row[i - 1];
            }
        } else {
            for i in (1..row.len()).rev() {
                row[i] = row[i - 1] && (*g == b'?' || *g == name[i - 1]);
            }
            row[0] = false;
        }
    }
    row[name.len()]
}
