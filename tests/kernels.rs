//! Old and strange kernels: programs start their jobs where system calls do not exist or are forbidden, and where
//! /proc is not to be had or shows little. The slots are kept and used, and all is as without the library.
//!
//! The calls are refused to the whole tree, to libc and the programs as well (c/inject.c).

use crate::harness::pool::Kind;
use crate::harness::programs::{artifact, compiled, compiled_with, on_path, python};
use crate::harness::{Outcome, Run};
use crate::table::{self, failures};
use crate::Test;

/// A kernel: its name, what it refuses (`ERRNO:WHICH`), and a script that prepares its /proc.
type Kernel = (&'static str, &'static str, &'static str);

const NO_PROC: &str = "umount -l /proc";
/// As another user, to whom alone it matters.
const HIDEPID: &str = "mount -t proc -o hidepid=2 none /proc; chown -R 65534:65534 $JSSHIM_DIR .
    set -- setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\"";

/// The host is process 1, which its orphans would become children of.
const CONTAINER: &str = "set -- unshare -pf --mount-proc \"$@\"";
const WITHOUT_PROC: &str = "set -- unshare -pf sh -c 'umount -l /proc; exec \"$@\"' - \"$@\"";

/// What one of them lacks, which some programs meet; ENOSYS is 38, EPERM 1.
const PARTS: [Kernel; 9] = [
    ("without_pidfd_open", "38:pidfd_open", ""),
    ("with_pidfd_open_forbidden", "1:pidfd_open", ""),
    ("without_statx", "38:statx", ""),
    ("with_statx_forbidden", "1:statx", ""),
    ("without_close_range", "38:close_range", ""),
    ("with_close_range_forbidden", "1:close_range", ""),
    ("without_faccessat2", "38:faccessat2", ""),
    ("with_faccessat2_forbidden", "1:faccessat2", ""),
    ("without_clone3", "38:clone3", ""),
];

/// What lacks much, which all programs meet.
const WHOLE: [Kernel; 7] = [
    ("of_4_18", "38:4.18", ""),
    ("with_all_since_4_18_forbidden", "1:4.18", ""),
    ("of_4_18_without_proc", "38:4.18", NO_PROC),
    ("of_4_18_with_proc_of_the_own_only", "38:4.18", HIDEPID),
    ("with_proc_of_the_own_only", "", HIDEPID),
    ("of_4_18_in_a_container", "38:4.18", CONTAINER),
    ("of_4_18_in_a_container_without_proc", "38:4.18", WITHOUT_PROC),
];

/// A host, and how its run differs from the others'. Each has eight jobs or more.
type Host = (&'static str, fn(&Place) -> Run);

const HOSTS: [Host; 8] = [
    ("make over ninja", |place| {
        let build = |edge| format!("build out{edge}: job\n  id = e{edge}\n");
        let edges: String = (0..16).map(build).collect();
        place
            .run_inside(&["make", "-s", "-j2"])
            .file("Makefile", "all:\n\t+@LD_PRELOAD=$$JSSHIM_LIB ninja --quiet -j8\n")
            .file("build.ninja", &format!("rule job\n  command = {JOB} -i $id\n{edges}"))
            .make(2)
    }),
    ("xargs", |place| {
        let items: String = (0..12).map(|i| format!("i{i}\n")).collect();
        let work = ["-P8", "-I{}", &compiled("job"), "-b", "5", "-s", "40", "-k", "1", "-i", "{}"];
        place.run(&[&["xargs"], &work[..]].concat()).stdin(&items).pool(Kind::Blocking, 2)
    }),
    ("bash", |place| place.run(&["bash", "-c", SHELL]).pool(Kind::NonBlocking, 2)),
    (PYTHON, |place| {
        let text = "import multiprocessing as mp, jobs
with mp.get_context('fork').Pool(8) as pool: print(pool.map(jobs.work, range(24), chunksize=1))";
        place.run(&[&python(), "-c", text]).pool(Kind::NonBlocking, 2)
    }),
    ("all doors", |place| {
        place.run(&[&compiled("faulty")]).pool(Kind::NonBlocking, 2).may_overdraw()
    }),
    ("posix_spawn", |place| place.door("posix_spawn", "")),
    ("vfork", |place| place.door("vfork", "execvp")),
    ("popen", |place| place.door("popen, pclose", "")),
];

const PYTHON: &str = "a pool of Python";
const JOB: &str = "$$JOB -b 5 -s 40 -k 1";
const SHELL: &str = "for i in 1 2 3 4 5 6 7 8; do $JOB -b 5 -s 40 -k 1 -i j$i & done; wait; exit 5";

pub fn tests() -> Vec<Test> {
    let parts = PARTS.iter().enumerate().map(|(at, kernel)| {
        // Two of the hosts each, so that each host meets two of them or more.
        let hosts: Vec<Host> = [0, 3].map(|n| HOSTS[(at + n) % HOSTS.len()]).to_vec();
        (kernel, hosts)
    });
    let whole = WHOLE.iter().map(|kernel| {
        // The table of doors copies itself by /proc. Where the guard has neither /proc nor pidfds, it takes a zombie for
        // a running job, and the host of all doors collects none while it reads from one that is held. Others'
        // interpreters may lie where another user cannot reach them, and their fifos are not his.
        let is_for = |(name, _): &&Host| match kernel.2 {
            "" | CONTAINER => true,
            HIDEPID => *name != PYTHON && HOSTS[..5].iter().any(|(n, _)| n == name),
            _ => HOSTS[..4].iter().any(|(n, _)| n == name),
        };
        (kernel, HOSTS.iter().filter(is_for).copied().collect())
    });
    let test = |(kernel, hosts): (&'static Kernel, Vec<Host>)| {
        crate::test(&format!("kernels::{}", kernel.0), move || all_run(kernel, &hosts))
    };
    let mut list: Vec<_> = parts.chain(whole).map(test).collect();
    list.extend(crate::tests![parents_wait_without_pidfds, hosts_by_the_self_pipe]);
    list
}

/// How a host is started there.
struct Place {
    before: Vec<String>,
    script: &'static str,
}

impl Place {
    fn of(&(_, refused, script): &Kernel) -> Place {
        let inject = || compiled_with("inject", "inject", &["-static"]);
        let before = if refused.is_empty() {
            Vec::new()
        } else {
            vec![inject(), "refuse".to_owned(), refused.to_owned()]
        };
        Place { before, script }
    }

    /// The library is preloaded by the host itself.
    fn run_inside<S: AsRef<str>>(&self, argv: &[S]) -> Run {
        self.start(argv, "").preload_inside()
    }

    fn run<S: AsRef<str>>(&self, argv: &[S]) -> Run {
        if self.script.is_empty() {
            return self.start(argv, "");
        }
        let preload = "[ -z \"$JSSHIM_LIB\" ] || set -- env LD_PRELOAD=$JSSHIM_LIB \"$@\"";
        self.start(argv, preload).preload_inside()
    }

    fn door(&self, door: &str, exec: &str) -> Run {
        let (program, old) = table::program("gcc");
        self.run(&[&program, "gates", door, exec])
            .env("TABLE_OLD", &old)
            .pool(Kind::Fifo, 2)
            .may_idle()
    }

    fn start<S: AsRef<str>>(&self, argv: &[S], preload: &str) -> Run {
        let argv = argv.iter().map(|arg| arg.as_ref().to_owned());
        let argv: Vec<_> = self.before.iter().cloned().chain(argv).collect();
        if self.script.is_empty() {
            return Run::new(&argv).unordered();
        }
        let text = format!("set -e\n{preload}\n{}\nexec \"$@\"", self.script);
        let outer = ["unshare", "-m", "bash", "-c", &text, "-"].map(str::to_owned);
        Run::new(&[&outer[..], &argv].concat()).unordered()
    }
}

fn all_run(kernel: &Kernel, hosts: &[Host]) {
    // Those of `all doors` do not sign.
    let starts = |o: &Outcome| o.jobs.started >= 3 || o.text().contains("spawn 2: status 200");
    let failed = failures(hosts, |(name, host)| {
        eprintln!("{} on {name}", kernel.0);
        host(&Place::of(kernel)).check(move |o| assert!(starts(o), "few jobs")).both();
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

// ---- gates without pidfds ---------------------------------------------------------------------

/// Where the kernel has no pidfds, and by hand: no job is held while its parent can wait. Unless only pidfds may be
/// used and there are none: then each is.
fn parents_wait_without_pidfds() {
    for (refused, means, waits) in [
        ("38:pidfd_open", "", true),
        ("1:pidfd_open", "", true),
        ("38:pidfd_open", "selfpipe", true),
        ("", "selfpipe", true),
        ("", "pidfd", true),
        ("38:pidfd_open", "pidfd", false),
    ] {
        // A parent waits for a second at most, which on a busy machine a job may take.
        let is_as_it_should = |o: &Outcome| {
            let held = o.stderr.matches("holds a job").count();
            if waits {
                held == 0
            } else {
                held >= 6
            }
        };
        for shell in ["dash", "bash"] {
            let place = Place::of(&("", refused, ""));
            let run = place.run(&[&on_path(shell), "-c", SHELL]).env("JSSHIM_WAIT", means);
            let run = run.env("JSSHIM_DEBUG", "1").env("JSSHIM_GATE", "parent");
            let run = run.pool(Kind::NonBlocking, 2);
            let is_here = artifact("libjsshim.so").is_some();
            let ever = !is_here || (0..5).any(|_| is_as_it_should(&run.run(true)));
            assert!(ever, "{shell}: {refused}, {means}");
        }
    }
}

/// And with all that a kernel has, by hand.
fn hosts_by_the_self_pipe() {
    let failed = failures(&HOSTS, |(_, host)| {
        host(&Place::of(&("", "", ""))).env("JSSHIM_WAIT", "selfpipe").both();
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
