//! MAKEFLAGS: any value is read; what is written says what was asked for, and nothing else changes.

use crate::makeflags::{parse, write, Auth, Letters, MakeFlags, Names, Out, WriteAuth};

/// The input: a byte that says what is written, and the value.
pub fn run(data: &[u8]) {
    let [what, value @ ..] = data else { return };
    let old = parse(value);
    if let Some(Auth::Fifo(path)) = old.auth {
        let mut buf = [0; 256];
        path.unescape(&mut buf);
    }
    let letters =
        Letters { dry_run: what & 1 != 0, debug: what & 2 != 0, keep_going: what & 4 != 0 };
    let names = if what & 8 != 0 { Names::Both } else { Names::Auth };
    // Of the printable bytes there are some for each kind.
    let auth = match what >> 4 & 3 {
        0 => None,
        1 => Some(WriteAuth::Fds { read: 3, write: i32::from(*what), names }),
        2 => Some(WriteAuth::Fds { read: -2, write: -2, names }),
        _ => Some(WriteAuth::Fifo(b"/tmp/a b\\c/fifo")),
    };
    let mut buf = vec![0; value.len() * 2 + 200];
    let mut out = Out::new(&mut buf);
    assert!(write(Some(value), auth.as_ref(), &letters, &mut out), "there is room");
    let new = parse(out.as_bytes());
    check_auth(auth, new.auth);
    check_rest(&old, &new, &letters);
    // What is written once stays as it is.
    let mut again = vec![0; value.len() * 2 + 400];
    let mut again = Out::new(&mut again);
    assert!(write(Some(out.as_bytes()), auth.as_ref(), &letters, &mut again), "there is room");
    assert_eq!(again.as_bytes(), out.as_bytes(), "written twice");
    // Too little room is noticed, and nothing is written beyond it.
    let mut small = vec![0; out.as_bytes().len().saturating_sub(1)];
    if !out.as_bytes().is_empty() {
        assert!(!write(Some(value), auth.as_ref(), &letters, &mut Out::new(&mut small)));
    }
}

fn check_auth(written: Option<WriteAuth<'_>>, found: Option<Auth<'_>>) {
    match (written, found) {
        (None, None) => {}
        (Some(WriteAuth::Fds { read, write, .. }), Some(found)) => {
            assert!(found == Auth::Fds { read, write }, "the descriptors");
        }
        (Some(WriteAuth::Fifo(path)), Some(Auth::Fifo(raw))) => {
            let mut buf = [0; 256];
            assert_eq!(raw.unescape(&mut buf), Some(path), "the path");
        }
        _ => panic!("another kind of job server"),
    }
}

fn check_rest(old: &MakeFlags<'_>, new: &MakeFlags<'_>, letters: &Letters) {
    assert_eq!(new.jobs, None, "-j has no number");
    assert_eq!(new.load_milli, old.load_milli, "-l");
    assert!(new.dry_run == (old.dry_run || letters.dry_run), "n");
    assert!(new.debug == old.debug || new.debug == letters.debug, "d");
    assert!(new.keep_going == old.keep_going || new.keep_going == letters.keep_going, "k");
}
