//! The role `hold`: waits for a slot, then becomes the job.

use core::ffi::{c_char, CStr};
use core::ptr::null;
use core::sync::atomic::Ordering::Release;

use jsshim_engine::guard::{self, process};
use jsshim_engine::hold;
use jsshim_engine::hold::exec_pipe::ExecPipe;
use jsshim_engine::hold::spec::Spec;
use jsshim_engine::ledger::access::Ledger;
use jsshim_engine::ledger::handle::Handle;
use jsshim_engine::ledger::record::OPENED;
use jsshim_engine::pool::pipe;
use jsshim_engine::pool::tokens::Pool;
use jsshim_engine::room::PATH_ROOM;
use jsshim_engine::show::numbers;
use jsshim_engine::show::stderr;
use jsshim_engine::slots::State;
use jsshim_engine::sys::{self, Errno};
use jsshim_engine::text::Text;

use crate::args::Args;

/// argv: name, spec, target, then the target's own argv.
pub fn run(args: &Args) -> ! {
    let (Some(word), Some(path)) = (args.get(1), args.get(2)) else { sys::exit(2) };
    run_as(args, word, path, 3)
}

/// `word`: the [`Spec`]. `first`: the index of the target's own argv.
pub fn run_as(args: &Args, word: &CStr, path: &'static CStr, first: usize) -> ! {
    let spec = Spec::decode(word.to_bytes());
    // First of all: the host may delete or replace the program as soon as it believes that it runs.
    let program = Program::open(path, spec.as_ref().map_or(-1, |s| s.program), first);
    let timers = sys::Timers::stop();
    match spec.as_ref().map(|s| (s, Ledger::open(s.ledger.c()))) {
        Some((spec, Ok(ledger))) => {
            if spec.program < 0 {
                report_opened(ledger, spec.job);
            }
            let held = ledger.get(spec.job).is_some_and(|r| r.state().is_held());
            let start = wait(ledger, spec, args);
            if held && args.variable(b"JSSHIM_DEBUG=").is_some_and(numbers::is_on) {
                report_start(ledger, spec, start);
            }
        }
        // Another uid or another root directory: the ledger cannot be opened, so there is nothing to wait for. The
        // build goes on.
        _ => stderr::say(b"cannot open the ledger; the job starts without a slot"),
    }
    timers.resume();
    // Even if the spec is not understood, the program is known; a text then runs in the shell.
    program.exec(args, spec.is_none_or(|s| s.shell))
}

/// Tells the host that the program is open; the host waits for that.
fn report_opened(ledger: &Ledger, job: Handle) {
    if let Some(record) = ledger.get(job) {
        record.note.store(OPENED, Release);
        sys::wake_word(&record.note);
    }
}

fn wait(ledger: &Ledger, spec: &Spec, args: &Args) -> State {
    let inherited = (spec.inherited.0 >= 0).then_some(spec.inherited);
    let pool = Pool::new(ledger.header.id(), ledger.header.reach(), inherited);
    let exec_pipe = ExecPipe::new(spec.exec_pipe);
    hold::wait(ledger, spec.job, &pool, &[0], &|| {
        exec_pipe.close_if_late();
        let mut this = [0u8; PATH_ROOM];
        let _ = sys::readlink(c"/proc/self/exe", &mut this);
        let helper = CStr::from_bytes_until_nul(&this).unwrap_or(c"");
        let (path, pool) = (&spec.ledger, &pool);
        guard::ensure(&process::Start { ledger, path, pool, helper, envp: args.env() }, None, true);
    })
}

/// For `JSSHIM_DEBUG`: reports that the wait is over. The host has named the job.
fn report_start(ledger: &Ledger, spec: &Spec, start: State) {
    if let Some(record) = ledger.get(spec.job) {
        let text = ledger.start_of_held(spec.job, start);
        stderr::debug_of(record.name().bytes(), text.bytes());
    }
}

/// The program that the job runs.
///
/// It is started by its path, so that AT_EXECFN, `$0` of a script and `comm` are the same as without us. The descriptor
/// that was opened first is used only if the path leads to another file by now, or to none.
struct Program {
    path: &'static CStr,
    /// O_PATH and close-on-exec; or -1.
    file: i32,
    /// The index of its argv in ours.
    first: usize,
}

impl Program {
    /// `inherited`: a descriptor opened before this process became the helper; or -1.
    fn open(path: &'static CStr, inherited: i32, first: usize) -> Self {
        let kept = inherited >= 0 && sys::fcntl(inherited, libc::F_SETFD, libc::FD_CLOEXEC).is_ok();
        let file = if kept { inherited } else { sys::open(path, libc::O_PATH, 0).unwrap_or(-1) };
        Self { path, file, first }
    }

    /// Returns whether the path leads to another file by now.
    fn is_replaced(&self) -> bool {
        let at_path = || sys::stat(self.path, true).map(|st| (st.st_dev, st.st_ino));
        let opened = || sys::file_id(self.file).ok();
        self.file >= 0 && at_path().is_ok_and(|id| opened().is_some_and(|opened| opened != id))
    }

    fn exec(&self, args: &Args, shell: bool) -> ! {
        let mut e = Errno::NOENT;
        if !self.is_replaced() {
            e = exec_path(args, self.path, self.first, shell);
        }
        // The path leads to no file, perhaps only since just now.
        if self.file >= 0 {
            e = self.exec_file(args, shell);
        }
        let line: Text<320> = Text::new(b"cannot start ").with(self.path.to_bytes());
        stderr::say(line.with(b" (errno ").num(e.0).with(b")").bytes());
        sys::exit(if e == Errno::NOENT { 127 } else { 126 })
    }

    fn exec_file(&self, args: &Args, shell: bool) -> Errno {
        // SAFETY: the kernel's own arrays.
        let e = unsafe { sys::exec_file(self.file, args.from(self.first), args.env()) };
        // The interpreter of a text reads the descriptor with which it is started: that must stay open.
        let text = e == Errno::NOENT || shell && e == Errno(libc::ENOEXEC);
        let Some(kept) = text.then(|| pipe::copy_high(self.file).ok()).flatten() else { return e };
        let _ = sys::fcntl(kept, libc::F_SETFD, 0);
        // SAFETY: as above.
        let e = unsafe { sys::exec_file(kept, args.from(self.first), args.env()) };
        if shell && e == Errno(libc::ENOEXEC) {
            return exec_shell(args, Text::<32>::new(b"/dev/fd/").num(kept).c());
        }
        e
    }
}

fn exec_path(args: &Args, path: &CStr, first: usize, shell: bool) -> Errno {
    // SAFETY: the kernel's own arrays.
    let e = unsafe { sys::execve(path.as_ptr(), args.from(first), args.env()) };
    if shell && e == Errno(libc::ENOEXEC) {
        return exec_shell(args, path);
    }
    e
}

/// Runs `/bin/sh TEXT ARG…`, as execvp(3) does for a text without `#!`.
fn exec_shell(args: &Args, text: &CStr) -> Errno {
    let sh = c"/bin/sh";
    let alone: [*const c_char; 3] = [sh.as_ptr(), text.as_ptr(), null()];
    let argv = if args.get(3).is_some() {
        let argv = args.from(2);
        // SAFETY: the entries of the target and of its name, which both exist.
        unsafe {
            argv.write(sh.as_ptr());
            argv.wrapping_add(1).write(text.as_ptr());
        }
        argv.cast_const()
    } else {
        alone.as_ptr()
    };
    // SAFETY: NULL-terminated arrays of C strings.
    unsafe { sys::execve(sh.as_ptr(), argv, args.env()) }
}
