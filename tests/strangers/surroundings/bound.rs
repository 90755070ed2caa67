//! What a child binds itself to between its fork and its exec: filters, landlock, roots, limits, tracers.

use super::{is_here, needs_root, script};
use crate::harness::pool::Kind;
use crate::harness::programs::{compiled, on_path, tool};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    let mut list = crate::tests![
        a_host_that_binds_itself,
        a_launcher_that_binds_itself,
        traced_children_stop_in_their_own_program,
        a_child_that_the_helper_could_not_follow,
        a_child_that_has_no_job_ends_without_a_call,
        man_with_its_filters,
        sshd_with_its_sandbox,
        a_sandbox_below_the_pool_is_quiet,
    ];
    for (how, gated) in BOUND {
        let name = format!("{}::by_{}", module_path!(), how.replace('-', "_"));
        list.push(crate::test(&name, move || bound(how, *gated)));
    }
    list
}

/// How (c/bounds.c), and whether it can be held all the same.
const BOUND: &[(&str, bool)] = &[
    ("nothing", true),
    ("kill", false),
    ("trap", false),
    ("errno", false),
    ("twice", false),
    ("landlock-exec", false),
    ("landlock-write", false),
    ("landlock-read", false),
    ("no-new-privs", true),
    ("little-memory", true),
];

fn bounds(how: &str, door: &str) -> Run {
    Run::new(&[&compiled("bounds"), how, door, "5", &compiled("job"), "-s", "60"])
}

fn bound(how: &str, gated: bool) {
    for door in ["fork", "vfork"] {
        for gate in ["auto", "child"] {
            for kind in [Kind::NonBlocking, Kind::Fifo] {
                let run = bounds(how, door).env("JSSHIM_GATE", gate).pool(kind, 2);
                let run = run.check(|o| assert_eq!(o.status.code(), Some(5)));
                if gated { run } else { run.may_overdraw() }.both();
            }
        }
        // The pool is ours, and the children are the first that are started at all.
        let run = bounds(how, door).env("JSSHIM_JOBS", "2").slots(2);
        if gated { run } else { run.may_overdraw() }.both();
    }
}

/// The host binds itself when it has joined, and then starts jobs by the doors of libc that start shells, too.
fn a_host_that_binds_itself() {
    for how in ["nothing", "landlock-exec", "landlock-write", "landlock-read", "no-new-privs"] {
        let run =
            || Run::new(&[&compiled("bounds"), how, "self", "2", &compiled("job"), "-s", "60"]);
        let run = || run().check(|o| assert_eq!(o.status.code(), Some(5))).may_overdraw();
        for gate in ["auto", "child"] {
            run().env("JSSHIM_GATE", gate).pool(Kind::Fifo, 1).both();
            run().env("JSSHIM_GATE", gate).pool(Kind::NonBlocking, 2).both();
        }
        run().env("JSSHIM_JOBS", "2").both();
    }
}

/// Programs as minijail and setpriv, which have no job of their own: they bind themselves and become another.
fn a_launcher_that_binds_itself() {
    for how in ["kill", "trap", "errno", "landlock-read", "nothing"] {
        let text =
            format!("for i in 1 2 3 4 5; do $BOUNDS {how} exec 1 $JOB -s 60 & done; wait; exit 5");
        let run = || Run::new(&["bash", "-c", &text]).env("BOUNDS", &compiled("bounds"));
        for kind in [Kind::NonBlocking, Kind::Fifo] {
            run().pool(kind, 2).both();
        }
        run().env("JSSHIM_JOBS", "2").slots(2).both();
        let recipe = format!("all:\n\t+@$$SHIM $$BOUNDS {how} exec 1 $$JOB -s 60\n");
        let run = script("export SHIM; exec make -s -j2 -f recipe").file("recipe", &recipe);
        run.env("BOUNDS", &compiled("bounds")).any_peak().both();
    }
}

fn traced_children_stop_in_their_own_program() {
    for door in ["fork", "vfork"] {
        for gate in ["auto", "child"] {
            let run = bounds("traced", door).env("JSSHIM_GATE", gate);
            run.pool(Kind::Fifo, 2).may_overdraw().times(5).both();
        }
    }
}

/// A static program, which needs no descriptors, starts where neither the library's files nor its helper are, or
/// with none to be had.
fn a_child_that_the_helper_could_not_follow() {
    let text = "
        mkdir -p root/bin; cp $NAP root/bin/sleep; PATH=$PWD/root/bin:$PATH
        ROOT=$PWD/root exec $SHIM $BOUNDS $HOW $DOOR 5 sleep 0.05";
    let nap = tool("busybox-static", "busybox");
    for how in ["chroot", "few-files", "no-files"] {
        for door in ["fork", "vfork"] {
            for gate in ["auto", "child"] {
                let run = script(text).env("NAP", &nap).env("BOUNDS", &compiled("bounds"));
                let run = run.env("DOOR", door).env("HOW", how).env("JSSHIM_GATE", gate);
                let run = run.pool(Kind::NonBlocking, 2).any_peak();
                run.check(|o| assert_eq!(o.status.code(), Some(5))).both();
            }
        }
    }
}

/// Beside two jobs, children of the same host that let nothing through but write(2) and exit(2).
fn a_child_that_has_no_job_ends_without_a_call() {
    for by in ["exit", "_exit"] {
        let bounds = compiled("bounds");
        let run = || Run::new(&[&bounds, by, "worker", "2", &compiled("job"), "-s", "60"]);
        let run = || run().may_overdraw().check(|o| assert_eq!(o.status.code(), Some(5)));
        for stats in ["", "numbers"] {
            run().env("JSSHIM_STATS", stats).pool(Kind::Fifo, 3).both();
            run().env("JSSHIM_STATS", stats).env("JSSHIM_JOBS", "3").both();
        }
        if is_here() {
            let told = |o: &Outcome| assert_eq!(o.stderr.matches("statistics").count(), 1);
            run().env("JSSHIM_STATS", "1").env("JSSHIM_JOBS", "3").check(told).once();
            run().env("JSSHIM_STATS", "1").cli(3).may_overdraw().check(told).once();
        }
    }
}

/// man runs its preprocessors and groff each behind a filter that traps what they are not known to need.
fn man_with_its_filters() {
    const PAGE: &str =
        ".TH T 1\n.SH NAME\nt \\- a page\n.SH TEXT\n.TS\nl l.\na\tb\nc\td\n.TE\nThe end.\n";
    on_path("man");
    let text =
        "for i in 1 2 3 4; do $SHIM man -P cat -l ./t.1 >out$i & done; wait; cat out?; exit 5";
    let run = || {
        let run = script(text).file("t.1", PAGE).any_peak();
        run.check(|o| assert_eq!(o.text().matches("The end.").count(), 4, "{}", o.text()))
    };
    for gate in ["auto", "child"] {
        run().env("JSSHIM_GATE", gate).pool(Kind::Fifo, 1).both();
        run().env("JSSHIM_GATE", gate).pool(Kind::NonBlocking, 2).both();
    }
    run().env("JSSHIM_JOBS", "2").env("JSSHIM_STATS", "numbers").both();
    // By a user for whom it gives its rights up, and with nothing else at the top.
    let alone = "$SHIM man -P cat -l ./t.1; exit 5";
    let run =
        script(alone).file("t.1", PAGE).env("JSSHIM_JOBS", "1").env("JSSHIM_STATS", "/dev/null");
    run.any_peak().both();
}

/// A login over a pipe: the part of sshd that speaks to the client is behind a filter that kills.
fn sshd_with_its_sandbox() {
    needs_root();
    let sshd = on_path("sshd");
    let text = "
        set -e; umask 077; mkdir -p /run/sshd; ssh-keygen -q -t ed25519 -N '' -f host; ssh-keygen -q -t ed25519 -N '' -f mine
        cp mine.pub authorized; printf '%s\\n' HostKey=$PWD/host AuthorizedKeysFile=$PWD/authorized UsePAM=no \
            StrictModes=no PermitRootLogin=yes LogLevel=QUIET PidFile=none 'PermitUserEnvironment no' | tr = ' ' >config
        login() {
            ssh -F none -i mine -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=QUIET -o BatchMode=yes \
                -o ProxyCommand=\"$SHIM $SSHD -i -f $PWD/config\" root@nowhere \"$@\"
        }
        for i in 1 2 3 4; do login 'echo in; exit 3' || echo $?; done; exit 5";
    for (name, value) in
        [("JSSHIM_STATS", "/dev/null"), ("JSSHIM_JOBS", "2"), ("JSSHIM_DEBUG", "0")]
    {
        let run = script(text).env("SSHD", &sshd).env(name, value).env("JSSHIM_STATS", "/dev/null");
        let run = run
            .any_peak()
            .check(|o| assert_eq!(o.text().matches("in\n3\n").count(), 4, "{}", o.text()));
        run.check(|o| assert_eq!(o.status.code(), Some(5))).both();
    }
}

/// Each job is a shell with jobs of its own, in a sandbox from which the ledger is out of reach.
fn a_sandbox_below_the_pool_is_quiet() {
    if !is_here() {
        return;
    }
    let text = "
        for i in 1 2 3 4; do $BOUNDS landlock-write fork 1 sh -c 'for i in 1 2 3; do $JOB -s 40 & done; wait'; done; exit 5";
    let run =
        Run::new(&["bash", "-c", text]).env("BOUNDS", &compiled("bounds")).cli(2).may_overdraw();
    run.check(|o| assert!(o.stderr.lines().count() <= 1, "{}", o.stderr)).once();
}
