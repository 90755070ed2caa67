//! JSON strings.

use crate::text::Text;

/// Appends a text as the inside of a JSON string; invalid UTF-8 becomes U+FFFD.
pub fn put<const N: usize>(t: &mut Text<N>, text: &[u8]) {
    for part in text.utf8_chunks() {
        for c in part.valid().chars() {
            match c {
                '"' => t.put(b"\\\""),
                '\\' => t.put(b"\\\\"),
                '\0'..=' ' => t.put(b" "),
                _ => t.put(c.encode_utf8(&mut [0; 4]).as_bytes()),
            };
        }
        if !part.invalid().is_empty() {
            t.put("\u{fffd}");
        }
    }
}
