//! `JSSHIM_POOL`, by which the identity of the pool travels, and the values of our other variables.

use crate::ledger::handle::Handle;
use crate::pool::pipe::Id;
use crate::pool::tokens::Pool;
use crate::text::{hex, number, Path, Text};

/// The private variable that holds the pool.
pub const POOL_NAME: &[u8] = b"JSSHIM_POOL=";

/// Prefix of the value of `JSSHIM_POOL`: this pool counts, whatever MAKEFLAGS says. A client writes it that speaks the
/// protocol and has made a pool of its own for its children.
pub const OVERRIDE: &[u8] = b"!";

/// In place of a pool: the descriptors that MAKEFLAGS names were closed, so that descriptor numbers prove nothing here.
pub const DOUBTED: &[u8] = b"?";

/// Returns whether this pool counts, whatever MAKEFLAGS says.
pub fn overrides(pool: Option<&[u8]>) -> bool {
    pool.is_some_and(|value| value.starts_with(OVERRIDE))
}

/// The pool in the value: identity and path.
pub(super) type Told<'a> = Option<(Id, &'a [u8])>;

/// The value of `JSSHIM_POOL` for a pool: `dev:ino:birth:path`, the numbers in hexadecimal.
pub fn encode(pool: &Pool) -> Text<320> {
    let mut t = Text::default();
    encode_to(pool, &mut t);
    t
}

/// [`encode`], appended to `t`.
pub fn encode_to<const N: usize>(pool: &Pool, t: &mut Text<N>) {
    let (dev, ino, birth) = pool.id;
    t.put_hex(dev).put(b":").put_hex(ino).put(b":").put_hex(birth).put(b":");
    t.put(pool.path.bytes());
}

/// Parses the form that [`encode`] writes.
pub fn decode(value: &[u8]) -> Option<(Id, Path)> {
    let (id, path) = split(value)?;
    Some((id, Path::new(path)))
}

pub(crate) fn split(value: &[u8]) -> Told<'_> {
    let mut rest = value.strip_prefix(OVERRIDE).unwrap_or(value);
    let mut part = || {
        let (n, after) = hex(rest)?;
        rest = after.strip_prefix(b":")?;
        Some(n)
    };
    let id = (part()?, part()?, part()?);
    (!rest.is_empty() && rest.len() <= Path::ROOM).then_some((id, rest))
}

/// Parses a job's handle, one hexadecimal number ([`Handle::pack`]).
pub fn handle(value: &[u8]) -> Option<Handle> {
    match hex(value)? {
        (n, []) => Handle::unpack(n),
        _ => None,
    }
}

/// Parses a decimal integer above zero, as `JSSHIM_JOBS` must be.
pub fn count(value: &[u8]) -> Option<u32> {
    match number(value)? {
        (n, []) => u32::try_from(n).ok().filter(|n| *n > 0),
        _ => None,
    }
}
