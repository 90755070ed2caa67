//! System calls on processes: this one, its children, others.

use core::ffi::{c_char, c_int};
use core::mem::MaybeUninit;
use core::sync::atomic::AtomicI32;
use core::sync::atomic::Ordering::Acquire;

use super::call::{arch, check, Errno, Result};
use super::time::sleep_millis;

/// getpid(2), from the kernel: in a `vfork` child libc's memory is the parent's.
pub fn getpid() -> i32 {
    // SAFETY: no arguments.
    unsafe { call!(libc::SYS_getpid) }.unwrap_or(0) as i32
}

/// gettid(2).
pub fn gettid() -> i32 {
    // SAFETY: no arguments.
    unsafe { call!(libc::SYS_gettid) }.unwrap_or(0) as i32
}

/// getppid(2).
pub fn getppid() -> i32 {
    // SAFETY: no arguments.
    unsafe { call!(libc::SYS_getppid) }.unwrap_or(0) as i32
}

/// getsid(2).
///
/// # Errors
/// ESRCH: there is no such process.
pub fn getsid(pid: i32) -> Result<i32> {
    // SAFETY: no memory is involved.
    unsafe { call!(libc::SYS_getsid, pid) }.map(|sid| sid as i32)
}

/// geteuid(2).
pub fn geteuid() -> u32 {
    // SAFETY: no arguments.
    unsafe { call!(libc::SYS_geteuid) }.unwrap_or(0) as u32
}

/// Makes a process the leader of a new process group (setpgid(2)); 0: this process.
pub fn setpgid(pid: i32) {
    // SAFETY: numbers only.
    let _ = unsafe { call!(libc::SYS_setpgid, pid, 0usize) };
}

/// setsid(2).
pub fn setsid() {
    // SAFETY: no arguments.
    let _ = unsafe { call!(libc::SYS_setsid) };
}

/// How many CPUs this thread may run on (sched_getaffinity(2)).
pub fn affinity() -> Result<u32> {
    let mut bits = [0u64; 128];
    let len = core::mem::size_of_val(&bits);
    // SAFETY: the array is ours and of that length.
    unsafe { call!(libc::SYS_sched_getaffinity, 0usize, len, bits.as_mut_ptr())? };
    Ok(bits.iter().fold(0u32, |n, b| n.wrapping_add(b.count_ones())))
}

/// kill(2).
pub fn kill(pid: i32, sig: c_int) -> Result<()> {
    // SAFETY: numbers only.
    unsafe { call!(libc::SYS_kill, pid, sig).map(drop) }
}

/// tgkill(2) to a thread of this process.
pub fn kill_thread(tid: i32, sig: c_int) {
    // SAFETY: numbers only.
    let _ = unsafe { call!(libc::SYS_tgkill, getpid(), tid, sig) };
}

/// What waitid(2) reports of a child without reaping it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peek {
    /// It runs, or is stopped.
    Running,
    /// It has ended and has not been reaped.
    Zombie,
    /// It is no child (any more): reaped, or never a child (ECHILD).
    Gone,
}

/// Checks whether a child has ended, without reaping it (`WNOWAIT`).
pub fn peek(pid: i32) -> Peek {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // __WALL: a child made by clone(2) may have another exit signal than SIGCHLD.
    let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    // SAFETY: a zeroed siginfo_t is valid; the kernel fills it. WNOWAIT leaves the child waitable.
    unsafe {
        match call!(libc::SYS_waitid, libc::P_PID, pid, info.as_mut_ptr(), how, 0usize) {
            Err(Errno(libc::ECHILD)) => Peek::Gone,
            // A sandbox forbids the call: the host's own wait will tell.
            Err(_) => Peek::Running,
            Ok(_) if info.assume_init().si_pid() == pid => Peek::Zombie,
            Ok(_) => Peek::Running,
        }
    }
}

/// Returns a child that has ended and has not been reaped, and its status as wait(2) gives it. Does not reap it. Of
/// several, the kernel returns the one that was started first. Returns None if there is none.
pub fn peek_any() -> Option<(i32, i32)> {
    ended(libc::P_ALL, 0)
}

/// The status of this child, as wait(2) gives it, if it has ended. Does not reap it.
pub fn peek_status(pid: i32) -> Option<i32> {
    ended(libc::P_PID, pid).map(|(_, status)| status)
}

fn ended(which: libc::idtype_t, id: i32) -> Option<(i32, i32)> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: as in `peek`; for a child that has ended, the fields are those of SIGCHLD.
    unsafe {
        call!(libc::SYS_waitid, which, id, info.as_mut_ptr(), how, 0usize).ok()?;
        let info = info.assume_init();
        let status = match info.si_code {
            libc::CLD_EXITED => (info.si_status() & 0xff).wrapping_shl(8),
            libc::CLD_DUMPED => info.si_status() | 0x80,
            _ => info.si_status(),
        };
        (info.si_pid() > 0).then_some((info.si_pid(), status))
    }
}

/// Reaps a child that has ended; with `wait`, waits for its end. Returns its status as wait(2) gives it.
///
/// # Errors
/// `AGAIN`: it runs. ECHILD: it is no child, or was reaped before.
pub fn reap(pid: i32, wait: bool) -> Result<i32> {
    let mut status: c_int = 0;
    let how = if wait { 0 } else { libc::WNOHANG };
    loop {
        // SAFETY: room for one number.
        match unsafe { call!(libc::SYS_wait4, pid, &raw mut status, how, 0usize) } {
            Ok(0) => return Err(Errno::AGAIN),
            Ok(_) => return Ok(status),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
}

/// pidfd_open(2), Linux 5.3. The descriptor is always close-on-exec, and readable once the process has ended.
pub fn pidfd_open(pid: i32) -> Result<c_int> {
    // SAFETY: numbers only.
    unsafe { call!(libc::SYS_pidfd_open, pid, 0usize).map(|fd| fd as c_int) }
}

/// fork(2) of a process with one thread and no libc. `shared` is 0, or the clone(2) flags of what is not copied.
///
/// # Safety
/// As fork(2): in a host's process, libc would not know of it.
pub unsafe fn fork(shared: c_int) -> Result<i32> {
    let flags = libc::SIGCHLD | shared;
    // SAFETY: by the contract; a stack of 0 is a copy of this one.
    unsafe { call!(libc::SYS_clone, flags, 0usize, 0usize, 0usize, 0usize).map(|pid| pid as i32) }
}

/// fork(2) whose child has no exit signal, so that no plain wait(2) sees it. The child continues in the middle of its
/// parent's code, on copies of its memory and descriptors.
///
/// # Safety
/// All signals must be blocked. The child may only make system calls, and must end in exit.
pub unsafe fn fork_unseen() -> Result<i32> {
    // SAFETY: by the contract; a stack of 0 is a copy of this one.
    unsafe { call!(libc::SYS_clone, 0usize, 0usize, 0usize, 0usize, 0usize).map(|pid| pid as i32) }
}

fn prctl(what: c_int, value: usize) -> Result<usize> {
    // SAFETY: used with values that are numbers, or addresses that are valid during the call.
    unsafe { call!(libc::SYS_prctl, what, value, 0usize, 0usize, 0usize) }
}

/// Returns whether this process is a subreaper: orphans below it become its children (`PR_GET_CHILD_SUBREAPER`,
/// prctl(2)).
pub fn is_subreaper() -> bool {
    let mut is: c_int = 0;
    prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut is as usize).is_ok() && is != 0
}

/// Makes this process a subreaper.
pub fn become_subreaper() {
    let _ = prctl(libc::PR_SET_CHILD_SUBREAPER, 1);
}

/// Sets the name of this thread (`PR_SET_NAME`).
pub fn name_this(name: &core::ffi::CStr) {
    let _ = prctl(libc::PR_SET_NAME, name.as_ptr() as usize);
}

/// Makes the kernel send this process a signal when the thread that created it ends (`PR_SET_PDEATHSIG`).
pub fn signal_at_parents_end(signal: c_int) {
    let _ = prctl(libc::PR_SET_PDEATHSIG, signal as usize);
}

/// Returns whether this is a child of this process that a plain wait(2) would see.
pub fn is_visible_child(pid: i32) -> bool {
    has_child(libc::P_PID, pid, 0)
}

/// Returns whether there is any such child.
pub fn has_visible_child() -> bool {
    has_child(libc::P_ALL, 0, 0)
}

/// Returns whether there is any child, whatever its exit signal is.
pub fn has_any_child() -> bool {
    has_child(libc::P_ALL, 0, libc::__WALL)
}

fn has_child(which: libc::idtype_t, id: i32, more: c_int) -> bool {
    let how = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | more;
    // SAFETY: no siginfo is asked for; WNOWAIT leaves the child waitable.
    unsafe { call!(libc::SYS_waitid, which, id, 0usize, how, 0usize).is_ok() }
}

/// Reaps children until there are none. Returns the status of `pid`, one of them. Calls `each` after each signal.
pub fn collect_all(pid: i32, mut each: impl FnMut()) -> c_int {
    let mut of_pid = 0;
    loop {
        let mut status: c_int = 0;
        // SAFETY: room for one number.
        match unsafe { call!(libc::SYS_wait4, -1isize, &raw mut status, libc::__WALL, 0usize) } {
            Ok(child) if child as i32 == pid => of_pid = status,
            Ok(_) => {}
            Err(Errno::INTR) => each(),
            Err(_) => return of_pid,
        }
    }
}

/// Waits until a child ends or stops. Returns its status (waitpid(2) with `WUNTRACED`).
///
/// # Errors
/// ECHILD: it is no child.
pub fn wait_child(pid: i32) -> Result<c_int> {
    wait_for(pid, libc::WUNTRACED)
}

fn wait_for(pid: i32, options: c_int) -> Result<c_int> {
    let mut status: c_int = 0;
    loop {
        // SAFETY: room for one number.
        let r = unsafe { call!(libc::SYS_wait4, pid, &raw mut status, options, 0usize) };
        match r {
            Err(Errno::INTR) => {}
            r => return r.map(|_| status),
        }
    }
}

/// Reaps a child of our own without exit signal (`__WCLONE`). Returns its status.
///
/// # Errors
/// ECHILD: it was reaped already.
pub fn reap_clone(pid: i32) -> Result<c_int> {
    wait_for(pid, libc::__WCLONE)
}

/// Reaps a child of [`clone_vm`], whatever its exit signal (`__WALL`). Returns its status.
///
/// # Errors
/// ECHILD: it was reaped already.
pub fn reap_made(pid: i32) -> Result<c_int> {
    wait_for(pid, libc::__WALL)
}

/// Starts a process that shares this process's memory until it execs or exits, as posix_spawn(3) does: no page table is
/// copied, however large the host is. It runs `f(arg)` on the caller's stack while the caller sleeps. It has no exit
/// signal, and no plain wait(2) sees it. The kernel keeps the child's pid in `shares` for as long as it shares the
/// memory, which may be longer than the caller lives.
///
/// qemu's user mode takes a clone(2) without an exit signal for invalid: there it is a fork, of which the process is told
/// by SIGCHLD. See [`reap_made`].
///
/// # Safety
/// All signals must be blocked, and `f` must be async-signal-safe and end in exec or exit. If the caller is killed, the
/// child goes on: then every other user of this memory must leave it the stack and `arg` until [`await_unshared`].
pub unsafe fn clone_vm(
    f: extern "C" fn(usize) -> !,
    arg: usize,
    shares: &AtomicI32,
) -> Result<i32> {
    let tells = libc::CLONE_PARENT_SETTID | libc::CLONE_CHILD_CLEARTID;
    let flags = (libc::CLONE_VM | libc::CLONE_VFORK | tells) as u64;
    // SAFETY: by the contract above. A forked child does the same on copies.
    unsafe {
        match check(arch::clone_vm(flags, f, arg, shares.as_ptr())) {
            Err(Errno::INVAL) => fork(0).inspect(|pid| {
                if *pid == 0 {
                    f(arg)
                }
            }),
            made => made.map(|pid| pid as i32),
        }
    }
}

/// Waits until no child of [`clone_vm`] shares this memory any more, or it is dead.
pub fn await_unshared(shares: &AtomicI32) {
    loop {
        // Acquire: the child's writes come before the caller's.
        let pid = shares.load(Acquire);
        if pid == 0 || kill(pid, 0).is_err() {
            return;
        }
        sleep_millis(1);
    }
}

/// execve(2). Returns only on failure.
///
/// # Safety
/// `argv` and `envp` must be NULL-terminated arrays of C strings.
pub unsafe fn execve(
    path: *const c_char,
    argv: *const *const c_char,
    envp: *const *const c_char,
) -> Errno {
    // SAFETY: by the contract above.
    match unsafe { call!(libc::SYS_execve, path, argv, envp) } {
        Err(e) => e,
        Ok(_) => Errno::INVAL,
    }
}

/// execveat(2) of the file that is open as `fd` (AT_EMPTY_PATH). Returns only on failure.
///
/// # Safety
/// As [`execve`].
pub unsafe fn exec_file(
    fd: c_int,
    argv: *const *const c_char,
    envp: *const *const c_char,
) -> Errno {
    let (empty, how) = (c"".as_ptr(), libc::AT_EMPTY_PATH);
    // SAFETY: by the contract above; the path ends in a NUL.
    match unsafe { call!(libc::SYS_execveat, fd, empty, argv, envp, how) } {
        Err(e) => e,
        Ok(_) => Errno::INVAL,
    }
}

/// _exit(2) of the whole process.
pub fn exit(status: c_int) -> ! {
    loop {
        // SAFETY: does not return.
        let _ = unsafe { call!(libc::SYS_exit_group, status) };
    }
}

#[cfg(test)]
mod tests {
    use super::super::yield_now;
    use super::*;

    #[test]
    fn peek_does_not_reap() {
        let mut child =
            std::process::Command::new("/bin/sh").args(["-c", "exit 3"]).spawn().unwrap();
        let pid = child.id() as i32;
        while peek(pid) == Peek::Running {
            yield_now();
        }
        assert_eq!(peek(pid), Peek::Zombie);
        assert_eq!(child.wait().unwrap().code(), Some(3));
        assert_eq!(peek(pid), Peek::Gone);
    }
}
