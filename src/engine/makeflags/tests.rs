use super::*;
use proptest::prelude::*;

const FDS_3_4: WriteAuth<'_> = WriteAuth::Fds { read: 3, write: 4, names: Names::Auth };
const AUTH_3_4: Option<&WriteAuth<'_>> = Some(&FDS_3_4);
const PIPE_3_4: Option<Auth<'_>> = Some(Auth::Fds { read: 3, write: 4 });

fn letters(s: &str) -> Letters {
    Letters { dry_run: s.contains('n'), debug: s.contains('d'), keep_going: s.contains('k') }
}

fn written(old: Option<&[u8]>, auth: Option<&WriteAuth<'_>>, add: &str) -> Vec<u8> {
    let mut buf = vec![0; 1 << 16];
    let mut out = Out::new(&mut buf);
    assert!(write(old, auth, &letters(add), &mut out));
    out.as_bytes().to_vec()
}

fn written_str(old: Option<&str>, auth: Option<&WriteAuth<'_>>, add: &str) -> String {
    String::from_utf8(written(old.map(str::as_bytes), auth, add)).unwrap()
}

const fn fifo(raw: &str) -> Option<Auth<'_>> {
    Some(Auth::Fifo(RawPath(raw.as_bytes())))
}

#[rustfmt::skip]
const AUTHS: &[(&str, Option<Auth<'_>>)] = &[
    // As the makes write it: 3.81, 4.0, 4.2, 4.4; the portable creator's; a closed pool.
    (" --jobserver-fds=3,4 -j", PIPE_3_4),
    ("- --jobserver-fds=3,4 -j", PIPE_3_4),
    (" -j --jobserver-fds=3,4", PIPE_3_4),
    ("k -j3 --jobserver-auth=3,4 -- A=1", PIPE_3_4),
    (" -j3 --jobserver-auth=fifo:/tmp/GMfifo7", fifo("/tmp/GMfifo7")),
    (" -j --jobserver-fds=3,4 --jobserver-auth=3,4", PIPE_3_4),
    (" -j3 --jobserver-auth=3,4 --jobserver-auth=-2,-2 -- A=1",
        Some(Auth::Fds { read: -2, write: -2 })),
    // The last one wins, whatever its name; not beyond the `--`; an empty one is none.
    ("--jobserver-auth=1,2 --jobserver-fds=3,4", PIPE_3_4),
    ("--jobserver-fds=fifo:x --jobserver-auth=3,4", PIPE_3_4),
    ("--jobserver-auth=3,4 -- --jobserver-auth=5,6", PIPE_3_4),
    ("-j3 --jobserver-auth=", Some(Auth::Unknown(b""))),
    ("--jobserver-auth=3,4 --jobserver-fds=", Some(Auth::Unknown(b""))),
    ("--jobserver-auth= --jobserver-fds=3,4 --jobserver-auth", PIPE_3_4),
    ("A=x\\ --\\ y --jobserver-auth=3,4", PIPE_3_4),
    ("A=x\\ --jobserver-auth=3,4", None),
    ("-- --jobserver-auth=3,4", None),
    ("\\-- --jobserver-auth=3,4", None),
    // getopt's other spellings, and escapes where none are needed.
    ("--jobserver-auth 3,4", PIPE_3_4),
    ("--jobserver-a=3,4", PIPE_3_4),
    ("--jobserver-f 3,4", PIPE_3_4),
    ("--jobserver-\\auth\\=3\\,4", PIPE_3_4),
    ("--jobserver=3,4", None),
    ("--jobserver-authx=3,4", None),
    ("-jobserver-auth=3,4", None),
    // Words that are the argument of another.
    ("-I --jobserver-auth=3,4", None),
    ("--jobserver-style -- --jobserver-auth=3,4", PIPE_3_4),
    // scanf.
    ("--jobserver-auth=3,4junk", PIPE_3_4),
    ("--jobserver-auth=\\ +3,\\ 4", PIPE_3_4),
    ("--jobserver-auth=3", Some(Auth::Unknown(b"3"))),
    ("--jobserver-auth=3,", Some(Auth::Unknown(b"3,"))),
    ("--jobserver-auth=3,99999999999", Some(Auth::Unknown(b"3,99999999999"))),
    ("--jobserver-auth=gmake_semaphore_7", Some(Auth::Unknown(b"gmake_semaphore_7"))),
    ("--jobserver-auth=fifo:/a\\ b -k", fifo("/a\\ b")),
    ("-\x01\x02=3,4", None),
    ("", None),
    ("k", None),
];

#[test]
fn reads_auth() {
    for &(value, auth) in AUTHS {
        assert_eq!(parse(value.as_bytes()).auth, auth, "{value:?}");
    }
}

#[rustfmt::skip]
const LETTERS: &[(&str, &str)] = &[
    ("", ""), ("n", "n"), ("-n", "n"), ("dkn", "ndk"), ("indk --long-option -j4", "ndk"),
    (" -j3 --no-print-directory --jobserver-auth=3,4", ""), ("w -n", ""), ("w -k -d", "kd"),
    ("A=1 -k", "k"), ("kj4", "k"), ("fnk", ""), ("-Onk", ""), ("kS", ""), ("k --stop", ""),
    ("k --no-keep", ""), ("-j4 --dry-run --debug --keep-going", "ndk"),
    ("-j4 --just-print --debug=basic", "nd"), ("-j4 --recon --debug=none", "n"),
    ("-j4 --dr --de --ke", "ndk"), ("-j4 --d --keep-going=1", ""), ("-- n -k", ""),
    ("-I -k -f -d", ""), ("-\x01k", "k"), ("k\\n", "nk"),
];

#[test]
fn reads_letters() {
    for &(value, expected) in LETTERS {
        let f = parse(value.as_bytes());
        let found = Letters { dry_run: f.dry_run, debug: f.debug, keep_going: f.keep_going };
        assert_eq!(found, letters(expected), "{value:?}");
    }
}

#[rustfmt::skip]
const NUMBERS: &[(&str, Option<u32>, Option<u32>)] = &[
    ("", None, None), (" -j", None, None), (" -j3 -l2.5", Some(3), Some(2500)),
    ("-k -j 4 -l 1", Some(4), Some(1000)), ("kj4", Some(4), None),
    ("--jobs=4 --load-average=.25", Some(4), Some(250)),
    ("--jobs 4 --max-load 0.1239", Some(4), Some(123)), ("-j4 -j", None, None),
    ("-j4 -j0 -jx -j4x --jobs=", Some(4), None), ("-j x", None, None),
    ("-j99999999999999999999999", Some(u32::MAX), None), ("-l2 -l", None, None),
    ("-l2 -l-1", None, None), ("-l -1", None, None), ("-lx", None, None), ("-l.", None, None),
    ("-l0", None, Some(0)), ("-l1.5e+02", None, Some(150_000)), ("-l15e-1", None, Some(1500)),
    ("-l1e+99", None, Some(u32::MAX)), ("-- -j4 -l2", None, None), ("-W -j4", None, None),
];

#[test]
fn reads_numbers() {
    for &(value, jobs, load) in NUMBERS {
        let f = parse(value.as_bytes());
        assert_eq!((f.jobs, f.load_milli), (jobs, load), "{value:?}");
    }
}

#[rustfmt::skip]
const WRITES: &[(Option<&str>, Option<&WriteAuth<'_>>, &str, &str)] = &[
    // libjobserver's.
    (None, AUTH_3_4, "", "-j --jobserver-auth=3,4"),
    (Some("d"), AUTH_3_4, "n", "dn -j --jobserver-auth=3,4"),
    (Some("-- NAME=VALUE"), AUTH_3_4, "", "-j --jobserver-auth=3,4 -- NAME=VALUE"),
    (Some("i --long-option -j4 --jobserver-auth=1,2 -- NAME=VALUE"),
        AUTH_3_4, "ndk", "indk --long-option -j --jobserver-auth=3,4 -- NAME=VALUE"),
    // Its defects: a copied tail, a `-j` within a word, options lost, an auth left.
    (Some("id -j4 --jobserver-auth=1,2"), AUTH_3_4, "", "id -j --jobserver-auth=3,4"),
    (Some("id -j4 --jobserver-auth=1,2"), None, "", "id"),
    (Some("--jobserver-auth=1,2"), AUTH_3_4, "", "-j --jobserver-auth=3,4"),
    (Some(" -j4 -l2 --jobserver-fds=1,2 -w"), AUTH_3_4, "", " -l2 -w -j --jobserver-auth=3,4"),
    (Some("k --jobserver-auth=3,4 --jobserver-auth=-2,-2 -- --jobserver-auth=7,7 -j2"),
        None, "", "k -- --jobserver-auth=7,7 -j2"),
    // Letters where there are none.
    (None, None, "ndk", "ndk"),
    (Some(" -j3"), AUTH_3_4, "n", "n -j --jobserver-auth=3,4"),
    (Some(" --trace -- A=1"), None, "k", "k --trace -- A=1"),
    (Some("A=1"), AUTH_3_4, "k", "k A=1 -j --jobserver-auth=3,4"),
    (Some("- --jobserver-fds=1,2 -j"), AUTH_3_4, "", "- -j --jobserver-auth=3,4"),
    (Some("-Oline"), None, "n", "n -Oline"),
    // Letters in a cluster of other shape.
    (Some("-ij4"), None, "n", "-in"),
    (Some("kj4"), AUTH_3_4, "k", "k -j --jobserver-auth=3,4"),
    (Some("Oline"), None, "n", "nOline"),
    (Some("j4"), None, "n", "n"),
    // Arguments in words of their own.
    (Some("-k -j 4 -I dir --jobserver-auth 1,2 -l 2"), None, "", "-k -I dir -l 2"),
    (Some("-I -j4 -j4"), None, "", "-I -j4"),
    // What would be read in another way without the words before it.
    (Some("-j4 foo"), None, "", "- foo"),
    (Some("-j4 A=1"), None, "", "A=1"),
    (Some("-j4 -n"), None, "", "- -n"),
    (Some("-l -j4 2"), None, "", "-l - 2"),
    (Some("k -I"), AUTH_3_4, "", "k -j --jobserver-auth=3,4"),
    (Some("k A=\\"), AUTH_3_4, "", "k A=\\\\ -j --jobserver-auth=3,4"),
    (Some("  \t k \t -w  "), None, "", " k -w"),
    (Some(" "), None, "", ""),
];

#[test]
fn writes() {
    for &(old, auth, add, expected) in WRITES {
        assert_eq!(written_str(old, auth, add), expected, "{old:?}");
    }
}

#[test]
fn writes_other_auths() {
    let both = WriteAuth::Fds { read: i32::MIN, write: 10, names: Names::Both };
    assert_eq!(
        written_str(Some(" -- A=1"), Some(&both), ""),
        " -j --jobserver-fds=-2147483648,10 --jobserver-auth=-2147483648,10 -- A=1"
    );
    let path = WriteAuth::Fifo(b"/a b\\c\t$d");
    let value = written_str(None, Some(&path), "");
    assert_eq!(value, "-j --jobserver-auth=fifo:/a\\ b\\\\c\\\t$d");
    let Some(Auth::Fifo(raw)) = parse(value.as_bytes()).auth else { panic!("{value}") };
    assert_eq!(raw.unescape(&mut [0; 9]), Some(&b"/a b\\c\t$d"[..]));
    assert_eq!(raw.unescape(&mut [0; 8]), None);
}

#[test]
fn appends_and_reports_a_small_buffer() {
    let expected = b"MAKEFLAGS=k -j --jobserver-auth=3,4 -- A=1";
    for size in 0..expected.len() + 2 {
        let mut buf = vec![0; size];
        let mut out = Out::new(&mut buf);
        let fits = out.push(b"MAKEFLAGS=")
            && write(Some(b"k -- A=1"), Some(&FDS_3_4), &Letters::default(), &mut out);
        assert_eq!(fits, size >= expected.len(), "{size}");
        assert!(!fits || out.as_bytes() == expected);
    }
}

/// Values made of what matters to the grammar, so that options meet each other.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let part = prop::sample::select(vec![
        " ",
        " ",
        " ",
        "\t",
        "\\",
        "-",
        "--",
        " -- ",
        "=",
        ",",
        "3",
        "4",
        ".",
        "k",
        "n",
        "d",
        "S",
        "j",
        "l",
        "I",
        "O",
        "-j",
        "-l",
        "-j4 ",
        "-n",
        "A=1",
        "--jobserver-auth",
        "--jobserver-fds=1,2",
        "--jobserver-auth=fifo:/x",
        "--jobs",
        "--debug",
        "--eval",
    ]);
    let parts = prop::collection::vec(part, 0..12).prop_map(|p| p.concat().into_bytes());
    prop_oneof![4 => parts, 1 => prop::collection::vec(any::<u8>(), 0..40)]
}

fn some_letters() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["", "n", "d", "k", "nk", "ndk"])
}

const OWN: [&str; 6] =
    ["-j", "-j4", "--jobs=3", "--jobserver-auth=8,9", "--jobserver-fds=8,9", "--jobserver-a=1"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn has_the_written_auth(old in soup(), add in some_letters()) {
        let auths = [
            (Some(FDS_3_4), PIPE_3_4),
            (Some(WriteAuth::Fds { read: 3, write: 4, names: Names::Both }), PIPE_3_4),
            (Some(WriteAuth::Fifo(b"/a b")), fifo("/a\\ b")),
            (None, None),
        ];
        let before = parse(&old);
        for (auth, expected) in auths {
            let new = written(Some(&old), auth.as_ref(), add);
            let after = parse(&new);
            prop_assert_eq!(after.auth, expected);
            prop_assert_eq!(after.jobs, None);
            // The rest reads as before.
            prop_assert_eq!(after.load_milli, before.load_milli);
            prop_assert_eq!(after.dry_run, before.dry_run || add.contains('n'));
            prop_assert!(after.debug || !before.debug);
            prop_assert!(after.keep_going || !before.keep_going);
            // A second time changes nothing.
            prop_assert_eq!(written(Some(&new), auth.as_ref(), add), new);
        }
    }

    #[test]
    fn last_auth_wins(words in prop::collection::vec((0..8usize, 0..1000i32), 0..8)) {
        let spell = |(kind, n): &(usize, i32)| match kind {
            0 => format!("--jobserver-auth={n},7"),
            1 => format!("--jobserver-fds {n},7x"),
            2 => format!("--jobserver-a={n},\\7"),
            3 => format!("-j{n}"),
            4 => format!("-I --jobserver-auth={n},7"),
            5 => format!("A=\\ --jobserver-auth={n},7"),
            6 => format!("--shuffle={n}"),
            _ => "-k".into(),
        };
        let value = words.iter().map(spell).collect::<Vec<_>>().join(" ");
        let last = words.iter().rev().find(|(kind, _)| *kind < 3);
        let expected = last.map(|(_, n)| Auth::Fds { read: *n, write: 7 });
        prop_assert_eq!(parse(value.as_bytes()).auth, expected, "{}", value);
    }

    #[test]
    fn tail_is_untouched(tail in prop::collection::vec(any::<u8>(), 0..60)) {
        let tail = [b" -- ", &tail[..]].concat();
        for head in ["", "k", " -j3", "kn -l2 --jobserver-auth=1,2"] {
            let old = [head.as_bytes(), &tail[..]].concat();
            let new = written(Some(&old), Some(&FDS_3_4), "d");
            prop_assert!(new.ends_with(&tail));
            prop_assert_eq!(parse(&new).auth, PIPE_3_4);
        }
    }

    #[test]
    fn other_words_stay_in_order(
        first in prop::sample::select(vec!["k", "-k", "nw"]),
        words in prop::collection::vec(prop::sample::select(vec![
            "--no-print-directory", "-Oline", "-l2.5", "A=x\\ -j4", "--sync-mutex=fnm:/x", "-w",
            "--unknown=-j4", "-I\\ -j4", "-lx", "--shuffle=1",
            OWN[0], OWN[1], OWN[2], OWN[3], OWN[4], OWN[5],
        ]), 0..10),
    ) {
        let old = [&[first], &words[..]].concat().join(" ");
        let kept: Vec<_> = words.into_iter().filter(|w| !OWN.contains(w)).collect();
        let kept = [&[first], &kept[..]].concat().join(" ");
        prop_assert_eq!(written_str(Some(&old), None, ""), kept.clone());
        let auth = Some(&FDS_3_4);
        prop_assert_eq!(written_str(Some(&old), auth, ""), kept + " -j --jobserver-auth=3,4");
    }
}
