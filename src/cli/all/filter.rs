//! The filter: the kernel asks before each exec, but for those to the helper that the supervisor has made.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use libc::{sock_filter, sock_fprog};

#[cfg(target_arch = "x86_64")]
const MACHINE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const MACHINE: u32 = 0xc000_00b7;

/// The offsets in `struct seccomp_data` (seccomp(2)).
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const SIXTH: u32 = 16 + 5 * 8;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

const fn load(at: u32) -> sock_filter {
    sock_filter { code: LOAD, jt: 0, jf: 0, k: at }
}

const fn equal(k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: EQUAL, jt, jf, k }
}

const fn give(k: u32) -> sock_filter {
    sock_filter { code: RETURN, jt: 0, jf: 0, k }
}

/// `magic`: the sixth argument, which execveat(2) does not use, of a call that the supervisor has made.
fn program(magic: u64) -> [sock_filter; 11] {
    let [low, high] = [magic as u32, (magic >> 32) as u32];
    [
        load(ARCH),
        equal(MACHINE, 0, 7),
        load(NUMBER),
        equal(libc::SYS_execve as u32, 6, 0),
        equal(libc::SYS_execveat as u32, 0, 4),
        load(SIXTH),
        equal(low, 0, 3),
        load(SIXTH + 4),
        equal(high, 0, 1),
        give(libc::SECCOMP_RET_ALLOW),
        give(libc::SECCOMP_RET_USER_NOTIF),
    ]
}

/// Puts this process under the filter. Returns the descriptor by which the kernel asks. Without the rights for it
/// (CAP_SYS_ADMIN) the process renounces new privileges first.
pub fn install(magic: u64) -> io::Result<OwnedFd> {
    let mut program = program(magic);
    let program = sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER;
    // A signal must not interrupt an exec that is answered (Linux 5.19).
    let patient = flags | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let mut installed = set(patient, &program);
    if is(&installed, libc::EACCES) {
        // SAFETY: numbers only.
        if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } < 0 {
            return Err(io::Error::last_os_error());
        }
        installed = set(patient, &program);
    }
    if is(&installed, libc::EINVAL) {
        installed = set(flags, &program);
    }
    installed
}

fn is(installed: &io::Result<OwnedFd>, errno: i32) -> bool {
    installed.as_ref().is_err_and(|e| e.raw_os_error() == Some(errno))
}

fn set(flags: libc::c_ulong, program: &sock_fprog) -> io::Result<OwnedFd> {
    let (mode, program) = (libc::SECCOMP_SET_MODE_FILTER, std::ptr::from_ref(program));
    // SAFETY: a program that lives for the call.
    let fd = unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, program) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
