//! Find the library, find or make the pool, become the command.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicU64;

use jsshim_engine::client::{Client, Setup};
use jsshim_engine::hold::spec;
use jsshim_engine::join::{self, Found, Settings};
use jsshim_engine::ledger::rundir;
use jsshim_engine::makeflags::{self, Letters, Names, Out, WriteAuth};
use jsshim_engine::pool::own_pool;
use jsshim_engine::pool::tokens::Pool;
use jsshim_engine::program::target::Kind;
use jsshim_engine::program::{go, speaker};
use jsshim_engine::share::Share;
use jsshim_engine::show::numbers;
use jsshim_engine::sys::{self, Errno};
use jsshim_engine::text;

use crate::all::{self, Wanted};
use crate::elf::Elf;
use crate::environment;
use crate::failure::{failure, Failure, Result};
use crate::inherited;
use crate::output::{reason, say};
use crate::program::{find, library, out_of_reach};
use crate::settings;
use jsshim_engine::join::word;
use jsshim_engine::pool::cpus;

/// What is asked for.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// `-j`.
    pub jobs: Option<u32>,
    /// `--trace`.
    pub trace: Option<&'a Path>,
    /// `--all`.
    pub all: bool,
}

/// Runs the command; returns only if that failed.
pub fn run(asked: Asked<'_>, command: &[OsString]) -> Failure {
    match prepare(asked, command) {
        Err(f) => f,
        Ok(mut command) => {
            inherited::hand_on(&mut command, None);
            let e = reason(&command.exec());
            failure(126, format!("cannot run {}: {e}", command.get_program().display()))
        }
    }
}

fn prepare(asked: Asked<'_>, words: &[OsString]) -> Result<Command> {
    let (name, args) = words.split_first().ok_or_else(|| failure(2, "no command"))?;
    let library = library()?;
    let (path, kind) = find(name)?;
    let unreached = out_of_reach(&path, kind);
    let makeflags = std::env::var_os("MAKEFLAGS").map(OsString::into_vec);
    if makeflags.as_deref().is_some_and(|f| makeflags::parse(f).dry_run) {
        let name = name.display();
        say(format_args!("MAKEFLAGS has n (dry run): {name} is not run"));
        std::process::exit(0);
    }
    // It ends this program where it is needed.
    let complaints = settings::complaints().into_iter().filter(|c| !c.starts_with("JSSHIM_JOBS "));
    complaints.for_each(say);
    let needs_words = needs_words(&path, unreached.is_some());
    let mut command = Command::new(path);
    command.arg0(name).args(args);
    // Its ld.so would say once more that ours does not fit.
    if kind != Kind::Foreign {
        command.env("LD_PRELOAD", preload(&library));
    }
    let trace = asked.trace.map_or_else(asked_trace, |path| fresh_trace(path).map(Some))?;
    if let Some(path) = &trace {
        command.env("JSSHIM_TRACE", path);
    }
    let all = all::is_wanted(asked.all);
    let place = Place { library: &library, trace: trace.as_deref(), enters: all == Wanted::Yes };
    let (own, client) = pool(asked.jobs, makeflags.as_deref(), place, &mut command)?;
    if let Some(own) = own.filter(|_| needs_words) {
        command.env("MAKEFLAGS", words_of(&own, makeflags.as_deref())?);
    }
    let covered = match all {
        Wanted::No => false,
        Wanted::Yes => client.is_some_and(|client| all::cover(&mut command, client)),
        Wanted::Done => true,
    };
    // The filter asks about programs of this machine's own ABI only.
    if !covered || kind == Kind::Foreign {
        without_supervisor(&mut command, words, unreached);
    }
    Ok(command)
}

/// What the library does not reach runs by itself, but for the tools of `go`.
fn without_supervisor(command: &mut Command, words: &[OsString], unreached: Option<&str>) {
    let flags = go_flags(words);
    if let (Some(why), None, Some(name)) = (unreached, &flags, words.first()) {
        let name = name.display();
        say(format_args!("{name} {why}; it runs, but its jobs do not queue"));
    }
    if let Some(flags) = flags {
        command.env("GOFLAGS", flags);
    }
}

/// GOFLAGS for a `go` that starts tools, which then queue; if that can be.
pub fn go_flags(words: &[OsString]) -> Option<OsString> {
    if !go::starts_tools(words.iter().map(|word| word.as_bytes())) {
        return None;
    }
    let variables: Vec<_> = std::env::vars_os().collect();
    let get = |name: &[u8]| {
        let name = name.strip_suffix(b"=")?;
        variables.iter().find(|(n, _)| n.as_bytes() == name).map(|(_, value)| value.as_bytes())
    };
    let (flags, respects) = (get(go::FLAGS), get(b"JSSHIM_ENV=") == Some(b"respect"));
    let env = OsStr::from_bytes(go::ENV.to_bytes());
    if respects || flags.is_none() && go::has_file(get) || !Path::new(env).exists() {
        return None;
    }
    let (before, ours, behind) = go::parts(flags.unwrap_or(b""))?;
    Some(OsString::from_vec([before, ours, behind].concat()))
}

/// Does this program take its own tokens, and has to be told of the pool by us? The library tells those that it is
/// loaded into and knows by their names.
fn needs_words(path: &Path, unreached: bool) -> bool {
    let name = path.file_name().unwrap_or_default().as_bytes();
    (unreached || !speaker::is_known(name)) && Elf::read(path).is_some_and(|elf| elf.is_speaker())
}

/// `LD_PRELOAD` with the library behind what is there.
pub fn preload(library: &Path) -> OsString {
    let mut list = std::env::var_os("LD_PRELOAD").unwrap_or_default();
    let is_sep = |b: &u8| matches!(b, b':' | b' ');
    if list.as_bytes().split(is_sep).any(|p| p == library.as_os_str().as_bytes()) {
        return list;
    }
    if !list.is_empty() {
        list.push(":");
    }
    list.push(library);
    list
}

/// The file of `JSSHIM_TRACE`, which may have been begun by others.
fn asked_trace() -> Result<Option<PathBuf>> {
    let is_file = |v: &OsString| matches!(numbers::asked(v.as_bytes()), numbers::Asked::File(_));
    let file = std::env::var_os("JSSHIM_TRACE").filter(is_file);
    // One that is too long the library complains of.
    Ok(file.and_then(|file| absolute(Path::new(&file)).ok()))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    let cannot = |e: std::io::Error| failure(2, format!("{}: {}", path.display(), reason(&e)));
    let path = std::path::absolute(path).map_err(cannot)?;
    if path.as_os_str().len() > text::Path::ROOM {
        return Err(failure(2, format!("{}: the path is too long", path.display())));
    }
    Ok(path)
}

/// A new file for `--trace`, in place of an old one.
fn fresh_trace(path: &Path) -> Result<PathBuf> {
    let path = absolute(path)?;
    // It is written by many processes, a line at a time.
    if path.extension().is_some_and(|end| end == "gz") {
        let name = path.with_extension("");
        let name = name.file_name().unwrap_or_default().display();
        let how = format!("jsshim report {name} -o {name}.gz");
        return Err(failure(2, format!("{}: a trace is packed afterwards: {how}", path.display())));
    }
    match std::fs::write(&path, "[\n") {
        Ok(()) => Ok(path),
        Err(e) => Err(failure(2, format!("cannot write {}: {}", path.display(), reason(&e)))),
    }
}

/// What a pool is made or joined with.
#[derive(Clone, Copy)]
struct Place<'a> {
    library: &'a Path,
    trace: Option<&'a Path>,
    /// This program itself takes part in a pool above, too.
    enters: bool,
}

/// Leads the command to the pool: the one above, or one that is made now, which is given; and our part in it.
fn pool(
    jobs: Option<u32>,
    flags: Option<&[u8]>,
    place: Place<'_>,
    command: &mut Command,
) -> Result<(Option<Pool>, Option<&'static Client>)> {
    let told = std::env::var_os("JSSHIM_POOL");
    let told = told.as_ref().map(|w| w.as_bytes());
    let mut lead = |pool: &Pool| {
        command.env("JSSHIM_POOL", OsStr::from_bytes(word::encode(pool).bytes()));
    };
    let given = std::env::var_os("JSSHIM_DIR");
    let dir = given.as_ref().map(|d| d.as_bytes());
    let settings = Settings { makeflags: flags, pool: told, dir, ..Settings::default() };
    let slots = match join::find(settings) {
        Found::Pool(pool, _) => {
            if let Some(n) = jobs {
                say(format_args!("the pool above is joined; -j {n} is not used"));
            }
            lead(&pool);
            let client =
                place.enters.then(|| place.helper().map(|h| place.client(&pool, h, None, 0)));
            return Ok((None, client.transpose()?.and_then(|client| client.ok())));
        }
        // The library says what is wrong, in the program that needs a slot.
        Found::Unusable(_) => return Ok((None, None)),
        Found::One if jobs.is_none() => 1,
        Found::One | Found::None | Found::Over => slots(jobs)?,
    };
    let (own, client) = place.make(slots)?;
    lead(&own);
    Ok((Some(own), Some(client)))
}

/// How many slots a pool of our own gets.
pub fn slots(jobs: Option<u32>) -> Result<u32> {
    let word = std::env::var_os("JSSHIM_JOBS").filter(|w| !w.is_empty());
    match (jobs, word) {
        (Some(n), _) => Ok(n),
        (None, None) => Ok(cpus::default_slots()),
        (None, Some(word)) => word::count(word.as_bytes()).ok_or_else(|| {
            failure(2, format!("JSSHIM_JOBS={}: not a number above 0", word.display()))
        }),
    }
}

impl Place<'_> {
    /// The helper, which is next to the library.
    fn helper(&self) -> Result<&'static CStr> {
        let helper = self.library.with_file_name("jsshim-helper");
        if !helper.is_file() {
            return Err(failure(2, format!("{} is missing", helper.display())));
        }
        let helper = CString::new(helper.into_os_string().into_vec());
        let helper: &CStr = Box::leak(helper.unwrap_or_default().into_boxed_c_str());
        if !spec::is_helper(helper) {
            let helper = OsStr::from_bytes(helper.to_bytes()).display();
            return Err(failure(2, format!("{helper} is not the one of this library")));
        }
        Ok(helper)
    }

    /// A pool of our own.
    fn make(&self, slots: u32) -> Result<(Pool, &'static Client)> {
        let helper = self.helper()?;
        let given = std::env::var_os("JSSHIM_DIR");
        let given = given.as_ref().map(|d| d.as_bytes());
        if given.is_some_and(rundir::is_unfit) {
            say(rundir::UNFIT);
        }
        let mut what = "the run-time directory";
        let made = rundir::make_in(given, |dir| {
            what = "a pool";
            let (pool, _kept) = own_pool::make(dir, slots)?;
            what = "the ledger";
            let client = self.client(&pool, helper, Some(dir), slots).inspect_err(|_| {
                let _ = std::fs::remove_file(OsStr::from_bytes(pool.path.bytes()));
            })?;
            Ok((pool, client))
        });
        let (pool, client) =
            made.map_err(|e| failure(2, format!("cannot make {what}: {}", error(e))))?;
        let words = environment::words();
        let list: Vec<_> = words.iter().map(|w| w.as_ptr()).chain([std::ptr::null()]).collect();
        client.guard(list.as_ptr(), true);
        Ok((pool, client))
    }

    /// Our part in a pool; `dir` and `slots` for one that was just made.
    fn client(
        &self,
        pool: &Pool,
        helper: &'static CStr,
        dir: Option<&text::Path>,
        slots: u32,
    ) -> sys::Result<&'static Client> {
        let given = std::env::var_os("JSSHIM_DIR");
        let share = std::env::var_os("JSSHIM_SHARE");
        let trace = self.trace.map_or(&b""[..], |t| t.as_os_str().as_bytes());
        static ME: AtomicU64 = AtomicU64::new(0);
        let setup = Setup {
            me: &ME,
            pool,
            given: given.as_ref().map(|d| d.as_bytes()),
            dir,
            helper,
            load_milli: 0,
            root: dir.map_or(0, |_| std::process::id() as i32),
            slots,
            overrides: false,
            share: share.and_then(|v| Share::parse(v.as_bytes())).unwrap_or_default(),
            stats: std::env::var_os("JSSHIM_STATS").is_some_and(|v| numbers::is_on(v.as_bytes())),
            trace: &|path: &mut text::Path| path.push(trace),
        };
        // For as long as this process is itself.
        let place = Box::leak(Box::new(MaybeUninit::uninit()));
        Client::init(place, &setup)
    }
}

/// MAKEFLAGS that name the pool by two descriptors, in the form that every program reads which knows any.
fn words_of(pool: &Pool, old: Option<&[u8]>) -> Result<OsString> {
    let cannot = |e: Errno| failure(2, format!("cannot open the pool: {}", error(e)));
    let (read, write) = own_pool::ends(pool).map_err(cannot)?;
    let mut buf = vec![0; old.map_or(0, <[u8]>::len) + 256];
    let mut out = Out::new(&mut buf);
    let auth = WriteAuth::Fds { read, write, names: Names::Both };
    if !makeflags::write(old, Some(&auth), &Letters::default(), &mut out) {
        return Err(failure(2, "MAKEFLAGS is too long"));
    }
    Ok(OsString::from_vec(out.as_bytes().to_vec()))
}

fn error(errno: Errno) -> String {
    reason(&std::io::Error::from_raw_os_error(errno.0))
}
