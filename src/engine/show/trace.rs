//! The trace: events in the JSON array format of chrome://tracing and Perfetto, which needs no `]` at its end and
//! allows a comma after the last event. So any process may append a line at any time.
//!
//! When the last process is gone, the array is closed ([`super::closing`]).
//!
//! Each line is one write(2) to a file opened with `O_APPEND`: lines of parallel processes do not mix. A job is written
//! when it ends, as one complete event; a job that changed its slot, as one event for each slot. Times are
//! `CLOCK_BOOTTIME`.

use core::ffi::CStr;

use crate::pool::pipe::Id;
use crate::proc;
use crate::sys::{self, Errno, Result};
use crate::text::{Path, Text};

use super::json;
use super::lanes::{Kind, Lane};
use super::name::Name;

/// Room for a line: shorter than PIPE_BUF.
pub type Line = Text<1280>;

/// One event: a job, or the wait of a job.
pub struct Event<'a> {
    /// The name of the job.
    pub name: &'a Name,
    /// `implicit`, `token`, `borrowed`, `overdraft` or `wait`.
    pub state: &'static str,
    /// The lane.
    pub lane: Lane,
    /// Start and end, in ns.
    pub time: (u64, u64),
    /// Index and generation of the job's record.
    pub job: (u32, u64),
    /// The pids of the job and of its client.
    pub pids: (i32, i32),
    /// The job in which its client runs.
    pub home: Option<(u32, u64)>,
    /// The reason of an overdraft.
    pub why: &'static str,
    /// How long the job waited before, in ns.
    pub waited: u64,
}

/// The number that distinguishes the lanes of one kind of one pool from others; viewers show it as a process.
fn group(id: Id, kind: Kind) -> i64 {
    ((id.1 ^ id.0 << 12) as i64 & 0xf_ffff).wrapping_mul(4).wrapping_add(kind as i64)
}

/// The line of an event.
pub fn line(id: Id, e: &Event<'_>) -> Line {
    let mut t = Line::new(b"{\"name\":\"");
    // A parent that waits before its fork does not know yet what the child will run.
    let name = e.name.bytes();
    json::put(&mut t, if name.is_empty() { b"(fork)" } else { name });
    t.put(b"\",\"cat\":\"").put(e.state).put(b"\",\"ph\":\"X\",\"ts\":");
    micros(&mut t, e.time.0).put(b",\"dur\":");
    micros(&mut t, e.time.1.saturating_sub(e.time.0)).put(b",\"pid\":");
    t.put_num(group(id, e.lane.kind)).put(b",\"tid\":").put_num(e.lane.number);
    t.put(b",\"args\":{\"job\":\"");
    put_job(&mut t, e.job)
        .put(b"\",\"pid\":")
        .put_num(e.pids.0)
        .put(b",\"client\":")
        .put_num(e.pids.1);
    t.put(b",\"waited\":");
    micros(&mut t, e.waited);
    if let Some(home) = e.home {
        t.put(b",\"in\":\"");
        put_job(&mut t, home).put(b"\"");
    }
    if !e.why.is_empty() {
        t.put(b",\"why\":\"").put(e.why).put(b"\"");
    }
    t.put(b"}},\n");
    t
}

/// The first lines for a pool: the names of the three kinds of lanes.
pub fn head(id: Id, path: &Path, slots: u32, t: &mut Line) {
    let kinds = [
        (Kind::Slot, &b"slots of "[..]),
        (Kind::Overdraft, b"without a slot: "),
        (Kind::Wait, b"waiting: "),
    ];
    for (kind, what) in kinds {
        meta(t, "process_name", id, Lane { kind, number: 0 }).put(b"\"name\":\"").put(what);
        json::put(t, path.bytes());
        t.put(b"\",\"kind\":").put_num(kind as i64).put(b",\"slots\":").put_num(slots);
        t.put(b"}},\n");
    }
}

/// What is built, where and when: the command line of this process, which asked for the trace first.
pub fn about(id: Id) -> Line {
    let (mut words, mut host) = ([0; 400], [0; 64]);
    let read = |path: Text<32>, to: &mut [u8]| proc::read_file(&path, to).unwrap_or(0);
    let n = read(Text::new(b"/proc/self/cmdline"), &mut words);
    let words = words.get(..n).unwrap_or(b"").trim_ascii_end();
    let words = words.strip_suffix(b"\0").unwrap_or(words);
    let n = read(Text::new(b"/proc/sys/kernel/hostname"), &mut host);
    let host = host.get(..n).unwrap_or(b"").trim_ascii_end();
    let mut t = Line::default();
    let slots = Lane { kind: Kind::Slot, number: 0 };
    meta(&mut t, "process_labels", id, slots).put(b"\"labels\":\"");
    json::put(&mut t, host);
    t.put(b"\",\"host\":\"");
    json::put(&mut t, host);
    t.put(b"\",\"command\":\"");
    json::put(&mut t, words);
    t.put(b"\",\"date\":").put_num(sys::date() as i64).put(b",\"at\":");
    micros(&mut t, sys::now()).put(b"}},\n");
    t
}

/// How long a job slept while others could run on its slot. The job may have changed its lane meanwhile, so this is not
/// an event of a lane, but one with a beginning and an end beside the lanes.
pub fn lent(id: Id, job: (u32, u64), pid: i32, time: (u64, u64)) -> Line {
    let mut t = Line::default();
    for (kind, at) in [(b"b", time.0), (b"e", time.1)] {
        t.put(b"{\"name\":\"slot lent\",\"cat\":\"lent\",\"ph\":\"").put(kind).put(b"\",\"id\":\"");
        put_job(&mut t, job).put(b"\",\"ts\":");
        micros(&mut t, at);
        if kind == b"b" {
            t.put(b",\"dur\":");
            micros(&mut t, time.1.saturating_sub(time.0));
        }
        t.put(b",\"pid\":").put_num(group(id, Kind::Slot)).put(b",\"tid\":0,\"args\":{\"job\":\"");
        put_job(&mut t, job).put(b"\",\"pid\":").put_num(pid).put(b"}},\n");
    }
    t
}

/// The peak memory of a process that has just been reaped, or of a process that it had reaped, in kB.
pub fn memory(id: Id, pid: i32, kb: i64) -> Line {
    let mut t = Line::default();
    let slots = Lane { kind: Kind::Slot, number: 0 };
    meta(&mut t, "memory", id, slots).put(b"\"pid\":").put_num(pid);
    t.put(b",\"memory\":").put_num(kb).put(b",\"at\":");
    micros(&mut t, sys::now()).put(b"}},\n");
    t
}

fn put_job(t: &mut Line, job: (u32, u64)) -> &mut Line {
    t.put_num(job.0).put(b".").put_num(job.1 as i64)
}

/// The name of a lane that is used for the first time.
pub fn lane(id: Id, lane: Lane) -> Line {
    let mut t = Line::default();
    let what: &[u8] = match lane.kind {
        Kind::Slot => b"slot ",
        Kind::Overdraft => b"overdraft ",
        Kind::Wait => b"wait ",
    };
    meta(&mut t, "thread_name", id, lane).put(b"\"name\":\"").put(what).put_num(lane.number);
    t.put(b"\"}},\n");
    t
}

fn meta<'a>(t: &'a mut Line, what: &str, id: Id, lane: Lane) -> &'a mut Line {
    t.put(b"{\"name\":\"").put(what).put(b"\",\"ph\":\"M\",\"pid\":");
    t.put_num(group(id, lane.kind)).put(b",\"tid\":").put_num(lane.number).put(b",\"args\":{")
}

/// Appends a time in µs with three places.
fn micros(t: &mut Line, nanos: u64) -> &mut Line {
    t.put_num((nanos / 1000) as i64).put(b".");
    let rest = nanos % 1000;
    t.put(if rest < 100 { &b"0"[..] } else { b"" }).put(if rest < 10 { &b"0"[..] } else { b"" });
    t.put_num(rest as i64)
}

/// Makes the file if there is none: it appears complete with its first line.
///
/// # Errors
/// As open(2) and write(2).
pub fn create(path: &CStr) -> Result<()> {
    let start = |at: &CStr, how| {
        let fd = open(at, libc::O_WRONLY | libc::O_APPEND | libc::O_CREAT | how)?;
        // Other processes will open it, and the umask may have removed the owner's own rights.
        let mode = sys::fstat(fd).map_or(0o600, |st| st.st_mode & 0o777);
        if mode & 0o600 != 0o600 {
            let _ = sys::fchmod(fd, mode | 0o600);
        }
        let written = sys::without_signals(|| sys::write(fd, b"[\n"));
        sys::close(fd);
        written.map(drop)
    };
    if sys::stat(path, true).is_ok() {
        return Ok(());
    }
    let tmp = Path::new(path.to_bytes()).with(b".").num(sys::getpid());
    if !tmp.fits() {
        return Err(Errno(libc::ENAMETOOLONG));
    }
    start(tmp.c(), libc::O_TRUNC)?;
    let linked = sys::link(tmp.c(), path);
    let _ = sys::unlink(tmp.c());
    match linked {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        // Some file systems have no links.
        Err(_) => match start(path, libc::O_EXCL) {
            Err(Errno::EXIST) => Ok(()),
            made => made,
        },
    }
}

/// Appends whole lines to a file. Never waits: what does not fit into a fifo is lost.
///
/// # Errors
/// As open(2) and write(2). ENXIO: a fifo without a reader. ELOOP: a symbolic link of another user.
pub fn append(path: &CStr, lines: &[u8], create: bool) -> Result<()> {
    let how = libc::O_WRONLY | libc::O_APPEND;
    let fd = open(path, how | if create { libc::O_CREAT } else { 0 })?;
    let written = sys::without_signals(|| sys::write(fd, lines));
    sys::close(fd);
    written.map(drop)
}

/// Opens a file. Does not follow another user's link, which others can place in a directory that they may write to.
pub(super) fn open(path: &CStr, how: i32) -> Result<i32> {
    let how = how | libc::O_NONBLOCK;
    match sys::open(path, how | libc::O_NOFOLLOW, 0o666) {
        Err(Errno(libc::ELOOP)) if is_trusted_link(path) => sys::open(path, how, 0o666),
        opened => opened,
    }
}

fn is_trusted_link(path: &CStr) -> bool {
    sys::stat(path, false).is_ok_and(|st| st.st_uid == 0 || st.st_uid == sys::geteuid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(name: &Name) -> Line {
        let lane = Lane { kind: Kind::Overdraft, number: 64 };
        line(
            (u64::MAX, u64::MAX, 0),
            &Event {
                name,
                state: "overdraft",
                lane,
                time: (i64::MAX as u64 - 1, i64::MAX as u64),
                job: (4095, 0xf_ffff),
                pids: (i32::MAX, i32::MAX),
                home: Some((4095, 0xf_ffff)),
                why: "the running jobs wait for others",
                waited: i64::MAX as u64,
            },
        )
    }

    #[test]
    fn a_line_is_what_is_expected() {
        let name = Name::new(b"cc \"a\\b\"\n.o");
        let lane = Lane { kind: Kind::Slot, number: 2 };
        let e = Event {
            name: &name,
            state: "token",
            lane,
            time: (5_000_001, 7_000_010),
            job: (3, 1),
            pids: (42, 41),
            home: Some((2, 5)),
            why: "",
            waited: 0,
        };
        let text = String::from_utf8(line((1, 2, 3), &e).bytes().to_vec()).unwrap();
        let want =
            "{\"name\":\"cc \\\"a\\\\b\\\" .o\",\"cat\":\"token\",\"ph\":\"X\",\"ts\":5000.001,\
                    \"dur\":2000.009,\"pid\":16392,\"tid\":2,\"args\":{\"job\":\"3.1\",\"pid\":42,\
                    \"client\":41,\"waited\":0.000,\"in\":\"2.5\"}},\n";
        assert_eq!(text, want);
    }

    #[test]
    fn the_file_is_made_once() {
        let path = std::env::temp_dir().join(format!("jsshim-trace-{}", std::process::id()));
        let c = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
        create(&c).unwrap();
        append(&c, b"{},\n", false).unwrap();
        create(&c).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"[\n{},\n");
        std::fs::remove_file(&path).unwrap();
        assert!(append(&c, b"{},\n", false).is_err());
    }

    #[test]
    fn nothing_is_waited_for() {
        let path = std::env::temp_dir().join(format!("jsshim-trace-fifo-{}", std::process::id()));
        let c = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
        sys::mkfifo(&c, 0o600).unwrap();
        create(&c).unwrap();
        assert_eq!(append(&c, b"{},\n", true), Err(Errno(libc::ENXIO)));
        let reader = sys::open(&c, libc::O_RDONLY | libc::O_NONBLOCK, 0).unwrap();
        while append(&c, &[b'x'; 4096], true).is_ok() {}
        assert_eq!(append(&c, b"{},\n", true), Err(Errno::AGAIN));
        sys::close(reader);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn the_head_fits() {
        let mut t = Line::default();
        head((u64::MAX, u64::MAX, 0), &Path::new([b'x'; 200]), 65_536, &mut t);
        assert!(t.fits());
        assert!(
            lent((u64::MAX, u64::MAX, 0), (4095, 0xf_ffff), i32::MAX, (0, i64::MAX as u64)).fits()
        );
    }

    #[test]
    fn it_is_told_what_is_built_where_and_when() {
        let line = about((1, 2, 3));
        let line = std::str::from_utf8(line.bytes()).unwrap();
        let words: Vec<_> = std::env::args().collect();
        assert!(line.contains(&format!("\"command\":\"{}", words[0])), "{line}");
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert!(line.contains(&format!("\"host\":\"{}\"", host.trim())), "{line}");
        assert!(line.ends_with("}},\n") && line.matches('\n').count() == 1 && !line.contains('\0'));
    }

    proptest! {
        #[test]
        fn every_name_fits_and_stays_one_line(name in proptest::collection::vec(any::<u8>(), 0..100)) {
            let line = event(&Name::new(&name));
            prop_assert!(line.fits());
            let text = std::str::from_utf8(line.bytes()).unwrap();
            prop_assert!(text.ends_with("}},\n") && text.matches('\n').count() == 1);
        }
    }
}
