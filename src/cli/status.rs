//! `jsshim status`: the pools of this user and the jobs on them.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use jsshim_engine::ledger::Shared;
use jsshim_engine::rundir;

/// Shows the pools of this user, who holds their slots and who waits
#[derive(clap::Args)]
pub struct Args {}

/// Prints what there is; gives the exit status.
pub fn main(_: &Args) -> i32 {
    for path in ledgers() {
        let open = CString::new(path.as_os_str().as_bytes()).ok();
        let Some(ledger) = open.and_then(|path| Shared::open(&path).ok()) else { continue };
        let held = |r: &jsshim_engine::record::Record| r.state().is_held();
        let backed = ledger.records().filter(|(_, r)| r.state().is_backed()).count();
        let held = ledger.records().filter(|(_, r)| held(r)).count();
        println!("{}: {backed} jobs run, {held} are held", path.display());
    }
    0
}

/// The ledgers in the run-time directory.
fn ledgers() -> Vec<PathBuf> {
    let told = std::env::var_os("JSSHIM_DIR");
    let Ok(dir) = rundir::find(told.as_ref().map(|d| d.as_bytes())) else { return Vec::new() };
    let dir = std::ffi::OsStr::from_bytes(dir.bytes());
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|f| f.path());
    files.filter(|path| path.extension().is_some_and(|e| e == "ledger")).collect()
}
