//! The builds that the storm hits: make over ninja over sh over gcc, xargs over Python pools, and shells
//! with `&`, all at once, on each kind of pool; and jobs that lend their slots.

use std::fs::{self, File};
use std::os::unix::fs::{chown, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command};

use super::kills::is_guard;
use crate::harness::pool::{Kind, Pool, READ_END, WRITE_END};
use crate::harness::procs::{self, Mark};
use crate::harness::programs::{artifact, base, compiled, on_path, python, tool};

/// Whose pool it is.
#[derive(Debug)]
pub enum Owner {
    /// make 4.3: a pipe.
    Make,
    /// make 4.4: a fifo.
    Make44,
    /// The test, with values of its own.
    Test(Kind),
    /// `jsshim -j`.
    Ours,
    /// The test; a preloaded subreaper is on top, which waits for all its children.
    Collector,
    /// The test; the build is that of another user.
    OtherUser,
    /// The test; `ulimit -s 256`, so that few programs run.
    LittleStack,
    /// The test; jobs sleep and compute in turn, so that they lend and borrow slots, and wait to come back.
    Lending,
}

/// Where its parts run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Place {
    /// All in one PID namespace.
    One,
    /// Some in namespaces of their own.
    Sandboxes,
    /// Some in time namespaces, on the same ledger as the others.
    Clocks,
}
use Place::{Clocks, One, Sandboxes};

pub const SCENES: [(Owner, Place); 17] = [
    (Owner::Make, One),
    (Owner::Test(Kind::NonBlocking), Sandboxes),
    (Owner::Make44, One),
    (Owner::Lending, One),
    (Owner::Test(Kind::Fifo), One),
    (Owner::Ours, One),
    (Owner::Test(Kind::Blocking), One),
    (Owner::Make, Sandboxes),
    (Owner::Ours, Sandboxes),
    (Owner::Lending, Sandboxes),
    (Owner::Test(Kind::NonBlocking), One),
    (Owner::Make44, Sandboxes),
    (Owner::Collector, One),
    (Owner::OtherUser, One),
    (Owner::LittleStack, One),
    (Owner::Lending, One),
    (Owner::Test(Kind::Fifo), Clocks),
];

/// In front of a program of the build; the program is the first process of the namespace.
const SANDBOX: &str = "unshare -p -f --mount-proc ";
const CLOCK: &str = "unshare -T --boottime 100000 --monotonic 100000 -f ";

/// The text with some of its programs in sandboxes.
fn place(text: &str, place: Place) -> String {
    let mut text = text.to_owned();
    if place != One {
        let sandbox = if place == Clocks { CLOCK } else { SANDBOX };
        for start in ["ninja -k0 -j6", "sh shells.sh", "sh sleepers.sh"] {
            let preload = format!("LD_PRELOAD=$$JSSHIM_LIB {start}");
            let boxed = format!("{sandbox}env {preload}");
            // What make starts is preloaded in the sandbox only.
            text = match text.contains(&preload) {
                true => text.replace(&preload, &boxed),
                false => text.replace(start, &format!("{sandbox}{start}")),
            };
        }
    }
    text
}

const NOBODY: u32 = 65534;

const SLOTS: usize = 3;

/// Recipes with and without `+`. A build that was hit has failed, and the others go on.
const MAKEFILE: &str = "
.PHONY: all a b c d
all: a b c d
a:
\t+@LD_PRELOAD=$$JSSHIM_LIB ninja -k0 -j6 -f a.ninja
b:
\t@LD_PRELOAD=$$JSSHIM_LIB sh -c 'xargs -P4 -n1 $$PYTHON pool.py <list; true'
c:
\t+@LD_PRELOAD=$$JSSHIM_LIB sh shells.sh
d:
\t@LD_PRELOAD=$$JSSHIM_LIB ninja -k0 -j4 -f d.ninja
";

const ROOT: &str = "
ninja -k0 -j6 -f a.ninja &
xargs -P4 -n1 $PYTHON pool.py <list &
sh shells.sh &
wait
ninja -k0 -j4 -f d.ninja
";

const LITTLE: &str = "
ulimit -s 256
for host in 1 2 3 4; do xargs -P4 -n1 sleep <seconds & done
for i in 1 2 3 4 5 6; do sleep 0.0$i & done
wait
for i in 6 5 4 3 2 1; do sleep 0.0$i & done
wait
";

const LENDING: &str = "
sh sleepers.sh &
xargs -P5 -n1 perl sleeps.pl <list &
xargs -P5 -n1 perl sleeps.pl <list &
wait
sh sleepers.sh
";

/// Jobs that sleep where the library sees it, and where it does not: a shell waits for its child.
const SLEEPERS: &str = "
for i in 1 2 3; do perl sleeps.pl $i & done
for i in 1 2 3; do (sleep 0.2; perl sleeps.pl $i; sleep 0.1$i) & done
wait
";

const SLEEPS: &str = "
for (1 .. 3) {
    select undef, undef, undef, 0.12 + rand 0.2;
    my $many = 100_000 + rand 400_000;
    1 while $many-- > 0;
}
";

const SHELLS: &str = "
for i in 1 2 3 4 5 6; do (gcc -O1 -c x.c -o s$i.o; sleep 0.0$i) & done
wait
for i in 1 2 3 4; do gcc -O1 -S x.c -o - | (cat; true) >s$i.s & done
wait
";

/// Workers end with their pool: Python leaves them behind when it is killed. All end by SIGINT: where that is an
/// exception, it may take a worker the word to end that is another's, and Python waits for that one for ever.
const POOL: &str = "
import ctypes, os, signal, sys
from concurrent.futures import ProcessPoolExecutor

def begin(parent):
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)

def work(n):
    return sum(i * i for i in range(20000 + n))

if __name__ == '__main__':
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with ProcessPoolExecutor(3, initializer=begin, initargs=(os.getpid(),)) as pool:
        list(pool.map(work, range(12)))
";

/// Starts the build in a session of its own and reaps whom it orphans, as a container's first process does. It ends
/// after all of them: with 1 if one has crashed. It has no mark, and what it starts is in a file, not to be hit.
const INIT: &str = "
import ctypes, os, signal, sys
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
root = os.fork()
if root == 0:
    os.setsid()
    os.execvp('env', ['env', '-i'] + open('words').read().split('\\0'))
open('../root.new', 'w').write(str(root))
os.rename('../root.new', '../root')
CRASHES = [getattr(signal, 'SIG' + name) for name in 'SEGV BUS ILL ABRT FPE TRAP SYS'.split()]
crashed = False
while True:
    try:
        pid, status = os.wait()
    except ChildProcessError:
        sys.exit(crashed)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) in CRASHES:
        print('crash:', pid, 'by signal', os.WTERMSIG(status), file=sys.stderr, flush=True)
        crashed = True
";

fn edges(count: usize, name: &str) -> String {
    let mut text =
        "rule cc\n  command = sh -c 'gcc -O1 -c x.c -o $out && sleep 0.0$n'\n".to_owned();
    for n in 0..count {
        text += &format!("build {name}{n}.o: cc\n  n = {}\n", n % 10);
    }
    text
}

/// The folder, the pool and the processes of a round.
pub struct Scene {
    pub dir: PathBuf,
    pub mark: Mark,
    pub pool: Option<Pool>,
    id: String,
    argv: Vec<String>,
    /// What makes a command that of the build's user.
    as_user: Vec<String>,
    is_make: bool,
    slowness: u64,
    init: Option<Child>,
}

impl Scene {
    pub fn new(owner: &Owner, place: Place, round: u64) -> Scene {
        let id = format!("jsshim-storm-{}-{round:05}", std::process::id());
        let dir = base().join(&id);
        for part in ["work", "tmp", "shim"] {
            fs::create_dir_all(dir.join(part)).unwrap();
        }
        fs::set_permissions(dir.join("shim"), fs::Permissions::from_mode(0o700)).unwrap();
        let source = "#include <stdio.h>\nint f(int n) { return printf(\"%d\\n\", n * n); }\n";
        let [makefile, root, lending] = [MAKEFILE, ROOT, LENDING].map(|t| self::place(t, place));
        let files = [
            ("Makefile", &*makefile),
            ("root.sh", &root),
            ("lending.sh", &lending),
            ("sleepers.sh", SLEEPERS),
            ("sleeps.pl", SLEEPS),
            ("shells.sh", SHELLS),
            ("pool.py", POOL),
            ("init.py", INIT),
            ("little.sh", LITTLE),
            ("list", "1 2 3 4 5\n"),
            ("seconds", &"0.02 0.05 0.03 0.01 0.08 0.04\n".repeat(4)),
            ("x.c", source),
            ("a.ninja", &edges(20, "a")),
            ("d.ninja", &edges(8, "d")),
        ];
        for (name, text) in files {
            fs::write(dir.join("work").join(name), text).unwrap();
        }
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
        let jobs = format!("-j{SLOTS}");
        let as_user = match owner {
            Owner::OtherUser => {
                let ids = ["--reuid=65534", "--regid=65534", "--clear-groups"];
                words(&[&[&*on_path("setpriv")], &ids[..]].concat())
            }
            _ => vec![],
        };
        let argv = match owner {
            Owner::Make => words(&[&on_path("make"), "-k", &jobs]),
            Owner::Make44 => words(&[&tool("make-4.4.1", "make"), "-k", &jobs]),
            Owner::Ours => words(&[&artifact("jsshim").unwrap(), &jobs, "--", "sh", "root.sh"]),
            Owner::Test(_) => words(&["sh", "root.sh"]),
            Owner::Collector => {
                words(&[&compiled("collects"), "-s", "-k", "wait", "2", "sh", "root.sh"])
            }
            Owner::OtherUser => [as_user.clone(), words(&["sh", "root.sh"])].concat(),
            Owner::LittleStack => words(&["sh", "little.sh"]),
            Owner::Lending => words(&["sh", "lending.sh"]),
        };
        let kind = match owner {
            Owner::Test(kind) => Some(*kind),
            Owner::Collector | Owner::LittleStack | Owner::Lending => Some(Kind::Fifo),
            Owner::OtherUser => Some(Kind::NonBlocking),
            _ => None,
        };
        let pool = kind.map(|kind| Pool::new(kind, SLOTS, &dir).unwrap());
        if matches!(owner, Owner::OtherUser) {
            for part in ["work", "tmp", "shim"] {
                chown(dir.join(part), Some(NOBODY), Some(NOBODY)).unwrap();
            }
        }
        let is_make = matches!(owner, Owner::Make | Owner::Make44);
        let slowness = if matches!(owner, Owner::Lending) { 4 } else { 1 };
        let mark = Mark::new(&id);
        Scene { dir, mark, pool, id, argv, as_user, is_make, slowness, init: None }
    }

    pub fn start(&mut self) {
        self.init = Some(self.spawn(&self.argv, "err"));
    }

    fn spawn(&self, argv: &[String], err: &str) -> Child {
        let library = artifact("libjsshim.so").unwrap();
        let text = |part: &str| self.dir.join(part).to_str().unwrap().to_owned();
        let mut words = vec![
            format!("PATH={}", std::env::var("PATH").unwrap_or_default()),
            "LC_ALL=C".to_owned(),
            format!("HOME={}", text("tmp")),
            format!("TMPDIR={}", text("tmp")),
            format!("PYTHON={}", python()),
            format!("JSSHIM_DIR={}", text("shim")),
            format!("JSSHIM_LIB={library}"),
            format!("JSSHIM_TEST_ID={}", self.id),
        ];
        if let Some(pool) = &self.pool {
            words.push(format!("LD_PRELOAD={library}"));
            words.push(format!("MAKEFLAGS={}", pool.makeflags()));
        }
        words.extend_from_slice(argv);
        fs::write(self.dir.join("work/words"), words.join("\0")).unwrap();
        let mut command = Command::new(python());
        command.arg("init.py").current_dir(self.dir.join("work"));
        command.stdin(File::open("/dev/null").unwrap());
        command.stdout(File::create(self.dir.join("out")).unwrap());
        command.stderr(File::create(self.dir.join(err)).unwrap());
        let ends = self.pool.as_ref().and_then(Pool::inherited);
        let place = move || {
            // SAFETY: async-signal-safe calls on integers.
            unsafe {
                libc::setsid();
                if let Some((read, write)) = ends {
                    libc::dup2(read, READ_END);
                    libc::dup2(write, WRITE_END);
                }
            }
            Ok(())
        };
        // SAFETY: as above.
        unsafe { command.pre_exec(place) };
        command.spawn().unwrap()
    }

    /// 0: not yet started.
    pub fn root(&self) -> i32 {
        let number = fs::read_to_string(self.dir.join("root"));
        number.map_or(0, |number| number.parse().unwrap())
    }

    pub fn root_has_ended(&self) -> bool {
        let root = self.root();
        root != 0 && !fs::exists(format!("/proc/{root}")).unwrap()
    }

    pub fn all_are_reaped(&mut self) -> bool {
        self.init.as_mut().is_some_and(|init| init.try_wait().unwrap().is_some())
    }

    /// How many times as far apart the kills are as elsewhere: a slot is lent when its job has slept for a while.
    pub fn slowness(&self) -> u64 {
        self.slowness
    }

    /// In one of how many rounds the root is killed, too. What a make holds is lost with it, and so is
    /// its pool.
    pub fn root_is_spared(&self) -> u64 {
        if self.is_make {
            6
        } else {
            3
        }
    }

    /// The processes of the build, the guard left out.
    pub fn builders(&self) -> Vec<u32> {
        let mut pids = self.mark.carriers();
        pids.retain(|pid| !is_guard(*pid as i32));
        pids
    }

    pub fn pool_is_full(&self) -> bool {
        self.pool.as_ref().is_none_or(Pool::is_full)
    }

    pub fn is_clean(&self) -> bool {
        self.pool_is_full() && procs::list(&self.dir.join("shim")).is_empty()
    }

    /// Has somebody been hit who had made a pool of his own, and its ledger not yet? That takes long on a disk.
    pub fn has_pool_without_ledger(&self) -> bool {
        let names = procs::list(&self.dir.join("shim"));
        names.contains(" pool-") && !names.contains(".ledger")
    }

    /// A program that starts on the same pool, or on one of its own.
    pub fn later_start(&self) {
        let library = artifact("libjsshim.so").unwrap();
        let script =
            format!("export LD_PRELOAD={library}; exec sh -c 'sleep 0.2 & sleep 0.2 & wait'");
        let mut argv = self.as_user.clone();
        argv.extend(["sh", "-c", &script].map(str::to_owned));
        assert!(self.spawn(&argv, "err2").wait().unwrap().success());
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir.join("err")).unwrap()).into()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(init) = self.init.as_mut() {
            let _ = init.kill();
            let _ = init.wait();
        }
    }
}
