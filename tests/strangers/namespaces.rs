//! Processes of other PID and user namespaces: sandboxes on a pool, killed or not, in every order.
//!
//! A pid says nothing in another namespace. Each run has the whole oracle; where a sandbox is killed nothing but its
//! pool and the run-time folder can tell.

use crate::guards::POOL;
use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, on_path, python, tool};
use crate::harness::{Outcome, Run};
use crate::Test;

pub fn tests() -> Vec<Test> {
    crate::tests![
        recipes_in_sandboxes_of_their_own,
        recipes_of_an_ordinary_user_in_sandboxes,
        a_sandbox_below_jsshim,
        a_sandbox_within_a_sandbox,
        a_sandbox_that_shows_the_processes_outside,
        a_host_within_and_then_one_without,
        a_host_without_and_then_one_within,
        two_sandboxes_on_one_pool,
        a_sandbox_is_killed_beside_a_host,
        a_sandbox_is_killed_beside_another,
        a_host_that_ends_with_its_sandbox,
        many_sandboxes_are_killed,
        the_next_start_cleans_up_after_a_sandbox,
        the_next_start_cleans_up_after_a_make_in_a_sandbox,
        the_next_start_cleans_up_after_a_make_and_its_sandbox,
        a_sandbox_that_lives_is_left_alone,
        a_process_that_moves_its_children,
        jobs_that_are_made_in_another_namespace,
        held_jobs_in_another_namespace,
        a_job_that_stays_in_the_background_of_a_sandbox,
        root_of_a_user_namespace_takes_nothing_from_root,
        a_folder_of_a_user_namespace_is_that_of_its_user,
        status_of_a_sandbox,
    ]
}

/// By root, by anybody, and by a real sandbox.
const ROOT: &str = "unshare -p -f --mount-proc";
const USER: &str = "unshare -U -r -p -f --mount-proc";
const BWRAP: &str = "bwrap --dev-bind / / --unshare-pid --proc /proc";
const BOXES: [&str; 3] = [ROOT, USER, BWRAP];
/// What is in it sees the processes outside in /proc, and not itself by its pids.
const OPEN: &str = "unshare -p -f";

/// Beside `POOL`: the first process of the sandbox that a process has started, and ends of it.
const TOOLS: &str = r#"
exec 2>err
# The processes of this run with this name whose command line has this word.
mine() {
    for pid in $(pgrep -x $1); do
        grep -qz "^JSSHIM_TEST_ID=$JSSHIM_TEST_ID" /proc/$pid/environ || continue
        grep -qz -- "$2" /proc/$pid/cmdline && echo $pid
    done
}
init_of() { until init=$(pgrep -P $1); do sleep 0.01; done; set -- $init; init=$1; }
export LD_PRELOAD=
"#;

/// A host with three jobs.
const THREE: &str = "for i in 1 2 3; do $JOB -b 5 -s ${1:-400} & done; wait; wait";

fn script(text: &str) -> Run {
    let text = format!("{POOL}{TOOLS}{}", text.replace("SHIM ", "LD_PRELOAD=$JSSHIM_LIB "));
    let run = Run::new(&["bash", "-c", &text]).env("PYTHON", &python());
    let stay = THREE.replace("-s ${1:-400}", "-w ${1:-go}");
    run.file("three.sh", THREE).file("stay.sh", &stay).preload_inside()
}

fn says(text: &'static str) -> impl Fn(&Outcome) {
    move |o| assert_eq!(o.text(), text)
}

/// `host` for a recipe or a script, in a sandbox.
fn inside(sandbox: &str, host: &str) -> String {
    format!("{sandbox} env LD_PRELOAD=$JSSHIM_LIB {host}")
}

const FIVE: &str = "xargs -P8 -a five -n1 $JOB -b 5 -s";

fn below_make(make: &[&str], recipe: &str) -> Run {
    let recipe = recipe.replace('$', "$$");
    let run = Run::new(make).file("Makefile", &format!("all: a b c\na b c:\n\t+@{recipe}\n"));
    run.file("five", "200\n200\n200\n200\n200\n").preload_inside().make(3)
}

/// Three implicit slots, and no token: each sandbox runs one job at a time.
fn recipes_in_sandboxes_of_their_own() {
    let (old, new) = (on_path("make"), tool("make-4.4.1", "make"));
    for make in [&[&*old, "-j3"][..], &[&new, "-j3"], &[&new, "-j3", "--jobserver-style=pipe"]] {
        for sandbox in BOXES {
            below_make(make, &inside(sandbox, FIVE)).both();
        }
    }
}

fn recipes_of_an_ordinary_user_in_sandboxes() {
    for sandbox in [USER, BWRAP] {
        below_make(&[&on_path("make"), "-j3"], &inside(sandbox, FIVE)).by_nobody().both();
    }
}

fn a_sandbox_below_jsshim() {
    for sandbox in BOXES {
        let text = format!("{sandbox} bash -c \"seq 8 | xargs -P8 -I{{}} $JOB -s 200 -i {{}}\"");
        Run::new(&["sh", "-c", &text]).cli(2).both();
    }
}

/// The jobs of all three levels are on one pool.
fn a_sandbox_within_a_sandbox() {
    let text = "OUTER bash -c '$JOB -s 400 & INNER bash three.sh & $JOB -s 400 & wait; wait' &
        SHIM bash three.sh; wait";
    for (outer, inner) in [(ROOT, ROOT), (ROOT, USER), (USER, USER), (BWRAP, ROOT)] {
        let text = text.replace("OUTER", &inside(outer, "")).replace("INNER", inner);
        for kind in [Kind::NonBlocking, Kind::Fifo] {
            // Two hosts that nobody has started on a slot, and two tokens.
            script(&text).pool(kind, 3).slots(4).may_idle().both();
        }
    }
}

fn a_sandbox_that_shows_the_processes_outside() {
    below_make(&[&on_path("make"), "-j3"], &inside(OPEN, FIVE)).both();
    let text = "for i in 1 2 3; do BOX bash three.sh & done; SHIM bash three.sh; wait"
        .replace("BOX", &inside(OPEN, ""));
    for kind in [Kind::NonBlocking, Kind::Fifo] {
        script(&text).pool(kind, 2).slots(5).may_idle().both();
    }
    // One is killed in it, with its jobs; its guard gives back.
    let text = "mkfifo over; BOX bash -c 'SHIM bash three.sh 30000 & wait $!; read x <over' &
        started 3; init_of $!; host=$(pgrep -P $init bash)
        kill -KILL $host $(pgrep -P $host); back 3; sleep 0.3; >over; wait"
        .replace("BOX", OPEN);
    script(&text).pool(Kind::NonBlocking, 4).breaks().check(says("3\n")).once();
}

/// Both have jobs all the time: an own slot each, and two tokens.
fn in_this_order(first: &str, second: &str) {
    for sandbox in BOXES {
        for kind in [Kind::NonBlocking, Kind::Blocking, Kind::Fifo] {
            let text = format!("{first} bash three.sh & started 1; {second} bash three.sh; wait")
                .replace("BOX", &inside(sandbox, ""));
            script(&text).pool(kind, 3).slots(4).may_idle().both();
        }
    }
}

fn a_host_within_and_then_one_without() {
    in_this_order("BOX", "SHIM");
}

fn a_host_without_and_then_one_within() {
    in_this_order("SHIM", "BOX");
}

fn two_sandboxes_on_one_pool() {
    in_this_order("BOX", "BOX");
}

/// Its jobs hold tokens, and one waits for a slot.
fn a_sandbox_is_killed_beside_a_host() {
    let text = "SHIM bash stay.sh & host=$!; started 3; before=$(pool)
        BOX bash -c 'for i in 1 2 3 4; do $JOB -s 30000 & done; wait' & started 6
        echo $before $(pool); init_of $!; kill -KILL $init; back 2
        touch go; wait $host; ended 3";
    for sandbox in BOXES {
        for kind in [Kind::NonBlocking, Kind::Blocking, Kind::Fifo] {
            let run = script(&text.replace("BOX", &inside(sandbox, ""))).pool(kind, 5);
            run.breaks().check(says("2 0\n2\n")).once();
        }
    }
}

fn a_sandbox_is_killed_beside_another() {
    let text = "BOX bash stay.sh & started 3; before=$(pool)
        BOX bash three.sh 30000 & started 6
        echo $before $(pool); init_of $!; kill -KILL $init; back 2
        touch go; ended 3; wait";
    for sandbox in BOXES {
        for kind in [Kind::NonBlocking, Kind::Blocking, Kind::Fifo] {
            let run = script(&text.replace("BOX", &inside(sandbox, ""))).pool(kind, 5);
            run.breaks().check(says("2 0\n2\n")).once();
        }
    }
}

/// The host waits for the sandbox and has nothing else to do: nobody is left whose guard has.
/// Its two jobs last: one that ends before the next one begins takes no slot, and needs no guard.
fn a_host_that_ends_with_its_sandbox() {
    let text =
        "SHIM bash -c '$JOB -s 300 & $JOB -s 300 & wait; BOX bash three.sh 30000; :' & host=$!
        started 5; init_of $(pgrep -P $host); kill -KILL $init; wait $host; back 3";
    for sandbox in BOXES {
        let run = script(&text.replace("BOX", sandbox)).pool(Kind::NonBlocking, 4);
        run.breaks().check(says("3\n")).once();
    }
    // So that make counts all of them.
    for make in [on_path("make"), tool("make-4.4.1", "make")] {
        let text = format!(
            "MAKEFLAGS= {make} -j4 2>said & make=$!; started 5; init_of $(mine unshare three)
            kill -KILL $init; wait $make; grep INTERNAL said; echo end"
        );
        let recipe = format!(
            "all:\n\t+@LD_PRELOAD=$$JSSHIM_LIB bash -c '$$JOB -s 300 & $$JOB -s 300 & wait; {ROOT} bash three.sh 30000; :'\n"
        );
        script(&text).file("Makefile", &recipe).breaks().check(says("end\n")).once();
    }
}

/// The numbers of the namespaces, and the pids in them, come again and again.
fn many_sandboxes_are_killed() {
    let text = "SHIM bash stay.sh & host=$!; started 3
        for i in {1..15}; do
            BOX bash three.sh 30000 & started $((3 + 3 * i)); init_of $!; sleep 0.0$((i % 7))
            kill -KILL $init; wait $!; back 2 >level; grep -v '^2$' level
        done; touch go; wait $host; echo end"
        .replace("BOX", &inside(ROOT, ""));
    script(&text).pool(Kind::Fifo, 5).breaks().check(says("end\n")).once();
}

/// Nobody is left, but a folder in which there is something.
const LATER: &str =
    "MAKEFLAGS= JSSHIM_JOBS=2 SHIM bash -c 'sleep 0.2 & sleep 0.2 & wait; ls $JSSHIM_DIR | grep -c ledger'
    for i in {1..60}; do [ \"$(ls -A $JSSHIM_DIR)\" ] || break; sleep 0.05; done; ls $JSSHIM_DIR";

/// With a pool of its own, made in the sandbox.
fn the_next_start_cleans_up_after_a_sandbox() {
    for sandbox in BOXES {
        let text = format!(
            "{} & started 3; init_of $!; kill -KILL $init; wait $!; sleep 0.1
            ls $JSSHIM_DIR | wc -l; {LATER}",
            inside(sandbox, "env JSSHIM_JOBS=3 bash three.sh 30000")
        );
        let run = script(&text).breaks();
        // Until it is settled there are two ledgers.
        run.check(|o| assert!(["2\n2\n", "2\n1\n"].contains(&&*o.text()), "{}", o.text())).once();
    }
    // The next one is in a sandbox, too: it is no relation.
    for sandbox in BOXES {
        let later = LATER.replace("SHIM bash", &inside(ROOT, "bash")).replace("{1..60}", "1");
        let text = format!(
            "{} & started 3; init_of $!; kill -KILL $init; wait $!; sleep 0.1; {later} >said; sleep 0.3; {LATER}",
            inside(sandbox, "env JSSHIM_JOBS=3 bash three.sh 30000")
        );
        script(&text).breaks().once();
    }
}

/// The pool has gone with the make.
fn the_next_start_cleans_up_after_a_make_in_a_sandbox() {
    for make in [on_path("make"), tool("make-4.4.1", "make")] {
        let text = format!(
            "{ROOT} env TMPDIR=. MAKEFLAGS= {make} -j3 & started 3; init_of $!; kill -KILL $init; wait $!
            sleep 0.1; ls $JSSHIM_DIR | wc -l; rm -f GMfifo*; {LATER}"
        );
        let recipe = "all:\n\t+@LD_PRELOAD=$$JSSHIM_LIB bash three.sh 30000\n";
        script(&text).file("Makefile", recipe).breaks().check(starts("1\n")).once();
    }
}

fn starts(text: &'static str) -> impl Fn(&Outcome) {
    move |o| assert!(o.text().starts_with(text) && o.text().lines().count() == 2, "{}", o.text())
}

/// The make was outside, and had been killed before.
fn the_next_start_cleans_up_after_a_make_and_its_sandbox() {
    for make in [on_path("make"), tool("make-4.4.1", "make")] {
        let text = format!(
            "TMPDIR=. MAKEFLAGS= {make} -j3 & make=$!; started 3; init_of $(mine unshare three)
            kill -KILL $make; kill -KILL $init; wait; sleep 0.1; ls $JSSHIM_DIR | wc -l
            rm -f GMfifo*; {LATER}"
        );
        let recipe =
            format!("all:\n\t+@{}\n", inside(ROOT, "bash three.sh 30000").replace('$', "$$"));
        script(&text).file("Makefile", &recipe).breaks().check(starts("1\n")).once();
    }
}

/// Both processes of its guard are killed: it has none for a while, and yet it has its jobs.
fn a_sandbox_that_lives_is_left_alone() {
    let text = "SHIM bash stay.sh & started 3; BOX bash stay.sh & started 6
        for pid in $(mine jsshim-helper '^guard'); do
            [ $(readlink /proc/$pid/ns/pid) = $(readlink /proc/$$/ns/pid) ] || guards+=\" $pid\"
        done
        kill -STOP $guards; kill -KILL $guards; sleep 1.5; echo $(pool); touch go; ended 6; wait";
    for sandbox in BOXES {
        let run = script(&text.replace("BOX", &inside(sandbox, ""))).pool(Kind::Fifo, 5);
        run.any_peak().check(says("0\n")).once();
    }
}

/// As Gentoo's pid-sandbox does it: unshare(CLONE_NEWPID), then fork. The child is the first process of the namespace,
/// and starts jobs by itself, by exec and by fork, with jobs of its parent beside it or not.
const MOVES: &str = "import ctypes, os, subprocess, sys
job = [os.environ['JOB'], '-b', '5', '-s', '200']
jobs = lambda n: [subprocess.Popen(job) for _ in range(n)]
before = jobs(2) if 'busy' in sys.argv else []
assert ctypes.CDLL(None).unshare(0x20000000) == 0
first = os.fork()
if first == 0:
    if 'fork' in sys.argv:
        pids = []
        for i in range(5):
            pid = os.fork()
            if pid == 0:
                os._exit(subprocess.call(job))
            pids.append(pid)
        print([os.waitpid(pid, 0)[1] for pid in pids], flush=True)
    elif 'exec' in sys.argv:
        os.execlp('sh', 'sh', '-c', 'for i in 1 2 3 4 5; do $JOB -b 5 -s 200 & done; wait')
    else:
        print([j.wait() for j in jobs(5)], flush=True)
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]), [j.wait() for j in before])
";

fn a_process_that_moves_its_children() {
    for how in ["spawn", "fork", "exec"] {
        for busy in ["busy", "alone"] {
            let run = || Run::new(&[&python(), "-c", MOVES, how, busy]);
            run().cli(2).both();
            run().pool(Kind::NonBlocking, 2).both();
            run().pool(Kind::Fifo, 3).both();
        }
    }
}

/// The jobs themselves are of another namespace than the process that starts them. The first one stays until the
/// others have ended.
const ACROSS: &str = "import ctypes, os, subprocess, sys
job = os.environ['JOB']
if len(sys.argv) > 2:
    # There is a guard then.
    print([j.wait() for j in [subprocess.Popen([job, '-s', '50']) for _ in range(2)]], flush=True)
assert ctypes.CDLL(None).unshare(0x20000000) == 0
pids = []
for i in range(6):
    pid = os.fork()
    if pid == 0:
        if i == 0:
            os.execl(job, job, '-w', 'last')
        if sys.argv[1] == 'exec':
            os.execl(job, job, '-b', '5', '-s', '150')
        os._exit(subprocess.call([job, '-b', '5', '-s', '150']))
    pids.append(pid)
first, *others = pids
ends = [os.waitpid(pid, 0)[1] for pid in reversed(others)]
open('last', 'w').close()
print(ends, os.waitpid(first, 0)[1])
";

fn jobs_that_are_made_in_another_namespace() {
    for how in ["exec", "fork"] {
        for gate in ["auto", "child"] {
            let run = || Run::new(&[&python(), "-c", ACROSS, how]).env("JSSHIM_GATE", gate);
            run().cli(2).both();
            run().arg("guarded").pool(Kind::NonBlocking, 3).both();
            run().arg("guarded").pool(Kind::Fifo, 2).both();
            // A guard can be started no more: it would be the first process of the namespace, and end it.
            run().pool(Kind::NonBlocking, 3).may_overdraw().both();
        }
    }
}

/// They are killed, with their namespace, while they run and wait: their parent and its guard know them by other pids.
fn held_jobs_in_another_namespace() {
    let host = ACROSS.replace("for pid in reversed(others)]", "for pid in others]\nsys.exit()");
    let text =
        "JSSHIM_GATE=child SHIM $PYTHON host.py exec guarded & host=$!; started 5; before=$(pool)
        init=$(pgrep -P $host | head -1); kill -KILL $init; wait $host; echo $before; back 2";
    for kind in [Kind::NonBlocking, Kind::Fifo] {
        let run = script(text).file("host.py", &host.replace("'150'", "'30000'"));
        run.pool(kind, 3).breaks().check(says("[0, 0]\n0\n2\n")).once();
    }
}

/// The first process of a sandbox waits for what its host has left: a token comes back when that ends.
fn a_job_that_stays_in_the_background_of_a_sandbox() {
    let text =
        "mkfifo over; BOX bash -c 'SHIM bash -c \"\\$JOB -b 5 -w go & \\$JOB -b 5 -w go & :\"; read x <over' &
        started 2; sleep 0.3; echo $(pool); touch go; ended 2; back 2; sleep 0.3; >over; wait";
    for sandbox in [ROOT, USER, OPEN] {
        let run = script(&text.replace("BOX", sandbox)).pool(Kind::NonBlocking, 3);
        run.any_peak().check(says("1\n2\n")).once();
    }
}

/// Folders of this run only; of the library there is a copy that everybody can read.
const FOLDERS: &str = r#"
BASE=${PWD%/*/*/*}; unset JSSHIM_DIR
mount --bind $BASE /mnt
for d in /dev/shm /tmp; do mount -t tmpfs -o mode=1777 none $d; done
mkdir -p $BASE; mount --bind /mnt $BASE; cd $PWD
as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
"#;

fn in_folders(text: &str) -> Run {
    let text =
        format!("{POOL}{TOOLS}{FOLDERS}{}", text.replace("SHIM ", "env LD_PRELOAD=$JSSHIM_LIB "));
    Run::new(&["unshare", "-m", "bash", "-c", &text]).env("JSSHIM_JOBS", "2").preload_inside()
}

/// The uid 0 of a user namespace is an ordinary user's, to whom root's folder is closed, and who must not take its name.
fn root_of_a_user_namespace_takes_nothing_from_root() {
    let text = "as_nobody unshare -U -r env LD_PRELOAD=$JSSHIM_LIB bash -c '$JOB & $JOB & wait'
        as_nobody unshare -U -r unshare -U -r env LD_PRELOAD=$JSSHIM_LIB bash -c '$JOB & $JOB & wait'
        stat -c '%n %u' /dev/shm/jsshim-* | sed 's/-[0-9a-f]* / /' | sort -u
        SHIM bash -c 'for i in 1 2 3 4; do $JOB -s 50 & done; wait'
        stat -c '%n %u' /dev/shm/jsshim-0; ls -d /tmp/jsshim-[0-9]* 2>&-";
    let run = in_folders(text).slots(2).any_peak();
    run.check(says("/dev/shm/jsshim 65534\n/dev/shm/jsshim-0 65534\n/dev/shm/jsshim-0 0\n")).once();
}

/// So a sandbox of his on his pool is looked after by his guards, and takes nothing from anybody.
fn a_folder_of_a_user_namespace_is_that_of_its_user() {
    let text = "export JSSHIM_JOBS=4
        as_nobody env LD_PRELOAD=$JSSHIM_LIB bash -c '
            unshare -U -r -p -f --mount-proc bash -c \"\\$JOB -s 30000 & \\$JOB -s 30000 & wait\" &
            until [ -e more ]; do read -t 0.02 </dev/zero; done
            unshare -U -r -p -f --mount-proc bash -c \"\\$JOB -w go & \\$JOB -w go & \\$JOB -w go & wait\" & wait' &
        started 2; touch more
        started 4; ls -d /dev/shm/jsshim-*; ls /dev/shm/jsshim-65534 | grep -c ledger
        kill -KILL $(pgrep -P $(mine unshare 30000)); started 5; touch go; wait
        for i in {1..60}; do [ \"$(ls /dev/shm/jsshim-65534)\" ] || break; sleep 0.05; done
        ls /dev/shm/jsshim-65534";
    in_folders(text).breaks().check(says("/dev/shm/jsshim-65534\n3\n")).once();
}

/// What its jobs are, it tells by the pids that they have there, and takes none of them for one here.
fn status_of_a_sandbox() {
    let Some(cli) = artifact("jsshim") else { return };
    let text = format!(
        "{} & started 2; {cli} status; touch go; wait",
        inside(ROOT, "env JSSHIM_JOBS=2 bash stay.sh")
    );
    let run = script(&text).check(|o| {
        let text = o.text();
        assert_eq!(text.matches("in another PID namespace").count(), 1, "{text}");
        assert!(text.contains("2 in use, 0 free, 2 in all"), "{text}");
        for word in ["kthread", "kworker", "rcu", "escaped", "systemd", "pool_workqueue"] {
            assert!(!text.contains(word), "{text}");
        }
    });
    run.any_peak().once();
}
