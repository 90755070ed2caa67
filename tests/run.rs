//! Runs the tests: each in a process of its own, in the lane that it belongs to.
//!
//! A test's process is this same program, so that what a test uses of the processor is known (its own and that of all
//! processes that it waited for), that what it says is kept apart, and that none can disturb another by what it
//! leaves in its process. What is made once for all (compiled programs) lies in the folder of the whole run.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Conclusion, Failed, Trial};

use crate::lanes::{Lane, Lanes};
use crate::Test;

/// The first argument of a test's process; the name of the test and the folder of the run follow.
pub const ONE: &str = "--one-test";

/// When a test hangs. Each run of a program within it has its own, much earlier.
fn timeout() -> Duration {
    let long =
        ["JSSHIM_DEEP", "JSSHIM_SOAK_KILLS"].iter().any(|name| std::env::var_os(name).is_some());
    Duration::from_secs(if long { 86_400 } else { 1_500 })
}

/// In the process of a test: its name and the folder of the run.
pub fn asked_for() -> Option<(String, PathBuf)> {
    let mut words = std::env::args().skip(1);
    let is_one = words.next().as_deref() == Some(ONE);
    is_one.then(|| (words.next().expect("a name"), words.next().expect("a folder").into()))
}

/// What a test took.
struct Time {
    name: String,
    lane: Lane,
    wall: Duration,
    /// Of all processors, by all of its processes that it has waited for.
    processor: Duration,
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (wall, processor) = (self.wall.as_secs_f32(), self.processor.as_secs_f32());
        write!(f, "{wall:8.2} {processor:8.2} {:8} {}", self.lane.name(), self.name)
    }
}

/// Prints the slowest tests when the last one has ended, before the runner's closing lines.
struct Times {
    all: Mutex<Vec<Time>>,
    /// Each has a line in the file that JSSHIM_TEST_TIMES names, and what a failed one said follows there.
    file: Option<File>,
}

impl Times {
    fn new() -> Times {
        let file = std::env::var_os("JSSHIM_TEST_TIMES");
        let open = |path| File::create(path).expect("the file for the times can be written");
        Times { all: Mutex::default(), file: file.map(open) }
    }

    fn add(&self, time: Time, result: &Result<(), Failed>) {
        if let Some(mut file) = self.file.as_ref() {
            let said = result.as_ref().err().and_then(Failed::message).unwrap_or_default();
            file.write_all(format!("{time}\n{said}").as_bytes()).expect("as above");
        }
        self.all.lock().expect("nobody panics with it").push(time);
    }
}

impl Drop for Times {
    fn drop(&mut self) {
        let times = self.all.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner());
        times.sort_by_key(|time| std::cmp::Reverse(time.wall));
        if times.len() > 1 {
            println!("\nthe slowest tests: seconds, of them on a processor, lane");
            times.iter().take(10).for_each(|time| println!("{time}"));
        }
    }
}

pub fn run(mut arguments: Arguments, tests: Vec<Test>, folder: &Path) -> Conclusion {
    let lanes = Arc::new(Lanes::new(arguments.test_threads));
    lanes.watch(std::env::var_os("JSSHIM_TEST_WAITS").map(PathBuf::from));
    if arguments.test_threads != Some(1) {
        // Each has a thread, which waits until there is room in the lane.
        arguments.test_threads = Some(tests.len().max(2));
    }
    let times = Arc::new(Times::new());
    let quiet = !arguments.nocapture;
    let trial = |(rank, test): (usize, Test)| {
        let (lanes, times, folder) = (lanes.clone(), times.clone(), folder.to_owned());
        let Test { name, lane, .. } = test;
        Trial::test(name.clone(), move || {
            let theme = name.split("::").next().unwrap_or_default();
            let Some(_room) = lanes.enter(lane, rank, theme) else {
                return Err("scripts/setup has failed: what this needs is not there".into());
            };
            let (result, wall, processor) = in_a_process(&name, &folder, quiet);
            times.add(Time { name, lane, wall, processor }, &result);
            result
        })
    };
    let trials = tests.into_iter().enumerate().map(trial).collect();
    drop(times);
    libtest_mimic::run(&arguments, trials)
}

fn in_a_process(
    name: &str,
    folder: &Path,
    quiet: bool,
) -> (Result<(), Failed>, Duration, Duration) {
    // Not by its path, where a newer one may be by now.
    let mut command = Command::new("/proc/self/exe");
    command.args([ONE, name]).arg(folder).stdin(Stdio::null());
    let output = folder.join(name.replace("::", "-") + ".out");
    if quiet {
        let file = File::create(&output).expect("the folder of the run is there");
        let same = file.try_clone().expect("a descriptor");
        command.stdout(file).stderr(same);
    }
    let start = Instant::now();
    let pid = command.spawn().expect("this program starts").id();
    let (status, processor) = wait(pid);
    let wall = start.elapsed();
    let result = match status.success() {
        true => Ok(()),
        false => {
            let said = fs::read(&output).unwrap_or_default();
            Err(format!("{}{status}\n", String::from_utf8_lossy(&said)).into())
        }
    };
    let _ = fs::remove_file(output);
    (result, wall, processor)
}

/// The status, and what the process and all that it waited for have used of the processors.
fn wait(pid: u32) -> (ExitStatus, Duration) {
    let pid = i32::try_from(pid).expect("a pid");
    // SAFETY: returns a new descriptor, or a negative number.
    let end = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let end = i32::try_from(end).expect("a descriptor");
    let mut ended = libc::pollfd { fd: end, events: libc::POLLIN, revents: 0 };
    let timeout = timeout();
    let patience = i32::try_from(timeout.as_millis()).expect("less than a month");
    // SAFETY: one entry, which lives through the call.
    if unsafe { libc::poll(&raw mut ended, 1, patience) } == 0 {
        eprintln!("test {pid} is killed: not finished after {timeout:?}");
        kill_all(pid);
    }
    let mut status = 0;
    // SAFETY: all zero is a valid value of this struct of numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both places live through the call; the child is ours, and nobody else waits for it.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    assert_eq!(waited, pid, "wait4: {}", io::Error::last_os_error());
    // SAFETY: it was opened above, for nobody else.
    unsafe { libc::close(end) };
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    (ExitStatus::from_raw(status), time(usage.ru_utime) + time(usage.ru_stime))
}

/// A process and all that come from it, the youngest first.
fn kill_all(pid: i32) {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    children.unwrap_or_default().split(' ').filter_map(|pid| pid.parse().ok()).for_each(kill_all);
    // SAFETY: sends a signal; no memory is involved.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}
