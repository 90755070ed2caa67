//! A ledger's name comes and goes with its clients, many of them at once: who is in a ledger can always be
//! found by its name, since the helper looks for it there.

use std::mem::MaybeUninit;
use std::os::unix::fs::PermissionsExt;
use std::thread;

use crate::client::{Client, Setup};
use crate::jobs::Jobs;
use crate::ledger::Shared;
use crate::pool::Pool;
use crate::text::Path;
use crate::{rundir, sys};

const CLIENTS: usize = 4;
const ROUNDS: usize = 2000;

#[test]
fn who_is_in_a_ledger_finds_it_by_name() {
    let dir = std::env::temp_dir().join(format!("jsshim-names-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700)).unwrap();
    let dir = Path::new(dir.as_os_str().as_encoded_bytes());
    let [r, w] = sys::pipe2(libc::O_CLOEXEC | libc::O_NONBLOCK).unwrap();
    thread::scope(|s| {
        for client in 0..CLIENTS {
            s.spawn(move || (0..ROUNDS).for_each(|round| come_and_go(&dir, r, client, round)));
        }
    });
    [r, w].into_iter().for_each(sys::close);
    assert!(std::fs::remove_dir(dir.c().to_str().unwrap()).is_ok(), "nothing is left");
}

fn come_and_go(dir: &Path, r: i32, client: usize, round: usize) {
    let st = sys::fstat(r).unwrap();
    let path = crate::pool::fd_path(sys::getpid(), r);
    let pool = Pool::new((st.st_dev, st.st_ino, 0), path, None);
    let (helper, dir) = (&Path::default(), dir);
    let setup =
        Setup { pool: &pool, dir, helper, load_milli: 0, root: 0, slots: 0, overrides: false };
    let mut place = MaybeUninit::uninit();
    let this = Client::init(&mut place, &setup).unwrap();
    let me = this.me().unwrap();
    let name = format!("{client}-{round}");
    this.ledger().record(me).unwrap().set_name(name.as_bytes());
    let named = Shared::open(rundir::ledger(dir, pool.id).c()).expect("its name is there");
    let found = named.record(me).unwrap().name();
    assert!(found.starts_with(name.as_bytes()), "{name}: another ledger has the name");
    this.leave(&Jobs::new());
}
