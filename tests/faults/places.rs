//! A system that lacks what the library looks for: /proc, room in shared memory, a helper that fits, descriptors,
//! memory, file sizes. The host is c/faulty.c; it must not notice.

use crate::harness::pool::Kind;
use crate::harness::programs::{compiled, on_path};
use crate::harness::{Outcome, Run};
use crate::Test;

/// What the scripts below have at hand: a folder of the tests stays where it is when /tmp is covered; `room` puts
/// a file system of its own over a folder.
const HEAD: &str = r#"
BASE=${PWD%/*/*/*} SHIM=
[ -z "$JSSHIM_LIB" ] || {
    cp "$JSSHIM_LIB" "${JSSHIM_LIB%/*}/jsshim-helper" .
    SHIM="env LD_PRELOAD=$PWD/libjsshim.so"
}
room() { mount -t tmpfs -o "mode=1777,$2" none "$1"; }
cover_tmp() {
    mount --bind "$BASE" /mnt
    room /tmp "$1"
    mkdir -p "$BASE"
    mount --bind /mnt "$BASE"
    cd "$PWD"
}
"#;

/// Each prepares a system of its own. With how many lines at most the library may complain, and of what.
const PLACES: &[(&str, &str, usize, &str)] = &[
    ("empty_proc", "room /proc size=4k", 0, ""),
    ("no_proc", "umount -l /proc", 0, ""),
    ("proc_of_the_own_only", "mount -t proc -o hidepid=2 none /proc", 0, ""),
    ("proc_without_a_system", "mount -t proc -o subset=pid none /proc", 0, ""),
    ("nothing_in_dev", "room /dev size=64k", 0, ""),
    ("no_shm", "unset JSSHIM_DIR; cover_tmp size=1m; without_shm", 0, ""),
    ("readonly_shm", "unset JSSHIM_DIR; cover_tmp size=1m; room /dev/shm ro", 0, ""),
    ("noexec_shm", "unset JSSHIM_DIR; cover_tmp size=1m; room /dev/shm noexec,nosuid,nodev", 0, ""),
    ("full_shm", "unset JSSHIM_DIR; cover_tmp size=1m; room /dev/shm size=128k", 0, ""),
    (
        "full_shm_and_tmp",
        "unset JSSHIM_DIR; cover_tmp size=128k; room /dev/shm size=128k",
        8,
        "no space left",
    ),
    ("shm_without_inodes", "unset JSSHIM_DIR; cover_tmp size=1m; room /dev/shm nr_inodes=1", 0, ""),
    (
        "neither_shm_nor_tmp",
        "unset JSSHIM_DIR; cover_tmp size=1m; without_shm; mount -o remount,ro /tmp",
        8,
        "run-time directory",
    ),
    (
        "long_folder",
        "JSSHIM_DIR=$PWD/$(printf %0200d 0); mkdir -m 700 $JSSHIM_DIR",
        8,
        "run-time directory",
    ),
    ("alien_helper", "alien 8; export JSSHIM_HELPER=$PWD/alien", 8, "jsshim-helper"),
    ("helper_of_32_bits", "alien 3 1; export JSSHIM_HELPER=$PWD/alien", 8, "jsshim-helper"),
    ("text_as_helper", "echo text >h; chmod +x h; export JSSHIM_HELPER=$PWD/h", 8, "jsshim-helper"),
    (
        "helper_on_noexec",
        "mkdir h; room h noexec; cp /bin/true h/x; export JSSHIM_HELPER=$PWD/h/x",
        8,
        "jsshim-helper",
    ),
    ("eight_descriptors", "ulimit -n 8", 8, ""),
    ("six_descriptors", "ulimit -n 6", 8, ""),
    ("no_file_size_not_even_for_a_line", "ulimit -f 0", 0, ""),
    ("small_file_size", "ulimit -f 100", 8, "ulimit -f is too small"),
    ("no_locked_memory", "ulimit -l 0", 0, ""),
    ("no_pending_signals", "ulimit -i 0", 0, ""),
    ("small_stack", "ulimit -s 256", 0, ""),
    ("little_memory", "ulimit -v 12000", 8, ""),
    ("no_cpu_to_spare", "renice 19 $$ >/dev/null", 0, ""),
];

const TOOLS: &str = r#"
without_shm() {
    mkdir dev
    room dev size=1m
    for d in null zero tty; do touch dev/$d; mount --bind /dev/$d dev/$d; done
    ln -s /proc/self/fd dev/fd
    mount --rbind dev /dev
}
# A program for another machine, by the bytes 18 and 4 of its head.
alien() {
    cp /bin/true alien
    printf "\\x$(printf %02x $1)" | dd of=alien bs=1 seek=18 conv=notrunc status=none
    [ -z "${2-}" ] || printf '\x01' | dd of=alien bs=1 seek=4 conv=notrunc status=none
}
"#;

/// Files that stay behind in the default folders, if these are used and nobody else's.
const LOOK: &str = r#"
left() { [ -n "$JSSHIM_DIR" ] || find /dev/shm/jsshim-0 /tmp/jsshim-0 -mindepth 1 2>/dev/null; }
for i in {1..100}; do [ -n "$(left)" ] || break; sleep 0.05; done
left
"#;

pub fn tests() -> Vec<Test> {
    let mut list = crate::tests![no_more_processes];
    for place in PLACES {
        let name = format!("faults::places::{}", place.0);
        list.push(crate::test(&name, move || meets(place)));
    }
    list
}

fn is_root() -> bool {
    // SAFETY: it only tells a number.
    unsafe { libc::geteuid() == 0 }
}

fn meets((name, make, lines, about): &'static (&str, &str, usize, &str)) {
    if !is_root() {
        eprintln!("faults::places::{name} needs root");
        return;
    }
    // Through a pipe, which no limit on files concerns.
    let faulty = compiled("faulty");
    let text = format!(
        "{HEAD}{TOOLS}\n(set -e\n{make}\nset +e; $SHIM {faulty}; s=$?\n{LOOK}\necho status $s) | cat"
    );
    for kind in [Kind::NonBlocking, Kind::Fifo] {
        Run::new(&["unshare", "-m", "bash", "-c", &text])
            .preload_inside()
            .pool(kind, 2)
            .may_overdraw()
            .may_warn(usize::from(!about.is_empty())..=*lines)
            .check(move |o: &Outcome| {
                assert!(o.text().contains("status 5"), "{}", o.text());
                let ours = |l: &&str| l.starts_with("jsshim:");
                assert!(o.stderr.lines().filter(ours).all(|l| l.contains(about)), "{}", o.stderr);
            })
            .both();
    }
}

/// The user has as many processes as are allowed: each start fails as it does without the library.
fn no_more_processes() {
    let text = format!("ulimit -u 1; exec {}", compiled("faulty"));
    Run::new(&[&on_path("bash"), "-c", &text])
        .pool(Kind::Fifo, 2)
        .by_nobody()
        .may_overdraw()
        .check(|o| assert!(o.text().contains("Resource temporarily unavailable"), "{}", o.text()))
        .both();
}
