//! Programs that get privileges at their start, and root with an environment that is not its own.

use super::{is_here, needs_root, script, EIGHT};
use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, compiled, compiled_with, tool};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    let mut list = crate::tests![
        a_setuid_program_that_gets_none,
        programs_of_the_system_that_get_privileges,
        roots_helper_is_nobody_elses,
        a_link_of_another_is_not_followed,
    ];
    for (how, mark) in PRIVILEGES {
        let name = format!("{}::by_{how}", module_path!());
        list.push(crate::test(&name, move || privileges(mark)));
    }
    list
}

/// A small system of its own at `$S`, in which the administrator has preloaded the library, in the run with it.
/// `as_user` runs a command there as an ordinary user, with words of his own.
const SYSTEM: &str = r#"
    mkdir over; mount -t tmpfs none over; mkdir over/up over/work over/root; S=$PWD/over/root
    mount -t overlay -o lowerdir=$SYSTEM,upperdir=over/up,workdir=over/work none $S
    mount -t proc none $S/proc; mount -t tmpfs -o mode=1777 none $S/dev/shm
    mkdir $S/opt/js; cp $PROGRAM $S/opt/js/program
    [ -z "$JSSHIM_LIB" ] || {
        cp $JSSHIM_LIB ${JSSHIM_LIB%/*}/jsshim-helper $S/opt/js
        echo /opt/js/libjsshim.so >$S/etc/ld.so.preload
    }
    cp $OWNED $S/opt/js/evil; chmod 755 $S/opt/js/evil; chmod 777 $S/opt/js
    mknod -m 666 $S/dev/null c 1 3 2>/dev/null
    as_user() {
        prlimit --nproc=500 chroot $S setpriv --reuid=65534 --regid=65534 --clear-groups env -u JSSHIM_DIR -u JSSHIM_LIB \
            LD_LIBRARY_PATH=/nowhere JSSHIM_JOBS=2 JSSHIM_HELPER=${HELPER-/opt/js/evil} JSSHIM_TRACE=${TRACE-/etc/js-trace} JSSHIM_STATS=/etc/js-stats \
            JSSHIM_GATE=child "$@"
    }
    left() {
        cat $S/opt/js/owned; ls $S/etc | grep js-; ls -A $S/dev/shm $S/tmp | grep '^jsshim-' | grep -v 65534
    } 2>/dev/null
"#;

/// How the program gets its privileges, and what it says of them.
const PRIVILEGES: &[(&str, &str)] = &[
    ("setuid", "chmod 4755 $S/opt/js/program"),
    ("setgid", "chmod 2755 $S/opt/js/program"),
    ("capabilities", "setcap cap_net_raw+ep $S/opt/js/program"),
    ("setuid_to_another", "chown daemon $S/opt/js/program; chmod 4755 $S/opt/js/program"),
];

/// All that is started there ends with its first process.
fn in_system(text: &str) -> Run {
    needs_root();
    let system = tool("root-", "");
    let text = format!("{SYSTEM}\n{text}");
    Run::new(&["unshare", "-m", "-p", "-f", "--kill-child", "bash", "-c", &text])
        .env("SYSTEM", &system)
        .env("OWNED", &compiled_with("owned", "owned", &["-static"]))
        .env("PROGRAM", &compiled("privileged"))
        .preload_inside()
        .unordered()
        .any_peak()
        // What a shell of theirs starts, without privileges, is the user's own.
        .may_warn(0..=12)
}

/// Nothing that its caller has set is honoured, and what it starts gets the environment that it gives.
fn privileges(mark: &'static str) {
    in_system(&format!("{mark}; as_user /opt/js/program; s=$?; left; exit $s"))
        .check(|o| assert_eq!(o.status.code(), Some(5)))
        .check(|o| assert!(o.text().contains("secure 1"), "{}", o.text()))
        .both();
    // Without privileges the library works there: this shows something.
    if is_here() {
        in_system("HELPER= TRACE=/dev/shm/t as_user env JSSHIM_DEBUG=1 /opt/js/program; s=$?; left; exit $s")
            .check(|o| assert_eq!(o.status.code(), Some(5)))
            .check(|o| assert!(o.text().contains("secure 0"), "{}", o.text()))
            .check(|o| assert!(o.stderr.contains("starts a job on a token"), "{}", o.stderr))
            .once();
    }
}

/// Who has given up new privileges (PR_SET_NO_NEW_PRIVS) gets none by a setuid program, and the library works there.
fn a_setuid_program_that_gets_none() {
    let text = "chmod 4755 $S/opt/js/program; TRACE=/dev/shm/t HELPER= as_user setpriv --no-new-privs /opt/js/program; s=$?; left; exit $s";
    let run = in_system(text).check(|o| assert_eq!(o.status.code(), Some(5)));
    run.check(|o| assert!(o.text().contains("secure 0"), "{}", o.text())).once();
}

/// su and mount are setuid, and chage setgid.
fn programs_of_the_system_that_get_privileges() {
    let text = "for c in 'su --version' 'mount --version' 'chage --help' 'passwd -S nobody'; do as_user $c; echo $?; done
        left; exit 5";
    in_system(text).check(|o| assert_eq!(o.status.code(), Some(5))).both();
}

/// Each job looks which helpers of this run there are.
const LOOKS: &str = "
for p in /proc/[0-9]*; do
    exe=$(readlink $p/exe 2>/dev/null)
    case $exe in */jsshim-helper | */h) grep -q $JSSHIM_TEST_ID $p/environ && echo $exe >>seen ;; esac
done 2>/dev/null
exec $JOB -s 50";

/// Root's environment may be an ordinary user's (sudo's env_keep). Neither his helper is used, nor one that he could
/// change; the one beside the library is.
fn roots_helper_is_nobody_elses() {
    needs_root();
    if !is_here() {
        return;
    }
    let real = artifact("jsshim-helper").unwrap();
    for (make, used, told) in [
        ("cp $REAL d/h; chown nobody d/h", "", true),
        ("cp $REAL d/h; chmod 777 d/h", "", true),
        ("cp $REAL d/h; chown nobody d", "", true),
        ("cp $REAL d/h; chmod 777 d", "", true),
        ("mkdir d/e; cp $REAL d/e/h; chown nobody d/e; ln -s e/h d/h", "", true),
        ("ln -s $REAL d/h; chown nobody d", "", false),
        ("cp $REAL d/h; chmod 1777 d", "/d/h", false),
        ("cp $REAL d/h", "/d/h", false),
    ] {
        let text = format!(
            "mkdir d; {make}; export JSSHIM_HELPER=$PWD/d/h\n\
             $SHIM bash -c 'for i in 1 2 3 4 5; do sh ./looks & done; wait'; sort -u seen; exit 5"
        );
        let real = real.clone();
        let check = move |o: &Outcome| {
            let text = o.text();
            let wanted = |l: &str| if used.is_empty() { l == real } else { l.ends_with(used) };
            assert!(!text.is_empty() && text.lines().all(wanted), "{make}: {text}");
            assert_eq!(
                o.stderr.contains("is in the hands of others"),
                told,
                "{make}: {}",
                o.stderr
            );
        };
        let run = script(&text)
            .file("looks", LOOKS)
            .env("JSSHIM_GATE", "child")
            .env("REAL", &artifact("jsshim-helper").unwrap());
        run.pool(Kind::Fifo, 2).check(check).once();
    }
}

/// In a folder that others can write to: what their link leads to stays as it is.
fn a_link_of_another_is_not_followed() {
    needs_root();
    for (owner, followed) in [("nobody", false), ("root", true)] {
        for what in ["TRACE", "STATS"] {
            let text = format!(
                "mkdir -m 777 open; echo precious >kept; ln -s $PWD/kept open/f; chown -h {owner} open/f\n\
                 export JSSHIM_{what}=$PWD/open/f; $SHIM bash -c '{EIGHT}'; s=$?; wc -l <kept; exit $s"
            );
            if !is_here() {
                continue;
            }
            let lines = move |o: &Outcome| {
                assert_eq!(o.text().trim() == "1", !followed, "{}", o.text());
                assert_eq!(o.stderr.contains("cannot be written"), !followed, "{}", o.stderr);
            };
            let run = script(&text).env("JSSHIM_JOBS", "2").slots(2).may_warn(0..=1);
            run.check(|o| assert_eq!(o.status.code(), Some(5))).check(lines).once();
        }
    }
}
