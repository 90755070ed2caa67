//! A ledger's name comes and goes with its clients, many of them at once: who is in a ledger can always be
//! found by its name, since the helper looks for it there.

use std::mem::MaybeUninit;
use std::os::unix::fs::PermissionsExt;

use crate::client::jobs::Jobs;
use crate::client::{Client, Setup};
use crate::ledger::access::Ledger;
use crate::ledger::rundir;
use crate::pool::pipe::fd_path;
use crate::pool::tokens::Pool;
use crate::share::Share;
use crate::show::name::Name;
use crate::sys;
use crate::text::Path;

const CLIENTS: i32 = 4;
const ROUNDS: i32 = 2000;

/// Each client is a process, as it must be.
#[test]
fn who_is_in_a_ledger_finds_it_by_name() {
    let dir = std::env::temp_dir().join(format!("jsshim-names-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700)).unwrap();
    let path = Path::new(dir.as_os_str().as_encoded_bytes());
    let [r, w] = sys::pipe2(libc::O_CLOEXEC | libc::O_NONBLOCK).unwrap();
    let at = fd_path(sys::getpid(), r);
    let start = |_| {
        // SAFETY: the child calls the engine alone, which needs no allocator and no lock, and exits.
        match unsafe { libc::fork() } {
            0 => {
                let fine = (0..ROUNDS).all(|round| come_and_go(&path, r, at, round).is_some());
                sys::exit(i32::from(!fine))
            }
            pid => pid,
        }
    };
    let children: Vec<_> = (0..CLIENTS).map(start).collect();
    let statuses = children.into_iter().map(|pid| sys::wait_child(pid).expect("a child"));
    let statuses: Vec<_> = statuses.collect();
    [r, w].into_iter().for_each(sys::close);
    assert!(statuses.iter().all(|status| *status == 0), "a name was not there: {statuses:?}");
    assert!(std::fs::remove_dir(dir).is_ok(), "nothing is left");
}

/// `None`: the ledger has no name, or another has it.
fn come_and_go(dir: &Path, r: i32, at: Path, round: i32) -> Option<()> {
    let st = sys::fstat(r).ok()?;
    let pool = &Pool::new((st.st_dev, st.st_ino, 0), at, None);
    let (load_milli, root, slots, overrides) = (0, 0, 0, false);
    let (helper, stats, trace) = (c"", false, &|_: &mut Path| {});
    let me = Box::leak(Box::default());
    let given = None;
    let setup = Setup {
        me,
        pool,
        given,
        dir: Some(dir),
        helper,
        load_milli,
        root,
        slots,
        overrides,
        share: Share::default(),
        stats,
        trace,
    };
    let mut place = MaybeUninit::uninit();
    let this = Client::init(&mut place, &setup).ok()?;
    let me = this.me()?;
    let name = Name::default().num(sys::getpid()).with(b"-").num(round);
    this.ledger().record(me)?.set_name(&name);
    let named = Ledger::open(rundir::ledger(dir, pool.id, crate::space::own()).c()).ok()?;
    let found = named.record(me)?.name();
    this.leave(&Jobs::new(), core::ptr::null());
    (found.bytes() == name.bytes()).then_some(())
}
