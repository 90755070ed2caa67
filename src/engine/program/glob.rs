//! Globs for program names: `*` and `?`; a list is separated by blanks, commas or colons.

/// Returns whether any glob of the list matches the whole name.
pub fn any(list: &[u8], name: &[u8]) -> bool {
    let globs = list.split(|b| matches!(b, b' ' | b',' | b':'));
    globs.filter(|g| !g.is_empty()).any(|g| matches(g, name))
}

/// Returns whether the glob matches the whole name. Takes at most as many steps as the product of both lengths.
fn matches(mut glob: &[u8], mut name: &[u8]) -> bool {
    // Where to go on if the part after the last `*` did not match: one byte further.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        match (glob, name) {
            ([], []) => return true,
            ([b'*', rest @ ..], _) => {
                retry = Some((rest, name));
                glob = rest;
                continue;
            }
            ([b'?', g @ ..], [_, n @ ..]) => {
                (glob, name) = (g, n);
                continue;
            }
            ([a, g @ ..], [b, n @ ..]) if a == b => {
                (glob, name) = (g, n);
                continue;
            }
            _ => {}
        }
        match retry {
            Some((rest, [_, further @ ..])) => {
                retry = Some((rest, further));
                (glob, name) = (rest, further);
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_names() {
        for (list, name, want) in [
            ("ninja", "ninja", true),
            ("ninja", "ninja-1.11", false),
            ("ninja*", "ninja-1.11", true),
            ("cc1*,*as", "cc1plus", true),
            ("cc1*,*as", "x86_64-linux-gnu-as", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("??", "sh", true),
            ("??", "bash", false),
            ("", "sh", false),
            ("*", "", true),
        ] {
            assert_eq!(any(list.as_bytes(), name.as_bytes()), want, "{list} {name}");
        }
    }
}
