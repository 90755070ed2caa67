//! Other users: what they plant in the library's way is not used, what is the library's they cannot reach, and a
//! host that becomes another user goes on.

use jsshim_engine::ledger::access::Ledger;

use crate::harness::pool::Kind;
use crate::harness::programs::{compiled, python};
use crate::harness::{Outcome, Run};
use crate::Test;

/// Who plants, as the victim's /dev/shm/jsshim-UID or /tmp/jsshim-UID.
const PLANTED: &[(&str, &str)] = &[
    ("folder_of_another", "mkdir -m 777 $1; chown daemon $1"),
    ("private_folder_of_another", "mkdir -m 700 $1; chown daemon $1"),
    (
        "link",
        "mkdir -p -m 777 /tmp/bait; chown daemon /tmp/bait; ln -s /tmp/bait $1; chown -h daemon $1",
    ),
    (
        "link_to_the_victims_own",
        "mkdir -p -m 700 /tmp/own; chown nobody /tmp/own; ln -s /tmp/own $1",
    ),
    ("link_to_nowhere", "ln -s /tmp/nowhere $1"),
    ("file", "echo text >$1; chown nobody $1"),
    ("fifo", "mkfifo -m 666 $1"),
    ("open_folder_of_the_victim", "mkdir -m 777 $1; chown nobody $1; chmod 777 $1"),
];

/// What is in the place of the ledger, in a folder of the victim's own; can it be made there all the same?
const IN_PLACE: &[(&str, &str, bool)] = &[
    ("link", "echo precious >kept; ln -s $PWD/kept $1", true),
    ("fifo", "mkfifo $1", true),
    ("empty_file", ": >$1", true),
    ("file_of_another", "truncate -s $SIZE $1; chown daemon $1", true),
    ("zeros", "truncate -s $SIZE $1", true),
    ("device", "mknod $1 c 1 5", true),
    ("socket", "python3 -c \"import socket; socket.socket(socket.AF_UNIX).bind('$1')\"", true),
    ("folder", "mkdir $1", false),
];

/// What may stand in JSSHIM_POOL besides a pool.
const WORDS: &[&str] = &[
    "",
    "x",
    "0:0:0:/etc/passwd",
    "1:2:3:",
    "!1:2:3:/tmp",
    "ffffffffffffffffff:1:1:/dev/zero",
    "1:1:1:/proc/1/fd/0",
    "1:1:1:/proc/1/root/etc/shadow",
];

pub fn tests() -> Vec<Test> {
    let mut list = crate::tests![
        another_user_reaches_nothing,
        a_host_becomes_another_user,
        children_become_another_user,
        words_that_are_no_pool,
    ];
    for (name, make) in PLANTED {
        list.push(crate::test(&format!("security::planted_{name}"), move || planted(make)));
    }
    for (name, make, serves) in IN_PLACE {
        let name = format!("security::in_place_of_the_ledger_{name}");
        list.push(crate::test(&name, move || in_place(make, *serves)));
    }
    list
}

fn needs_root(run: impl FnOnce()) {
    // SAFETY: it only tells a number.
    if unsafe { libc::geteuid() == 0 } {
        run();
    } else {
        eprintln!("security: needs root");
    }
}

const HEAD: &str = r#"
BASE=${PWD%/*/*/*} SHIM=
[ -z "$JSSHIM_LIB" ] || {
    cp "$JSSHIM_LIB" "${JSSHIM_LIB%/*}/jsshim-helper" .
    SHIM="env LD_PRELOAD=$PWD/libjsshim.so"
}
as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
"#;

/// The default folders are planted before the victim starts: nothing in them is touched. Where one is as it should
/// be, that is used; where none is, the library says so and the host runs.
fn planted(make: &'static str) {
    needs_root(|| {
        for (planted, lines) in [("/dev/shm", 0..=0), ("/dev/shm /tmp", 1..=8)] {
            let faulty = compiled("faulty");
            let text = format!(
                "{HEAD}\nunset JSSHIM_DIR\nmount --bind $BASE /mnt\n\
                 for d in /dev/shm /tmp; do mount -t tmpfs -o mode=1777 none $d; done\n\
                 mkdir -p $BASE; mount --bind /mnt $BASE; cd $PWD\n\
                 plant() {{ {make}; }}\nfor d in {planted}; do plant $d/jsshim-65534; done\n\
                 as_nobody $SHIM {faulty}; s=$?\n\
                 for i in {{1..60}}; do find {planted} -path $BASE -prune -o -print | \
                 grep -E 'ledger|pool-' >left || break; sleep 0.05; done\ncat left; exit $s"
            );
            Run::new(&["unshare", "-m", "bash", "-c", &text])
                .preload_inside()
                .env("JSSHIM_JOBS", "2")
                .may_overdraw()
                .may_warn(lines.clone())
                .check(move |o: &Outcome| {
                    let told = o.stderr.contains("run-time directory");
                    assert!(o.stderr.is_empty() || told, "{}", o.stderr);
                })
                .both();
        }
    });
}

/// Another thing has the ledger's name. It goes, or stays if it cannot; what it leads to stays as it is.
fn in_place(make: &'static str, serves: bool) {
    needs_root(|| {
        let (faulty, size) = (compiled("faulty"), size_of::<Ledger>());
        let text = format!(
            "{HEAD}\nfirst=$(stat -L -c %i /proc/self/ns/pid)\n\
             space=$([ $first = 4026531836 ] && echo 1 || \
             python3 -c 'import os; print(os.fstat(os.pidfd_open(1)).st_ino)')\n\
             name=$(printf '%s/%x-%x-%x.ledger' $JSSHIM_DIR $(stat -c '%i %d' ../pool) $space)\n\
             plant() {{ SIZE={size}; {make}; }}\nplant $name\n$SHIM {faulty}; s=$?\n\
             [ -z \"$SHIM\" ] && rm -rf $name; rmdir $name 2>/dev/null; cat kept 2>/dev/null; exit $s"
        );
        Run::new(&["bash", "-c", &text])
            .preload_inside()
            .pool(Kind::Fifo, 2)
            .may_overdraw()
            .may_warn(if serves { 0..=0 } else { 1..=8 })
            .check(move |o| assert!(!make.contains("kept") || o.text().contains("precious")))
            .both();
    });
}

/// What the attacker tries, as another user, while jobs of the victim run and are held. Each must be refused.
const ATTACK: &str = r#"
import os, sys
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
tried = 0

def refused(what, *args):
    global tried
    tried += 1
    try:
        what(*args)
    except (PermissionError, FileNotFoundError, ProcessLookupError):
        return
    print('not refused:', what.__name__, args)

def read(path):
    os.read(os.open(path, os.O_RDONLY | os.O_NONBLOCK), 1)

def write(path):
    os.write(os.open(path, os.O_WRONLY | os.O_NONBLOCK), b'+')

folder, names, pids = sys.argv[1], sys.argv[2].split(), sys.argv[3].split()
assert names and len(pids) > 2, (names, pids)
refused(os.listdir, folder)
refused(os.mkdir, folder + '/mine')
refused(os.rename, folder, folder + '-mine')
for name in names:
    path = folder + '/' + name
    for what in read, write, os.stat, os.unlink:
        refused(what, path)
    refused(os.link, path, folder + '-link')
    refused(os.truncate, path, 0)
for pid in pids:
    refused(os.kill, int(pid), 9)
    refused(os.listdir, f'/proc/{pid}/fd')
    refused(open, f'/proc/{pid}/mem', 'r+b')
    for fd in range(1024):
        refused(read, f'/proc/{pid}/fd/{fd}')
        refused(write, f'/proc/{pid}/fd/{fd}')
print('tried', tried > 1000)
"#;

/// A pool of our own, and one of make's: nobody else reads it, drains it, or puts anything in.
fn another_user_reaches_nothing() {
    needs_root(|| {
        let text = format!(
            "{HEAD}\nchmod 755 .\n\
             $SHIM bash -c 'for i in 1 2 3 4 5; do $JOB -s 1500 -i $i & done; wait' & sleep 0.7\n\
             [ -n \"$SHIM\" ] || {{ touch $JSSHIM_DIR/f; }}\n\
             pids=$(grep -laz \"$JSSHIM_TEST_ID\" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3 | xargs)\n\
             python3 attack.py $JSSHIM_DIR \"$(ls $JSSHIM_DIR | xargs)\" \"$pids\"\n\
             rm -f $JSSHIM_DIR/f; wait; exit 5"
        );
        let run = || {
            Run::new(&["bash", "-c", &text])
                .preload_inside()
                .file("attack.py", ATTACK)
                .unordered()
                .check(|o| assert!(o.text().contains("tried True"), "{}", o.text()))
                .check(|o| assert!(!o.text().contains("not refused"), "{}", o.text()))
        };
        run().env("JSSHIM_JOBS", "2").slots(2).both();
        run().pool(Kind::Fifo, 2).both();
        run().pool(Kind::NonBlocking, 2).both();
    });
}

/// The host starts jobs, becomes nobody, and starts more; then one at a time, and none is left.
const BECOMES: &str = "
import os, subprocess, sys
job = [os.environ['JOB'], '-s', '30']

def some():
    jobs = [subprocess.Popen(job) for _ in range(4)]
    print([j.wait() for j in jobs], flush=True)

if sys.argv[1] == 'after':
    some()
running = [subprocess.Popen(job) for _ in range(2)]
os.setgid(65534)
os.setuid(65534)
some()
print([j.wait() for j in running], os.geteuid())
some()
";

fn a_host_becomes_another_user() {
    needs_root(|| {
        for when in ["before", "after"] {
            for kind in [Kind::Blocking, Kind::NonBlocking, Kind::Fifo] {
                let run = Run::new(&[&python(), "-c", BECOMES, when]).pool(kind, 2);
                run.may_overdraw().may_warn(0..=2).both();
            }
            let run = Run::new(&[&python(), "-c", BECOMES, when]).env("JSSHIM_JOBS", "2");
            run.may_overdraw().may_warn(0..=2).both();
        }
    });
}

/// Each child becomes nobody between its fork and its exec.
const CHILDREN: &str = "
import os, subprocess

def other():
    os.setgid(65534)
    os.setuid(65534)

jobs = [subprocess.Popen([os.environ['JOB'], '-s', '40'], preexec_fn=other) for _ in range(6)]
print([j.wait() for j in jobs])
";

fn children_become_another_user() {
    needs_root(|| {
        for kind in [Kind::NonBlocking, Kind::Fifo] {
            for gate in ["auto", "child"] {
                let run = Run::python(CHILDREN).env("JSSHIM_GATE", gate).pool(kind, 2);
                run.may_overdraw().both();
            }
        }
    });
}

fn words_that_are_no_pool() {
    for word in WORDS {
        let run = Run::new(&[compiled("faulty")]).env("JSSHIM_POOL", word);
        run.may_overdraw().both();
        let run = Run::new(&[compiled("faulty")]).env("JSSHIM_POOL", word);
        run.pool(Kind::Fifo, 2).may_overdraw().both();
    }
}
