//! What the helper is told about a job it holds: one word of its argv, which `ps` shows.

use crate::record::Handle;
use crate::text::{hex, number, Path, Text};

/// See the module.
pub struct Spec {
    /// The job's record.
    pub job: Handle,
    /// Run a text without `#!` with /bin/sh, as the `p` functions do (execvp(3)).
    pub shell: bool,
    /// The inherited ends of the pool, or -1.
    pub inherited: (i32, i32),
    /// The ledger's file.
    pub ledger: Path,
}

impl Spec {
    /// `hold:INDEX:GENERATION:SHELL:READ:WRITE:LEDGER`, index and generation in hexadecimal.
    pub fn encode(&self) -> Text<320> {
        let (r, w) = self.inherited;
        let mut t = Text::new(b"hold:");
        t.put_hex(u64::from(self.job.index)).put(b":").put_hex(u64::from(self.job.generation));
        t.put(if self.shell { b":1:" } else { b":0:" }).put_num(r).put(b":").put_num(w).put(b":");
        t.put(self.ledger.bytes());
        t
    }

    /// Reads [`Spec::encode`]'s form.
    pub fn decode(word: &[u8]) -> Option<Self> {
        let colon = |s| <[u8]>::strip_prefix(s, b":");
        let (index, rest) = hex(word.strip_prefix(b"hold:")?)?;
        let (generation, rest) = hex(colon(rest)?)?;
        let (shell, rest) = number(colon(rest)?)?;
        let (r, rest) = number(colon(rest)?)?;
        let (w, rest) = number(colon(rest)?)?;
        let ledger = Path::new(colon(rest)?);
        let job = Handle {
            index: u32::try_from(index).ok()?,
            generation: u32::try_from(generation).ok()?,
        };
        let inherited = (i32::try_from(r).ok()?, i32::try_from(w).ok()?);
        ledger.fits().then_some(Self { job, shell: shell != 0, inherited, ledger })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_round_trips(index: u32, generation: u32, shell: bool, r: i32, w: i32, path in "/[!-~]{1,200}") {
            let spec = Spec {
                job: Handle { index, generation },
                shell,
                inherited: (r, w),
                ledger: Path::new(path.as_bytes()),
            };
            let back = Spec::decode(spec.encode().bytes()).unwrap();
            prop_assert_eq!(back.job, spec.job);
            prop_assert_eq!((back.shell, back.inherited), (shell, (r, w)));
            prop_assert_eq!(back.ledger.bytes(), path.as_bytes());
        }

        #[test]
        fn any_word_is_survived(word in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Spec::decode(&word);
        }
    }
}
