//! Parts of the system that are missing, full, wrong or broken.

use super::{is_here, needs_root, says, script, EIGHT};
use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, tool};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        programs_are_told_without_proc,
        a_ninja_with_a_number_of_jobs_without_proc,
        files_that_cannot_be_written,
        a_fifo_that_is_read,
        another_program_in_place_of_the_helper,
        the_helper_is_replaced,
        a_helper_of_another_version_runs_the_job,
        a_ledger_that_is_cut_off,
        no_room_in_shared_memory,
        an_umask_that_takes_everything,
        a_relative_folder,
        as_few_descriptors_as_a_shell_needs,
    ]
}

/// A script in which `/proc` is an empty folder.
fn without_proc(text: &str) -> Run {
    needs_root();
    let head = "ON=$JSSHIM_LIB SHIM=${ON:+env LD_PRELOAD=$ON}; mount -t tmpfs none /proc; ";
    Run::new(&["unshare", "-m", "bash", "-c", &(head.to_owned() + text)]).preload_inside()
}

fn programs_are_told_without_proc() {
    for (name, value, gated) in [
        ("JSSHIM_SKIP", "dash", false),
        ("JSSHIM_SKIP", "x,da*", false),
        ("JSSHIM_SKIP", "bash", true),
        ("JSSHIM_ONLY", "dash", true),
        ("JSSHIM_ONLY", "ninja,make", false),
    ] {
        let run = without_proc(&format!("exec $SHIM dash -c '{EIGHT}'")).env(name, value);
        let run = run.pool(Kind::Fifo, 2).check(move |o| assert!(gated || o.jobs.peak > 2));
        if gated { run } else { run.slots(8).any_peak() }.both();
    }
}

/// One that knows the protocol, and takes no notice of it.
fn a_ninja_with_a_number_of_jobs_without_proc() {
    let edges = (1..7).map(|i| format!("build j{i}: job\n")).collect::<String>();
    let ninja = tool("ninja-1.13", "ninja");
    let file = format!("rule job\n  command = $$JOB -b 5 -s 40\n{edges}");
    for jobs in ["-j6", "-kj6", "--quiet -j 6"] {
        let text = format!("exec $SHIM {ninja} {}", jobs.replace("-kj6", "-k1 -j6"));
        let run = without_proc(&text).file("build.ninja", &file).unordered().ignoring("[");
        run.pool(Kind::Fifo, 2).both();
    }
}

/// The host neither waits nor ends otherwise; one line says why there is no trace, and no number.
fn files_that_cannot_be_written() {
    for what in ["TRACE", "STATS"] {
        for make in ["mkfifo f", "mkdir f", ":; f=no/such/f", "ln -s /no/such/place f", "ln -s f f"]
        {
            let text =
                format!("f=f; {make}; export JSSHIM_{what}=$PWD/$f; exec $SHIM dash -c '{EIGHT}'");
            let said = says("cannot be written");
            // What is not there may be made, but for the folder that it would be in.
            let run = script(&text).env("JSSHIM_JOBS", "2").slots(2).warns().check(said);
            run.check(|o| assert_eq!(o.status.code(), Some(5))).both();
        }
        let text = format!("export JSSHIM_{what}=$PWD/f; exec $SHIM dash -c '{EIGHT}'");
        let below = script(&("mkfifo f; ".to_owned() + &text)).pool(Kind::NonBlocking, 2);
        below.may_warn(0..=1).check(says("cannot be written")).both();
    }
}

/// What is read gets all of it; who stops to read stops nobody.
fn a_fifo_that_is_read() {
    if !is_here() {
        return;
    }
    let text = format!("mkfifo f; cat f >read & export JSSHIM_STATS=$PWD/f; $SHIM dash -c '{EIGHT}'; wait; cat read");
    let told = |o: &Outcome| assert!(o.text().contains("\"program\":\"dash\""), "{}", o.text());
    script(&text).env("JSSHIM_JOBS", "2").slots(2).check(told).once();
    let text = format!("mkfifo f; sleep 1000 <f & export JSSHIM_TRACE=$PWD/f; $SHIM dash -c '{EIGHT}'; s=$?; kill %1; exit $s");
    let text = text.replace("sleep 1000 <f &", "{ exec sleep 1000; } 0<>f &");
    let run = script(&text).env("JSSHIM_JOBS", "2").slots(2).may_warn(0..=1);
    run.check(|o| assert_eq!(o.status.code(), Some(5))).once();
}

/// Each would run in place of the job, which would be lost.
fn another_program_in_place_of_the_helper() {
    let old = "printf '\\177ELF\\2\\1\\1' >h; head -c 2000 /dev/zero >>h; chmod +x h";
    for make in [
        "cp /bin/true h",
        // By a static interpreter: a shell with the library in it would have a helper of its own to start.
        "printf '#!%s true\\n' $BUSYBOX >h; chmod +x h",
        "ln -s /bin/echo h",
        old,
        "mkfifo h; chmod +x h",
    ] {
        for gate in ["auto", "child"] {
            let text = format!("{make}; export JSSHIM_HELPER=$PWD/h; exec $SHIM dash -c '{EIGHT}'");
            let run = script(&text).env("JSSHIM_GATE", gate).pool(Kind::NonBlocking, 2);
            let run = run.env("BUSYBOX", &tool("busybox-static", "busybox"));
            run.slots(8).any_peak().warns().check(says("jsshim-helper")).both();
        }
    }
}

/// While a build runs, by another program and, where that cannot be, by nothing: no job is lost, and it is said once.
/// By a copy of itself it makes no difference.
fn the_helper_is_replaced() {
    for (by, quiet) in [
        ("cp /bin/true new; mv new", false),
        ("rm", false),
        ("cp $JSSHIM_HELPER new; mv new", true),
    ] {
        for host in ["dash", "bash", "python3"] {
            let rounds = "for r in 1 2 3 4; do for i in 1 2 3 4; do $JOB -b 5 -s 40 & done; wait; touch round$r; done; exit 5";
            let program = "import os, subprocess\nfor r in range(1, 5):\n    [p.wait() for p in [subprocess.Popen([os.environ['JOB'], '-b', '5', '-s', '40']) for i in range(4)]]\n    open('round%d' % r, 'w').close()\nos._exit(5)\n";
            let run = if host == "python3" {
                "python3 host.py".into()
            } else {
                format!("{host} -c '{rounds}'")
            };
            let text = format!(
                "[ -z $ON ] || {{ cp ${{ON%/*}}/jsshim-helper h; export JSSHIM_HELPER=$PWD/h\n\
                 (until [ -e round1 ]; do sleep 0.01; done; {by} h) & }}\n$SHIM {run}; s=$?; wait; exit $s"
            );
            let run = script(&text).file("host.py", program).env("JSSHIM_GATE", "child");
            let run = run.pool(Kind::NonBlocking, 2).check(says("jsshim-helper"));
            if quiet { run } else { run.may_overdraw().may_warn(0..=2) }.both();
        }
    }
}

/// It does not understand the word, and becomes what follows.
fn a_helper_of_another_version_runs_the_job() {
    if let Some(helper) = artifact("jsshim-helper") {
        for word in
            ["hold:", "hold:v0:1:2", "hold:v9:1:2:0:-1:-1:/nowhere", "hold:1:1:0:-1:-1:/nowhere"]
        {
            let text = format!("printf 'exit 7' >text; chmod +x text; $H '{word}' /bin/sh sh -c 'exit 4'; echo $?; $H '{word}' ./text text; echo $?");
            let run =
                Run::new(&["bash", "-c", &text]).preload_inside().env("H", &helper).any_peak();
            run.check(|o| assert_eq!(o.text(), "4\n7\n")).may_warn(0..=2).once();
        }
    }
}

/// By somebody of this user: the guard goes at once, and so does its double.
fn a_ledger_that_is_cut_off() {
    if !is_here() {
        return;
    }
    let text = "
        JSSHIM_JOBS=2 $SHIM bash -c 'sleep 100 & sleep 100 & echo ready; wait' >said & until grep -q ready said; do sleep 0.01; done
        ledger=$(ls $JSSHIM_DIR/*.ledger); until g=$(pgrep -f \"jsshim-helper guard $ledger\"); do sleep 0.01; done
        : >$ledger
        for i in {1..300}; do alive=; for p in $g; do [ -d /proc/$p ] && alive=1; done; [ $alive ] || break; sleep 0.01; done
        echo alive $alive; kill $(pgrep -P $! sleep); wait; rm -f $JSSHIM_DIR/*; exit 5";
    let run = script(text).any_peak();
    run.check(|o| assert_eq!(o.text(), "alive\n", "{}", o.stderr)).once();
}

/// Both default folders, empty but for the folder of this run; the first one has no room for a ledger.
const FULL: &str = r#"
    BASE=${PWD%/*/*/*}; unset JSSHIM_DIR; mount --bind $BASE /mnt
    mount -t tmpfs -o mode=1777,SMALL none /dev/shm; mount -t tmpfs -o mode=1777 none /tmp
    mkdir -p $BASE; mount --bind /mnt $BASE; cd $PWD
    ON=$JSSHIM_LIB SHIM=${ON:+env LD_PRELOAD=$ON}
    left() {
        for i in {1..100}; do find /dev/shm /tmp -path $BASE -prune -o -print | grep -E 'ledger|pool-' >left || break; sleep 0.05; done
        cat left
    }
"#;

fn no_room_in_shared_memory() {
    needs_root();
    // Two processes below one that has a pool: they must find the same ledger.
    let two = format!("bash -c '{}' & bash -c '{}' & wait; exit 5", EIGHT, EIGHT);
    let below = |start: &str, small: &str| {
        let text = format!(
            "{}\n{start} bash -c \"$TWO\"; s=$?; left; exit $s",
            FULL.replace("SMALL", small)
        );
        let run =
            Run::new(&["unshare", "-m", "bash", "-c", &text]).env("TWO", &two).preload_inside();
        run.check(|o| assert_eq!(o.status.code(), Some(5)))
    };
    for small in ["size=64k", "size=64k,nr_inodes=2", "ro", "nr_inodes=1"] {
        below("$SHIM", small).env("JSSHIM_JOBS", "2").slots(2).both();
        below("$SHIM", small).pool(Kind::NonBlocking, 2).both();
        below("$SHIM", small).pool(Kind::Fifo, 2).both();
        if let Some(cli) = artifact("jsshim") {
            below(&format!("{cli} -j2 --"), small).slots(2).once();
        }
    }
    if let Some(cli) = artifact("jsshim") {
        let text = format!("{}\n{cli} doctor", FULL.replace("SMALL", "size=64k"));
        let run = Run::new(&["unshare", "-m", "bash", "-c", &text]).preload_inside().any_peak();
        run.check(|o| assert!(o.text().contains("/dev/shm cannot be used"), "{}", o.text())).once();
    }
}

/// mkdir(2), mkfifo(3) and open(2) give no right to their maker. Root would not notice.
fn an_umask_that_takes_everything() {
    needs_root();
    for umask in ["0777", "0700", "0277"] {
        let text = format!(
            "export JSSHIM_DIR=$JSSHIM_DIR/new; umask {umask}\n$SHIM dash -c '{EIGHT}'; s=$?\n\
             for i in {{1..100}}; do rmdir $JSSHIM_DIR 2>/dev/null; [ -e $JSSHIM_DIR ] || break; sleep 0.05; done; exit $s"
        );
        let run = || script(&text).by_nobody().check(|o| assert_eq!(o.status.code(), Some(5)));
        run().env("JSSHIM_JOBS", "2").slots(2).both();
        run().env("JSSHIM_JOBS", "2").env("JSSHIM_TRACE", "/dev/null").slots(2).both();
    }
    if is_here() {
        let text = format!("umask 0777; $SHIM dash -c '{EIGHT}'; s=$?; chmod 600 $JSSHIM_TRACE; grep -c '\"ph\":\"X\"' $JSSHIM_TRACE; rm $JSSHIM_TRACE; exit $s");
        let text = format!("export JSSHIM_TRACE=$JSSHIM_DIR/t; {text}");
        let run = script(&text).by_nobody().env("JSSHIM_JOBS", "2").slots(2);
        run.check(|o| {
            assert!(o.text().trim().parse::<u32>().is_ok_and(|n| n >= 8), "{}", o.text())
        })
        .once();
    }
}

/// In each working directory it would be another one: jobs of a subdirectory would have no pool, and nobody would say so.
/// The usual one is used by all of them.
fn a_relative_folder() {
    needs_root();
    for folder in ["rel", "./rel", "../work/rel", "~/rel"] {
        let text = format!(
            "mkdir -m 700 rel; mount -t tmpfs -o mode=1777 none /dev/shm; ON=$JSSHIM_LIB SHIM=${{ON:+env LD_PRELOAD=$ON}}
            export JSSHIM_DIR='{folder}'; mkdir -p sub; $SHIM bash -c \"cd sub; dash -c '{}' & dash -c '{}' & wait; exit 5\"; s=$?
            for i in {{1..100}}; do [ \"$(ls -A rel sub /dev/shm/jsshim-0 2>/dev/null | grep -E 'ledger|pool-')\" ] || break; sleep 0.05; done
            ls -A rel sub; exit $s", EIGHT, EIGHT
        );
        let run = || Run::new(&["unshare", "-m", "bash", "-c", &text]).preload_inside();
        let said = says("JSSHIM_DIR is no absolute path");
        run().env("JSSHIM_JOBS", "2").slots(2).may_warn(1..=20).check(said).both();
        run().pool(Kind::Fifo, 2).may_overdraw().may_warn(1..=20).both();
    }
}

/// Three stand for the standard ones, two are for the ledger and the pool, and the lock that the guard's end needs is one
/// more: it never ended.
fn as_few_descriptors_as_a_shell_needs() {
    for most in [5, 6, 7] {
        let text = format!("ulimit -n {most}; exec $SHIM bash -c '{EIGHT}'");
        script(&text).pool(Kind::Fifo, 3).both();
    }
}
