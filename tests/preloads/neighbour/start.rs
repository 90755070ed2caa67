//! The constructor. Whether it runs before that of jsshim or after it, the loader decides by the order of both in
//! LD_PRELOAD.

use std::env;
use std::ffi::{c_char, c_int, c_void, CString};
use std::mem::transmute;
use std::ptr::null;
use std::thread;

use ctor::ctor;

const WORDS: &str = "JSSHIM_TEST_START";

#[ctor(unsafe)]
fn start() {
    crate::faults::read();
    let Ok(words) = env::var(WORDS) else { return };
    // Not again in each process below this one.
    // SAFETY: no other thread yet.
    unsafe { env::remove_var(WORDS) };
    for word in words.split(',') {
        match word {
            "setenv" => move_environment(),
            "spawn" => run_jobs(spawn),
            "exec" => run_jobs(fork_and_exec),
            "popen" => run_commands(),
            "fork" => fork_a_child(),
            "thread" => leave_a_thread(),
            _ => eprintln!("neighbour: what is {word}?"),
        }
    }
}

/// So many variables that the array of all is another one afterwards, and none lies where the kernel put it.
fn move_environment() {
    let all: Vec<_> = env::vars_os().collect();
    for (name, value) in all {
        // SAFETY: no other thread yet.
        unsafe {
            env::remove_var(&name);
            env::set_var(&name, &value);
        }
    }
    for n in 0..200 {
        // SAFETY: as above.
        unsafe { env::set_var(format!("NEIGHBOUR_{n}"), "x".repeat(100)) };
    }
    for n in 0..200 {
        // SAFETY: as above.
        unsafe { env::remove_var(format!("NEIGHBOUR_{n}")) };
    }
}

extern "C" {
    static environ: *const *const c_char;
}

/// A function of libc as a library in C would call it: that which is first in line. Here its name alone would be the
/// hook of this library.
macro_rules! first {
    ($name:literal, $type:ty) => {
        // SAFETY: a function of libc's, of that type.
        unsafe { transmute::<*mut c_void, $type>(libc::dlsym(libc::RTLD_DEFAULT, $name.as_ptr())) }
    };
}

type Fork = unsafe extern "C" fn() -> c_int;
type Strings = *const *const c_char;
type Spawn = unsafe extern "C" fn(
    *mut c_int,
    *const c_char,
    *const c_void,
    *const c_void,
    Strings,
    Strings,
) -> c_int;
type Exec = unsafe extern "C" fn(*const c_char, Strings) -> c_int;
type Open = unsafe extern "C" fn(*const c_char, *const c_char) -> *mut c_void;
type Close = unsafe extern "C" fn(*mut c_void) -> c_int;

/// Four jobs at once, each started by `start` with its path and arguments.
fn run_jobs(start: fn(*const c_char, Strings) -> c_int) {
    let Ok(job) = env::var("JOB") else { return };
    let words = [&*job, "-b", "5", "-s", "40"].map(|word| CString::new(word).unwrap());
    let mut argv: Vec<_> = words.iter().map(|word| word.as_ptr()).collect();
    argv.push(null());
    let pids: Vec<_> = (0..4).map(|_| start(argv[0], argv.as_ptr())).collect();
    for pid in pids {
        let mut status = -1;
        // SAFETY: a variable of this function.
        let got = unsafe { libc::waitpid(pid, &mut status, 0) };
        assert!(pid > 0 && got == pid && status == 0, "{pid} {got} {status}");
    }
}

fn spawn(job: *const c_char, argv: Strings) -> c_int {
    let (mut pid, posix_spawn) = (-1, first!(c"posix_spawn", Spawn));
    // SAFETY: C strings and arrays that end in NULL.
    let error = unsafe { posix_spawn(&mut pid, job, null(), null(), argv, environ) };
    assert_eq!(error, 0, "posix_spawn");
    pid
}

fn fork_and_exec(job: *const c_char, argv: Strings) -> c_int {
    let (fork, exec) = (first!(c"fork", Fork), first!(c"execv", Exec));
    // SAFETY: no other thread yet; the child makes two calls.
    unsafe {
        let pid = fork();
        if pid == 0 {
            exec(job, argv);
            libc::_exit(9);
        }
        pid
    }
}

fn run_commands() {
    let (open, close) = (first!(c"popen", Open), first!(c"pclose", Close));
    // SAFETY: C strings, and streams that are closed once.
    unsafe {
        let streams = [(); 4].map(|()| open(c"exec $JOB -b 5 -s 40".as_ptr(), c"r".as_ptr()));
        let statuses = streams.map(|stream| close(stream));
        assert_eq!(statuses, [0; 4], "pclose");
    }
}

/// A child that execs nothing and ends while the host runs; the host, which does not know of it, may collect it.
fn fork_a_child() {
    let fork = first!(c"fork", Fork);
    // SAFETY: no other thread yet; the child makes two calls.
    unsafe {
        if fork() == 0 {
            libc::usleep(100_000);
            libc::_exit(0);
        }
    }
}

/// It sleeps as long as the host runs, as those do that clean up for an allocator.
fn leave_a_thread() {
    thread::spawn(|| loop {
        thread::park();
    });
}
